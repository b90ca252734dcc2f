"""A mean and a difference of means, with the interval that their chance allows.

Chance has two parts: the seeds, and the test images that were drawn.
"""

import dataclasses
import math

import numpy as np

from flaxdrop.results.statistics import CONFIDENCE, quantile, two_sided_p, with_interval

# What leads, what the sources report, and what separates networks best. What a study measures of a
# trained network is compared, too, by its logarithm: "ln logit_variance".
UNITS = {"accuracy": "points", "best": "points", "nll": "nats"}


def in_points(measure: str) -> bool:
    """It is an accuracy, in percent: differences are in points."""
    return UNITS.get(measure) == "points"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean, or a difference of means, in the unit of what is measured.

    Attributes:
      mean: the estimate.
      seed_variance: of the mean, through the seeds; NaN: unknown.
      seed_freedom: degrees of freedom of it.
      image_variance: of the mean, through the drawn test images; NaN: not known, not covered.
    """

    mean: float
    seed_variance: float
    seed_freedom: float
    image_variance: float = math.nan

    @property
    def error(self) -> float:
        """Standard error of the mean; NaN: unknown."""
        return math.sqrt(self.seed_variance + np.nan_to_num(self.image_variance))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of `error` (Welch and Satterthwaite: images are many)."""
        if not self.seed_variance > 0:
            return math.nan
        return self.seed_freedom * (self.error**2 / self.seed_variance) ** 2

    @property
    def p_value(self) -> float:
        """Two-sided p of the mean against 0; NaN without an interval."""
        return two_sided_p(self.mean / self.error, self.freedom) if self.error > 0 else math.nan

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Ends of the interval; NaN where nothing is known about chance."""
        half = quantile(confidence, self.freedom) * self.error if self.error > 0 else math.nan
        return self.mean - half, self.mean + half

    def same(self, margin: float) -> bool:
        """Both one-sided tests say that the mean is closer to 0 than the margin (TOST, 5 %)."""
        low, high = self.interval(2 * CONFIDENCE - 1)
        return low > -margin and high < margin

    def __format__(self, form: str) -> str:
        """The mean and its interval, as `form` writes a number."""
        return with_interval(self.mean, *self.interval(), form)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effect(Estimate):
    """A difference between two networks.

    Attributes:
      a: the first network.
      b: the second one; the difference is a - b.
      measure: what is compared.
      n: cells of each network.
      corrected: `p_value` after Holm over the networks of the table; NaN: not corrected.
    """

    a: str
    b: str
    measure: str
    n: tuple[int, int]
    corrected: float = math.nan

    @property
    def name(self) -> str:
        """As "a - b"."""
        return f"{self.a} - {self.b}"

    @property
    def significant(self) -> bool:
        """Its corrected p is below .05."""
        return self.corrected < 1 - CONFIDENCE

    def __str__(self) -> str:
        """The difference and its interval, with the digits that its measure has in tables."""
        return format(self, "+.3f" if self.measure == "nll" else "+.2f")
