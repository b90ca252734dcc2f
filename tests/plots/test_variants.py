import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex

from flaxdrop.plots.style import BEHIND, INK
from flaxdrop.plots.variants import draw_curves, draw_positions
from flaxdrop.plots.verdict import GAIN, LOSS, verdict
from flaxdrop.results.comparison import compare
from tests.plots.readable import check, check_inside, marks, percent_axes, words

ORDER = ("none", *(f"p{i}" for i in range(8)))
SAME = (("p6", "p5"), ("p2", "p3"))
LONG = tuple(f"blocks {i} and 2: channel dropout before pooling, W $x_1$" for i in range(20))
LONG = (LONG[0] + ", of a name longer than any line" * 3, *LONG[1:])
EMPTY = {"best_accuracy": None, "best_epoch": None, "last_accuracy": None}


def diverged(make_row, variant, seeds):
    return [make_row(variant, seed, status="diverged", **EMPTY) for seed in range(seeds)]


def make(name, make_study, make_row):
    """Rows and order of a study that is hard to draw."""
    if name == "nine":
        return make_study({v: 0.9 + 0.005 * i for i, v in enumerate(ORDER)}, epochs=20), ORDER
    if name == "twenty_long_names":
        return make_study({v: 0.9 + 0.002 * i for i, v in enumerate(LONG)}, seeds=2), LONG
    if name == "two":
        return make_study({"none": 0.9, "p6": 0.92}), ORDER
    if name == "far":
        means = {"none": 0.98, "p0": 0.1, "p5": 0.97, "p6": 0.98, "p7": 0.985}
        return make_study(means, epochs=20), ORDER
    if name == "one_cell":
        return [make_row("p6", epochs=1)], ORDER
    if name == "one_seed":
        return make_study(dict.fromkeys(ORDER, 0.9), seeds=1), ORDER
    if name == "some_diverged":
        rows = make_study({"none": 0.9, "p5": 0.92, "p6": 0.92}, seeds=3)
        return [*rows, *diverged(make_row, "p1", 3), make_row("p6", 3, status="diverged")], ORDER
    if name == "all_diverged":
        return diverged(make_row, "p6", 2), ORDER
    if name == "all_equal":
        return [make_row(v, s, accuracy=1.0) for v in ORDER for s in range(2)], ORDER
    return [], ORDER


STUDIES = (
    "nine",
    "twenty_long_names",
    "two",
    "far",
    "one_cell",
    "one_seed",
    "some_diverged",
    "all_diverged",
    "all_equal",
    "nothing",
)
each_picture = pytest.mark.parametrize("draw", [draw_positions, draw_curves])


def comparison_of(rows, order=ORDER):
    return compare(rows, order=order, baseline=order[0], same=SAME)


@pytest.fixture
def study(make_study, make_row):
    return lambda name: comparison_of(*make(name, make_study, make_row))


@each_picture
@pytest.mark.parametrize("name", STUDIES)
def test_it_can_be_read_and_shows_all_of_its_marks(study, tmp_path, name, draw):
    comparison, path = study(name), tmp_path / "picture.png"
    figure = draw(comparison, path, title="Where does dropout help?", subtitle="5 seeds, a CPU")
    check(figure, path)
    check_inside(figure)
    for low, high in percent_axes(figure):
        assert 0 <= low < high <= 100
    shown = words(figure)
    assert {"Where does dropout help?", "5 seeds, a CPU"} <= set(shown)
    for outcome in comparison.outcomes:
        if outcome.n and (outcome.variant != comparison.baseline or draw is draw_positions):
            assert any(text.startswith(outcome.variant) for text in shown), outcome.variant


def test_effects_are_coloured_by_their_verdict(study, tmp_path):
    comparison = study("nine")
    figure = draw_positions(comparison, tmp_path / "p", title="")
    found = marks(figure)
    effects = comparison.effects["accuracy"]
    for network, effect in effects.items():
        own = [line for axis, line in found[network] if axis is figure.axes[1]]
        [mark] = own
        assert mark.get_xdata() == pytest.approx([effect.mean])
        assert to_hex(mark.get_color()) == verdict(effect).colour.lower()
    shown = words(figure)
    for effect in effects.values():
        assert verdict(effect).words in shown


