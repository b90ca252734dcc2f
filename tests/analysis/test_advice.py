import re

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement
from flaxdrop.analysis import advise


def advice_of(network, placement):
    model, variables, x = network
    return advise(model, variables, x, Placement.parse(placement), masks=2)


@pytest.mark.parametrize("slot", ["p1", "p4"])
def test_dropout_before_a_norm_of_the_branch_is_to_move_to_p6(dense_block, slot):
    [advice] = advice_of(dense_block, f"{slot}=0.4")
    assert (advice.dropout, advice.move_to) == (slot, "p6")
    assert advice.size < advice.shift.mean_abs_log_ratio
    assert advice.shift.dropouts == (slot,)
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


def test_without_dropout_there_is_no_advice(preresnet, initialise):
    with pytest.raises(ValueError, match=r"^placement: must name a slot, got none"):
        advice_of(preresnet, "none")

    class Dry(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.Dropout(0.0, deterministic=not train)(x)
            return nn.BatchNorm(use_running_average=not train)(x)

    x = jnp.ones((4, 8))
    with pytest.raises(ValueError, match=r"^model: must have dropout that is on.* Dry has none"):
        advise(Dry(), initialise(Dry(), x), x)


def test_slots_need_a_placement(preresnet):
    with pytest.raises(ValueError, match=r"^placement: must be given, .* slots are .*p6") as error:
        advise(*preresnet)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"^placement: must be a Placement, got 'p4=0.3'; .*parse"):
        advise(*preresnet, "p4=0.3")


def test_dropouts_of_a_foreign_network_are_named_and_judged(initialise):
    class Foreign(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic=True):
            x = nn.Dropout(0.3, deterministic=deterministic, name="wrong")(nn.Dense(16)(x))
            x = nn.relu(nn.BatchNorm(use_running_average=deterministic, name="bn")(x))
            return nn.Dense(3)(nn.Dropout(0.3, deterministic=deterministic, name="right")(x))

    x = jnp.asarray(np.random.RandomState(0).randn(256, 8), jnp.float32)
    wrong, right = advise(
        Foreign(),
        initialise(Foreign(), x),
        x,
        training={"deterministic": False},
        inference={"deterministic": True},
        masks=2,
    )
    assert wrong.words.startswith(
        "wrong shifts 1 of 1 batch norms, bn most: at inference its input"
    )
    assert "Behind bn it would shift none" in wrong.words
    assert right.words == "right shifts no batch norm: it may stay."
