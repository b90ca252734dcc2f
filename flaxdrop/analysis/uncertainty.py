"""Monte-Carlo dropout: what a network does not know, from the spread of its masks."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.analysis.masked import masked_call
from flaxdrop.placement import Placement


class Prediction(NamedTuple):
    """The prediction for a batch, averaged over masks, and its uncertainty.

    Attributes:
      probabilities: f32 `[N, K]`, the mean over masks.
      entropy: f32 `[N]`, of that mean, nats: all of the uncertainty.
      mutual_information: f32 `[N]`, nats: that entropy less the mean entropy of a mask; the part
        that masks disagree on, and more data would lessen (Houlsby et al. 2011).
    """

    probabilities: jax.Array
    entropy: jax.Array
    mutual_information: jax.Array


def mc_predict(
    model: nn.Module,
    variables: Any,
    x: jax.Array,
    placement: Placement,
    *,
    key: jax.Array,
    samples: int,
    inference: Mapping[str, Any] | None = None,
) -> Prediction:
    """Predicts with dropout on and batch norm at inference, over many masks (Gal, Ghahramani 2016).

    Memory does not grow with `samples`. Same key, same prediction.

    Args:
      model: takes `(x, placement)`, returns logits `[N, K]`.
      variables: its parameters and batch statistics.
      x: normalised images `[N, H, W, C]`.
      placement: what is on.
      key: what the masks are drawn from.
      samples: how many masks, at least 1.
      inference: more keywords of the call, as `{"train": False}`; None: none.

    Raises:
      ValueError: no sample; no placement, or one without a slot, or with a slot that the network
        never calls; a network that takes none, or not these keywords, or does not return logits;
        no example, or one that is known not to be finite.

    >>> from flaxdrop.models import Head
    >>> head, x = Head(num_classes=3), jnp.ones((2, 4, 4, 8))
    >>> variables = head.init(jax.random.key(0), x)
    >>> placement = Placement.parse("h5=0.5")
    >>> found = mc_predict(head, variables, x, placement, key=jax.random.key(1), samples=20)
    >>> found.probabilities.shape, bool((found.mutual_information > 0).all())
    ((2, 3), True)
    """
    if samples < 1:
        raise ValueError(f"samples: must be at least 1, got {samples}")
    apply, logits = masked_call(model, variables, x, placement, inference)
    shape = logits.shape
    if not placement.slots:
        raise ValueError("placement: must have a slot, for without dropout no two masks differ")
    examples = jnp.shape(jax.tree.leaves(x)[0])[0]
    if len(shape) != 2 or shape[0] != examples:
        raise ValueError(
            f"model: must return logits [N, K] of {examples} examples, got the shape {shape}"
        )

    def add(sums: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[Any, None]:
        logits = apply(key)
        p = jax.nn.softmax(logits.astype(jnp.float32))
        return (sums[0] + p, sums[1] + _entropy(p)), None

    zero = (jnp.zeros(shape), jnp.zeros(shape[:1]))
    (probabilities, entropies), _ = jax.lax.scan(add, zero, jax.random.split(key, samples))
    mean = probabilities / samples
    entropy = _entropy(mean)
    # Never below 0 but for rounding: entropy is concave.
    return Prediction(mean, entropy, jnp.maximum(entropy - entropies / samples, 0))


def _entropy(p: jax.Array) -> jax.Array:
    return jnp.sum(jax.scipy.special.entr(p), axis=-1)
