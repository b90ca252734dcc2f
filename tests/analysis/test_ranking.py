import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.throughput.baselines import flax_networks
from flaxdrop import Placement, with_slots
from flaxdrop.analysis import advise, rank_slots, variance_shift

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.RandomState(0).randn(64, 8, 8, 3), jnp.float32)


@pytest.fixture(scope="module")
def plain(images, initialise):
    """(model, variables): a plain network that has its dropout at P6."""
    model = flax_networks.PreResNet(1, 5, rate=0.3)
    return model, initialise(model, images, train=False)


@pytest.fixture(scope="module")
def plain_ranking(plain, images):
    return rank_slots(*plain, images, rate=0.3, masks=2)


def test_declared_slots_are_ranked_as_they_are_measured_alone(preresnet, preresnet_probe):
    model, variables, x = preresnet
    ranking = rank_slots(model, variables, x, rate=0.3, masks=2)
    assert [ranked.slot for ranked in ranking.slots] == [*model.slots]
    for slot in ("p4", "p6", "h4"):
        alone = preresnet_probe(f"{slot}=0.3")
        assert ranking[slot].size == pytest.approx(alone.mean_abs_log_ratio, rel=1e-3, abs=1e-5)
        assert [norm.norm for norm in ranking[slot].shift.norms] == [n.norm for n in alone.norms]


def test_boundaries_are_ranked_as_they_are_measured_alone(plain, plain_ranking, images):
    model, variables = plain
    off = model.copy(rate=0.0)
    slotted = with_slots(off, images, train=True)
    assert [ranked.slot for ranked in plain_ranking.slots] == [*slotted.slots]
    for slot in ("Block_*/BatchNorm_1:in", "BatchNorm_0:in"):
        placement = Placement({slot: 0.3})
        alone = variance_shift(slotted, variables, images, placement, masks=2)
        assert plain_ranking[slot].size == pytest.approx(
            alone.mean_abs_log_ratio, rel=1e-3, abs=1e-5
        )
        assert alone.mean_abs_log_ratio > 0.01
        assert alone.dropout_layers == (slot,)


def test_p6_is_better_than_before_the_norms_and_the_table_says_so(plain_ranking):
    sizes = {ranked.slot: ranked.size for ranked in plain_ranking.slots}
    assert sizes["Block_*/Conv_1:in"] < sizes["Block_*/BatchNorm_1:in"]
    assert sizes["Block_*/Conv_1:in"] < sizes["Block_*:in"]
    assert plain_ranking.worst.size == max(sizes.values())
    table = plain_ranking.table()
    assert [row[0] for row in table.cells] == [r.slot for r in plain_ranking.best_first]
    assert table.cells[-1][0] == plain_ranking.worst.slot in str(plain_ranking)


def test_dropout_that_stands_at_p6_is_in_the_right_place(plain, images):
    [advice] = advise(*plain, images)
    assert (advice.dropout, advice.move_to) == ("Block_0/Dropout_0", None)
    assert "and 2 like it stand at Block_*/Conv_1:in, the right place" in advice.words


class Wrong(nn.Module):
    """A block with its dropout between convolution and norm."""

    @nn.compact
    def __call__(self, x, train):
        def norm():
            return nn.BatchNorm(use_running_average=not train)

        y = nn.Conv(8, (3, 3))(nn.relu(norm()(x)))
        y = nn.Dropout(0.3, deterministic=not train)(y)
        return x + nn.Conv(8, (3, 3))(nn.relu(norm()(y)))


class Network(nn.Module):
    scanned: bool

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(8, (3, 3))(x)
        if self.scanned:
            scanned = nn.scan(
                lambda block, x: (block(x, train), None),
                variable_axes={"params": 0, "batch_stats": 0},
                split_rngs={"params": True, "dropout": True},
                length=3,
            )
            x, _ = scanned(Wrong(name="blocks"), x)
        else:
            for i in range(3):
                x = Wrong(name=f"block{i}")(x, train)
        return nn.Dense(5)(nn.relu(nn.BatchNorm(use_running_average=not train)(x)).mean((1, 2)))


@pytest.mark.parametrize("scanned", [False, True])
def test_dropout_in_a_wrong_place_is_sent_to_the_last_convolution(scanned, images, initialise):
    model = Network(scanned)
    [advice] = advise(model, initialise(model, images, train=False), images)
    assert advice.move_to in ("blocks/Conv_1:in", "block*/Conv_1:in")
    assert advice.size < advice.shift.mean_abs_log_ratio


class Normed(nn.Module):
    """Two dense layers around a norm."""

    norm: nn.Module

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(16)(x)
        return nn.Dense(4)(self.norm(x))


