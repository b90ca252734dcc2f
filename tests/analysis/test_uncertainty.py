import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Dropout, Placement
from flaxdrop.analysis import mc_predict, variance_shift
from flaxdrop.analysis.logits import logit_variance
from flaxdrop.models import DenseNet, PreResNet

KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def network():
    model = PreResNet(depth=8, num_classes=4, widths=(4, 4, 8))
    x = jnp.asarray(np.random.RandomState(0).randn(6, 8, 8, 3), jnp.float32)
    variables = jax.jit(model.init)(jax.random.key(1), x)

    @jax.jit
    def predict(placement, key=KEY):
        return mc_predict(model, variables, x, placement, key=key, samples=30)

    return model, variables, x, predict


def test_it_is_the_mean_over_masks(network):
    model, variables, x, predict = network
    placement = Placement.parse("p6=0.5,h4=0.2")
    each = np.stack(
        [
            jax.nn.softmax(model.apply(variables, x, placement=placement, rngs={"dropout": key}))
            for key in jax.random.split(KEY, 30)
        ]
    )
    found = predict(placement)
    mean = each.mean(0)
    np.testing.assert_allclose(found.probabilities, mean, atol=1e-5)
    entropy = -(mean * np.log(mean)).sum(-1)
    np.testing.assert_allclose(found.entropy, entropy, atol=1e-5)
    aleatoric = -(each * np.log(each)).sum(-1).mean(0)
    np.testing.assert_allclose(found.mutual_information, entropy - aleatoric, atol=1e-5)


def test_bounds(network):
    for rate in (0.1, 0.5, 0.9, 1.0):
        found = network[-1](Placement({"p6": rate, "h5": rate}))
        assert jnp.isfinite(found.probabilities).all()
        np.testing.assert_allclose(found.probabilities.sum(-1), 1, atol=1e-5)
        assert (found.mutual_information >= 0).all()
        assert (found.mutual_information <= found.entropy + 1e-6).all()
        assert (found.entropy <= jnp.log(4) + 1e-5).all()


def test_without_noise_no_two_masks_differ(network):
    model, variables, x, predict = network
    found = predict(Placement({"p6": 0.0, "h5": 0.0}))
    np.testing.assert_allclose(
        found.probabilities, jax.nn.softmax(model.apply(variables, x)), atol=1e-5
    )
    np.testing.assert_allclose(found.mutual_information, 0, atol=1e-5)


def test_the_key_decides(network):
    predict, placement = network[-1], Placement({"p6": 0.5, "h5": 0.5})
    jax.tree.map(np.testing.assert_array_equal, predict(placement), predict(placement))
    other = predict(placement, jax.random.key(6))
    assert not np.array_equal(predict(placement).probabilities, other.probabilities)


def test_mistakes(network):
    model, variables, x, _ = network
    with pytest.raises(ValueError, match="placement: must have a slot"):
        mc_predict(model, variables, x, Placement(), key=KEY, samples=2)
    with pytest.raises(ValueError, match="samples: must be at least 1, got 0"):
        mc_predict(model, variables, x, Placement({"p6": 0.5}), key=KEY, samples=0)
    with pytest.raises(ValueError, match=r"placement: must be a Placement, got 'p6=0.5'; "):
        mc_predict(model, variables, x, "p6=0.5", key=KEY, samples=2)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Dense(3), "^model: must take placement= and .*, Dense does not take it$"),
        (
            DenseNet((1,), num_classes=0, growth=4),
            r"^model: must return logits .*\(2, 8, 8, 12\)",
        ),
    ],
)
def test_networks_that_it_cannot_ask(model, words):
    x = jnp.zeros((2, 32, 32, 3))
    shapes = jax.eval_shape(model.init, KEY, x)
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    slot = next(iter(getattr(model, "slots", ["p6"])))
    with pytest.raises(ValueError, match=words):
        mc_predict(model, variables, x, Placement({slot: 0.5}), key=KEY, samples=2)


class Own(nn.Module):
    """A network of a user's own, whose `train` has no default."""

    @nn.compact
    def __call__(self, x, train, placement=None):
        x = nn.BatchNorm(use_running_average=not train)(Dropout("p4")(x, placement))
        return nn.Dense(3)(x)


@pytest.fixture(scope="module")
def own():
    x = jax.random.normal(KEY, (8, 4))
    return Own(), Own().init(KEY, x, train=False), x


def ask(own, text, estimate, **options):
    model, variables, x = own
    count = {"samples": 4} if estimate is mc_predict else {"masks": 4}
    return estimate(model, variables, x, Placement.parse(text), key=KEY, **count, **options)


@pytest.mark.parametrize("estimate", [mc_predict, logit_variance])
def test_a_network_is_called_as_is_told(own, estimate):
    found = ask(own, "p4=0.5", estimate, inference={"train": False})
    assert np.max(np.asarray(jax.tree.leaves(found)[-1])) > 0
    with pytest.raises(ValueError, match=r"^inference: .*'train'; say how the network is called"):
        ask(own, "p4=0.5", estimate)


@pytest.mark.parametrize("estimate", [mc_predict, logit_variance])
def test_a_slot_that_is_never_called_is_refused(own, estimate):
    with pytest.raises(ValueError, match=r"^placement: unknown slot 'P4', this network has p4$"):
        ask(own, "P4=0.5", estimate, inference={"train": False})


def test_a_probe_refuses_a_slot_that_is_never_called(own):
    model, variables, x = own
    assert variance_shift(model, variables, x, Placement.parse("p4=0.5")).dropout_layers == ("p4",)
    with pytest.raises(ValueError, match=r"^placement: unknown slot 'P4', this network has p4$"):
        variance_shift(model, variables, x, Placement.parse("P4=0.5"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x[0], r"^x: must be .*\[N, H, W, C\], got float32 of shape \(8, 8, 3\)"),
        (lambda x: (255 * x).astype(jnp.uint8), "^x: must be floating-point .* got uint8"),
        (lambda x: x[:0], r"^x: must have an example, got shape \(0, 8, 8, 3\)$"),
        (lambda x: x.at[0, 0, 0, 0].set(jnp.nan), "^x: must be finite"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(network, change, said):
    model, variables, x, _ = network
    placement = Placement.parse("p6=0.5")
    for measure, how in ((mc_predict, {"samples": 2}), (logit_variance, {"masks": 2})):
        with pytest.raises(ValueError, match=said):
            measure(model, variables, change(x), placement, key=KEY, **how)
