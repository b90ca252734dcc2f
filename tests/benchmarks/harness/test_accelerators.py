"""The programs of every study are lowered for accelerators that are not here."""

import jax
import pytest

from benchmarks.harness.catalog import STUDIES, load_settings, load_study
from benchmarks.harness.planning import make_plan
from flaxdrop.training.task import Images
from flaxdrop.training.tracing import make_mesh, trace

ACCELERATORS = ("cuda", "tpu")
SLOW = ("vgg_depth", "pooling", "pretrain")  # of many networks, or of a large one
CASES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in STUDIES]


@pytest.fixture(scope="module", params=CASES)
def plan(request, tmp_path_factory):
    """Of a study in the form that is its example, without the features of a frozen network."""
    study = load_study(request.param)
    settings = load_settings(study, study.example)
    return make_plan(study, settings, str(tmp_path_factory.mktemp("run")), without_data=True)


def shapes_of(plan):
    shape, count = plan.input_shape, plan.examples
    pixels = plan.pixels.x_train.dtype if plan.frozen is None else "float32"

    def images(count):
        x = jax.ShapeDtypeStruct((count, *shape), pixels)
        return x, jax.ShapeDtypeStruct((count,), "int32")

    channels = jax.ShapeDtypeStruct(shape[-1:], "float32")
    return Images(*images(count), *images(len(plan.dataset.y_test)), channels, channels)


def test_start_train_and_evaluate_are_lowered_for_gpu_and_tpu(plan):
    for family in plan.families:
        cell = plan.cell(next(iter(family.placements)), 0)
        traced = trace(plan.task(family), shapes_of(plan), cell, make_mesh(jax.devices()[:1]))
        for program in (traced.start, traced.train, traced.evaluate()):
            for accelerator in ACCELERATORS:
                text = program.lower(lowering_platforms=(accelerator,)).as_text()
                assert "stablehlo" in text
                assert "onednn" not in text  # what is for CPUs alone
