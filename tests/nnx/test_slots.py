import threading

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxdrop
from flaxdrop import Placement
from flaxdrop.nnx import Dropout, with_slots

X = jnp.asarray(np.random.RandomState(0).randn(16, 8), jnp.float32)
KEY = jax.random.key(5)


def dense(rngs, **options):
    return nnx.Linear(8, 8, rngs=rngs, **options)


class LinenPlain(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8, name="stem")(x)
        for i in range(2):
            x = x + nn.Dense(8, name=f"block_{i}")(nn.relu(nn.LayerNorm(name=f"norm_{i}")(x)))
        return nn.Dense(3, name="head")(x)


class Plain(nnx.Module):
    def __init__(self, rngs):
        self.stem = dense(rngs)
        self.norm_0, self.norm_1 = nnx.LayerNorm(8, rngs=rngs), nnx.LayerNorm(8, rngs=rngs)
        self.block_0, self.block_1 = dense(rngs), dense(rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        x = self.stem(x)
        x = x + self.block_0(nnx.relu(self.norm_0(x)))
        x = x + self.block_1(nnx.relu(self.norm_1(x)))
        return self.head(x)


class Wrapped(nnx.Module):
    """A module `inner`, called as `call(self, x)` says."""

    def __init__(self, inner, call):
        self.inner, self.call = inner, call

    def __call__(self, x):
        return self.call(self, x)


def drop(model, text, x=X, key=KEY):
    return model(x, placement=Placement.parse(text), key=key)


def kept(out):
    """Which units of an identity under dropout are left."""
    return np.asarray(out) != 0


class Identity(nnx.Module):
    """With a parameter, so that a scan knows how many there are."""

    def __init__(self, _=None):
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, x):
        return x * self.scale[...]


def test_without_a_placement_it_is_the_network(unrolled, slotted):
    unrolled.nnx.eval()
    np.testing.assert_array_equal(slotted(unrolled.x), unrolled.nnx(unrolled.x))
    assert isinstance(slotted, type(unrolled.nnx))
    assert jax.tree.structure(nnx.state(slotted)) == jax.tree.structure(nnx.state(unrolled.nnx))
    assert slotted.block_0 is unrolled.nnx.block_0


def test_a_rate_of_zero_is_the_network(slotted, unrolled):
    slotted.eval()
    off = Placement(dict.fromkeys(slotted.slots, 0.0))
    out = slotted(unrolled.x, placement=off, key=KEY)
    np.testing.assert_allclose(out, slotted(unrolled.x), rtol=1e-6)


def test_a_call_changes_the_variables_as_the_network_does_and_nothing_else(unrolled, slotted):
    before = nnx.graphdef(unrolled.nnx)
    classes = [type(module) for _, module in nnx.iter_graph(unrolled.nnx)]
    slotted.train()
    mean = np.asarray(unrolled.nnx.norm.mean[...])
    drop(slotted, "block_0/dense2:in=0.5", unrolled.x)
    assert (np.asarray(unrolled.nnx.norm.mean[...]) != mean).all()
    assert nnx.graphdef(unrolled.nnx) == before
    assert [type(module) for _, module in nnx.iter_graph(unrolled.nnx)] == classes


def test_groups_and_aliases(slotted):
    assert slotted.slots["block_*/dense2:in"] == 2
    assert slotted.slots["p4"] == slotted.slots["p6"] == 2
    assert slotted.aliases["stem:out"] == "block_0:in"
    assert "block_0:out" in slotted.aliases
    assert "stem:out" not in slotted.slots
    assert sum(slotted.slots.values()) == sum(place.count for place in slotted.places)


def test_boundaries_draw_the_masks_of_linen():
    linen, network = LinenPlain(), Plain(nnx.Rngs(0))
    variables = linen.init(jax.random.key(0), X)
    for name, own in variables["params"].items():
        for what, value in own.items():
            getattr(getattr(network, name), what)[...] = value
    theirs, mine = flaxdrop.with_slots(linen, X), with_slots(network, X)
    assert dict(mine.slots) == dict(theirs.slots)
    assert dict(mine.aliases) == dict(theirs.aliases)
    for slot in mine.slots:
        placement = Placement({slot: 0.5})
        np.testing.assert_allclose(
            mine(X, placement=placement, key=KEY),
            theirs.apply(variables, X, placement=placement, rngs={"dropout": KEY}),
            rtol=1e-5,
            atol=1e-6,
        )


