import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement
from flaxdrop.analysis import probe, variance_shift
from flaxdrop.theory.block import slot_shifts


class Block(nn.Module):
    """A norm, ReLU, dropout and weight: the dropout shifts the norm of the next block."""

    train: bool
    rate: float = 0.5
    axis_name: str | None = None
    collection: str = "dropout"

    @nn.compact
    def __call__(self, x, _=None):
        norm = nn.BatchNorm(use_running_average=not self.train, axis_name=self.axis_name)
        x = nn.relu(norm(x))
        x = nn.Dropout(self.rate, deterministic=not self.train, rng_collection=self.collection)(x)
        return nn.Dense(16, use_bias=False)(x), None


class Chain(nn.Module):
    """Three such blocks, under a transformation of Flax."""

    lift: str = "none"
    options: tuple = ()

    @nn.compact
    def __call__(self, x, train=False):
        block = functools.partial(Block, **dict(self.options))
        if "scan" in self.lift:
            inner = nn.remat(Block) if "remat" in self.lift else Block
            scanned = nn.scan(
                inner,
                variable_axes={"params": 0, "batch_stats": 0},
                split_rngs={"params": True, "dropout": True},
                length=3,
            )
            return scanned(train, **dict(self.options))(x, None)[0]
        made = nn.jit(Block) if self.lift == "jit" else block
        for _ in range(3):
            x, _ = made(train)(x)
        return x


class Flat(nn.Module):
    """Whatever `body` does; for networks of one line."""

    body: object

    @nn.compact
    def __call__(self, x, train=False):
        return self.body(x, train)


def norm_of(train, **options):
    return nn.BatchNorm(use_running_average=not train, **options)


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.RandomState(0).randn(512, 16), jnp.float32)


@pytest.mark.parametrize("slot", ["p1", "p2", "p3", "p5", "p6", "p7"])
def test_slots_of_a_block_shift_as_the_closed_forms_say(dense_block, dense_block_probe, slot):
    _, _, x = dense_block
    shift = dense_block_probe(f"{slot}=0.3")
    assert [norm.norm for norm in shift.norms] == ["norm1", "norm2"]
    expected = slot_shifts(0.3, batch=len(x))[slot][:2]
    assert [norm.geometric_mean for norm in shift.norms] == pytest.approx(expected, abs=0.01)
    assert shift.dropout_layers == (slot,)


@pytest.mark.parametrize("lift", ["none", "scan", "remat scan", "jit"])
def test_norms_are_found_and_measured_within_transformations(lift, x, initialise):
    model = Chain(lift)
    variables = initialise(model, x)
    before = jax.tree.map(np.asarray, variables)
    shift = variance_shift(model, variables, x)
    assert [norm.ratio.shape for norm in shift.norms] == [(16,)] * 3
    first, second, third = (norm.geometric_mean for norm in shift.norms)
    assert first == pytest.approx(1, abs=1e-4)
    # Deeper norms see what became of the shift before them, and more of it.
    assert 0.35 < second < 0.6
    assert third < second
    if "scan" in lift:
        assert [norm.norm[-3:] for norm in shift.norms] == ["[0]", "[1]", "[2]"]
    jax.tree.map(np.testing.assert_array_equal, variables, before)


def test_norms_of_a_scan_take_turns(preresnet_probe):
    shift = preresnet_probe("p4=0.3")
    assert [norm.norm for norm in shift.norms] == [
        "stage1_first/norm1",
        "stage1_first/norm2",
        "stage1_rest/norm1[0]",
        "stage1_rest/norm2[0]",
        "stage1_rest/norm1[1]",
        "stage1_rest/norm2[1]",
        "norm",
    ]
    assert shift.norms[0].abs_log_ratio < 1e-4
    assert min(norm.abs_log_ratio for norm in shift.norms if "norm2" in norm.norm) > 0.2
    assert "norm2" in shift.worst_first[0].norm


def test_norms_over_devices_and_keys_of_another_name(x, initialise):
    model = Chain("none", (("axis_name", "batch"), ("collection", "noise")))
    shift = variance_shift(model, initialise(model, x), x)
    assert shift.norms[0].geometric_mean == pytest.approx(1, abs=1e-4)
    assert shift.norms[1].geometric_mean < 0.6


@pytest.mark.parametrize("placement", ["none", "p4=0", "h4=0.5,h5=0.5,logits=0.5"])
def test_without_a_dropout_before_a_norm_nothing_is_shifted(preresnet_probe, placement):
    shift = preresnet_probe(placement)
    assert shift.mean_abs_log_ratio < 1e-4
    for norm in shift.norms:
        np.testing.assert_allclose(norm.ratio, 1, atol=2e-3)
        np.testing.assert_allclose(norm.mean_shift, 0, atol=2e-3)
        assert norm.error < 1e-6


def test_statistics_that_were_stored_change_nothing(preresnet, preresnet_probe):
    _, variables, _ = preresnet
    other = {
        "params": variables["params"],
        "batch_stats": jax.tree.map(lambda leaf: 3 * leaf + 1, variables["batch_stats"]),
    }
    sizes = [preresnet_probe("p4=0.3", state).mean_abs_log_ratio for state in (variables, other)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-5)


def test_a_norm_that_stays_frozen_keeps_its_statistics(x, initialise):
    def body(x, train):
        x = nn.BatchNorm(use_running_average=True, name="frozen")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return norm_of(train, name="free")(x)

    shift = variance_shift(Flat(body), initialise(Flat(body), x), 3 * x)
    by_name = {norm.norm: norm for norm in shift.norms}
    assert by_name["frozen"].geometric_mean == pytest.approx(1, abs=1e-4)
    assert by_name["free"].geometric_mean == pytest.approx(0.5, abs=0.02)


