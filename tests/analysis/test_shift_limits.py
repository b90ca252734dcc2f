import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement
from flaxdrop.analysis import variance_shift
from flaxdrop.models import PreResNet


class Flat(nn.Module):
    """Whatever `body` does; for networks of one line."""

    body: object

    @nn.compact
    def __call__(self, x, train=False):
        return self.body(x, train)


def norm_of(train, **options):
    return nn.BatchNorm(use_running_average=not train, **options)


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.RandomState(0).randn(512, 16), jnp.float32)


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_constant_channels_give_numbers(x, initialise, value):
    def body(x, train):
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return norm_of(train)(x)

    constant = x.at[:, :4].set(value)
    [norm] = variance_shift(Flat(body), initialise(Flat(body), x), constant).norms
    assert np.isfinite(norm.ratio).all()
    assert np.isfinite(norm.mean_shift).all()
    if value == 0:
        np.testing.assert_array_equal(norm.ratio[:4], 1)
    else:
        # Noise in training where there is none at inference.
        assert (norm.ratio[:4] < 1e-5).all()
        assert norm.worst < 1e-5


@pytest.mark.parametrize("placement", ["p1=0.999", "p7=1", "h4=1"])
def test_rates_up_to_1_give_numbers(preresnet_probe, placement):
    shift = preresnet_probe(placement)
    assert np.isfinite(shift.size)
    assert all(np.isfinite(norm.ratio).all() for norm in shift.norms)
    assert "nan" not in str(shift).lower()


def test_a_network_that_explodes_at_inference_is_said(initialise, x):
    # Nothing passes in training, and each norm divides by its epsilon alone.
    def body(x, train):
        for _ in range(10):
            x = norm_of(train)(nn.Dropout(1.0, deterministic=not train)(x))
        return x

    with pytest.raises(ValueError, match=r"^norm .* finite.* rate of 1$"):
        variance_shift(Flat(body), initialise(Flat(body), x), x)


def test_a_placement_without_slots_says_so(preresnet):
    model, variables, x = preresnet
    shift = variance_shift(model, variables, x, Placement(), masks=2)
    assert shift.dropouts == ()
    assert shift.size < 1e-4
    assert "Dropout on: none." in str(shift)


def test_half_precision_is_measured_in_f32(x, initialise):
    def body(x, train):
        x = nn.Dropout(0.5, deterministic=not train)(100 + x.astype(jnp.bfloat16))
        return norm_of(train, dtype=jnp.bfloat16)(x)

    [norm] = variance_shift(Flat(body), initialise(Flat(body), x), x).norms
    # Var / (Var + E[x^2]), of x about 100.
    np.testing.assert_allclose(norm.ratio, 1e-4, rtol=0.5)


def twice(x, train):
    norm = norm_of(train)
    return norm(norm(x))


def masked(x, train):
    return norm_of(train)(x, mask=jnp.ones_like(x, bool))


def always_dropped(x, train):
    return norm_of(train)(nn.Dropout(0.5, deterministic=False)(x))


def ordinary(x, train):
    return norm_of(train)(nn.Dropout(0.5, deterministic=not train)(x))


def normless(x, _):
    return nn.Dense(3)(x)


@pytest.mark.parametrize(
    ("body", "options", "said"),
    [
        (normless, {}, "^variables: have no batch_stats"),
        (twice, {}, "^norm BatchNorm_0: is called twice"),
        (masked, {}, "^norm BatchNorm_0: has a mask"),
        (always_dropped, {}, "^inference: dropout Dropout_0 is on"),
        (ordinary, {"inference": {"train": True}}, "^inference: norm BatchNorm_0 uses the batch"),
        (ordinary, {"training": {"training": True}}, "^options: .*unexpected keyword"),
        (ordinary, {"placement": Placement.parse("p6=0.1")}, "^options: .*unexpected keyword"),
        (ordinary, {"placement": "p6=0.1"}, "^placement: must be a Placement, got 'p6=0.1'; "),
        (ordinary, {"masks": 1}, "^masks: must be at least 2, got 1"),
        (ordinary, {"examples": 1}, "^batch: must be at least 2, got 1"),
        (ordinary, {"fill": np.nan}, "^norm BatchNorm_0: its input must be finite"),
        (ordinary, {"fill": np.inf}, "^norm BatchNorm_0: its input must be finite"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(body, options, said, x):
    model = Flat(body)
    key = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = jax.jit(lambda: model.init(key, x))()
    options = dict(options)
    batch = x[: options.pop("examples", None)]
    if "fill" in options:
        batch = batch.at[0, 0].set(options.pop("fill"))
    with pytest.raises(ValueError, match=said) as error:
        variance_shift(model, variables, batch, **options)
    assert "\n" not in str(error.value)


def test_an_unknown_slot_and_statistics_left_out(preresnet):
    model, variables, x = preresnet
    with pytest.raises(ValueError, match=r"^placement: unknown slot 'p9'"):
        variance_shift(model, variables, x, Placement.parse("p9=0.1"))
    with pytest.raises(ValueError, match=r"^variables: have no batch_stats"):
        variance_shift(PreResNet(8, 10), {"params": variables["params"]}, x)
