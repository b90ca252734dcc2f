"""A network at inference with its dropout on, made sure that it can be called so."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from flaxdrop.calling import naming_call
from flaxdrop.linen import check_linen
from flaxdrop.placement import Placement, check_placement
from flaxdrop.slots import check_reached, reached_slots, untraced_collection


def masked_call(
    model: nn.Module,
    variables: Any,
    x: jax.Array,
    placement: Placement,
    inference: Mapping[str, Any] | None,
) -> tuple[Callable[[jax.Array], jax.Array], jax.ShapeDtypeStruct]:
    """The output of a network under the masks of a key, and its shape.

    Arguments and errors are those of `flaxdrop.analysis.mc_predict`.
    """
    check_linen(model)
    check_placement(placement)
    check_examples(x)
    options = {**(inference or {}), "placement": placement}

    def apply(key: jax.Array, **more: Any) -> Any:
        return model.apply(variables, x, **options, rngs={"dropout": key}, **more)

    untraced = [untraced_collection()]
    try:
        with reached_slots() as reached, naming_call("inference", 'inference={"train": False}'):
            shape, _ = jax.eval_shape(lambda key: apply(key, mutable=untraced), jax.random.key(0))
    except ValueError as error:
        if "unexpected keyword argument 'placement'" not in str(error):
            raise
        raise ValueError(
            "model: must take placement= and have flaxdrop.Dropout inside,"
            f" {type(model).__name__} does not take it"
        ) from None
    check_reached(model, placement, reached)
    return apply, shape


def check_examples(x: Any) -> None:
    """Refuses a batch without an example, or one that is known not to be finite.

    Raises:
      ValueError: it is so; a ReLU may well make numbers of NaN.
    """
    for leaf in jax.tree.leaves(x):
        if not jnp.size(leaf):
            raise ValueError(f"x: must have an example, got shape {jnp.shape(leaf)}")
        known = not isinstance(leaf, jax.core.Tracer)
        if known and not np.isfinite(np.asarray(leaf, np.float32)).all():
            raise ValueError("x: must be finite, got NaN or infinity")
