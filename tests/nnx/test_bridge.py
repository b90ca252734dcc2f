"""Networks that are of Linen in part, and of NNX in part."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxdrop
from flaxdrop import Placement
from flaxdrop.nnx import variance_shift, with_slots

X = jnp.asarray(np.random.RandomState(0).randn(64, 8), jnp.float32)
KEY = jax.random.key(2)


class LinenPart(nn.Module):
    @nn.compact
    def __call__(self, x, placement=None):
        return nn.Dense(8)(flaxdrop.Dropout("p6")(nn.relu(x), placement))


class Network(nnx.Module):
    """Of NNX, with a part of Linen."""

    def __init__(self, rngs):
        self.stem = nnx.Linear(8, 8, rngs=rngs)
        self.part = nnx.bridge.ToNNX(LinenPart(), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.part(self.stem(x)))


def make():
    network = Network(nnx.Rngs(0))
    network.eval()
    nnx.bridge.lazy_init(network, X)
    return network


def test_a_part_of_linen_has_a_slot_before_and_behind_it():
    model = with_slots(make(), X)
    assert model.slots == {"stem:in": 1, "part:in": 1, "norm:in": 1, "norm:out": 1}
    assert model.aliases == {"stem:out": "part:in", "part:out": "norm:in"}
    out = model(X, placement=Placement.parse("part:in=0.5"), key=KEY)
    assert (out != model(X)).any()


def test_what_stands_before_a_part_of_linen_is_measured_behind_it():
    shift = variance_shift(make(), X, Placement.parse("part:in=0.5"))
    assert [norm.norm for norm in shift.norms] == ["norm"]
    assert shift.norms[0].geometric_mean < 0.9


class LinenNorm(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        return nn.BatchNorm(use_running_average=not train)(x)


class Mixed(nnx.Module):
    def __init__(self, rngs):
        self.part = nnx.bridge.ToNNX(LinenNorm(), rngs=rngs).lazy_init(X)
        self.norm = nnx.BatchNorm(8, rngs=rngs)

    def __call__(self, x, train=True):
        mutable = ["batch_stats"] if train else False
        return self.norm(self.part(x, train=train, mutable=mutable))


def test_statistics_of_a_norm_of_linen_are_refused():
    network = Mixed(nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"^norm part/BatchNorm_0: must be an nn.BatchNorm"):
        variance_shift(network, X, inference={"train": False}, training={"train": True})


def test_statistics_of_a_norm_of_linen_are_updated_under_dropout():
    network = Mixed(nnx.Rngs(0))
    model = with_slots(network, X)
    model(3 * X, placement=Placement.parse("norm:out=0.5"), key=KEY)
    expected = Mixed(nnx.Rngs(0))
    expected(3 * X)
    for own, other in ((network, expected), (model, expected)):
        np.testing.assert_allclose(
            own.part.BatchNorm_0["var"][...], other.part.BatchNorm_0["var"][...], rtol=1e-5
        )


def test_a_slotted_network_of_nnx_works_inside_linen():
    def plain(rngs):
        return nnx.Sequential(nnx.Linear(8, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs))

    model = nnx.bridge.ToLinen(lambda rngs: with_slots(plain(rngs), X))
    variables = model.init(jax.random.key(0), X)
    placement = Placement.parse("layers/1:in=0.5")
    out = model.apply(variables, X, placement=placement, key=KEY)
    network = plain(nnx.Rngs(0))
    for i, layer in enumerate(network.layers):
        for what in ("kernel", "bias"):
            getattr(layer, what)[...] = variables["params"]["layers"][i][what]
    expected = with_slots(network, X)(X, placement=placement, key=KEY)
    np.testing.assert_array_equal(out, expected)


def test_a_network_of_nnx_inside_linen_has_slots_around_it():
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nnx.bridge.to_linen(nnx.Linear, 8, 8, name="inner")(x)
            return nn.BatchNorm(use_running_average=not train)(x)

    model = flaxdrop.with_slots(Outer(), X)
    assert "inner:in" in model.slots
    variables = model.init(jax.random.key(0), X)
    placement = Placement.parse("BatchNorm_0:out=0.5")
    out = model.apply(variables, X, placement=placement, rngs={"dropout": KEY})
    assert 0.3 < np.mean(np.asarray(out) == 0) < 0.7


def test_layers_of_linen_in_nnx_take_the_placement_as_in_linen():
    part = nnx.bridge.ToNNX(LinenPart(), rngs=nnx.Rngs(0)).lazy_init(X)
    params = {"Dense_0": {"kernel": part.Dense_0["kernel"][...], "bias": part.Dense_0["bias"][...]}}
    placement = Placement.parse("p6=0.5")
    out = part(X, placement=placement, rngs=nnx.Rngs(dropout=3))
    expected = LinenPart().apply({"params": params}, X)
    assert (out != expected).any()