def test_rates_of_a_pattern_are_spread_over_its_places():
    inner = lambda self, x: self.inner(x)  # noqa: E731
    network = nnx.Sequential(*(Wrapped(Identity(), inner) for _ in range(3)))
    model = with_slots(network, X)
    assert model.slots["layers/*:in"] == 3
    one = drop(model, "layers/2:in=0.5")
    spread = drop(model, "layers/*:in=0/0/0.5")
    np.testing.assert_array_equal(one, spread)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("block_0/densee2:in=0.1", r"placement: 'block_0/densee2:in' .*block_\*/dense2:in"),
        ("p5=0.1", "placement: 'p5' names no place of Network"),
        ("block_0/p4:in=0.1,p4=0.1", "placement: place block_0/p4:in is named twice"),
        ("p4=0.1/0.2/0.3", "placement: slot 'p4' has 2 places, got 3 rates"),
    ],
)
def test_wrong_placements_are_refused_in_a_line(slotted, unrolled, text, words):
    with pytest.raises(ValueError, match=words) as error:
        drop(slotted, text, unrolled.x)
    assert "\n" not in str(error.value)


def test_a_placement_must_be_one_and_have_a_key(slotted, unrolled):
    with pytest.raises(ValueError, match="placement: must be a Placement"):
        slotted(unrolled.x, placement="p4=0.1", key=KEY)
    with pytest.raises(ValueError, match="key: must be given"):
        slotted(unrolled.x, placement=Placement.parse("p4=0.1"))


@pytest.mark.parametrize("model", [3, lambda x: x, nnx.Linear, nn.Dense(3)])
def test_what_is_no_nnx_module_is_refused_in_a_line(model):
    with pytest.raises(ValueError, match=r"^model: must be a flax.nnx.Module, got .+") as error:
        with_slots(model, X)
    assert "\n" not in str(error.value)


def test_what_takes_no_dropout_is_listed_with_the_reason():
    class Pair(nnx.Module):
        def __call__(self, x, y):
            return x, y

    class Odd(nnx.Module):
        def __init__(self, rngs):
            self.embed, self.pair = nnx.Embed(5, 8, rngs=rngs), Pair()

        def __call__(self, tokens):
            x, _ = self.pair(self.embed(tokens), jnp.ones(2))
            return x

    model = with_slots(Odd(nnx.Rngs(0)), jnp.arange(3))
    assert set(model.left_out) == {"embed:in", "pair:in", "pair:out"}
    assert model.left_out["pair:in"] == "takes 2 arrays"
    with pytest.raises(ValueError, match=r"'pair:out' takes no dropout: .*gives a tuple"):
        drop(model, "pair:out=0.1", jnp.arange(3))


def test_a_module_that_is_called_twice_draws_two_masks():
    model = with_slots(Wrapped(Identity(), lambda self, x: (self.inner(x), self.inner(x))), X)
    first, second = map(kept, drop(model, "inner:in=0.5"))
    assert (first != second).any()
    assert model.slots == {"inner:in": 1, "inner:out": 1}


def test_a_shared_module_is_one_place():
    class Shared(nnx.Module):
        def __init__(self):
            self.first = self.second = Identity()

        def __call__(self, x):
            return self.first(x), self.second(x)

    model = with_slots(Shared(), X)
    assert model.slots == {"first:in": 1, "first:out": 1}
    first, second = map(kept, drop(model, "first:in=0.5"))
    assert (first != second).any()


LIFTS = {
    "jit": lambda self, x: nnx.jit(lambda inner, x: inner(x))(self.inner, x),
    "remat": lambda self, x: nnx.remat(lambda inner, x: inner(x))(self.inner, x),
    "jax.checkpoint": lambda self, x: jax.checkpoint(self.inner)(x),
    "jax.jit": lambda self, x: jax.jit(lambda x: self.inner(x))(x),
    "cond": lambda self, x: nnx.cond(True, lambda m, x: m(x), lambda m, x: m(x), self.inner, x),
    "split": lambda self, x: nnx.merge(*nnx.split(self.inner))(x),
}


@pytest.mark.parametrize("lift", LIFTS)
def test_transformations_keep_the_mask(lift):
    plain = with_slots(Wrapped(Identity(), lambda self, x: self.inner(x)), X)
    lifted = with_slots(Wrapped(Identity(), LIFTS[lift]), X)
    expected = drop(plain, "inner:in=0.5")
    assert 0.3 < kept(expected).mean() < 0.7
    np.testing.assert_array_equal(drop(lifted, "inner:in=0.5"), expected)
    other = drop(lifted, "inner:in=0.5", key=jax.random.key(6))
    assert (kept(other) != kept(expected)).any()


