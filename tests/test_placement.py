import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement
from flaxdrop.placement import NAMED, resolve_placement
from flaxdrop.rate import Ramp

SLOTS = {"p3": 6, "p6": 6, "h4": 1}


def one_line(error):
    return str(error.value).split("\n") == [str(error.value)]


@pytest.mark.parametrize(
    "text",
    [
        "none",
        "p6=0.1",
        "p6=0.1,h4=0.2",
        "h4=0.2,p6=0.1",
        "p6=0..0.5",
        "p6=0.1/0.2/0.3",
        "h4=0.2:channel",
        "p6=0.05..0.5:block3,h4=1:sample,a_1=0",
        "p6=0.123456789012,h4=0.0000001",
        "p6=0.1234567/0.7654321",
    ],
)
def test_what_is_printed_reads_back(text):
    placement = Placement.parse(text)
    assert str(placement) == text
    again = Placement.parse(str(placement))
    chex.assert_trees_all_equal(again, placement)
    assert again.masks == placement.masks
    assert again.slots == placement.slots


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", "none"),
        ("  p6 = .10 , h4= 2e-1:channel,", "p6=0.1,h4=0.2:channel"),
        ("p6=0.0 .. 1.0", "p6=0..1"),
        ("p6=0.1:element", "p6=0.1"),
    ],
)
def test_other_spellings_are_read(text, printed):
    assert str(Placement.parse(text)) == printed


def test_print_follows_the_rates_of_any_kind():
    assert str(Placement({"a": 0, "b": np.float32(0.1), "c": jnp.array([0.5, 0.25])})) == (
        "a=0,b=0.1,c=0.5/0.25"
    )
    printed = []
    jax.jit(lambda placement: printed.append(str(placement)))(
        Placement({"a": 0.5, "b": Ramp(0, 1)})
    )
    assert printed == ["a=traced,b=traced..traced"]


def test_named_placements():
    assert Placement.parse("uai2023") == Placement({"p6": 0.1, "h4": 0.2})
    assert Placement.parse("wide_resnet") == Placement({"p6": 0.1})
    assert Placement.parse("none") == Placement()
    for name in NAMED:
        assert Placement.parse(f" {name} ") == Placement.parse(str(Placement.parse(name)))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("p6", "p6"),
        ("p6=", "p6="),
        ("=0.1", "=0.1"),
        ("6p=0.1", "6p=0.1"),
        ("p6=0.1:", "p6=0.1:"),
        ("p6=0.1 h4=0.2", "p6"),
        ("uai2024", "uai2023"),
        ("p6=x", "x"),
        ("p6=1.1", "1.1"),
        ("p6=-0.1", "-0.1"),
        ("p6=nan", "nan"),
        ("p6=0..2", "0..2"),
        ("p6=0.1..0.2..0.3", "0.1..0.2..0.3"),
        ("p6=0.1/", "0.1/"),
        ("p6=0.1/7", "0.1/7"),
        ("p6=0.1:pixel", "pixel"),
        ("p6=0.1:block0", "block0"),
        ("p6=0.1,p6=0.2", "p6"),
        ("p6=0.1\nx", "p6"),
    ],
)
def test_what_does_not_read_is_refused_in_one_line_that_names_it(text, named):
    with pytest.raises(ValueError, match=r"^(placement|mask): ") as refused:
        Placement.parse(text)
    assert one_line(refused)
    assert named in str(refused.value)


def test_a_mask_needs_a_rate():
    with pytest.raises(ValueError, match=r"^placement: slot 'p6' has a mask, but no rate$"):
        Placement({"h4": 0.1}, {"p6": "channel"})


def test_merge_takes_rate_and_mask_of_the_other_where_both_name_a_slot():
    one = Placement.parse("p3=0.1:channel,p6=0.2:sample")
    other = Placement.parse("p6=0.5,h4=0.3:block")
    assert str(one | other) == "p3=0.1:channel,p6=0.5,h4=0.3:block"
    assert one | Placement() == Placement() | one == one
    assert str(one) == "p3=0.1:channel,p6=0.2:sample"


def test_only_keeps_rates_and_masks_of_some_slots():
    placement = Placement.parse("p3=0.1:channel,p6=0.2,h4=0.3:sample")
    assert placement.only(["h4", "p6", "p9"]) == Placement.parse("p6=0.2,h4=0.3:sample")


def test_lookup():
    placement = Placement.parse("p3=0.1:channel,p6=0.2")
    assert "p3" in placement
    assert "h4" not in placement
    assert (placement.rate("p3"), placement.mask("p3")) == (0.1, "channel")
    assert (placement.rate("p6"), placement.mask("p6")) == (0.2, "element")


