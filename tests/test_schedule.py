import math

import jax
import numpy as np
import pytest

from flaxdrop.schedule import (
    CURRICULUM_GAMMA,
    DROPOUT_SCHEDULES,
    rate_share,
    schedule_index,
)

T = np.linspace(0, 0.999, 334, dtype=np.float32)
CLOSED_FORMS = {
    "constant": np.ones_like(T),
    "linear": T,
    "early": np.maximum(1 - T / 0.3, 0),
    "late": (T >= 0.3).astype(np.float32),
    "curriculum": 1 - np.exp(-CURRICULUM_GAMMA * T),
}


@pytest.mark.parametrize("name", DROPOUT_SCHEDULES)
def test_closed_forms(name):
    shares = rate_share(schedule_index(name), T, 0.3)
    np.testing.assert_allclose(shares, CLOSED_FORMS[name], atol=1e-6)
    assert shares.min() >= 0
    assert shares.max() <= 1


def test_early_ends_where_late_begins():
    early, late = (rate_share(schedule_index(name), T, 1 / 6) for name in ("early", "late"))
    np.testing.assert_array_equal(early > 0, late == 0)


def test_constant_changes_no_bit_of_a_rate():
    rates = jax.random.uniform(jax.random.key(0), (1000,))
    np.testing.assert_array_equal(rates * rate_share(0, 0.123, 0.5), rates)


def test_schedules_and_fractions_are_data():
    traces = []

    @jax.jit
    def share(schedule, fraction):
        traces.append(1)
        return rate_share(schedule, fraction, 0.5)

    shares = [float(share(np.int32(i), 0.25)) for i in range(len(DROPOUT_SCHEDULES))]
    assert len(traces) == 1
    assert shares == pytest.approx([1, 0.25, 0.5, 0, 1 - math.exp(-2.5)])


def test_an_unknown_schedule_is_named():
    with pytest.raises(ValueError, match=r"^dropout_schedule: must be one of constant, .*'never'$"):
        schedule_index("never")
