"""The two tables of a study: what every variant reached, and how the networks differ."""

import math
from collections.abc import Iterable, Mapping, Sequence

from flaxdrop.results.comparison import Comparison
from flaxdrop.results.effect import UNITS, Effect
from flaxdrop.results.outcome import Outcome
from flaxdrop.results.statistics import Summary, summary
from flaxdrop.table import EMPTY, Table


def accuracy_table(
    comparison: Comparison, published: Mapping[str, float | None] | None = None
) -> Table:
    """What every variant reached: accuracy, likelihood and calibration on the test set.

    Args:
      comparison: of the rows.
      published: variant -> published accuracy in [0, 1], None where it is not stated; the table has
        a column of them where it names a variant of the rows.
    """
    found, published = comparison.outcomes, published or {}
    columns = {"variant": [o.variant for o in found], "n": [_count(o) for o in found]}
    if any(o.variant in published for o in found):
        columns["published, %"] = [
            "not stated" if (value := published.get(o.variant)) is None else f"{100 * value:.2f}"
            for o in found
        ]
    for measure in ("best", "accuracy"):
        columns[f"{measure_name(comparison, measure)}, % ± std [95 %]"] = [
            _level(comparison.level(o.variant, measure)) for o in found
        ]
    columns["NLL, nats"] = [_mean(o.values["nll"].values(), "{:.3f}") for o in found]
    columns["ECE, %"] = [_mean(o.ece.values(), "{:.2f}", 100) for o in found]
    columns["time a cell"] = [_duration(o.seconds) for o in found]
    return _by_columns(columns, _accuracy_notes(comparison))


def effect_table(comparison: Comparison) -> Table:
    """How every network differs from the baseline, by every measure, with corrected p."""
    effects, merged = comparison.effects["accuracy"], comparison.merged
    columns = {
        "network": [
            f"{name} ({', '.join(merged[name])})" if name in merged else name for name in effects
        ],
        "n": [f"{effect.n[0]}" for effect in effects.values()],
    }
    for measure in ("accuracy", "best", "nll"):
        title = f"{measure_name(comparison, measure)} - {comparison.baseline}, {UNITS[measure]}"
        columns[title] = [_effect(comparison.effects[measure][name]) for name in effects]
    return _by_columns(columns, _effect_notes(comparison))


def measure_name(comparison: Comparison, measure: str) -> str:
    """How the tables call a measure.

    Args:
      comparison: tells how many epochs are judged.
      measure: "accuracy", "best" or "nll".
    """
    judged = "last" if comparison.judged == 1 else f"mean of the last {comparison.judged} epochs"
    return {"accuracy": judged, "best": "best", "nll": "NLL"}[measure]


def _by_columns(columns: Mapping[str, Sequence[str]], notes: Iterable[str]) -> Table:
    return Table(tuple(columns), tuple(zip(*columns.values(), strict=True)), tuple(notes))


def _accuracy_notes(comparison: Comparison) -> Iterable[str]:
    covers = "seeds and the drawn test images" if comparison.images_known else "seeds alone"
    yield (
        f"± standard deviation over the n seeds. [95 %]: interval of the mean; it covers {covers}."
        " NLL (nats) and ECE: means over seeds. Time a cell: median, on a machine that may have had"
        " other work."
    )
    if any(o.diverged for o in comparison.outcomes):
        yield "Diverged cells are in none of the means."
    if any(o.at_chance for o in comparison.outcomes):
        yield (
            "At chance: the accuracy after the last epoch is not above what guessing the commonest"
            " class gives (one-sided, 97.5 %). Such cells are in all means: look at their curves."
        )


def _effect_notes(comparison: Comparison) -> Iterable[str]:
    covers = (
        "the seeds (initial weights, order, masks, and the training images where a seed draws a"
        " part of them) and, for accuracies, the drawn test images"
        if comparison.images_known
        else "the seeds, not the drawn test images"
    )
    yield (
        f"Differences to {comparison.baseline} [95 % interval; it covers {covers}], p after Holm"
        f" over the networks of the table. {_model_words(comparison)}"
    )
    for name, own in comparison.merged.items():
        yield f"{name}: {' and '.join(own)} are one network with other masks, and count together."
    for name, effect in comparison.checks.items():
        warning = (
            " WARNING: one network differs from itself by more than chance: a bug, or bad luck."
            if effect.significant
            else ""
        )
        yield f"Check: {name} {_effect(effect)}, of one network, must be chance.{warning}"


def _model_words(comparison: Comparison) -> str:
    model = comparison.fits.get("accuracy")
    if model is None or math.isnan(model.residual):
        return "A test needs two seeds or more."
    if model.equal:
        return (
            f"One spread for all networks: ± {math.sqrt(model.residual):.2f} points a cell,"
            f" {model.freedom} degrees of freedom."
        )
    return (
        f"The spreads of the networks differ (Bartlett: p = {model.spread_p:.2g}): each difference"
        " has its own, after Welch."
    )


def _count(outcome: Outcome) -> str:
    at_chance = f"{outcome.at_chance} of {outcome.n} at chance" if outcome.at_chance else ""
    diverged = f"{outcome.diverged} diverged" if outcome.diverged else ""
    return ", ".join(filter(None, (f"{outcome.n}", at_chance, diverged)))


def _level(level: Summary) -> str:
    if not level.n:
        return EMPTY
    spread = "" if math.isnan(level.std) else f" ± {level.std:.2f}"
    interval = "" if math.isnan(level.low) else f" [{level.low:.2f}, {level.high:.2f}]"
    return f"{level.mean:.2f}{spread}{interval}"


def _effect(effect: Effect) -> str:
    if math.isnan(effect.corrected):
        return str(effect)
    return f"{effect!s}, " + (
        "p < 0.001" if effect.corrected < 0.001 else f"p = {effect.corrected:.3f}"
    )


def _mean(values: Iterable[float], form: str, scale: float = 1) -> str:
    mean = summary(values).mean
    return EMPTY if math.isnan(mean) else form.format(scale * mean)


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return EMPTY
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
