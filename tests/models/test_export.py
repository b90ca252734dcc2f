"""Programs for any batch, and for accelerators that are not here."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from flaxdrop import Placement
from flaxdrop.mask import MASKS
from tests.networks import NETWORKS, small_network

pytestmark = pytest.mark.slow


def images_of_any_batch(name):
    shape = (*export.symbolic_shape("n"), *NETWORKS[name].small_image)
    return jax.ShapeDtypeStruct(shape, jnp.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_is_exported_for_any_batch_and_every_platform(name):
    variables = small_network(name).variables
    infer = jax.jit(NETWORKS[name].small.apply)
    images = images_of_any_batch(name)
    exported = export.export(infer, platforms=("cpu", "cuda", "tpu"))(variables, images)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    for batch in (1, 3):
        random = np.random.RandomState(batch)
        x = jnp.asarray(random.rand(batch, *images.shape[1:]), jnp.float32)
        chex.assert_trees_all_close(exported.call(variables, x), infer(variables, x), rtol=1e-4)


@pytest.mark.parametrize("mask", MASKS)
def test_gradients_with_dropout_are_exported_for_any_batch(mask, small):
    model, variables = small.model, small.variables
    slots = [slot for slot in model.slots if slot.startswith("p")]
    placement = Placement(dict.fromkeys(slots, 0.2), dict.fromkeys(slots, mask))

    def loss(params, x, key):
        logits, _ = model.apply(
            {**variables, "params": params},
            x,
            train=True,
            placement=placement,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        return jnp.mean(logits**2)

    key = jax.random.key(1)
    gradient = jax.jit(jax.grad(loss))
    exported = export.export(gradient, platforms=("cuda", "tpu"))(
        variables["params"], images_of_any_batch("preresnet"), key
    )
    assert [out.shape for out in exported.out_avals] == [
        leaf.shape for leaf in jax.tree.leaves(variables["params"])
    ]