def scanned(in_axes=0):
    @nnx.scan(in_axes=(in_axes, nnx.Carry), out_axes=(nnx.Carry, 0))
    def through(inner, x):
        x = inner(x)
        return x, x

    inner = nnx.split_rngs(splits=3)(nnx.vmap(Identity, in_axes=(0,)))(nnx.Rngs(0))
    return Wrapped(inner, lambda self, x: through(self.inner, x)[1])


def test_turns_of_a_scan_draw_their_own_masks_at_their_own_rates():
    model = with_slots(scanned(), X)
    assert model.slots == {"inner:in": 3, "inner:out": 3}
    outs = np.asarray(drop(model, "inner:in=0.5"))
    shares = [(out != 0).mean() for out in outs]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.125], atol=0.15)
    assert (outs[1] != 0).sum() < (outs[0] != 0).sum()
    only = np.asarray(drop(model, "inner:in=0/0/0.5"))
    np.testing.assert_array_equal(only[1], X)
    assert 0.3 < (only[2] != 0).mean() < 0.7


def test_a_scan_that_does_not_take_all_variables_apart_is_refused():
    model = with_slots(scanned(nnx.StateAxes({nnx.Param: 0, ...: None})), X)
    with pytest.raises(ValueError, match=r"slot inner:in: the nnx.scan .* along axis 0"):
        drop(model, "inner:in=0.5")


def test_an_ensemble_draws_a_mask_a_member():
    inner = nnx.split_rngs(splits=3)(nnx.vmap(Identity, in_axes=(0,)))(nnx.Rngs(0))
    call = nnx.vmap(lambda inner, x: inner(x), in_axes=(0, None))
    model = with_slots(Wrapped(inner, lambda self, x: call(self.inner, x)), X)
    outs = kept(drop(model, "inner:in=0.5"))
    assert (outs[0] != outs[1]).any()
    assert (outs[1] != outs[2]).any()


def test_a_traced_rate_has_one_program_and_gradients(slotted, unrolled):
    traces = []

    @nnx.jit
    def gradients(model, placement, key):
        traces.append(placement)

        def loss(model):
            return jnp.sum(model(unrolled.x, placement=placement, key=key) ** 2)

        return nnx.grad(loss)(model)

    found = [
        gradients(slotted, Placement({"block_*/dense2:in": rate}), KEY) for rate in (0.0, 0.5, 1.0)
    ]
    assert len(traces) == 1
    norms = [jnp.linalg.norm(model.block_0.dense2.kernel[...]) for model in found]
    assert norms[2] == 0 < norms[0] != norms[1]


def test_threads_and_failures_leave_the_network_as_it_is(unrolled):
    unrolled.nnx.eval()
    model = with_slots(unrolled.nnx, unrolled.x)
    plain = model(unrolled.x)
    expected = {rate: drop(model, f"p6={rate}", unrolled.x) for rate in (0.2, 0.8)}
    found = {}

    def work(rate):
        found[rate] = [drop(model, f"p6={rate}", unrolled.x) for _ in range(3)]

    threads = [threading.Thread(target=work, args=[rate]) for rate in expected]
    for thread in threads:
        thread.start()
    with pytest.raises(TypeError):
        drop(model, "p6=0.2", jnp.ones((3, 5)))
    np.testing.assert_array_equal(model(unrolled.x), plain)
    for thread in threads:
        thread.join()
    for rate, outs in found.items():
        for out in outs:
            np.testing.assert_array_equal(out, expected[rate])


def test_attributes_that_a_call_sets_are_kept():
    class Counting(nnx.Module):
        def __init__(self):
            self.inner, self.calls = Identity(), 0

        def __call__(self, x):
            self.calls += 1
            return self.inner(x)

    counting = Counting()
    model = with_slots(counting, X)
    drop(model, "inner:in=0.5")
    drop(model, "inner:in=0.5")
    assert model.calls == 2


def test_layers_of_one_slot_draw_their_own_masks():
    class Two(nnx.Module):
        def __init__(self):
            self.a, self.b = Dropout("p6"), Dropout("p6")

        def __call__(self, x):
            return self.a(x), self.b(x)

    first, second = map(kept, drop(with_slots(Two(), X), "p6=0.5"))
    assert (first != second).any()


def test_a_network_in_two_parts_and_together_again(slotted, unrolled):
    graph, params, rest = nnx.split(slotted, nnx.Param, ...)
    merged = nnx.merge(graph, params, rest)
    assert merged.slots == slotted.slots
    slotted.eval(), merged.eval()
    np.testing.assert_array_equal(
        drop(merged, "p6=0.5", unrolled.x), drop(slotted, "p6=0.5", unrolled.x)
    )