def test_variants_that_are_one_network_have_one_effect_between_them(study, tmp_path):
    figure = draw_positions(study("nine"), tmp_path / "p", title="")
    found = marks(figure)
    [(_, merged)] = found["p6*"]
    heights = [line.get_ydata()[0] for v in ("p5", "p6") for axis, line in found[v]]
    assert min(heights) < merged.get_ydata()[0] < max(heights)
    assert any("p5 and p6" in text for text in words(figure))


def test_levels_are_the_means_and_each_seed_is_a_dot(make_study, tmp_path):
    rows = make_study({"none": 0.9, "p7": 0.95}, seeds=4)
    comparison = comparison_of(rows)
    left = draw_positions(comparison, tmp_path / "p", title="").axes[0]
    found = {line.get_gid(): line for line in left.get_lines() if line.get_gid()}
    for variant in ("none", "p7"):
        mean = comparison.level(variant).mean
        assert found[variant].get_xdata() == pytest.approx([mean])
    dots = [x for line in left.get_lines() if len(line.get_xdata()) == 4 for x in line.get_xdata()]
    assert sorted(dots) == pytest.approx(sorted(100 * row.last_accuracy for row in rows))


def test_labels_and_what_became_of_cells_stand_behind_the_names(study, tmp_path):
    figure = draw_positions(
        study("some_diverged"), tmp_path / "p", title="", labels={"p5": "before ReLU 2"}
    )
    assert {"none", "p5: before ReLU 2", "p1 (3 diverged)", "p6 (1 diverged)"} <= set(words(figure))


@pytest.mark.parametrize(("name", "panels"), [("two", 2), ("one_cell", 1), ("all_diverged", 1)])
def test_there_is_no_panel_of_effects_without_effects(study, tmp_path, name, panels):
    assert len(draw_positions(study(name), tmp_path / "p", title="").axes) == panels


def test_curves_are_the_means_over_the_seeds_with_the_baseline_behind(make_row, tmp_path):
    rows = [make_row("p7", seed, accuracy=a) for seed, a in enumerate((0.5, 0.7))]
    rows += [make_row("none", seed, accuracy=0.8) for seed in range(2)]
    rows += [make_row("p7", 2, accuracy=0.1, status="diverged")]
    [axis] = draw_curves(comparison_of(rows), tmp_path / "p", title="").axes
    ends = {
        (to_hex(line.get_color()), line.get_linestyle()): line.get_ydata()[-1]
        for line in axis.get_lines()
    }
    assert ends[INK, "-"] == pytest.approx(60)
    assert ends[BEHIND.lower(), "-"] == pytest.approx(80)
    assert axis.get_lines()[0].get_xdata().tolist() == [1, 2, 3, 4]


def test_a_panel_a_variant_and_colours_only_where_it_is_significant(study, tmp_path):
    comparison = study("far")
    figure = draw_curves(comparison, tmp_path / "p", title="")
    for axis in (axis for axis in figure.axes if axis.axison):
        variant = axis.get_title(loc="left").split()[0]
        effect = comparison.effects["accuracy"][comparison.network(variant)]
        expected = verdict(effect).colour if effect.significant else INK
        assert to_hex(axis._left_title.get_color()) == expected.lower()
        assert expected in (INK, GAIN.colour, LOSS.colour)
        assert expected == INK or to_hex(axis.get_lines()[0].get_color()) == expected.lower()


def test_a_variant_that_dwarfs_the_others_has_a_scale_of_its_own_and_says_so(make_row, tmp_path):
    rows = []
    for variant, accuracy in {"none": 0.9, "p0": 0.1, "p4": 0.91, "p7": 0.89}.items():
        row = make_row(variant, accuracy=accuracy)
        flat = dict.fromkeys(("test_accuracy", "train_accuracy"), [accuracy] * 4)
        rows.append(dataclasses.replace(row, curve=row.curve | flat))
    figure = draw_curves(comparison_of(rows), tmp_path / "p", title="")
    by_name = {axis.get_title(loc="left").replace("\n", " "): axis for axis in figure.axes}
    other = by_name.pop("p0 (another scale)")
    assert len({axis.get_ylim() for axis in by_name.values()}) == 1
    [limits] = {axis.get_ylim() for axis in by_name.values()}
    assert np.ptp(other.get_ylim()) > 2 * np.ptp(limits)


@each_picture
def test_a_path_that_cannot_be_written_is_an_oserror(study, tmp_path, draw):
    with pytest.raises(OSError, match="missing"):
        draw(study("one_cell"), tmp_path / "missing" / "p.png", title="")
