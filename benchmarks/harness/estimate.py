"""What a run will cost, before it starts."""

import time

import jax
import jax.numpy as jnp

from benchmarks.harness.plan import Plan, S
from benchmarks.harness.study import Study
from benchmarks.harness.variants import parameter_count
from flaxdrop.models.cost import flops_per_image

_PROGRAMS = 3  # start, train, evaluate


def describe_plan(study: Study[S], plan: Plan[S]) -> str:
    """Cells, parameters, FLOPs, compilations and an estimate of the time, as text.

    The estimate takes the speed of one convolution, measured now, for that of all: it is rough.
    """
    shape = plan.input_shape
    recipe = plan.settings
    chosen = [f for f in plan.families if set(f.placements) & set(plan.variants)]
    train = recipe.steps_per_epoch(plan.examples) * recipe.batch * recipe.epochs
    test = len(plan.dataset.x_test) * recipe.epochs
    lines = [
        f"study          {study.name}: {study.question}",
        f"data           {plan.dataset.describe(plan.examples)}",
        f"cells          {plan.total}: {', '.join(plan.variants)} x {plan.settings.seeds} seeds",
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
        own = len(set(family.placements) & set(plan.variants)) * plan.settings.seeds
        work += own * flops * (3 * train + test)
        lines.append(
            f"network        {parameter_count(family.model, shape):,} parameters,"
            f" {flops:,} FLOPs an {'image' if plan.frozen is None else 'example'} forward"
        )
    hours = work / (_flops_per_second() * len(plan.devices)) / 3600
    lines += [
        f"estimate       {work:.2e} FLOPs, roughly {_words(hours)} (convolutions alone: often"
        " twice that)",
        f"results        {plan.folder.path}",
    ]
    return "\n".join(lines)


def _flops_per_second(repeats: int = 5) -> float:
    """Of a 3x3 convolution of 32 channels on the first device."""
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


def _words(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} seconds"
    return f"{60 * hours:.0f} minutes" if hours < 2 else f"{hours:.0f} hours"
