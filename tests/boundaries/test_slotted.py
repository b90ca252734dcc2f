"""Slots in networks that are not edited."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement, with_slots

X = jnp.asarray(np.random.RandomState(0).randn(8, 16), jnp.float32)
KEY = jax.random.key(5)


class Shift(nn.Module):
    """A layer that shows in its output what its input was."""

    @nn.compact
    def __call__(self, x):
        return x + self.param("shift", nn.initializers.zeros, (x.shape[-1],))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        return x + nn.Dense(16, name="dense")(nn.relu(y))


class Blocks(nn.Module):
    """Three blocks, under a transformation of Flax."""

    lift: str = "none"

    @nn.compact
    def __call__(self, x):
        if self.lift in ("scan", "bare scan"):
            scanned = nn.scan(
                nn.remat(lambda block, x: (block(x), None)),
                variable_axes={"params": 0},
                split_rngs={"params": True, "dropout": True}
                if self.lift == "scan"
                else {"params": True},
                length=3,
            )
            return scanned(Block(name="blocks"), x)[0]
        made = {"none": Block, "remat": nn.remat(Block), "jit": nn.jit(Block)}[self.lift]
        for i in range(3):
            x = made(name=f"block{i}")(x)
        return x


class Masks(nn.Module):
    """What a layer is given in each of three blocks, so that masks can be looked at."""

    lift: str = "none"

    @nn.compact
    def __call__(self, x):
        if self.lift == "none":
            return jnp.stack([Shift()(x) for _ in range(3)])
        if self.lift in ("remat", "jit"):
            made = {"remat": nn.remat, "jit": nn.jit}[self.lift](Shift)
            return jnp.stack([made(name=f"shift{i}")(x) for i in range(3)])
        if self.lift == "shared":
            shift = Shift()
            return jnp.stack([shift(x) for _ in range(3)])
        if self.lift == "shared remat":
            shift = nn.remat(Shift)()
            return jnp.stack([shift(x) for _ in range(3)])
        if "vmap" in self.lift:
            made = nn.vmap(
                Shift,
                in_axes=None,
                axis_size=3,
                variable_axes={"params": 0},
                split_rngs={"params": True, "dropout": self.lift == "vmap"},
            )
            return made()(x)
        axis = 1 if self.lift == "scan axis 1" else 0
        broadcast = self.lift == "scan shared"
        keys = {"params": not broadcast, "dropout": True}
        if self.lift == "scan without a key":
            del keys["dropout"]
        scanned = nn.scan(
            lambda shift, carry, _: (carry, shift(carry)),
            variable_axes={} if broadcast else {"params": axis},
            variable_broadcast="params" if broadcast else False,
            split_rngs=keys,
            length=3,
        )
        return scanned(Shift(), x, None)[1]


LIFTS = [
    "none",
    "remat",
    "jit",
    "shared",
    "shared remat",
    "vmap",
    "vmap with one key",
    "scan",
    "scan axis 1",
    "scan shared",
    "scan without a key",
]


def slotted(model, *arguments, **options):
    made = with_slots(model, *arguments, **options)
    return made, jax.jit(lambda: made.init(jax.random.key(0), *arguments, **options))()


def apply(model, variables, placement, key=KEY, x=X):
    def call(variables, placement):
        return model.apply(variables, x, placement=placement, rngs={"dropout": key})

    return jax.jit(call)(variables, Placement.parse(placement))


@pytest.mark.parametrize("lift", LIFTS)
def test_every_turn_and_call_has_a_mask_of_its_own(lift):
    model, variables = slotted(Masks(lift), X)
    out = np.asarray(apply(model, variables, "**:in=0.5"))
    zero = out == 0
    assert zero.mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_allclose(out[~zero], np.broadcast_to(2 * X, out.shape)[~zero], rtol=1e-6)
    assert all(0.3 < np.mean(zero[i] != zero[j]) < 0.7 for i in range(3) for j in range(i))
    chex.assert_trees_all_equal(out, apply(model, variables, "**:in=0.5"))
    other = apply(model, variables, "**:in=0.5", jax.random.key(6))
    assert 0.3 < np.mean((np.asarray(other) == 0) != zero) < 0.7


@pytest.mark.parametrize("lift", LIFTS)
def test_rates_run_over_the_places_and_are_data(lift):
    model, variables = slotted(Masks(lift), X)
    places = sum(count for slot, count in model.slots.items() if slot.endswith(":in"))
    assert places == (1 if "shared" in lift else 3)
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def call(rates):
        placement = Placement({"**:in": rates})
        return model.apply(variables, X, placement=placement, rngs={"dropout": KEY})

    for on in range(places):
        out = call(np.float32([i == on for i in range(places)]))
        for i in range(3):
            expected = jnp.zeros_like(X) if i == on or places == 1 else X
            np.testing.assert_array_equal(out[i], expected)
    for rate in (0.0, 1.0):
        out = call(np.full(places, rate, np.float32))
        np.testing.assert_array_equal(out, (1 - rate) * jnp.stack([X] * 3))


@pytest.mark.parametrize("lift", ["none", "remat", "jit", "scan", "bare scan"])
def test_the_network_is_its_own_without_dropout_and_differentiates_with_it(lift):
    model, variables = slotted(Blocks(lift), X)
    chex.assert_trees_all_equal_structs(variables, Blocks(lift).init(KEY, X))
    plain = jax.jit(Blocks(lift).apply)(variables, X)
    chex.assert_trees_all_equal(jax.jit(model.apply)(variables, X), plain)
    zero = apply(model, variables, "**/dense:in=0")
    chex.assert_trees_all_close(zero, plain, rtol=1e-5, atol=1e-6)

    def loss(params, scale):
        out = model.apply(
            {"params": params},
            scale * X,
            placement=Placement.parse("**/dense:in=0.5:channel,**/dense:out=0.1"),
            rngs={"dropout": KEY},
        )
        return jnp.sum(jnp.sin(out))

    gradient, slope = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables["params"], 1.0)
    chex.assert_trees_all_equal_structs(gradient, variables["params"])
    step = 1e-2
    ahead, behind = (jax.jit(loss)(variables["params"], 1 + side * step) for side in (1, -1))
    assert float(slope) == pytest.approx(float(ahead - behind) / (2 * step), rel=0.05, abs=0.05)


def test_transformations_do_not_change_what_plain_blocks_are_given():
    outs = []
    for lift in ("none", "remat"):
        model, variables = slotted(Blocks(lift), X)
        outs.append(apply(model, variables, "block*/dense:in=0.2,block*:in=0..0.3"))
    chex.assert_trees_all_close(*outs, rtol=1e-6)


def test_the_mask_of_a_place_does_not_change_when_others_come():
    model, variables = slotted(Masks(), X)
    alone = apply(model, variables, "Shift_1:in=0.5")
    beside = apply(model, variables, "Shift_2:out=0.5,Shift_0:in=0.3,Shift_1:in=0.5")
    np.testing.assert_array_equal(alone[1], beside[1])
    np.testing.assert_array_equal(alone[0], X)
    both = apply(model, variables, "Shift_1:in=0.5,Shift_1:out=0.5")
    assert np.mean(np.asarray(both[1]) == 0) == pytest.approx(0.75, abs=0.12)


def test_sides_draw_different_masks():
    model, variables = slotted(Masks(), X)
    inside, outside = (apply(model, variables, f"Shift_1:{side}=0.5")[1] for side in ("in", "out"))
    assert np.any((np.asarray(inside) == 0) != (np.asarray(outside) == 0))


class Standard(nn.Module):
    """Layers of every kind, and what callers want of a network."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(16)(x)
        x = nn.BatchNorm(use_running_average=not train)(x)
        self.sow("intermediates", "seen", x)
        return nn.Dense(4)(nn.Dropout(0.2, deterministic=not train)(nn.relu(x)))

    def features(self, x):
        return nn.relu(x)

    @nn.compact
    def embed(self, x):
        return nn.Dense(16)(x)


