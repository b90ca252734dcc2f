"""Precisions of a training, each with what it means for jax."""

from typing import Any

# precision -> `jax_default_matmul_precision`.
MATMUL_PRECISION = {"float32": "float32", "tensorfloat32": "tensorfloat32", "bfloat16": "default"}
PRECISIONS = tuple(MATMUL_PRECISION)

# jax is imported where it is used: the baselines in PyTorch read `PRECISIONS` without it.


def activation_dtype(precision: str) -> Any:
    """The dtype of a network's activations."""
    import jax.numpy as jnp

    return jnp.bfloat16 if precision == "bfloat16" else jnp.float32


def set_matmul_precision(precision: str) -> None:
    """Sets the precision of products on accelerators, for the whole process."""
    import jax

    jax.config.update("jax_default_matmul_precision", MATMUL_PRECISION[precision])
