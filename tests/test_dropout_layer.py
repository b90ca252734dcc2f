"""The layer, in small networks of a user's own."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Dropout, Placement

X = jnp.ones((4, 32))
KEY = jax.random.key(5)


class Network(nn.Module):
    """Slots side by side."""

    slots: tuple[str, ...]

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement | None = None) -> dict[str, jax.Array]:
        return {slot: Dropout(slot)(x, placement) for slot in self.slots}


class Trained(nn.Module):
    def setup(self) -> None:
        self.dense = nn.Dense(8)
        self.first_drop = Dropout("hidden")

    def __call__(self, x: jax.Array, placement: Placement | None = None) -> jax.Array:
        return self.first_drop(nn.relu(self.dense(x)), placement)


class Stack(nn.Module):
    """Two scanned stages of blocks that are nothing but a slot."""

    length: int

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement) -> list[jax.Array]:
        scanned = nn.scan(
            lambda slot, carry, rates: (carry, slot(x, rates)),
            variable_axes={},
            split_rngs={"dropout": True},
            length=self.length,
        )
        spread = placement.broadcast({"p6": self.length})
        return [scanned(Dropout("p6", name=name), 0, spread)[1] for name in ("first", "second")]


def drop(slots: tuple[str, ...], placement: str, key: jax.Array = KEY) -> dict[str, jax.Array]:
    apply = jax.jit(Network(slots).apply)
    return apply({}, X, Placement.parse(placement), rngs={"dropout": key})


def test_only_the_slots_that_the_placement_names_drop():
    out = drop(("a", "b", "c"), "b=0.5")
    chex.assert_trees_all_equal(out["a"], out["c"], X)
    assert 0 < np.mean(out["b"] == 0) < 1


def test_without_a_placement_it_is_the_identity_and_needs_no_key():
    out = Network(("a", "b")).apply({}, X)
    chex.assert_trees_all_equal(out, {"a": X, "b": X})
    assert not jax.make_jaxpr(lambda x: Network(("a",)).apply({}, x))(X).eqns


def test_the_mask_of_a_slot_does_not_change_when_other_slots_come():
    alone = drop(("b",), "b=0.5")["b"]
    chex.assert_trees_all_equal(drop(("a", "b", "c"), "b=0.5")["b"], alone)
    chex.assert_trees_all_equal(drop(("a", "b", "c"), "c=0.3,a=0.5,b=0.5")["b"], alone)
    chex.assert_trees_all_equal(drop(("c", "b", "a"), "a=0,b=0.5")["b"], alone)


def test_slots_keys_and_steps_have_masks_of_their_own():
    everywhere = "a=0.5,b=0.5"
    one = drop(("a", "b"), everywhere)
    assert np.any(one["a"] != one["b"])
    for other in (jax.random.key(6), jax.random.fold_in(KEY, 1), jax.random.fold_in(KEY, 2)):
        assert np.any(drop(("a", "b"), everywhere, other)["a"] != one["a"])


def test_typed_and_legacy_keys_give_the_same_mask():
    typed, legacy = (
        drop(("a",), "a=0.5", make(9)) for make in (jax.random.key, jax.random.PRNGKey)
    )
    chex.assert_trees_all_equal(typed, legacy)


def test_a_slot_may_share_its_name_with_the_layer_it_follows():
    class Named(nn.Module):
        @nn.compact
        def __call__(self, x, placement):
            return Dropout("conv1")(nn.Dense(4, name="conv1")(x), placement)

    y, variables = Named().init_with_output(jax.random.key(0), X, Placement())
    dropped = Named().apply(variables, X, Placement({"conv1": 0.5}), rngs={"dropout": KEY})
    assert 0 < np.mean(dropped == 0) < 1
    assert np.all((dropped == 0) | (dropped == 2 * y))


def test_a_rate_without_a_key_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^slot a has a rate: pass rngs=") as refused:
        Network(("a",)).apply({}, X, Placement.parse("a=0.5"))
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match=r"^slot p6 has a rate: pass rngs="):
        Stack(3).apply({}, X, Placement.parse("p6=0.5"))


def test_a_bad_rate_is_refused_although_jit_is_around_it():
    network = Network(("a",))
    with pytest.raises(ValueError, match=r"^rate: must be in \[0, 1\], got 2"):
        jax.jit(lambda: network.apply({}, X, Placement({"a": 2.0}), rngs={"dropout": KEY}))()


def test_a_placement_may_be_constant_in_a_jitted_function():
    constant = jax.jit(
        lambda: Network(("a",)).apply({}, X, Placement.parse("a=0.5"), rngs={"dropout": KEY})
    )
    chex.assert_trees_all_equal(constant(), drop(("a",), "a=0.5"))


def test_one_trace_serves_every_placement_of_the_same_slots():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def apply(placement, key):
        return Network(("a", "b")).apply({}, X, placement, rngs={"dropout": key})

    for seed, rate in enumerate((0.0, 0.25, 1.0)):
        out = apply(Placement({"a": rate, "b": 1 - rate}), jax.random.key(seed))
        assert np.mean(out["a"]) == pytest.approx(float(rate < 1), abs=0.3)
    chex.assert_trees_all_equal(out, {"a": jnp.zeros_like(X), "b": X})


def test_the_mask_is_the_placements():
    out = drop(("a", "b"), "a=0.5:sample,b=0.5")
    assert np.all(out["a"] == out["a"][:, :1])
    assert np.any(out["b"] != out["b"][:, :1])


def test_scanned_blocks_and_stages_have_masks_and_rates_of_their_own():
    apply = jax.jit(Stack(3).apply)
    first, second = apply({}, X, Placement.parse("p6=0.5"), rngs={"dropout": KEY})
    blocks = [*np.asarray(first), *np.asarray(second)]
    assert all(np.any(blocks[i] != blocks[j]) for i in range(6) for j in range(i))
    ramp, _ = apply({}, X, Placement.parse("p6=0..1"), rngs={"dropout": KEY})
    chex.assert_trees_all_equal(ramp[0], X)
    chex.assert_trees_all_equal(ramp[2], jnp.zeros_like(X))
    # The same words, another threshold: what 0.5 drops at the middle block, 0.5 of the ramp does.
    chex.assert_trees_all_equal(ramp[1], first[1])


def test_a_module_with_setup_trains_with_the_same_mask_forward_and_backward():
    model, placement = Trained(), Placement.parse("hidden=0.5")
    variables = model.init(jax.random.key(0), X)

    @jax.jit
    def loss(variables):
        y = model.apply(variables, X, placement, rngs={"dropout": KEY})
        return jnp.sum(y), y

    (_, y), gradient = jax.value_and_grad(loss, has_aux=True)(variables)
    kept = jnp.sum((y > 0).astype(jnp.float32) * 2, axis=0)
    assert 0 < np.mean(y == 0) < 1
    chex.assert_trees_all_close(gradient["params"]["dense"]["bias"], kept)
    assert list(variables["params"]) == ["dense"]


def test_rematerialised_modules_drop_the_same_units():
    placement = Placement.parse("hidden=0.5")
    variables = Trained().init(jax.random.key(0), X)

    def slopes(kind):
        def loss(variables):
            return jnp.sum(kind().apply(variables, X, placement, rngs={"dropout": KEY}) ** 2)

        return jax.jit(jax.grad(loss))(variables)

    chex.assert_trees_all_close(slopes(Trained), slopes(nn.remat(Trained)), rtol=1e-6)


class Twice(nn.Module):
    """A block that is used twice in a pass, as one of shared weights is."""

    lifted: bool = False

    def setup(self) -> None:
        network = nn.remat(Network) if self.lifted else Network
        self.block = network(("p6",))

    def __call__(self, x: jax.Array, placement: Placement | None = None) -> list[jax.Array]:
        return [self.block(x, placement)["p6"] for _ in range(2)]


@pytest.mark.parametrize("lifted", [False, True])
def test_called_twice_it_draws_two_masks(lifted):
    placement, rngs = Placement.parse("p6=0.5"), {"dropout": KEY}
    first, second = Twice(lifted).apply({}, X, placement, rngs=rngs)
    assert not np.array_equal(first, second)
    again, _ = Twice(lifted).apply({}, X, placement, rngs=rngs)
    chex.assert_trees_all_equal(first, again)
    # The first is that of a block that is called once.
    once = jax.tree.leaves(Named(("p6",)).apply({}, X, placement, rngs=rngs))
    chex.assert_trees_all_equal(first, *once)


class Named(nn.Module):
    slots: tuple[str, ...]

    def setup(self) -> None:
        self.block = Network(self.slots)

    def __call__(self, x: jax.Array, placement: Placement) -> dict[str, jax.Array]:
        return self.block(x, placement)


class Given(nn.Module):
    """A network whose layers are made outside of it."""

    layers: tuple[nn.Module, ...]

    def __call__(self, x: jax.Array, placement: Placement | None = None) -> list[jax.Array]:
        return [layer(x, placement) for layer in self.layers]


def test_a_layer_that_is_made_outside_belongs_to_the_network_it_is_given_to():
    network = Given((Dropout("p6"), Dropout("p6"), Dropout("h4")))
    for out in network.apply({}, X):
        chex.assert_trees_all_equal(out, X)
    first, second, other = network.apply({}, X, Placement.parse("p6=0.5"), rngs={"dropout": KEY})
    assert not np.array_equal(first, second)
    assert 0 < np.mean(np.asarray(first) == 0) < 1
    chex.assert_trees_all_equal(other, X)
    sequence = nn.Sequential([nn.relu, Dropout("p6")])
    chex.assert_trees_all_equal(sequence.apply({}, X), X)


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        ("p6=0.5", r"^placement: must be a Placement, got 'p6=0.5'; "),
        ("p5=0.5", r"^placement: must be a Placement, got 'p5=0.5'; "),
        (
            Placement.parse("p6=0..0.5"),
            r"^placement: slot 'p6' has rates .*broadcast",
        ),
        (Placement.parse("p6=0.1/0.5"), r"^placement: slot 'p6' has rates for many places, "),
    ],
)
def test_what_no_slot_can_follow_is_refused_in_one_line(placement, said):
    with pytest.raises(ValueError, match=said) as refused:
        Dropout("p6").apply({}, X, placement, rngs={"dropout": KEY})
    assert "\n" not in str(refused.value)
