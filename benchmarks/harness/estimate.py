"""What a run will cost, before it starts."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.harness.plan import Plan, S
from benchmarks.harness.study import Study
from benchmarks.harness.variants import parameter_count
from flaxdrop.models.cost import flops_per_image
from flaxdrop.training.recipe import Recipe

_PROGRAMS = 3  # start, train, evaluate


def describe_plan(study: Study[S], plan: Plan[S]) -> str:
    """Cells, parameters, FLOPs, compilations and an estimate of the time, as text.

    The estimate takes the speed of one convolution, measured now, for that of all: it is rough.
    """
    shape = plan.input_shape
    settings = plan.settings
    chosen = [f for f in plan.families if set(f.placements) & set(plan.variants)]
    lines = [
        f"study          {study.name}: {study.question}",
        f"data           {plan.dataset.describe(plan.examples)}",
        f"cells          {plan.total}: {', '.join(plan.variants)} x {settings.seeds} seeds",
        f"devices        {len(plan.devices)} x {plan.devices[0].device_kind}",
        f"compilations   {_PROGRAMS * len(chosen)} (start, train, evaluate; for every network)",
    ]
    work = 0.0
    if plan.frozen:
        images = len(plan.pixels.x_train) + len(plan.pixels.x_test)
        work += images * flops_per_image(plan.frozen.model, plan.dataset.image_shape)
        lines.append(f"frozen         features of {'x'.join(map(str, shape))}, computed once")
    for family in chosen:
        flops = flops_per_image(family.model, shape)
        own = len(set(family.placements) & set(plan.variants)) * settings.seeds
        work += own * cell_flops(
            family.model, shape, settings, plan.examples, len(plan.dataset.x_test)
        )
        lines.append(
            f"network        {parameter_count(family.model, shape):,} parameters,"
            f" {flops:,} FLOPs an {'image' if plan.frozen is None else 'example'} forward"
        )
    hours = work / (flops_per_second() * len(plan.devices)) / 3600
    lines += [
        f"estimate       {work:.2e} FLOPs, roughly {time_in_words(hours)}"
        " (convolutions alone: often twice that)",
        f"results        {plan.folder.path}",
    ]
    return "\n".join(lines)


@functools.cache
def cell_flops(
    model: Any, input_shape: tuple[int, ...], recipe: Recipe, examples: int, test_examples: int
) -> float:
    """The FLOPs of one cell: its training, and the test after each epoch.

    Args:
      model: the network.
      input_shape: of an example.
      recipe: how it is trained.
      examples: training examples of the cell.
      test_examples: examples that it is tested on.
    """
    train = recipe.steps_per_epoch(examples) * recipe.batch
    # A training step costs three forward passes.
    return flops_per_image(model, input_shape) * (3 * train + test_examples) * recipe.epochs


def flops_per_second(repeats: int = 5) -> float:
    """The speed of a 3x3 convolution of 32 channels on the first device, measured now."""
    x, kernel = jnp.ones((64, 16, 16, 32)), jnp.ones((3, 3, 32, 32))
    layout = ("NHWC", "HWIO", "NHWC")
    convolve = jax.jit(
        lambda x: jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
    )
    jax.block_until_ready(convolve(x))
    began = time.perf_counter()
    for _ in range(repeats):
        x = convolve(x)
    jax.block_until_ready(x)
    return 2 * x.size * kernel.size / 32 * repeats / (time.perf_counter() - began)


def time_in_words(hours: float) -> str:
    """A duration, rounded, in its fitting unit.

    >>> time_in_words(1 / 60), time_in_words(1.5)
    ('60 seconds', '90 minutes')
    """
    if hours < 1.5 / 60:
        return f"{3600 * hours:.0f} seconds"
    return f"{60 * hours:.0f} minutes" if hours < 2 else f"{hours:.0f} hours"
