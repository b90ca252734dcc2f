import functools
import re

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Dropout, Placement
from flaxdrop.analysis import advise


def advice_of(network, placement):
    model, variables, x = network
    return advise(model, variables, x, Placement.parse(placement), masks=2)


@pytest.mark.parametrize("slot", ["p1", "p4"])
def test_dropout_before_a_norm_of_the_branch_is_to_move_to_p6(dense_block, slot):
    [advice] = advice_of(dense_block, f"{slot}=0.4")
    assert (advice.dropout, advice.move_to) == (slot, "p6")
    assert advice.size < advice.shift.mean_abs_log_ratio
    assert advice.shift.dropout_layers == (slot,)
    assert advice.words.startswith(f"{slot} shifts ")
    assert advice.words.endswith(
        f"from {advice.shift.mean_abs_log_ratio:.2f} to {advice.size:.2f}."
    )
    assert advice.shift.worst_first[0].norm in advice.words


def test_every_dropout_of_a_placement_is_judged_alone(preresnet):
    branch, head = advice_of(preresnet, "p6=0.3,h4=0.3")
    assert (branch.dropout, branch.move_to) == ("p6", None)
    assert "No slot of its kind shifts less" in branch.words
    assert str(head) == "h4 shifts no batch norm: it may stay."
    assert "array(" not in repr((branch, head.shift))  # what a notebook shows
    assert head.shift.mean_abs_log_ratio < 1e-4 < branch.shift.mean_abs_log_ratio


def test_the_head_is_told_of_h4(preresnet):
    for advice in advice_of(preresnet, "h5=0.2,logits=0.2"):
        assert advice.words.startswith(f"{advice.dropout} shifts no batch norm; ")
        assert "h4" in advice.words


def test_a_rate_of_1_is_said_in_few_digits(preresnet):
    [advice] = advice_of(preresnet, "p4=1")
    assert advice.move_to == "p6"
    assert re.search(r"has \d(\.\d)?e\+\d+ of the variance", advice.words)


def test_slots_that_a_mask_does_not_fit_are_passed_over(preresnet):
    [advice] = advice_of(preresnet, "h4=0.3:block3")
    assert advice.move_to is None


def test_a_placement_without_slots_gets_no_advice(preresnet):
    with pytest.raises(ValueError, match=r"^placement: must name a slot, got none"):
        advice_of(preresnet, "none")


def test_without_a_placement_all_slots_are_ranked(preresnet):
    model, variables, x = preresnet
    found = advise(model, variables, x)
    assert {advice.dropout for advice in found} == set(model.slots)
    sizes = [advice.size for advice in found]
    assert sizes == sorted(sizes)
    with pytest.raises(ValueError, match=r"^placement: must be a Placement, got 'p4=0.3'; .*parse"):
        advise(*preresnet, "p4=0.3")


class Foreign(nn.Module):
    """Dropout before a norm, behind it, or nowhere."""

    wrong: float = 0.3
    right: float = 0.3
    norm: type[nn.Module] = nn.BatchNorm

    @nn.compact
    def __call__(self, x, deterministic=True):
        options = {"use_running_average": deterministic} if self.norm is nn.BatchNorm else {}
        x = nn.Dropout(self.wrong, deterministic=deterministic, name="wrong")(nn.Dense(16)(x))
        x = nn.relu(self.norm(name="bn", **options)(x))
        return nn.Dense(3)(nn.Dropout(self.right, deterministic=deterministic, name="right")(x))


@pytest.fixture(scope="module")
def batch():
    return jnp.asarray(np.random.RandomState(0).randn(256, 8), jnp.float32)


def foreign_advice(batch, initialise, **options):
    model = Foreign(**options)
    return advise(model, initialise(model, batch), batch)


