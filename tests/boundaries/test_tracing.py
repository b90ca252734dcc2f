"""Which places a network has, and which of its boundaries are one."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from flaxdrop import Placement, find_slots, with_slots

DENSE = functools.partial(nn.Dense, 8)
X = jax.ShapeDtypeStruct((2, 8), jnp.float32)


class Body(nn.Module):
    """Whatever `body` does; for networks of a few lines."""

    body: object

    @nn.compact
    def __call__(self, x):
        return self.body(x)


class Block(nn.Module):
    project: bool = False

    @nn.compact
    def __call__(self, x):
        y = nn.relu(nn.LayerNorm()(x))
        y = nn.Dense(8)(y)
        return (nn.Dense(8, name="projection")(x) if self.project else x) + y


def in_turn(*makers):
    """A body that calls layers one after the other, each made under the name layer<i>."""

    def body(x):
        for i, make in enumerate(makers):
            x = make(name=f"layer{i}")(x)
        return x

    return body


def boundaries_of(body, x=X):
    return with_slots(Body(body), x)


def test_an_array_that_goes_on_to_one_layer_only_is_one_place():
    def alone(x):
        return nn.LayerNorm()(nn.Dense(8)(x))

    def also_added(x):
        y = nn.Dense(8)(x)
        return y + nn.LayerNorm()(y)

    def computed(x):
        return nn.LayerNorm()(2 * nn.Dense(8)(x))

    def also_returned(x):
        y = nn.Dense(8)(x)
        return y, nn.LayerNorm()(y)

    assert boundaries_of(alone).aliases == {"Dense_0:out": "LayerNorm_0:in"}
    for body in (also_added, computed, also_returned):
        assert not boundaries_of(body).aliases
    for body in (alone, also_added):
        counts = boundaries_of(body).slots
        assert set(counts.values()) == {1}
        assert len(counts) == (3 if body is alone else 4)


@pytest.mark.parametrize("lift", [lambda kind: kind, nn.remat])
def test_the_trunk_is_another_place_than_the_branch(lift):
    blocks = boundaries_of(in_turn(*[lift(Block)] * 3))
    assert blocks.slots["layer*:in"] == 3
    assert blocks.slots["layer*/LayerNorm_0:in"] == 3
    assert blocks.aliases["layer0:out"] == "layer1:in"
    assert "layer1:out" not in blocks.slots
    assert blocks.slots["layer2:out"] == 1


def test_dropout_that_stands_there_has_no_place_of_its_own():
    def body(x):
        x = nn.relu(nn.Dense(8)(x))
        x = nn.Dropout(0.5, deterministic=False)(x)
        return nn.Dense(8)(x)

    assert boundaries_of(body).aliases == {
        "Dropout_0:in": "Dense_1:in",
        "Dropout_0:out": "Dense_1:in",
    }


def test_only_some_blocks_have_a_projection():
    blocks = boundaries_of(in_turn(*(functools.partial(Block, i == 1) for i in range(3))))
    assert blocks.slots["layer*/Dense_0:in"] == 3
    assert blocks.slots["layer1/projection:in"] == 1


def test_a_group_names_its_members_and_no_others():
    mixed = boundaries_of(in_turn(DENSE, Block, Block, DENSE))
    assert mixed.slots["layer[1-2]:in"] == 2
    for slot, count in mixed.slots.items():
        assert len(mixed.resolve(Placement({slot: 0.1})).slots) == count


def test_layers_are_told_apart_by_their_numbers():
    flat = boundaries_of(in_turn(DENSE, nn.LayerNorm, DENSE))
    assert [*flat.slots] == ["layer0:in", "layer1:in", "layer2:in", "layer2:out"]


def test_what_takes_no_dropout_is_listed_with_the_reason():
    class Pair(nn.Module):
        @nn.compact
        def __call__(self, x, y):
            return x, {"y": y}

    class Odd(nn.Module):
        @nn.compact
        def __call__(self, tokens, x):
            tokens = nn.Embed(5, 8)(tokens)
            x, _ = Pair(name="pair")(x, tokens)
            return nn.Dense(3)(x)

    model = with_slots(Odd(), jax.ShapeDtypeStruct((2,), jnp.int32), X)
    reasons = dict(model.left_out)
    assert reasons["Embed_0:in"] == "takes no array of floating-point numbers"
    assert reasons["pair:in"] == "takes 2 arrays"
    assert reasons["pair:out"] == "gives a tuple"
    assert [*model.slots] == ["Embed_0:out", "Dense_0:in", "Dense_0:out"]
    with pytest.raises(ValueError, match=r"^placement: 'pair:out' takes no dropout: .* a tuple"):
        model.resolve(Placement({"pair:out": 0.1}))


def test_alike_modules_that_are_compiled_once_have_places_each():
    compiled = nn.jit(Block)
    for _ in range(2):
        model = boundaries_of(in_turn(*[compiled] * 12))
        assert model.slots["layer*/Dense_0:in"] == 12
        own = [place.name for place in model.places if place.group == "layer*/Dense_0:in"]
        assert own == [f"layer{i}/Dense_0:in" for i in range(12)]


def test_a_network_is_traced_as_in_training_and_not_computed():
    class Keyword(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic):
            return nn.Dense(8, name="inference" if deterministic else "training")(x)

    assert [*with_slots(Keyword(), X).slots] == ["training:in", "training:out"]
    assert [*with_slots(Keyword(), X, deterministic=True).slots] == [
        "inference:in",
        "inference:out",
    ]


def test_slots_of_a_slotted_network_are_found_and_it_can_be_compared():
    one, other = (with_slots(nn.Sequential([nn.Dense(8)]), X) for _ in range(2))
    assert one.slots == other.slots
    assert find_slots(one, X) == tuple(one.slots)


def test_layers_of_several_modules_are_told_apart_in_a_block():
    class ConvBlock(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.relu(nn.LayerNorm()(nn.Dense(8)(x)))

    class Pair(nn.Module):
        @nn.compact
        def __call__(self, x):
            y = ConvBlock()(x)
            return x + ConvBlock()(y)

    slots = boundaries_of(in_turn(Pair, Pair, Pair)).slots
    assert slots["layer*/ConvBlock_0/LayerNorm_0:in"] == 3
    assert slots["layer*/ConvBlock_1/LayerNorm_0:in"] == 3


def test_a_call_that_the_network_does_not_take_is_refused_in_one_line():
    class Odd(nn.Module):
        @nn.compact
        def __call__(self, x, mode):
            return nn.Dense(3 if mode else 4)(x)

    with pytest.raises(ValueError, match=r"^options: .*'mode'.* for example train=True"):
        with_slots(Odd(), X)
    assert with_slots(Odd(), X, mode=True).slots["Dense_0:out"] == 1