@pytest.mark.parametrize(
    "norm",
    [nn.LayerNorm(), nn.RMSNorm(), nn.GroupNorm(4), nn.InstanceNorm()],
    ids=["layer", "rms", "group", "instance"],
)
def test_other_norms_see_another_variance_and_no_shift(norm, initialise):
    x = jnp.asarray(np.random.RandomState(0).randn(64, 32, 8), jnp.float32)
    model = Normed(norm)
    ranking = rank_slots(model, initialise(model, x), x, rate=0.5)
    by_slot = {ranked.slot: ranked for ranked in ranking.slots}
    before = next(slot for slot in by_slot if "norm" in slot and slot.endswith(":in"))
    assert by_slot[before].size == 0
    # Half of the units at twice the size: about twice the mean square.
    assert by_slot[before].renormalised.norms[0].geometric_mean == pytest.approx(0.5, abs=0.03)
    assert by_slot["Dense_1:in"].input_size == 0
    assert "renormalise" in str(ranking)
    assert "nothing to shift" in str(ranking)


def test_all_slots_take_one_compilation(images, initialise):
    traces = []

    class Counted(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            traces.append(train)
            x = nn.Dense(4)(x)
            return nn.Dense(3)(nn.BatchNorm(use_running_average=not train)(x))

    variables = initialise(Counted(), images, train=False)
    traces.clear()
    rank_slots(Counted(), variables, images)
    # The slots and what training freezes are seen in training; one look, and the program.
    assert sorted(traces) == [False, False, True, True]


def test_what_cannot_be_ranked_is_refused_in_one_line(images, initialise):
    model = nn.Sequential([nn.Dense(3)])
    variables = initialise(model, images)
    for options, x, said in (
        ({}, images, r"^model: has no norms, Sequential has nothing to shift$"),
        ({}, images[:1], r"^batch: must be at least 2, got 1$"),
        ({"masks": 0}, images, r"^masks: must be at least 1, got 0$"),
        ({"rate": 1.5}, images, r"^rate: must be in \[0, 1\], got 1.5$"),
    ):
        with pytest.raises(ValueError, match=said):
            rank_slots(model, variables, x, **options)


def test_a_norm_that_training_freezes_keeps_its_statistics(initialise):
    class Frozen(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=True, name="frozen")(nn.Dense(16)(x))
            return nn.BatchNorm(use_running_average=not train, name="free")(x)

    x = jnp.asarray(np.random.RandomState(0).randn(512, 8), jnp.float32)
    variables = initialise(Frozen(), x, train=False)
    ranking = rank_slots(Frozen(), variables, x, rate=0.5)
    frozen, free = ranking["frozen:in"].shift.norms
    for norm in (frozen, free):
        assert norm.geometric_mean == pytest.approx(0.5, abs=0.05)
    assert np.isnan(frozen.error)  # of one mask
    alone = variance_shift(
        with_slots(Frozen(), x), variables, x, Placement({"frozen:in": 0.5}), masks=2
    )
    assert ranking["frozen:in"].size == pytest.approx(alone.mean_abs_log_ratio, rel=0.02)
    assert jax.tree.all(jax.tree.map(lambda leaf: np.isfinite(leaf).all(), variables))


def test_a_network_may_be_called_by_what_is_mutable(initialise):
    class Asking(nn.Module):
        @nn.compact
        def __call__(self, x):
            frozen = not self.is_mutable_collection("batch_stats")
            return nn.BatchNorm(use_running_average=frozen, name="norm")(nn.Dense(16)(x))

    x = jnp.asarray(np.random.RandomState(0).randn(512, 8), jnp.float32)
    ranking = rank_slots(Asking(), initialise(Asking(), x), x, rate=0.5)
    [norm] = ranking["norm:in"].shift.norms
    assert norm.geometric_mean == pytest.approx(0.5, abs=0.05)


def test_a_norm_that_is_called_twice_is_refused(initialise):
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            norm = nn.BatchNorm(use_running_average=not train, name="norm")
            return norm(norm(x))

    x = jnp.ones((4, 8))
    with pytest.raises(ValueError, match=r"^norm norm: is called twice in a pass, must be once"):
        rank_slots(Twice(), initialise(Twice(), x, train=False), x)


def test_norms_may_average_over_devices(initialise):
    class Synchronised(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            norm = nn.BatchNorm(use_running_average=not train, axis_name="devices", name="norm")
            return norm(nn.Dense(16)(x))

    x = jnp.asarray(np.random.RandomState(0).randn(512, 8), jnp.float32)
    ranking = rank_slots(Synchronised(), initialise(Synchronised(), x, train=False), x, rate=0.5)
    [norm] = ranking["norm:in"].shift.norms
    assert norm.geometric_mean == pytest.approx(0.5, abs=0.05)