def test_leaves_are_exactly_the_rates():
    placement = Placement.parse("p3=0.1:channel,p6=0..0.5,h4=0.2/0.3")
    leaves = jax.tree.leaves(placement)
    chex.assert_trees_all_close(leaves, [0.1, 0.0, 0.5, np.float32([0.2, 0.3])])
    doubled = jax.tree.map(lambda rate: 2 * rate, placement)
    assert str(doubled) == "p3=0.2:channel,p6=0..1,h4=0.4/0.6"


def test_structure_is_that_of_slots_and_masks_and_not_of_rates():
    one, same, masked = map(Placement.parse, ("p6=0.1", "p6=0.9", "p6=0.1:channel"))
    chex.assert_trees_all_equal_structs(one, same)
    assert jax.tree.structure(one) != jax.tree.structure(masked)
    assert jax.tree.structure(one) != jax.tree.structure(Placement.parse("p5=0.1"))


def test_placements_stack_and_vmap_over_rates():
    rates = jnp.array([0.1, 0.2, 0.3])
    sums = jax.vmap(lambda placement: placement.rate("p6") + placement.rate("h4"))(
        Placement({"p6": rates, "h4": 2 * rates})
    )
    chex.assert_trees_all_close(sums, 3 * rates)


def test_an_unknown_slot_is_refused_in_one_line_that_lists_the_known_ones():
    for check in (Placement.validate, resolve_placement):
        with pytest.raises(ValueError, match=r"^placement: unknown slot 'p9'.* p3, p6, h4$") as bad:
            check(Placement.parse("p6=0.1,p9=0.2"), SLOTS)
        assert one_line(bad)
    Placement.parse("p6=0.1,h4=0.2").validate(SLOTS)


def test_rates_over_blocks():
    spread = Placement.parse("p3=0.25,p6=0..1:channel,h4=0.2").broadcast(SLOTS)
    expected = {"p3": np.full(6, 0.25), "p6": np.arange(6) / 5, "h4": np.array(0.2)}
    for slot, rates in expected.items():
        assert spread.rate(slot).dtype == jnp.float32
        chex.assert_trees_all_close(spread.rate(slot), np.float32(rates), atol=1e-7)
    assert spread.mask("p6") == "channel"
    listed = Placement.parse("p6=0/0.1/0.2/0.3/0.4/1").broadcast(SLOTS)
    chex.assert_trees_all_equal(listed.rate("p6"), np.float32([0, 0.1, 0.2, 0.3, 0.4, 1]))


def test_slots_that_are_not_spelled_out_stay_as_they_are():
    placement = Placement.parse("h4=0.2:channel,p3=0..0.1,p6=0..0.5")
    spread = placement.broadcast({"p6": 3})
    assert str(spread) == "p6=0/0.25/0.5,h4=0.2:channel,p3=0..0.1"
    assert [str(spread.at(block).only(["p6", "h4"])) for block in range(3)] == [
        f"p6={rate},h4=0.2:channel" for rate in ("0", "0.25", "0.5")
    ]
    assert spread.at(1).rate("p3") == Ramp(0.0, 0.1)


def test_spelling_out_again_changes_nothing_and_the_last_block_ends_the_ramp():
    spread = Placement.parse("p6=0.1..0.7").broadcast(SLOTS)
    chex.assert_trees_all_equal(spread.broadcast(SLOTS), spread)
    assert spread.rate("p6")[0] == jnp.float32(0.1)
    assert Placement.parse("h4=0..0.7").broadcast(SLOTS).rate("h4") == jnp.float32(0.7)


def test_spelled_out_placements_of_the_same_slots_share_one_structure():
    texts = ("p6=0.1,h4=0.2", "h4=0.3,p6=0..1", "p6=0/0/0/0/0/1,h4=1")
    trees = [Placement.parse(text).broadcast(SLOTS) for text in texts]
    chex.assert_trees_all_equal_structs(*trees)
    chex.assert_trees_all_equal_shapes_and_dtypes(*trees)


def test_rates_spread_alike_when_traced():
    placement = Placement({"p6": Ramp(0.0, 0.5), "h4": 0.2, "p3": [0.1] * 6})
    traced = jax.jit(lambda placement: placement.broadcast(SLOTS))(placement)
    chex.assert_trees_all_close(traced, placement.broadcast(SLOTS))


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_each_block_takes_its_own_rates_and_the_only_one_takes_all(transform):
    spread = Placement.parse("p6=0..1:channel,h4=0.2").broadcast(SLOTS)
    at = transform(Placement.at)
    for block in range(6):
        found = at(spread, block)
        assert found.masks == spread.masks
        chex.assert_trees_all_equal(found.rate("p6"), spread.rate("p6")[block])
        chex.assert_trees_all_equal(found.rate("h4"), spread.rate("h4"))
    single = Placement.parse("p6=0.1").broadcast({"p6": 1})
    chex.assert_trees_all_equal(at(single, 0), single)


