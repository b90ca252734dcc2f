"""What every network of `tests.networks.NETWORKS` must do.

test_whole_network.py holds the gradients of the same list against float64.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Dropout, Placement, describe, find_slots
from tests.networks import NETWORKS, small_network

CHANGE = 1e-4  # of a logit or a gradient, far above rounding


@pytest.fixture(params=NETWORKS)
def network(request):
    return small_network(request.param)


def in_a_row(tree):
    """All numbers of a tree, `[n]`."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def everywhere(network, rate):
    return Placement(dict.fromkeys(network.model.slots, rate))


def one_place(network, slot, place, rate=0.5):
    """A placement that drops at one place of a slot only."""
    rates = rate * np.eye(network.model.slots[slot], dtype=np.float32)[place]
    return network.off | Placement({slot: rates if rates.size > 1 else rates[0]})


def test_it_calls_every_slot_that_it_declares_and_draws_them(network):
    assert set(find_slots(network.model, network.x)) == set(network.model.slots)
    drawn = describe(network.model, image_shape=network.x.shape[1:])
    assert all(f"·{slot}·" in drawn for slot in network.model.slots)


def test_an_unknown_slot_is_refused_in_one_line_with_the_known_ones(network):
    known = ", ".join(network.model.slots)
    with pytest.raises(ValueError, match=rf"^placement: unknown slot 'p99', .* has {known}"):
        network.model.apply(network.variables, network.x, placement=Placement({"p99": 0.1}))


def test_a_rate_without_a_key_is_refused(network):
    with pytest.raises(ValueError, match=r"^slot .* has a rate: pass rngs="):
        network.model.apply(network.variables, network.x, placement=network.off)


def test_inference_needs_no_key_drops_nothing_and_changes_no_statistics(network):
    dropped = []

    def intercept(call, arguments, options, context):
        out = call(*arguments, **options)
        if isinstance(context.module, Dropout):
            dropped.append(out is not arguments[0])
        return out

    @jax.jit
    def infer(variables):
        with nn.intercept_methods(intercept):
            return network.model.apply(variables, network.x, mutable=["batch_stats"])

    logits, kept = infer(network.variables)
    assert dropped
    assert not any(dropped)
    chex.assert_trees_all_equal(
        kept.get("batch_stats", {}), network.variables.get("batch_stats", {})
    )
    assert logits.dtype == jnp.float32
    chex.assert_trees_all_close(logits, network.infer(network.off), atol=1e-5)


def test_training_updates_every_statistic(network):
    _, (_, updated) = network.train(network.off)
    before = network.variables.get("batch_stats", {})
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(updated), strict=True):
        assert np.all(old != new)


def test_every_placement_has_the_same_variables(network):
    key = jax.random.key(0)
    keys, placement = {"params": key, "dropout": key}, everywhere(network, 0.5)
    placed = jax.eval_shape(
        lambda: network.model.init(keys, network.x, train=True, placement=placement)
    )
    plain = jax.eval_shape(lambda: network.model.init(key, network.x))
    chex.assert_trees_all_equal_shapes_and_dtypes(placed, plain)


def test_rate_zero_everywhere_is_no_placement_to_the_bit(network):
    # Operation by operation: compiled, they are two programs, which XLA fuses in different ways.
    with jax.disable_jit():
        off, none = (
            network.forward(network.variables, placement, jax.random.key(3))
            for placement in (network.off.broadcast(network.model.slots), None)
        )
    chex.assert_trees_all_equal(off, none)


def test_rate_zero_is_exact_whatever_the_key(network):
    chex.assert_trees_all_equal(network.train(network.off, 2), network.train(network.off, 3))


def test_rate_one_everywhere_is_finite_with_finite_gradients(network):
    chex.assert_tree_all_finite(network.train(everywhere(network, 1.0)))


def test_every_place_of_every_slot_drops_with_a_key_and_a_rate_of_its_own(network):
    off = in_a_row(network.train(network.off))
    places = [(slot, i) for slot, count in network.model.slots.items() for i in range(count)]
    found = []
    for slot, i in places:
        placement = one_place(network, slot, i)
        dropped, again, other = (in_a_row(network.train(placement, seed)) for seed in (2, 2, 3))
        assert np.isfinite(dropped).all()
        np.testing.assert_array_equal(dropped, again)
        for without in (off, other, *found):
            assert np.abs(dropped - without).max() > CHANGE, (slot, i)
        found.append(dropped)


def test_one_trace_serves_all_rates_and_keys(network):
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def shape(placement, key):
        logits = jax.eval_shape(
            lambda: network.model.apply(
                network.variables, network.x, placement=placement, rngs={"dropout": key}
            )
        )
        return jnp.zeros(logits.shape)

    for seed, rate in enumerate((0.0, 0.5, 1.0)):
        shape(everywhere(network, rate), jax.random.key(seed))


@pytest.mark.parametrize("name", [name for name in NETWORKS if hasattr(NETWORKS[name][0], "dtype")])
def test_bfloat16_computes_in_half_and_keeps_variables_and_logits_whole(name):
    network = small_network(name)
    half = network.model.clone(dtype=jnp.bfloat16)

    def shapes(model):
        return jax.eval_shape(lambda: model.init(jax.random.key(0), network.x))

    chex.assert_trees_all_equal_shapes_and_dtypes(shapes(half), shapes(network.model))
    logits, state = jax.jit(
        lambda variables: half.apply(
            variables,
            network.x,
            train=True,
            capture_intermediates=True,
            mutable=["batch_stats", "intermediates"],
        )
    )(network.variables)
    inside = [leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(state["intermediates"])]
    assert np.mean(inside) > 0.5
    chex.assert_type(jax.tree.leaves(state.get("batch_stats", {})), jnp.float32)
    whole = network.train(network.off)[1][0]
    assert logits.dtype == whole.dtype == jnp.float32
    assert 0 < np.abs(logits - whole).max() < 0.2
