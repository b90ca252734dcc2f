import jax
import pytest

from benchmarks.harness.planning import restrict
from benchmarks.harness.variants import Variant, families, parameter_count
from benchmarks.preresnet import STUDY, PreResNetSettings
from flaxdrop.models.preresnet import BOTTLENECK_SLOTS, PreResNet
from flaxdrop.placement import Placement

SETTINGS = PreResNetSettings(dataset="digits", epochs=1, batch=1, depth=8, widths=(4, 8, 8))
MODEL = PreResNet(depth=8, num_classes=10, widths=(4, 8, 8))


def placed(text, model=MODEL):
    return Variant(model, Placement.parse(text))


def test_the_position_table_has_nine_variants_of_one_network():
    variants = STUDY.variants(SETTINGS, 10)
    assert list(variants) == ["none", *(f"p{number}" for number in range(8))]
    assert {name: str(variant.placement) for name, variant in variants.items()} == {
        "none": "none",
        **{f"p{number}": f"p{number}=0.1" for number in range(8)},
    }
    assert STUDY.baseline in variants
    assert {name for pair in STUDY.same for name in pair} <= variants.keys()


def test_one_program_serves_the_position_table():
    (family,) = families(STUDY.variants(SETTINGS, 10))
    assert list(family.placements) == list(STUDY.variants(SETTINGS, 10))
    cells = [family.cell(name, seed) for name in family.placements for seed in (0, 1)]
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), cells)
    structures = {jax.tree.structure(cell) for cell in cells}
    assert len(structures) == 1
    assert all(shape == shapes[0] for shape in shapes)


def test_a_variant_of_a_family_is_off_where_the_others_are_on():
    (family,) = families(STUDY.variants(SETTINGS, 10))
    for name, placement in family.placements.items():
        for slot in placement.slots:
            expected = 0.1 if slot == name else 0.0
            assert placement.rate(slot).tolist() == pytest.approx([expected] * 3)


def test_cells_of_a_seed_share_their_key():
    (family,) = families(STUDY.variants(SETTINGS, 10))
    none, p6, other = family.cell("none", 1), family.cell("p6", 1), family.cell("p6", 2)
    assert none.key == p6.key
    assert p6.key != other.key


def test_masks_that_contradict_are_compiled_apart():
    variants = {
        "element": placed("p6=0.1"),
        "channel": placed("p6=0.1:channel"),
        "p4": placed("p4=0.1:channel"),
        "none": placed("none"),
    }
    first, second = families(variants)
    assert list(first.placements) == ["element", "p4", "none"]
    assert list(second.placements) == ["channel"]
    assert first.placements["none"].mask("p4") == "channel"
    assert second.placements["channel"].mask("p6") == "channel"


def test_networks_are_compiled_apart():
    wider = PreResNet(depth=8, num_classes=10, widths=(4, 8, 16))
    found = families({"a": placed("none"), "b": placed("p6=0.1", wider), "c": placed("p6=0.1")})
    assert [list(family.placements) for family in found] == [["a", "c"], ["b"]]
    assert [family.model for family in found] == [MODEL, wider]


def test_a_slot_that_the_network_lacks():
    with pytest.raises(ValueError, match=r"^placement: unknown slot 'p9', this network has p0, p1"):
        families({"p9": placed("p9=0.1")})


def test_variants_asked_for_come_in_the_order_asked_for():
    def names(text):
        return list(restrict(STUDY.variants(SETTINGS, 10), text))

    assert names("p6, none,p6") == ["p6", "none"]
    assert names("") == names("  ") == list(STUDY.variants(SETTINGS, 10))
    with pytest.raises(ValueError, match=r"^variants: unknown 'p8', choose among none, p0, p1"):
        names("none,p8")


def test_bottlenecks_have_a_variant_for_each_of_their_slots():
    settings = PreResNetSettings(
        dataset="digits", epochs=1, batch=1, depth=11, widths=(4, 8, 8), block="bottleneck"
    )
    variants = STUDY.variants(settings, 10)
    assert list(variants) == ["none", *BOTTLENECK_SLOTS]
    assert len(families(variants)) == 1


def test_parameters_of_the_papers_network():
    settings = PreResNetSettings(dataset="cifar10", epochs=1, batch=1, depth=110)
    assert parameter_count(settings.network(10), (32, 32, 3)) == 1_730_522
    assert parameter_count(settings.network(100), (32, 32, 3)) == 1_736_372