def test_dropout_of_a_foreign_network_is_named_and_judged(batch, initialise):
    wrong, right = foreign_advice(batch, initialise)
    assert (wrong.dropout, wrong.move_to) == ("wrong", "Dense_1:in")
    assert wrong.words.startswith("wrong stands at bn:in, a wrong place: at inference the input")
    assert "Move it to Dense_1:in: " in wrong.words
    assert wrong.words.endswith(f"falls from {wrong.shift.mean_abs_log_ratio:.2f} to 0.00.")
    assert 0.2 < wrong.shift.mean_abs_log_ratio < 0.5
    assert (right.dropout, right.move_to) == ("right", None)
    assert right.words.startswith("right stands at Dense_1:in, the right place")


def test_a_network_without_dropout_gets_the_ranking(batch, initialise):
    found = foreign_advice(batch, initialise, wrong=0.0, right=0.0)
    assert [advice.dropout for advice in found][-2:] in (
        ["Dense_0:in", "bn:in"],
        ["bn:in", "Dense_0:in"],
    )
    assert found[0].size < 1e-4 < found[-1].size
    assert "(1 of 5) would shift no batch norm" in found[0].words
    assert "(5 of 5) would shift the network by" in found[-1].words
    assert [a.dropout for a in found if "belongs here" in a.words] == ["Dense_1:in"]


def test_a_network_with_slots_and_dropout_has_both_judged(batch, initialise):
    class Both(Foreign):
        @property
        def slots(self):
            return {"before": 1, "behind": 1}

        @nn.compact
        def __call__(self, x, deterministic=True, placement=None):
            x = Dropout("before")(nn.Dense(16)(x), placement)
            x = nn.Dropout(0.3, deterministic=deterministic, name="wrong")(nn.Dense(16)(x))
            x = nn.relu(nn.BatchNorm(use_running_average=deterministic, name="bn")(x))
            return nn.Dense(3)(Dropout("behind")(x, placement))

    model = Both()
    wrong, *slots = advise(model, initialise(model, batch), batch)
    assert (wrong.dropout, wrong.move_to) == ("wrong", "Dense_2:in")
    assert wrong.shift.mean_abs_log_ratio > 0.2
    assert [advice.dropout for advice in slots] == ["behind", "before"]
    assert slots[0].size < 1e-4 < slots[1].size


class Excited(nn.Module):
    """A block of which the channels are scaled, as in squeeze-and-excitation."""

    @nn.compact
    def __call__(self, x, train=False):
        norm = functools.partial(nn.BatchNorm, use_running_average=not train)
        y = norm()(nn.Conv(8, (1, 1))(x))
        scales = nn.Conv(8, (1, 1), name="squeeze")(y.mean((1, 2), keepdims=True))
        scales = nn.Conv(8, (1, 1), name="excite")(nn.relu(scales))
        return x + norm()(nn.Conv(8, (1, 1))(nn.relu(y) * nn.sigmoid(scales)))


class Scaled(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        for _ in range(2):
            x = Excited()(x, train)
        return nn.Dense(3)(x.mean((1, 2)))


def test_dropout_does_not_belong_on_the_scales_of_channels(initialise):
    x = jnp.asarray(np.random.RandomState(0).randn(64, 4, 4, 8), jnp.float32)
    found = advise(Scaled(), initialise(Scaled(), x), x)
    sizes = {advice.dropout: advice.size for advice in found}
    [best] = [advice.dropout for advice in found if "belongs here" in advice.words]
    assert "squeeze" not in best
    assert "excite" not in best
    assert min(size for name, size in sizes.items() if "Excited" in name) < sizes[best]


def test_other_norms_renormalise(batch, initialise):
    wrong, right = foreign_advice(batch, initialise, norm=nn.LayerNorm)
    for advice in (wrong, right):
        assert advice.words.endswith("No batch norm: nothing to shift.")
        assert advice.move_to is None


def test_a_network_without_norms_has_nothing_to_shift(batch, initialise):
    model = nn.Dense(3)
    with pytest.raises(ValueError, match=r"^model: has no norms, Dense has nothing to shift$"):
        advise(model, initialise(model, batch), batch)
    with pytest.raises(ValueError, match=r"^batch: must be at least 2, got 1$"):
        foreign_advice(batch[:1], initialise)
