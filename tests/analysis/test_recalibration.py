import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement
from flaxdrop.analysis import recalibrate


class OneNorm(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.BatchNorm(use_running_average=not train, name="norm")(x)


def without_dropout(model):
    """The network as in training, with the batch's statistics, but for dropout."""
    return lambda variables, x: model.apply(variables, x, train=True, mutable=["batch_stats"])[0]


@pytest.mark.parametrize("sizes", [[100], [50, 50], [64, 30, 6], [1, 99]])
def test_one_norm_gets_the_moments_of_all_the_data(sizes):
    x = 3 + jnp.asarray(np.random.RandomState(0).randn(100, 4, 4, 6), jnp.float32) * jnp.arange(
        1.0, 7.0
    )
    variables = OneNorm().init(jax.random.key(1), x)
    batches = np.split(x, np.cumsum(sizes)[:-1])
    found = recalibrate(OneNorm(), variables, batches)["batch_stats"]["norm"]
    wide = np.asarray(x, np.float64)
    np.testing.assert_allclose(found["mean"], wide.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["var"], wide.var(axis=(0, 1, 2)), rtol=1e-5)


def test_data_far_from_zero_lose_no_digits():
    x = 1000 + jnp.asarray(np.random.RandomState(0).randn(64, 3), jnp.float32)
    variables = OneNorm().init(jax.random.key(1), x)
    found = recalibrate(OneNorm(), variables, [x[:40], x[40:]])["batch_stats"]["norm"]
    np.testing.assert_allclose(found["var"], np.asarray(x, np.float64).var(axis=0), rtol=1e-3)


def test_twice_is_once_and_what_was_there_does_not_count(dense_block):
    model, variables, x = dense_block
    batches = [x[:1000], x[1000:]]
    once = recalibrate(model, variables, batches)
    twice = recalibrate(model, once, batches)
    jax.tree.map(np.testing.assert_array_equal, once, twice)
    assert jax.tree.structure(once) == jax.tree.structure(variables)
    moved = jax.tree.map(lambda old, new: float(np.max(np.abs(old - new))), variables, once)
    assert max(jax.tree.leaves(moved["params"])) == 0
    assert min(jax.tree.leaves(moved["batch_stats"])) > 0


def test_on_one_batch_inference_is_then_training_without_dropout(dense_block):
    model, variables, x = dense_block
    repaired = recalibrate(model, variables, [x])
    training = jax.jit(without_dropout(model))(variables, x)
    np.testing.assert_allclose(jax.jit(model.apply)(repaired, x), training, atol=1e-4)


def test_it_repairs_what_dropout_did_to_the_statistics(dense_block):
    model, variables, x = dense_block
    placement = Placement.parse("p4=0.5")
    step = jax.jit(
        lambda statistics, key: model.apply(
            {"params": variables["params"], "batch_stats": statistics},
            x,
            train=True,
            placement=placement,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )[1]["batch_stats"]
    )
    statistics = variables["batch_stats"]
    for i in range(40):
        statistics = step(statistics, jax.random.key(i))
    shifted = {"params": variables["params"], "batch_stats": statistics}
    target = jax.jit(without_dropout(model))(variables, x)
    repaired = recalibrate(model, shifted, [x[:2000], x[2000:]])
    infer = jax.jit(model.apply)
    errors = [float(jnp.mean((infer(state, x) - target) ** 2)) for state in (shifted, repaired)]
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([], "^batches: are none"),
        (np.ones((4, 3), np.float32), r"^batches: must be batches, got an array .*\(4, 3\)"),
        ([np.full((4, 3), np.nan, np.float32)], "^norm norm: its input must be finite"),
    ],
)
def test_data_that_tell_nothing_are_refused(batches, said):
    variables = OneNorm().init(jax.random.key(1), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=said) as error:
        recalibrate(OneNorm(), variables, batches)
    assert "\n" not in str(error.value)


def test_a_network_without_batch_norm_is_refused():
    model = nn.Dense(3)
    variables = model.init(jax.random.key(0), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"^variables: have no batch_stats"):
        recalibrate(model, variables, [jnp.ones((2, 3))], inference={})
