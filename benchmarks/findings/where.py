"""What a race of the places of a network says, in words that one can act on."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.harness.estimate import cell_flops, flops_per_second, time_in_words
from benchmarks.harness.plan import Plan
from benchmarks.harness.racing import Arm, Race
from flaxdrop.results import race
from flaxdrop.results.ledger import Row
from flaxdrop.table import Table

_MOST = 4  # arms that a sentence names
WORDS = {
    race.RACING: "still open",
    race.WORSE: "worse than none",
    race.BELOW: "another is better",
    race.SMALL: "gains less than {margin}",
    race.CLOSE: "not {margin} better than the best",
    race.DIVERGED: "diverged",
}


def describe(plan: Plan[Any], network: Any, arms: Sequence[Arm]) -> str:
    """The places of a network and the arms of its race, as text."""
    raced = {arm.place for arm in arms}
    cells = []
    for group, count in network.slots.items():
        own = [place for place in network.every.every if place.group == group]
        also = ", ".join(dict.fromkeys(alias for place in own[:1] for alias in place.aliases))
        cells.append((group, str(count), also or "-", "yes" if group in raced else "no"))
    left_out = [f"{name} {reason}" for name, reason in network.every.left_out]
    rates = ", ".join(f"{arm.rate:g}" for arm in arms if arm.place == arms[0].place)
    notes = [
        f"{network.name} on {plan.dataset.describe(plan.examples)}.",
        f"{len(arms)} arms: {len(raced)} places, rates {rates}.",
    ]
    if left_out:
        notes.append(f"No dropout at: {'; '.join(left_out)}.")
    return Table(("place", "times", "first is also", "raced"), tuple(cells), tuple(notes)).text()


def estimate(plan: Plan[Any], network: Any, arms: Sequence[Arm]) -> str:
    """How long a round takes, roughly, as text."""
    flops = cell_flops(
        network, plan.input_shape, plan.settings, plan.examples, len(plan.dataset.x_test)
    )
    seconds = flops / flops_per_second()
    at_once = len(plan.devices) * plan.settings.cells_per_device
    round_ = math.ceil((len(arms) + 1) / at_once) * seconds
    budget = plan.settings.budget_seconds
    lines = [
        f"cells      {len(arms) + 1} in the first round, {at_once} at a time on"
        f" {plan.devices[0].device_kind}; fewer in each that follows",
        f"estimate   {time_in_words(seconds / 3600)} a cell, {time_in_words(round_ / 3600)} for the"
        " first round (convolutions alone: often twice that)",
        f"results    {plan.folder.path}",
    ]
    if budget:
        rounds = min(budget / round_, plan.settings.seeds)
        lines.insert(2, f"budget     {time_in_words(budget / 3600)}: {rounds:.1f} rounds")
    return "\n".join(lines)


def round_line(raced: Race) -> str:
    """How a race stands, in a line, before its next round."""
    standing = raced.standing
    words = [f"round {standing.rounds + 1}: {int(standing.racing.sum())} of {len(raced.arms)} arms"]
    if standing.rounds:
        leader = next(i for i in raced.by_effect if standing.racing[i])
        words.append(f"ahead is {raced.arms[leader]}: {_effect(raced, leader)}")
    return ", ".join(words)


def report(plan: Plan[Any], raced: Race, rows: Sequence[Row]) -> None:
    """Prints the answer, and writes it with the table and the picture into the folder."""
    from flaxdrop.plots.race import draw_race

    if not raced.standing.rounds:
        print("No round is finished: nothing is known yet.")
        return
    answer = list(sentences(plan, raced, rows))
    found = table(plan, raced)
    path = plan.folder.path / "where.md"
    path.write_text("\n\n".join(answer) + "\n\n" + found.markdown())
    draw_race(
        raced.standing,
        [str(arm) for arm in raced.arms],
        plan.folder.picture("where"),
        margin=raced.margin,
        subtitle=found.notes[0],
        best=raced.best,
    )
    show(plan, raced, rows)
    print(f"\nledger    {plan.folder.ledger}")
    print(f"answer    {path}")
    print(f"picture   {plan.folder.picture('where')}")


def show(plan: Plan[Any], raced: Race, rows: Sequence[Row]) -> None:
    """Prints the table and the answer; writes nothing."""
    print(table(plan, raced).text())
    print("\n".join(sentences(plan, raced, rows)))


def sentences(plan: Plan[Any], raced: Race, rows: Sequence[Row]) -> Iterator[str]:
    """The answer, a sentence each."""
    standing, margin = raced.standing, _points(raced.margin)
    best = raced.best
    if best is not None:
        yield f"Put dropout at {raced.arms[best]}: {_effect(raced, best)} against none."
        if standing.high[best] < raced.margin:
            yield f"It helps, but by less than {margin}."
        yield f'--placement "{raced.arms[best].placement}"'
    elif not standing.racing.any():
        yield f"Leave it without dropout: nowhere does it gain {margin} or more at these rates."
    else:
        leader = next(i for i in raced.by_effect if standing.racing[i])
        yield (
            f"Not known yet. Ahead is {raced.arms[leader]}: {_effect(raced, leader)} against none."
        )
    worse = [i for i in reversed(raced.by_effect) if standing.status[i] == race.WORSE]
    if worse:
        yield f"Not at {_named(raced, worse)}."
    same = _of(raced, race.SMALL)
    within = [i for i in same if standing.low[i] > -raced.margin]
    if within:
        yield f"These differ from none by less than {margin}: {_list(raced, within)}."
    if rest := [i for i in same if i not in within]:
        yield f"These gain less than {margin}, if anything: {_list(raced, rest)}."
    if close := _of(raced, race.CLOSE):
        yield f"Not {margin} better than the best, and maybe as good: {_list(raced, close)}."
    if below := _of(raced, race.BELOW):
        yield f"Less good than another place: {_list(raced, below)}."
    if diverged := _of(raced, race.DIVERGED):
        yield f"The training diverged: {_list(raced, diverged)}."
    if not raced.finished:
        yield _more(plan, raced, rows)
    yield _cost(raced)


def table(plan: Plan[Any], raced: Race) -> Table:
    """Every arm with its interval and what it came to, the largest effect first."""
    standing = raced.standing
    cells = tuple(
        (
            raced.arms[i].place,
            f"{raced.arms[i].rate:g}",
            str(standing.seeds[i]),
            _effect(raced, i, unit=""),
            "the best" if i == raced.best else _verdict(raced, i),
        )
        for i in raced.by_effect
    )
    examples, tests = plan.examples, len(plan.dataset.x_test)
    notes = (
        f"{plan.settings.network} on {plan.dataset.name}: {examples:,} training images,"
        f" {tests:,} test images, {plan.settings.epochs} epochs; accuracy of none"
        f" {raced.base:.1f} % ({standing.rounds} seeds).",
        "Difference to none by seed, points of test accuracy. All intervals hold at once, after"
        " every round, with a probability of 95 %; they cover the seeds.",
    )
    return Table(("place", "rate", "seeds", "difference", "verdict"), cells, notes)


def _verdict(raced: Race, arm: int) -> str:
    return WORDS[int(raced.standing.status[arm])].format(margin=_points(raced.margin))


def _of(raced: Race, status: int) -> list[int]:
    return [i for i in raced.by_effect if raced.standing.status[i] == status and i != raced.best]


def _effect(raced: Race, arm: int, unit: str = " points") -> str:
    standing = raced.standing
    effect, low, high = (float(of[arm]) for of in (standing.effect, standing.low, standing.high))
    if math.isnan(effect):
        return "-"
    words = f"{effect:+.1f}{unit}"
    return f"{words} [{low:+.1f}, {high:+.1f}]" if math.isfinite(low) else words


def _points(margin: float) -> str:
    return f"{margin:g} point{'' if margin == 1 else 's'}"


def _named(raced: Race, arms: Sequence[int]) -> str:
    """Arms with their effects."""
    named = [f"{raced.arms[i]} ({_effect(raced, i)})" for i in arms[:_MOST]]
    more = len(arms) - _MOST
    return "; ".join(named) + (f"; and {more} more, see the table" if more > 0 else "")


def _list(raced: Race, arms: Sequence[int]) -> str:
    """Arms by place, their rates beside each."""
    rates: dict[str, list[str]] = {}
    for i in arms:
        rates.setdefault(raced.arms[i].place, []).append(f"{raced.arms[i].rate:g}")
    return "; ".join(f"{place} ({', '.join(own)})" for place, own in rates.items())


def _more(plan: Plan[Any], raced: Race, rows: Sequence[Row]) -> str:
    """What it would take to know more."""
    standing = raced.standing
    needed = race.needed_seeds(standing, raced.margin)
    left = int(standing.racing.sum())
    if np.isnan(needed).all():
        return f"To know more, train {race.FIRST_LOOK} seeds of each: run the same command again."
    known = needed[~np.isnan(needed)]
    more = np.maximum(known - standing.rounds, 1)
    cells = int(more.sum() + more.max())
    seconds = float(np.median([row.wall_seconds for row in rows]))
    hours = cells * seconds / (len(plan.devices) * plan.settings.cells_per_device) / 3600
    words = "1 arm is open." if left == 1 else f"{left} arms are open."
    words += f" If the effects are as measured, it takes about {cells} more cells,"
    words += f" {time_in_words(hours)}, at most {known.max():.0f} seeds"
    if known.max() > plan.settings.seeds:
        words += f" (--config.seeds={min(int(known.max()), race.MOST_SEEDS)}"
        words += "" if known.max() <= race.MOST_SEEDS else ", and a larger --config.margin"
        words += ")"
    return words + "."


def _cost(raced: Race) -> str:
    """What the race saved."""
    seeds, arms = race.table_seeds(raced.standing), len(raced.arms) + 1
    words = f"Trained {raced.cells} cells."
    if math.isnan(seeds):
        return words
    saved = 1 - raced.cells / (seeds * arms)
    words += f" A table with such narrow intervals needs {seeds:.0f} seeds of each arm,"
    words += f" {seeds * arms:.0f} cells"
    return words + (f": {100 * saved:.0f} % are saved." if saved > 0 else ".")
