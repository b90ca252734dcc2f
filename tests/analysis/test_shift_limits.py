import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flaxdrop import Placement
from flaxdrop.analysis import recalibrate, variance_shift
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
    assert np.isfinite(shift.mean_abs_log_ratio)
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
    assert shift.dropout_layers == ()
    assert shift.mean_abs_log_ratio < 1e-4
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


class OwnNorm(nn.Module):
    """A norm of another class, with statistics where those of `nn.BatchNorm` are."""

    train: bool

    @nn.compact
    def __call__(self, x):
        mean = self.variable("batch_stats", "mu", jnp.zeros, x.shape[-1:])
        if not self.train:
            return x - mean.value
        if not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * x.mean(0)
        return x - x.mean(0)


def behind(norm):
    """A body: dropout, this norm, and one that can be measured."""

    def body(x, train):
        x = nn.Dropout(0.5, deterministic=not train)(x + 1)
        return norm_of(train)(nn.relu(norm(train)(x)))

    return body


own = behind(lambda train: OwnNorm(train, name="mine"))
bridged = behind(lambda _: nnx.bridge.to_linen(nnx.BatchNorm, 16, name="mine"))


def not_in_training(x, train):
    if not train:
        x = nn.BatchNorm(True, use_bias=False, use_scale=False, name="mine")(x)
    return norm_of(train)(x)


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
        (own, {}, "^norm mine: must be an nn.BatchNorm .* whose mu in batch_stats changes"),
        (bridged, {}, "^norm mine: must be an nn.BatchNorm .* whose mean in batch_stats changes"),
        (not_in_training, {}, "^training: norm mine is not called"),
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


def test_other_statistics_that_are_the_same_at_inference_do_no_harm(initialise, x):
    def typical(norm):
        model = Flat(behind(norm))
        return variance_shift(model, initialise(model, x), x, masks=4).norms[0].geometric_mean

    # Var / (Var + E[z^2]) of z = ReLU(x + 1).
    assert typical(lambda _: OwnNorm(False)) == pytest.approx(0.281, abs=0.02)

    def spectral(updated):
        return lambda train: (
            lambda x: nn.SpectralNorm(nn.Dense(16))(x, update_stats=updated and train)
        )

    assert typical(spectral(True)) == pytest.approx(typical(spectral(False)), rel=1e-3)


def test_a_norm_of_training_alone_is_not_measured(initialise, x):
    def body(x, train):
        if train:
            norm_of(train, name="auxiliary")(x)
        return ordinary(x, train)

    shift = variance_shift(Flat(body), initialise(Flat(body), x, train=True), x, masks=2)
    assert [norm.norm for norm in shift.norms] == ["BatchNorm_0"]


@pytest.mark.parametrize("body", [own, bridged])
def test_statistics_of_other_norms_are_not_recalibrated(body, initialise, x):
    with pytest.raises(ValueError, match=r"^norm mine: must be an nn.BatchNorm"):
        recalibrate(Flat(body), initialise(Flat(body), x), [x])


def test_a_network_may_be_called_by_what_is_mutable(x):
    class Asking(nn.Module):
        @nn.compact
        def __call__(self, x):
            return ordinary(x, self.is_mutable_collection("batch_stats"))

    key = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = jax.jit(lambda: Asking().init(key, x))()
    [norm] = variance_shift(Asking(), variables, x, training={}, inference={}).norms
    assert norm.geometric_mean == pytest.approx(0.5, abs=0.02)
    repaired = recalibrate(Asking(), variables, [x], inference={})["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(repaired["mean"], x.mean(0), atol=1e-5)


def test_an_unknown_slot_and_statistics_left_out(preresnet):
    model, variables, x = preresnet
    with pytest.raises(ValueError, match=r"^placement: unknown slot 'p9'"):
        variance_shift(model, variables, x, Placement.parse("p9=0.1"))
    with pytest.raises(ValueError, match=r"^variables: have no batch_stats"):
        variance_shift(PreResNet(8, 10), {"params": variables["params"]}, x)
