"""Programs for any batch, and for accelerators that are not here."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from flaxdrop import Placement
from flaxdrop.mask import MASKS
from flaxdrop.models import VGG, ConvNet, DenseNet, PreResNet

NETWORKS = {
    "vgg": VGG(5, widths=(4, 8), units=16),
    "preresnet": PreResNet(14, 5, widths=(4, 8)),
    "bottleneck": PreResNet(8, 5, block="bottleneck", widths=(4, 8)),
    "densenet": DenseNet((1, 1), 5, growth=4, stem="cifar"),
    "convnet": ConvNet(5, widths=(4, 8), units=16),
}
SIDE = 16
IMAGES = jax.ShapeDtypeStruct((*export.symbolic_shape("n"), SIDE, SIDE, 3), jnp.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_is_exported_for_any_batch_and_every_platform(name, filled):
    model = NETWORKS[name]
    variables = filled(model, jnp.zeros((1, SIDE, SIDE, 3)))
    infer = jax.jit(model.apply)
    exported = export.export(infer, platforms=("cpu", "cuda", "tpu"))(variables, IMAGES)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    for batch in (1, 3):
        x = jnp.asarray(np.random.RandomState(batch).rand(batch, SIDE, SIDE, 3), jnp.float32)
        chex.assert_trees_all_close(exported.call(variables, x), infer(variables, x), rtol=1e-4)


@pytest.mark.parametrize("mask", MASKS)
def test_gradients_with_dropout_are_exported_for_any_batch(mask, filled):
    model = NETWORKS["preresnet"]
    variables = filled(model, jnp.zeros((1, SIDE, SIDE, 3)))
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
    exported = export.export(gradient, platforms=("cuda", "tpu"))(variables["params"], IMAGES, key)
    assert [out.shape for out in exported.out_avals] == [
        leaf.shape for leaf in jax.tree.leaves(variables["params"])
    ]
