"""What the compiler of a TPU says, without the compiler: reading it, and asking for it."""

import jax
import pytest

from benchmarks.harness.settings import Settings
from benchmarks.throughput import tpu
from benchmarks.throughput.estimated import Estimate, estimate

PROGRAM = """
HloModule jit_train, is_scheduled=true

%count.more (p: (s32[], f32[8])) -> pred[] {
  %limit = s32[]{:T(128)} constant(17)
  ROOT %less = pred[] compare(%i, %limit), direction=LT, backend_config={"estimated_cycles":"0"}
}

%block (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %conv = f32[8] fusion(%x), kind=kOutput, calls=%inside, backend_config={"estimated_cycles":"100"}
  ROOT %norm = f32[8] call(%conv), to_apply=%shared
}

%shared (x: f32[8]) -> f32[8] {
  ROOT %y = f32[8] fusion(%x), kind=kLoop, calls=%inside, backend_config={"estimated_cycles":"10"}
}

%until (p: (s32[], f32[8])) -> pred[] {
  ROOT %left = pred[] compare(%i, %n), direction=LT
}

%step (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %blocks = (s32[], f32[8]) while(%p), condition=%count.more, body=%block, metadata={op_name="a"}
  ROOT %update = f32[8] fusion(%x), kind=kLoop, backend_config={"estimated_cycles":"1000"}
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %copy = f32[8] copy(%x), backend_config={"estimated_cycles":"5"}
  ROOT %steps = (s32[], f32[8]) while(%copy), condition=%until, body=%step
}
"""


def test_loops_count_as_often_as_they_run_and_once_where_nobody_knows():
    assert estimate(PROGRAM) == Estimate(5 + 17 * (100 + 10) + 1000, open_loops=1)


def test_a_branch_costs_what_the_dearest_does():
    text = """
%cheap (x: f32[]) -> f32[] {
  ROOT %a = f32[] add(%x, %x), backend_config={"estimated_cycles":"1"}
}
%dear (x: f32[]) -> f32[] {
  ROOT %a = f32[] add(%x, %x), backend_config={"estimated_cycles":"7"}
}
ENTRY %main (x: f32[]) -> f32[] {
  ROOT %c = f32[] conditional(%i, %x, %x), branch_computations={%cheap, %dear}
}"""
    assert estimate(text) == Estimate(7, 0)


@pytest.mark.parametrize(
    ("network", "slots"), [("preresnet-20", 8), ("vgg", 0), ("densenet-40", 3)]
)
def test_networks_are_those_of_the_studies_with_their_slots(network, slots):
    task, family = tpu.task_of(network, "bfloat16")
    assert isinstance(task.recipe, Settings)
    assert task.examples == 50_000
    placement = next(iter(family.placements.values()))
    assert len(placement.slots) == slots
    assert task.model.dtype == jax.numpy.bfloat16


@pytest.mark.parametrize("network", ["preresnet", "vgg-3", "resnet-20", "preresnet-x"])
def test_a_network_that_is_not_known(network):
    with pytest.raises(ValueError, match=r"^networks: must be preresnet-DEPTH, "):
        tpu.task_of(network, "float32")


def test_the_table_says_that_it_is_an_estimate():
    program = tpu.Program("vgg", "train", 100.0, 154_000_000, 2_000_000, 0, Estimate(1_500_000, 1))
    text = tpu.table([program], "TPU v5e").text()
    assert "Estimated by the compiler; nothing ran." in text
    assert "0.998" in text  # ms, of 1.5 million cycles
