"""What a network costs: floating-point operations, counted in its jaxpr."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def flops_per_image(model: nn.Module, image_shape: tuple[int, ...]) -> int:
    """Floating-point operations of one forward pass of one image.

    Counts the products and sums of convolutions and matrix products, as the literature does (two
    for each multiply-add); a training step costs three times as much.

    Args:
      model: takes `[N, H, W, C]`.
      image_shape: (H, W, C).

    >>> flops_per_image(nn.Dense(10), (32,))
    640
    """
    x = jnp.zeros((1, *image_shape))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), x))
    return _count(jax.make_jaxpr(model.apply)(variables, x).jaxpr)


def _count(jaxpr: Any) -> int:
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: Any) -> int:
    out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
    if equation.primitive.name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        layout = equation.params["dimension_numbers"].rhs_spec
        return 2 * out * math.prod(kernel) // kernel[layout[0]]
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2 * out * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    if equation.primitive.name == "cond":
        branches = [branch.jaxpr for branch in equation.params["branches"]]
        platforms = equation.params.get("branches_platforms")
        if platforms and None in platforms:  # the others do the same with other products
            return _count(branches[platforms.index(None)])
        return max(map(_count, branches))
    times = equation.params["length"] if equation.primitive.name == "scan" else 1
    return times * sum(_count(inner) for inner in _inner(equation.params))


def _inner(params: dict[str, Any]) -> list[Any]:
    found = []
    for value in params.values():
        jaxpr = getattr(value, "jaxpr", value)
        if hasattr(jaxpr, "eqns"):
            found.append(jaxpr)
    return found