def test_a_slice_of_blocks_keeps_its_rates():
    spread = Placement.parse("p6=0..1,h4=0.2").broadcast(SLOTS)
    chex.assert_trees_all_equal(spread.at(slice(2, 6)).at(1), spread.at(3))


@pytest.mark.parametrize("block", [-1, 6, np.int64(7)])
def test_a_block_that_is_not_there_is_refused(block):
    spread = Placement.parse("p6=0.1,h4=0.2").broadcast(SLOTS)
    with pytest.raises(ValueError, match=rf"^block: must be in \[0, 6\).* got {block}$"):
        spread.at(block)


@pytest.mark.parametrize("rate", [np.full(5, 0.1), np.full((6, 6), 0.1)])
def test_a_list_of_rates_that_is_not_one_for_every_block_is_refused(rate):
    with pytest.raises(ValueError, match=r"^placement: slot 'p6' has 6 places, got .*$") as refused:
        Placement({"p6": rate}).broadcast(SLOTS)
    assert one_line(refused)


@pytest.mark.parametrize("rate", [-0.5, 1.5, np.nan, Ramp(0.0, 2.0), np.float32([0.1] * 5 + [3])])
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_known_rate_that_is_no_probability_is_refused(rate, transform):
    placement = Placement({"h4": 0.1, "p6": rate})
    with pytest.raises(
        ValueError, match=r"^placement: the rate of 'p6': must be in \[0, 1\], got "
    ):
        transform(lambda: placement.broadcast(SLOTS).rate("p6"))()


def test_equal_are_those_with_the_same_slots_rates_and_masks():
    texts = ("p3=0.1/0.2/0.3", "p3=0..0.5,h4=0.2:channel", "p6=0.1", "none")
    for text in texts:
        assert Placement.parse(text) == Placement.parse(text)
        assert [Placement.parse(text) == Placement.parse(other) for other in texts].count(True) == 1
    assert Placement({"p6": 0.5}) == Placement({"p6": np.float32(0.5)}, {"p6": "element"})
    assert Placement({"p6": 0.5}) != Placement({"p6": 0.5}, {"p6": "channel"})
    assert Placement() != "none"


def test_equal_placements_have_equal_hashes():
    same = [
        Placement({"p6": 0.5, "h4": 0}, {"h4": "channel"}),
        Placement({"p6": np.float32(0.5), "h4": -0.0}, {"h4": "channel", "p6": "element"}),
        Placement({"p6": jnp.float32(0.5), "h4": jnp.bfloat16(0)}, {"h4": "channel"}),
    ]
    assert len({*same}) == 1
    texts = ("p6=0.5", "p6=0.25", "p5=0.5", "p6=0.5:channel", "p6=0..0.5", "p6=0/0.5", "none")
    assert len({Placement.parse(text): text for text in texts}) == len(texts)
    assert hash(Placement({"p6": np.zeros(2)})) != hash(Placement({"p6": np.zeros((1, 2))}))


def test_a_placement_may_be_a_static_argument():
    chex.clear_trace_counter()

    @functools.partial(jax.jit, static_argnums=0)
    @chex.assert_max_traces(n=2)
    def rate(placement):
        return placement.rate("p6")

    found = [float(rate(Placement.parse(text))) for text in ("p6=0.5", "p6=0.25", "p6=0.5")]
    assert found == [0.5, 0.25, 0.5]


def test_a_placement_with_a_traced_rate_has_no_hash():
    def traced(placement):
        with pytest.raises(TypeError, match=r"^placement: must have known rates .*'p6'") as refused:
            hash(placement)
        assert one_line(refused)

    jax.jit(traced)(Placement({"p6": Ramp(0.0, 0.5)}))


@pytest.mark.parametrize("rate", ["0_1", "\uff10.1", "\u0660", "0x1", "+0.1", "nan", "1_0..1", ""])
def test_a_rate_in_other_digits_than_those_of_ascii_is_refused(rate):
    with pytest.raises(ValueError, match=r"^placement: "):
        Placement.parse(f"p6={rate}")


@pytest.mark.parametrize("slot", ["\uff506", "p\uff16", "p\u0666", "p\u00e9"])
def test_a_slot_in_other_letters_than_those_of_ascii_is_refused(slot):
    with pytest.raises(ValueError, match=r"^placement: "):
        Placement.parse(f"{slot}=0.1")
