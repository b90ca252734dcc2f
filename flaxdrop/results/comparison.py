"""Everything that is compared in a table, computed once from its rows.

A `Comparison` goes whole to tables, pictures and claims. Variants that are one network with other
masks are merged where networks are compared; their own rows, and their difference, stay visible.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from flaxdrop.results.effect import Effect, Estimate, in_points
from flaxdrop.results.images import image_variance
from flaxdrop.results.ledger import Row
from flaxdrop.results.model import Fit, fit
from flaxdrop.results.outcome import Outcome, make_outcome
from flaxdrop.results.statistics import Summary, holm, summary

MEASURES = ("accuracy", "best", "nll")
MERGED = "*"  # behind the name of a network that several variants are


def corrected(effects: Mapping[str, Effect]) -> dict[str, Effect]:
    """The effects, with their p after Holm over all of them."""
    p_values = holm([effect.p_value for effect in effects.values()])
    return {
        name: dataclasses.replace(effect, corrected=p)
        for (name, effect), p in zip(effects.items(), p_values, strict=True)
    }


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The rows of one config, compared.

    Attributes:
      rows: of one config, any part of the study.
      order: all variants of the config, from top to bottom.
      outcomes: one for every variant that has rows, in the table's order.
      baseline: the variant that the others are compared with.
      networks: network -> its variants; more than one: they differ in nothing but their masks.
      judged: how many epochs, the last ones, an accuracy is the mean of.
    """

    rows: tuple[Row, ...]
    order: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    baseline: str
    networks: Mapping[str, tuple[str, ...]]
    judged: int

    @functools.cached_property
    def by_variant(self) -> dict[str, Outcome]:
        """Variant -> outcome."""
        return {outcome.variant: outcome for outcome in self.outcomes}

    @functools.cached_property
    def merged(self) -> dict[str, tuple[str, ...]]:
        """The networks that are more than one variant."""
        return {name: own for name, own in self.networks.items() if len(own) > 1}

    @functools.cached_property
    def fits(self) -> dict[str, Fit]:
        """Measure -> the model of it."""
        measures = {measure for outcome in self.outcomes for measure in outcome.values}
        return {measure: fit(found) for measure in measures if (found := self._values(measure))}

    @functools.cached_property
    def effects(self) -> dict[str, dict[str, Effect]]:
        """Measure -> network -> its difference to the baseline, corrected over the networks."""
        base = self.network(self.baseline)
        known = [name for name in self.networks if self.has(name)]
        others = [name for name in known if base in known and name != base]
        return {
            measure: corrected({name: self.effect(name, base, measure) for name in others})
            for measure in MEASURES
        }

    @functools.cached_property
    def checks(self) -> dict[str, Effect]:
        """The differences between variants that are one network: chance alone, if all is right."""
        alone = dataclasses.replace(self, networks={o.variant: (o.variant,) for o in self.outcomes})
        found = [
            alone.effect(name, own[0])
            for own in self.merged.values()
            for name in own[1:]
            if self.by_variant[name].n and self.by_variant[own[0]].n
        ]
        return corrected({effect.name: effect for effect in found})

    def network(self, variant: str) -> str:
        """The network that a variant is, or the name itself where it is one."""
        for name, own in self.networks.items():
            if variant in own:
                return name
        return variant

    def has(self, network: str, measure: str = "accuracy") -> bool:
        """A finished cell is there that tells the measure; a variant's name will do."""
        return measure in self.fits and self.network(network) in self.fits[measure].means

    def effect(self, a: str, b: str, measure: str = "accuracy") -> Effect:
        """The difference between two networks.

        Args:
          a: a network, or a variant of it.
          b: likewise.
          measure: what is compared.

        Raises:
          KeyError: a network without a finished cell that tells it.
        """
        a, b = self.network(a), self.network(b)
        contrast = self.fits[measure].contrast(a, b)
        n_a, n_b = (sum(self.by_variant[v].n for v in self.networks[name]) for name in (a, b))
        drawn = _image_variance(measure, self._right(a), self._right(b))
        fields = dataclasses.asdict(contrast) | {"image_variance": drawn}
        return Effect(a=a, b=b, measure=measure, n=(n_a, n_b), **fields)

    def level(self, variant: str, measure: str = "accuracy") -> Summary:
        """A variant's mean with the interval over seeds and images, and its standard deviation.

        The spread is that of the table, where the networks share it.
        """
        outcome = self.by_variant[variant]
        level = summary(outcome.values[measure].values())
        if not level.n:
            return level
        model = self.fits[measure]
        if model.equal and model.residual > 0:
            spread, freedom = model.residual * (1 + model.seed_ratio), float(model.freedom)
        else:
            spread, freedom = level.std**2, level.n - 1.0
        drawn = _image_variance(measure, list(outcome.right.values()))
        low, high = Estimate(level.mean, spread / level.n, freedom, drawn).interval()
        if in_points(measure):
            low, high = max(low, 0.0), min(high, 100.0)
        return dataclasses.replace(level, low=low, high=high)

    @property
    def images_known(self) -> bool:
        """Every finished row tells which test images were right."""
        return all(len(right) for o in self.outcomes for right in o.right.values())

    def _values(self, measure: str) -> dict[str, dict[int, list[float]]]:
        found: dict[str, dict[int, list[float]]] = {}
        for name, own in self.networks.items():
            for variant in own:
                for seed, value in self.by_variant[variant].values.get(measure, {}).items():
                    found.setdefault(name, {}).setdefault(seed, []).append(value)
        return found

    def _right(self, network: str) -> list[np.ndarray]:
        own = self.networks[network]
        return [right for variant in own for right in self.by_variant[variant].right.values()]


