import dataclasses
import importlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement, hashing
from flaxdrop.models import PreResNet
from flaxdrop.models.preresnet import BASIC_SLOTS, BOTTLENECK_SLOTS, HEAD_SLOTS

KEY = jax.random.key(2)


def test_slots_and_their_places():
    basic, bottleneck = PreResNet(20, 10).slots, PreResNet(164, 10, block="bottleneck").slots
    assert basic == dict.fromkeys(BASIC_SLOTS, 9) | dict.fromkeys(HEAD_SLOTS, 1)
    assert bottleneck == dict.fromkeys(BOTTLENECK_SLOTS, 54) | dict.fromkeys(HEAD_SLOTS, 1)
    assert "p6" in bottleneck


def test_every_placement_starts_from_the_same_weights():
    tiny = PreResNet(4, 2, widths=(2,))
    x = jnp.ones((1, 4, 4, 1))
    rngs = {"params": KEY, "dropout": jax.random.key(8)}
    placed = jax.jit(
        lambda: tiny.init(rngs, x, placement=Placement(dict.fromkeys(tiny.slots, 0.5)))
    )
    chex.assert_trees_all_equal(placed(), jax.jit(lambda: tiny.init(KEY, x))())


@pytest.mark.optimised
def test_a_dropout_in_scanned_blocks_takes_no_memory(filled):
    model, x = PreResNet(10, 10, widths=(16,)), jnp.zeros((64, 16, 16, 3))
    variables = filled(model, x)

    def temporary_bytes(placement):
        def loss(params, key):
            y, _ = model.apply(
                variables | {"params": params},
                x,
                True,
                placement,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            return jnp.sum(y**2)

        step = jax.jit(jax.grad(loss)).lower(variables["params"], KEY).compile()
        return step.memory_analysis().temp_size_in_bytes

    # An element index that left the loop would be 4 bytes for every unit.
    assert temporary_bytes(Placement({"p6": 0.1})) < 1.01 * temporary_bytes(None)


def test_rate_one_tells_where_the_slots_are(small):
    def logits(*slots):
        return small.train(small.off | Placement(dict.fromkeys(slots, 1.0)))[1][0]

    groups = [
        [("p1",)],
        [("p2",), ("p3",), ("p4",)],  # Conv1 gives zeros
        [("p5",), ("p6",), ("p7",)],  # the branch is cut off
        [("shortcut",)],
        [("post_add",), ("shortcut", "p7"), ("shortcut", "p5")],
        [("h4",), ("h5",), ("h4", "p0")],  # the classifier's bias remains
        [("logits",)],
    ]
    for first, *others in groups:
        for other in others:
            chex.assert_trees_all_equal(logits(*first), logits(*other))
    firsts = [logits(*group[0]) for group in groups]
    assert all(np.abs(firsts[i] - firsts[j]).max() > 1e-3 for i in range(7) for j in range(i))


def test_rate_one_everywhere_leaves_nothing(small):
    _, (logits, _) = small.train(Placement(dict.fromkeys(small.model.slots, 1.0)))
    assert not np.any(logits)


def test_before_and_after_relu_are_one_network_to_the_bit(small, filled, monkeypatch):
    model = PreResNet(6, 5, widths=(4,))
    small = dataclasses.replace(small, model=model, variables=filled(model, small.x))
    # The same words for both slots of a pair; then only the order of ReLU and mask differs.
    name_word, alias = hashing.name_word, {"p5_dropout": "p6_dropout", "p2_dropout": "p3_dropout"}
    monkeypatch.setattr(
        hashing, "name_word", lambda *path: name_word(*(alias.get(part, part) for part in path))
    )
    program = jax.jit(lambda placement: small.gradients(small.variables, placement, KEY))
    off = small.off.only(["p2", "p3", "p5", "p6"])
    plain, p2, p3, p5, p6 = (
        program(off | Placement.parse(text))
        for text in ("", "p2=0.5", "p3=0.5", "p5=0.5", "p6=0.5")
    )
    chex.assert_trees_all_equal(p5, p6)
    chex.assert_trees_all_equal(p2, p3)
    logits = [out[1][0] for out in (plain, p3, p6)]
    assert all(np.abs(logits[i] - logits[i - 1]).max() > 1e-3 for i in range(3))


def test_masks_are_of_their_own_and_do_not_change_when_other_slots_come(small, monkeypatch):
    seen = set()

    def see(key):
        seen.add(tuple(np.asarray(key).tolist()))
        return np.float32(0)

    def record(key, x, _rate, _mask):
        return x + jax.pure_callback(see, jax.ShapeDtypeStruct((), jnp.float32), key)

    # The function hides its module.
    monkeypatch.setattr(importlib.import_module("flaxdrop.dropout"), "dropout", record)

    def words(placement):
        seen.clear()
        rngs = {"dropout": KEY}
        apply = jax.jit(lambda v: small.model.apply(v, small.x, placement=placement, rngs=rngs))
        jax.block_until_ready(apply(small.variables))
        return set(seen)

    everywhere = words(small.off)
    assert len(everywhere) == sum(small.model.slots.values()) == 63
    for slot in ("p6", "h4"):
        alone = words(Placement({slot: 0.5}))
        assert len(alone) == small.model.slots[slot]
        assert alone < everywhere
