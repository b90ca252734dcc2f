import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement, describe, hashing
from flaxdrop.models import ConvNet
from flaxdrop.ops.pooling import POOLINGS, pool

X = jnp.asarray(np.random.RandomState(1).rand(3, 16, 17, 2), jnp.float32)
NETS = {kind: ConvNet(3, pooling=kind, widths=(3, 4), units=5) for kind in POOLINGS}
OFF = Placement(dict.fromkeys(NETS["max"].slots, 0.0))
KEY = jax.random.key(2)
either = pytest.mark.parametrize("kind", POOLINGS)


def shapes_of(model, image):
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *image))))


@pytest.fixture
def variables(filled):
    return filled(NETS["max"], X)


@functools.partial(jax.jit, static_argnums=0)
def captured(kind, variables, placement):
    """Logits and what every module gives."""
    logits, state = NETS[kind].apply(
        variables,
        X,
        placement=placement,
        rngs={"dropout": KEY},
        capture_intermediates=True,
        mutable=["intermediates"],
    )
    return logits, state["intermediates"]


@either
def test_it_has_exactly_the_parameters_of_the_question(kind):
    params = shapes_of(ConvNet(10, pooling=kind), (100, 100, 3))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 7_998_250


@pytest.mark.parametrize(("blocks", "smallest"), [(1, 6), (2, 16)])
def test_the_smallest_image_leaves_one_pixel_and_a_smaller_one_is_refused(blocks, smallest):
    model = ConvNet(3, widths=(2,) * blocks, units=4)
    assert model.smallest_image == smallest
    assert shapes_of(model, (smallest, smallest, 1))["params"]["hidden"]["kernel"].shape == (2, 4)
    message = rf"^image_size: must be at least {smallest} for {blocks} blocks, got {smallest - 1}x"
    with pytest.raises(ValueError, match=message):
        shapes_of(model, (smallest - 1, 100, 1))


def test_another_pooling_is_refused():
    with pytest.raises(ValueError, match=r"^pooling: unknown 'min', choose one of max"):
        shapes_of(ConvNet(3, pooling="min"), (32, 32, 3))


def test_slots_and_their_places():
    assert ConvNet(10).slots == {"before_pool": 2, "after_pool": 2, "dense": 1}
    assert ConvNet(10, widths=(4,)).slots == {"before_pool": 1, "after_pool": 1, "dense": 1}


def test_a_network_with_one_block_drops_too(filled):
    model = ConvNet(3, widths=(3,), units=5)
    placement = Placement(dict.fromkeys(model.slots, 1.0))
    variables = filled(model, X)
    logits = model.apply(variables, X, placement=placement, rngs={"dropout": KEY})
    bias = variables["params"]["classifier"]["bias"]
    chex.assert_trees_all_equal(logits, jnp.broadcast_to(bias, logits.shape))


def test_every_place_is_drawn():
    drawing = describe(NETS["average"], Placement.parse("after_pool=0.25"), (16, 16, 2))
    assert drawing.count("average over 2x2") == drawing.count("(after_pool") == 2
    assert [drawing.count(f"·{slot}·") for slot in ("before_pool", "dense")] == [2, 1]


@either
def test_the_slots_stand_around_the_pooling_after_the_relu(kind, variables):
    placement = OFF | Placement.parse("before_pool=0.5/0,after_pool=0/0.5")
    _, out = captured(kind, variables, placement)
    for block, dropping in (("block1", "before_pool"), ("block2", "after_pool")):
        outputs = {
            name: value["__call__"][0] for name, value in out[block].items() if name[0] != "_"
        }
        active = jax.nn.relu(outputs["conv2"])
        before, after = outputs["before_pool_dropout"], outputs["after_pool_dropout"]
        came, went = (active, before) if dropping == "before_pool" else (pool(active, kind), after)
        kept = went != 0
        assert 0 < kept.sum() < (came != 0).sum()
        chex.assert_trees_all_equal(went, jnp.where(kept, 2 * came, 0))
        if dropping == "before_pool":
            chex.assert_trees_all_equal(after, pool(before, kind))
        else:
            chex.assert_trees_all_equal(before, active)


def test_the_dense_slot_drops_after_the_relu(variables):
    _, out = captured("max", variables, OFF | Placement({"dense": 0.5}))
    active = jax.nn.relu(out["hidden"]["__call__"][0])
    (dropped,) = out["dense_dropout"]["__call__"]
    chex.assert_trees_all_equal(dropped, jnp.where(dropped != 0, 2 * active, 0))
    assert (dropped != 0).sum() < (active != 0).sum()


@pytest.fixture(scope="module")
def orders():
    """Gradients and logits with the dropout before and after the pooling, with the same mask."""
    name_word = hashing.name_word
    alias = {"before_pool_dropout": "after_pool_dropout"}

    def of_one(kind, mask, variables, rate, order):
        def loss(params):
            logits = NETS[kind].apply(
                {"params": params},
                X,
                placement=Placement({f"{order}_pool": rate}, {f"{order}_pool": mask}),
                rngs={"dropout": KEY},
            )
            return jnp.sum(jnp.sin(logits)), logits

        return jax.grad(loss, has_aux=True)(variables["params"])

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def of_both(kind, mask, variables, rate):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                hashing,
                "name_word",
                lambda *path: name_word(*(alias.get(part, part) for part in path)),
            )
            return [of_one(kind, mask, variables, rate, order) for order in ("before", "after")]

    return of_both


@either
def test_a_channel_mask_at_half_makes_the_orders_one_network_to_the_bit(kind, variables, orders):
    before, after = orders(kind, "channel", variables, 0.5)
    chex.assert_trees_all_equal(before, after)
    assert np.any(before[1] != orders(kind, "channel", variables, 0.0)[0][1])


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.7])
def test_a_channel_mask_at_any_rate_makes_max_pooling_s_orders_one_to_the_bit(
    rate, variables, orders
):
    (_, logits), (_, theirs) = orders("max", "channel", variables, rate)
    chex.assert_trees_all_equal(logits, theirs)


def test_a_channel_mask_at_any_rate_makes_average_pooling_s_orders_one_but_for_rounding(
    variables, orders
):
    both = orders("average", "channel", variables, 0.3)
    chex.assert_trees_all_close(*both, rtol=1e-5, atol=1e-5)


@either
def test_with_an_element_mask_the_order_makes_a_difference(kind, variables, orders):
    (_, logits), (_, theirs) = orders(kind, "element", variables, 0.5)
    assert np.abs(logits - theirs).max() > 1e-3