def test_keywords_of_apply_are_passed_on():
    model, variables = slotted(Standard(), X)
    placement, rngs = Placement.parse("Dense_1:in=1"), {"dropout": KEY}
    out, changed = model.apply(
        variables,
        X,
        train=True,
        placement=placement,
        rngs=rngs,
        mutable=["batch_stats", "intermediates"],
        capture_intermediates=True,
    )
    np.testing.assert_array_equal(out, jnp.zeros((8, 4)) + variables["params"]["Dense_1"]["bias"])
    assert set(changed) == {"batch_stats", "intermediates"}
    assert {"seen", "Dense_0", "Dense_1", "BatchNorm_0"} <= set(changed["intermediates"])
    embedded = model.apply(
        variables, X, placement=Placement.parse("Dense_0:in=1"), rngs=rngs, method="embed"
    )
    np.testing.assert_array_equal(embedded, jnp.zeros((8, 16)))
    _, everything = model.apply(variables, X, placement=placement, rngs=rngs, mutable=True)
    chex.assert_trees_all_equal_structs(everything["params"], variables["params"])
    out, again = model.init_with_output(
        {"params": jax.random.key(0), **rngs}, X, placement=placement
    )
    assert not np.any(out)
    chex.assert_trees_all_equal_structs(again, variables)


