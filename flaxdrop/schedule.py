"""Dropout that changes during training: the share of its rate, as a function of the step.

The schedule of a cell is data, an index into `DROPOUT_SCHEDULES`: cells with different schedules
share one compiled program, and a step knows its rate without what came before.
"""

import jax
import jax.numpy as jnp

DROPOUT_SCHEDULES = ("constant", "linear", "early", "late", "curriculum")
CURRICULUM_GAMMA = 10.0  # a training reaches 1 - exp(-10) of the rate


def schedule_index(name: str) -> int:
    """The number of a schedule, as `rate_share` takes it.

    Raises:
      ValueError: an unknown name.

    >>> schedule_index("early")
    2
    """
    if name not in DROPOUT_SCHEDULES:
        known = ", ".join(DROPOUT_SCHEDULES)
        raise ValueError(f"dropout_schedule: must be one of {known}, got {name!r}")
    return DROPOUT_SCHEDULES.index(name)


def rate_share(
    schedule: jax.typing.ArrayLike, fraction: jax.typing.ArrayLike, switch: float
) -> jax.Array:
    """The share of the rate that is on at a fraction t of the training.

    | schedule | share |
    |---|---|
    | constant | 1 |
    | linear | t |
    | early | from 1 linearly to 0 at the switch, then 0 |
    | late | 0 before the switch, then 1 |
    | curriculum | 1 - exp(-10 t) |

    Args:
      schedule: index into `DROPOUT_SCHEDULES`, may be traced.
      fraction: t, in [0, 1), may be traced.
      switch: where "early" ends and "late" begins, in (0, 1); 1/6 as published (50 of 300 epochs).

    Returns:
      f32, in [0, 1].

    References:
      Z. Liu et al., Dropout Reduces Underfitting, 2023: early and late. P. Morerio et al.,
      Curriculum Dropout, 2017: curriculum, with their gamma.

    >>> [float(rate_share(schedule_index("early"), t, 0.5)) for t in (0.0, 0.25, 0.5, 0.9)]
    [1.0, 0.5, 0.0, 0.0]
    >>> float(rate_share(schedule_index("linear"), 0.25, 0.5))
    0.25
    """
    t = jnp.asarray(fraction, jnp.float32)
    late = (t >= switch).astype(jnp.float32)
    early = jnp.maximum(1 - t / switch, 0)
    shares = (jnp.ones_like(t), t, early, late, -jnp.expm1(-CURRICULUM_GAMMA * t))
    return jnp.select([jnp.asarray(schedule) == i for i in range(len(shares))], shares)