def test_single_dropout_layers_are_told_apart(x, initialise):
    def body(x, train):
        x = nn.Dropout(0.5, deterministic=not train, name="early")(x)
        x = norm_of(train)(x)
        return nn.Dropout(0.5, deterministic=not train, name="late")(x)

    model = Flat(body)
    variables = initialise(model, x)
    made = probe(model, variables, x)
    assert made.dropout_layers == ("early", "late")
    early, late = (
        made.measure(variables, x, dropout_layers=[name]) for name in made.dropout_layers
    )
    assert early.norms[0].geometric_mean == pytest.approx(0.5, abs=0.02)
    assert late.mean_abs_log_ratio < 1e-4
    assert late.dropout_layers == ("late",)


def test_a_mean_that_moves_is_measured_in_standard_deviations(initialise):
    # The maximum of two, one of them dropped half of the time, has another mean.
    def body(x, train):
        pairs = nn.Dropout(0.5, deterministic=not train)(x).reshape(len(x), -1, 2)
        return norm_of(train)(jnp.max(pairs, axis=-1))

    x = jnp.abs(jnp.asarray(np.random.RandomState(0).randn(4096, 16), jnp.float32))
    [norm] = variance_shift(Flat(body), initialise(Flat(body), x), x).norms
    dropped = np.asarray(x).reshape(-1, 2)
    halves = np.random.default_rng(0).random(dropped.shape) < 0.5
    training = np.max(2 * dropped * halves, axis=1)
    expected = (dropped.max(axis=1).mean() - training.mean()) / training.std()
    np.testing.assert_allclose(norm.mean_shift, expected, atol=0.05)
    assert norm.rms_mean_shift == pytest.approx(abs(expected), abs=0.05)


def test_one_compilation_serves_variables_rates_and_dropout_layers(dense_block):
    model, variables, x = dense_block
    traces = []

    class Counted(type(model)):
        def __call__(self, *arguments, **options):
            traces.append(1)
            return super().__call__(*arguments, **options)

    placement = Placement({"p3": 0.3, "p6": 0.1})
    made = probe(Counted(), variables, x, placement)
    made.measure(variables, x, placement)
    first = len(traces)
    other = jax.tree.map(lambda leaf: 2 * leaf, variables)
    sizes = [
        made.measure(
            state, x, Placement({"p3": rate, "p6": 0.1}), dropout_layers=on
        ).mean_abs_log_ratio
        for state in (variables, other)
        for rate in (0.1, 0.5)
        for on in (["p3"], ["p6"], ["p3", "p6"])
    ]
    assert len(traces) == first
    assert sizes[3] > 2 * sizes[0] > 0.02


def test_what_flax_traced_before_is_not_taken_for_a_measurement(x, initialise):
    compiled = nn.jit(Block)

    class Compiled(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            for i in range(11):
                x, _ = compiled(train, name=f"block{i}")(x)
            return x

    model = Compiled()
    variables = initialise(model, x)
    keys = {"dropout": jax.random.key(0), "params": jax.random.key(1)}
    model.apply(variables, x, train=True, rngs=keys, mutable=["batch_stats"])
    model.apply(variables, x, mutable=["batch_stats"])
    shift = variance_shift(model, variables, x, masks=2)
    assert [norm.norm for norm in shift.norms] == [f"block{i}/BatchNorm_0" for i in range(11)]
    assert shift.norms[0].geometric_mean == pytest.approx(1, abs=1e-4)
    assert all(norm.geometric_mean < 0.6 for norm in shift.norms[1:])


def test_the_table_is_worst_first_and_short(preresnet_probe):
    shift = preresnet_probe("p4=0.3")
    table = shift.table(rows=3)
    ratios = [abs(np.log(float(row[2]))) for row in table.cells]
    assert ratios == sorted(ratios, reverse=True)
    assert [row[0] for row in table.cells] == [norm.norm for norm in shift.worst_first[:3]]
    assert int(table.cells[0][1]) == 1 + shift.norms.index(shift.worst_first[0])
    assert table.notes[0] == f"The 3 most shifted of {len(shift.norms)} norms."
    assert str(shift) == shift.table().text()


@pytest.mark.parametrize("axis", [1, -1])
def test_statistics_may_be_stacked_along_any_axis(x, axis):
    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            axes = {"params": 0, "batch_stats": axis}
            split = {"params": True, "dropout": True}
            scanned = nn.scan(Block, variable_axes=axes, split_rngs=split, length=3)
            return scanned(train)(x, None)[0]

    variables = jax.jit(lambda: Stack().init(jax.random.key(0), x))()
    first, second, third = variance_shift(Stack(), variables, x).norms
    assert first.ratio.shape == (16,)
    assert first.geometric_mean == pytest.approx(1, abs=1e-4)
    assert 0.35 < second.geometric_mean < 0.6
    assert third.geometric_mean < second.geometric_mean


@pytest.mark.parametrize(
    ("placement", "options", "said"),
    [
        (None, {}, "^placement: must have the slots .* p3=0.3, got None$"),
        ({"p6": 0.3}, {}, "^placement: must have the slots .* p3=0.3, got p6=0.3$"),
        ({"p3": 1.5}, {}, r"^placement: the rate of 'p3': must be in \[0, 1\], got 1.5$"),
        ({"p3": 0.3}, {"dropout_layers": ["p6"]}, "^dropout_layers: must be .* on, p3, got 'p6'$"),
    ],
)
def test_a_probe_measures_what_it_was_made_for(dense_block, placement, options, said):
    model, variables, x = dense_block
    made = probe(model, variables, x[:8], Placement({"p3": 0.3}))
    with pytest.raises(ValueError, match=said):
        made.measure(variables, x[:8], placement and Placement(placement), **options)