def test_dropout_that_stands_there_keeps_its_masks():
    model, variables = slotted(Standard(), X)
    call = {"train": True, "mutable": ["batch_stats"], "rngs": {"dropout": KEY}}
    plain, _ = Standard().apply(variables, X, **call)
    beside, _ = model.apply(variables, X, placement=Placement.parse("Dense_1:in=0"), **call)
    np.testing.assert_allclose(beside, plain, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Dense_9:in=0.1",
            r"^placement: 'Dense_9:in' names no place of Standard; near it are Dense",
        ),
        ("p6=0.1", r"^placement: 'p6' names no place of Standard; near it are "),
        ("Dense_*:in=0.1,Dense_1:in=0.2", r"^placement: place Dense_1:in is named twice, by "),
        ("Dense_*:in=0.1/0.2/0.3", r"^placement: slot 'Dense_\*:in' has 2 places, got 3 rates"),
        ("Dense_1:in=0.1:block", r"^mask: 'block' does not fit"),
    ],
)
def test_what_the_network_cannot_follow_is_refused_in_one_line(text, said):
    model, variables = slotted(Standard(), X)
    with pytest.raises(ValueError, match=said) as refused:
        model.apply(variables, X, placement=Placement.parse(text), rngs={"dropout": KEY})
    assert "\n" not in str(refused.value)


def test_a_rate_needs_a_key_and_a_placement_is_a_placement():
    model, variables = slotted(Standard(), X)
    with pytest.raises(ValueError, match=r"^slot Dense_1:in has a rate: pass rngs="):
        model.apply(variables, X, placement=Placement.parse("Dense_1:in=0.1"))
    with pytest.raises(ValueError, match=r"^placement: must be a Placement"):
        model.apply(variables, X, placement="Dense_1:in=0.1")
    with pytest.raises(ValueError, match=r"^model: must be a flax.linen.Module, got function"):
        with_slots(lambda x: x, X)


def test_a_scan_without_parameters_has_one_place_and_other_masks_in_every_turn():
    class Turn(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Sequential([nn.relu])(x)

    class Loop(nn.Module):
        @nn.compact
        def __call__(self, x):
            scanned = nn.scan(
                lambda turn, carry, _: (carry, turn(carry)),
                variable_axes={},
                split_rngs={"dropout": True},
                length=3,
            )
            return scanned(Turn(name="turn"), x, None)[1]

    x = jnp.abs(X) + 1
    model = with_slots(Loop(), x)
    zero = np.asarray(apply(model, {}, "turn:in=0.5", x=x)) == 0
    assert model.slots["turn:in"] == 1
    assert all(0.3 < np.mean(zero[i] != zero[j]) < 0.7 for i in range(3) for j in range(i))


def test_nested_scans_have_a_rate_for_every_turn():
    class Inner(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            y = Shift()(x)
            return x, y

    def lifted(kind, length):
        return nn.scan(
            kind, variable_axes={"params": 0}, split_rngs={"params": True}, length=length
        )

    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return lifted(Inner, 2)(name="inner")(x, None)

    class Both(nn.Module):
        @nn.compact
        def __call__(self, x):
            return lifted(Outer, 3)(name="outer")(x, None)[1]

    model, variables = slotted(Both(), X)
    name = "outer/inner/Shift_0:in"
    assert model.slots[name] == 6
    for on in range(6):
        rates = [float(i == on) for i in range(6)]
        out = apply(model, variables, f"{name}={'/'.join(map(str, rates))}")
        zero = [not np.any(turn) for outer in out for turn in outer]
        assert zero == [i == on for i in range(6)]
