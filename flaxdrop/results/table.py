"""The table of a study: a row a variant, with intervals, paired differences and the null."""

import math
from collections.abc import Iterable, Mapping, Sequence

from flaxdrop.results.comparison import (
    CONFIDENCE,
    MEASURES,
    Effect,
    Outcome,
    effects,
    null_of,
    outcomes,
)
from flaxdrop.results.ledger import Row
from flaxdrop.results.statistics import Null, Summary, summary
from flaxdrop.table import EMPTY, Table


def study_table(
    rows: Iterable[Row],
    *,
    order: Sequence[str],
    published: Mapping[str, float | None],
    baseline: str,
    nulls: Sequence[tuple[str, str]] = (),
) -> Table:
    """The table of the `rows` of one study, which may be any part of it.

    order: the study's variants from top to bottom.
    published: variant to published accuracy, fraction in [0, 1], None where it is not stated; the
        table has a column of them where it names a variant of the rows.
    baseline: the variant that the others are compared with, seed by seed.
    nulls: pairs of variants that are one network with different masks.

    Accuracies are in percent of the test set, differences in percentage points; diverged cells
    are counted and stay out of all other numbers.

    Raises:
      ValueError: a variant has two rows of one seed.
    """
    found = outcomes(rows, order)
    null = {measure: null_of(found, measure, nulls) for measure in MEASURES}
    effect = {measure: effects(found, measure, baseline, null[measure]) for measure in MEASURES}
    columns = {"variant": [o.variant for o in found], "n": [_count(o) for o in found]}
    for measure in reversed(MEASURES):
        columns[f"{measure}, % ± std [95 %]"] = [
            _accuracy(summary(o.accuracy[measure].values(), CONFIDENCE)) for o in found
        ]
        if measure == "best" and any(o.variant in published for o in found):
            columns["published, %"] = [
                "not stated" if (told := published.get(o.variant)) is None else f"{100 * told:.2f}"
                for o in found
            ]
    columns["NLL"] = [_mean(o.nll.values(), "{:.3f}") for o in found]
    columns["ECE, %"] = [_mean(o.ece.values(), "{:.2f}", 100) for o in found]
    columns["time a cell"] = [_duration(o.seconds) for o in found]
    for measure in MEASURES:
        if effect[measure]:
            by_variant = [effect[measure].get(o.variant) for o in found]
            columns[f"{measure} - {baseline}, points"] = [
                _difference(e.difference, e.p_value) if e else EMPTY for e in by_variant
            ]
    notes = [
        "± standard deviation over n seeds; [95 % t interval of the mean]; differences are paired "
        "by seed; p is corrected over the table after Holm. NLL (nats) and ECE: test set, last "
        "epoch, means over seeds. Time a cell: median, of a machine that may have had other work."
    ]
    if any(o.diverged for o in found):
        notes.append("Diverged cells are in none of the means.")
    if any(o.at_chance for o in found):
        notes.append(
            "At chance: the last accuracy is not above what guessing the commonest class gives"
            " (one-sided, 97.5 %). Such cells are in all means: look at their curves first."
        )
    counts = {e.difference.n for of in effect.values() for e in of.values()}
    notes += _null_notes(null, nulls, sorted(counts - {0}))
    for measure in MEASURES:
        notes += _effect_notes(measure, effect[measure], baseline, null[measure])
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), tuple(notes))


def _null_notes(
    null: Mapping[str, Null | None], nulls: Sequence[tuple[str, str]], counts: Sequence[int]
) -> Iterable[str]:
    """counts: of seeds, for which the noise is told."""
    run = {measure: of for measure, of in null.items() if of}
    for name in (f"{a} - {b}" for a, b in nulls):
        found = {measure: of for measure, of in run.items() if name in of.differences}
        if not found:
            yield f"{name}: not run."
            continue
        words = "; ".join(
            f"{measure} {_difference(of.differences[name], of.p_values[name], ' points')}"
            for measure, of in found.items()
        )
        yield f"{name}: {words} (one network, different masks: noise)."
        for measure, of in found.items():
            if of.p_values[name] < 1 - CONFIDENCE:
                yield (
                    f"WARNING: the null {name} of the {measure} accuracy is significant: one "
                    "network differs from itself by more than noise: a bug, or n too small."
                )
    if run and counts:
        words = "; ".join(
            f"over n = {n} seeds: "
            + ", ".join(f"{measure} ± {of.noise(n):.2f} points" for measure, of in run.items())
            for n in counts
        )
        yield f"Noise, a mean difference of one network to itself {words}."


def _effect_notes(
    measure: str, effect: Mapping[str, Effect], baseline: str, null: Null | None
) -> Iterable[str]:
    if not effect:
        return
    if all(math.isnan(e.p_value) for e in effect.values()):
        yield f"{measure.capitalize()} accuracy against {baseline}: a test needs two seeds or more."
        return
    words = [
        f"{variant} {'helps' if e.difference.mean > 0 else 'hurts'} "
        f"({e.difference.mean:+.2f} points, {_p(e.p_value)})"
        for variant, e in effect.items()
        if e.stands_out
    ]
    bar = "significant and larger than the noise" if null else "significant"
    found = "; ".join(words) or "no variant"
    yield f"{measure.capitalize()} accuracy against {baseline}, {bar}: {found}."


def _count(outcome: Outcome) -> str:
    at_chance = f"{outcome.at_chance} of {outcome.n} at chance" if outcome.at_chance else ""
    diverged = f"{outcome.diverged} diverged" if outcome.diverged else ""
    return ", ".join(filter(None, (f"{outcome.n}", at_chance, diverged)))


def _accuracy(s: Summary) -> str:
    if s.n < 2:
        return f"{s.mean:.2f}" if s.n else EMPTY
    return f"{s.mean:.2f} ± {s.std:.2f} [{s.low:.2f}, {s.high:.2f}]"


def _difference(s: Summary, p_value: float, unit: str = "") -> str:
    if math.isnan(s.low):
        return f"{s.mean:+.2f}{unit}" if s.n else EMPTY
    return f"{s.mean:+.2f}{unit} [{s.low:+.2f}, {s.high:+.2f}], {_p(p_value)}"


def _p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _mean(values: Iterable[float], form: str, scale: float = 1) -> str:
    mean = summary(values, CONFIDENCE).mean
    return EMPTY if math.isnan(mean) else form.format(scale * mean)


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return EMPTY
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
