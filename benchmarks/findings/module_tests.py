"""What the module tests compare: every simulated ratio with its closed form."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxdrop.theory import simulation, variance
from flaxdrop.theory.block import slot_shifts
from flaxdrop.theory.head import pooled, pooling_noise
from flaxdrop.theory.simulation import NORMS, SLOTS, Estimate, jackknife

WIDTH = 128
W_MEANS = tuple(np.linspace(-0.02, 0.02, 9).round(4).tolist())
STDS = (0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)
SLOT_RATE = 0.3
_ROUNDING = 1e-5  # of variances summed in f32
BRANCH, SUM = "figure2, branch alone", "figure2, residual sum"
HEAD_RATE, HEAD_SIDE, HEAD_CORRELATIONS = 0.2, 8, (0.0, 0.5)
# Two orders, two inputs of the norm at each rate, each slot at each norm, two masks at two places.
COUNT = (
    2 * len(W_MEANS)
    + 2 * len(STDS) * len(RATES)
    + len(SLOTS) * len(NORMS)
    + 4 * len(HEAD_CORRELATIONS)
)


@dataclasses.dataclass(frozen=True)
class Result:
    """One ratio, Var(without dropout) / Var(with dropout).

    Attributes:
      test: "figure1", `BRANCH` or `SUM` of figure 2, "slots" or "head".
      case: what was dropped where.
      x: mean of the weights, standard deviation of the input, or correlation; 0 for "slots".
      estimate: simulated.
      closed_form: what it should be; None: not known.
    """

    test: str
    case: str
    x: float
    estimate: Estimate
    closed_form: float | None

    @property
    def deviation(self) -> float:
        """Simulation minus closed form, in standard errors; 0 where only rounding differs."""
        if self.closed_form is None:
            return 0.0
        difference = self.estimate.ratio - self.closed_form
        return 0.0 if abs(difference) < _ROUNDING else difference / self.estimate.error


def figure1(w_mean: float, *, before: bool) -> float:
    """The closed form of Figure 1, rate 0.5."""
    std = variance.he_std(WIDTH)
    unit, covariance = variance.hidden(WIDTH, w_mean, std)
    form = variance.shift_before_weight if before else variance.shift_after_weight
    return form(unit, 0.5, WIDTH, w_mean, std, covariance)


def figure2(std: float, rate: float) -> float:
    """The closed form of Figure 2; the branch alone at std 0."""
    unit, _ = variance.hidden(WIDTH, 0.0, variance.he_std(WIDTH))
    return variance.shift_of_sum(std**2, unit, rate, WIDTH)


def head_form(correlation: float, *, before: bool, mask: str) -> float:
    """The closed form of the pooled feature; `correlation` is that before the ReLU."""
    unit, pixels = variance.rectified(), HEAD_SIDE**2
    after_relu = variance.rectified_covariance(correlation) / unit.variance
    noise = pooling_noise(unit, HEAD_RATE, pixels, before=before, correlation=after_relu, mask=mask)
    total = pooled(unit, pixels, after_relu).variance
    return total / (total + noise)


def simulate(batch: int, draws: int) -> Iterator[Result]:
    """All module tests, one result after the other; `COUNT` of them.

    Raises:
      ValueError: fewer than 1000 examples, or fewer than 2 draws.
    """
    if batch < 1000:
        raise ValueError(f"batch: must be at least 1000, got {batch}")
    if draws < 2:
        raise ValueError(f"draws: must be at least 2, got {draws}")
    keys = [jax.random.key(draw) for draw in range(draws)]
    return itertools.chain(
        _simulate_figure1(keys, batch),
        _simulate_figure2(keys, batch),
        _simulate_slots(keys, batch),
        _simulate_head(keys, batch),
    )


def _draws(
    keys: Sequence[jax.Array], number: int, draw: Callable[..., jax.Array], **arguments: Any
) -> np.ndarray:
    return np.array([draw(jax.random.fold_in(key, number), **arguments) for key in keys])


def _simulate_figure1(keys: Sequence[jax.Array], batch: int) -> Iterator[Result]:
    for i, w_mean in enumerate(W_MEANS):
        given = {"w_mean": w_mean, "rate": 0.5, "batch": batch, "width": WIDTH}
        drawn = _draws(keys, i, simulation.weight_order, **given)
        for column, case in ((1, "before the weight"), (2, "after the weight")):
            form = figure1(w_mean, before=column == 1)
            estimate = jackknife(drawn[:, 0], drawn[:, column])
            yield Result("figure1", case, w_mean, estimate, form)


def _simulate_figure2(keys: Sequence[jax.Array], batch: int) -> Iterator[Result]:
    for i, std in enumerate(STDS):
        given = {"std": std, "rates": jnp.array(RATES), "batch": batch, "width": WIDTH}
        drawn = _draws(keys, 100 + i, simulation.residual_sum, **given)
        for column, (test, own) in enumerate(((BRANCH, 0.0), (SUM, std))):
            for r, rate in enumerate(RATES):
                estimate = jackknife(*drawn[:, r, column].T)
                yield Result(test, f"p = {rate}", std, estimate, figure2(own, rate))


def _simulate_slots(keys: Sequence[jax.Array], batch: int) -> Iterator[Result]:
    for i, slot in enumerate(SLOTS):
        given = {"place": i, "rate": SLOT_RATE, "batch": batch, "width": WIDTH}
        drawn = _draws(keys, 200 + i, simulation.block, **given)
        forms = slot_shifts(SLOT_RATE, batch=batch)[slot]
        for n, norm in enumerate(NORMS):
            estimate = jackknife(*drawn[:, n].T)
            yield Result("slots", f"{slot} -> {norm}", 0.0, estimate, forms[n])


def _simulate_head(keys: Sequence[jax.Array], batch: int) -> Iterator[Result]:
    size = {"batch": batch // (4 * HEAD_SIDE**2), "channels": WIDTH, "side": HEAD_SIDE}
    for i, correlation in enumerate(HEAD_CORRELATIONS):
        for mask in ("element", "channel"):
            given = {"correlation": correlation, "rate": HEAD_RATE, "mask": mask, **size}
            drawn = _draws(keys, 300 + i, simulation.head, **given)
            for column, place in ((1, "before"), (2, "after")):
                case = f"{mask} mask, {place} pooling"
                form = head_form(correlation, before=column == 1, mask=mask)
                estimate = jackknife(drawn[:, 0], drawn[:, column])
                yield Result("head", case, correlation, estimate, form)