def _image_variance(measure: str, a: Sequence[np.ndarray], b: Sequence[np.ndarray] = ()) -> float:
    # Which images are right is known of the judged epochs; of the best one it is nearly so.
    return 100.0**2 * image_variance(a, b) if in_points(measure) else math.nan


def compare(
    rows: Iterable[Row],
    *,
    order: Sequence[str] = (),
    baseline: str,
    same: Sequence[Sequence[str]] = (),
) -> Comparison:
    """Compares the rows of one config.

    Args:
      rows: any part of a study; rows of cells in training are not there.
      order: the study's variants from top to bottom; those that it lacks come last.
      baseline: the variant that the others are compared with.
      same: groups of variants that are one network with other masks; the first one names it.

    Raises:
      ValueError: rows that differ in the version of the numerics, data or weights; or a variant has
        two rows of one seed, as when two configs are mixed.
    """
    rows = tuple(rows)
    for name in ("numerics", "data", "weights"):
        if len(found := {getattr(row, name) for row in rows}) > 1:
            raise ValueError(f"rows: must be of one {name}, got {', '.join(map(str, found))}")
    cells: dict[str, dict[int, Row]] = {variant: {} for variant in order}
    for row in rows:
        seeds = cells.setdefault(row.variant, {})
        if row.seed in seeds:
            raise ValueError(
                f"rows: must be of one config, got two of {row.variant} with seed {row.seed}"
            )
        seeds[row.seed] = row
    outcomes = tuple(make_outcome(variant, seeds) for variant, seeds in cells.items() if seeds)
    return Comparison(
        rows=rows,
        order=tuple(cells),
        outcomes=outcomes,
        baseline=baseline,
        networks=_networks([outcome.variant for outcome in outcomes], same),
        judged=max((len(row.right) or 1 for row in rows if row.status == "finished"), default=1),
    )


def _networks(variants: Sequence[str], same: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """In the order of the first variant of each; a group of which one has rows is that one."""
    found: dict[str, tuple[str, ...]] = {}
    for variant in variants:
        group = next((group for group in same if variant in group), (variant,))
        own = tuple(name for name in group if name in variants)
        found[group[0] + MERGED if len(own) > 1 else variant] = own
    return found
