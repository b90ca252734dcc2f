"""Trains as the Flax documentation would: one network, a jitted step, batches made on the host."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState

from benchmarks.throughput import workload
from benchmarks.throughput.baselines import flax_networks
from benchmarks.throughput.contest import Prepared, in_rounds, take_part
from benchmarks.throughput.workload import Workload


class State(TrainState):
    """With batch statistics and a key that is split at every step."""

    batch_stats: Any
    key: jax.Array


def initial_state(task: Workload, rate: float) -> State:
    """Before the first step; SGD with momentum and decay, or Adam for the VGG-like network."""
    if task.depth is None:
        model: Any = flax_networks.VGG(workload.CLASSES, rate)
        optimiser = optax.adam(1e-3)
    else:
        model = flax_networks.PreResNet(task.blocks, workload.CLASSES, rate)
        optimiser = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(0.1, momentum=0.9))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
    return State.create(
        apply_fn=model.apply,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        tx=optimiser,
        key=jax.random.key(1),
    )


@jax.jit
def train_step(state: State, x: jax.Array, y: jax.Array) -> State:
    """One step, on normalised images f32 `[N, 32, 32, 3]` with labels int32 `[N]`."""
    key, dropout_key = jax.random.split(state.key)

    def loss_of(params: Any) -> tuple[jax.Array, Any]:
        logits, updates = state.apply_fn(
            {"params": params, "batch_stats": state.batch_stats},
            x,
            train=True,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), updates

    grads, updates = jax.grad(loss_of, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, key=key, batch_stats=updates["batch_stats"])


def batches(task: Workload, x: np.ndarray, y: np.ndarray) -> Iterator[tuple[Any, Any]]:
    """Shuffled, cropped, mirrored and normalised batches, for ever."""
    random = np.random.default_rng(0)
    pad = workload.CROP
    mean, std = (np.asarray(moment, np.float32) for moment in (workload.MEAN, workload.STD))
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))), (32, 32), axis=(1, 2)
    )
    while True:
        order = random.permutation(len(x))
        for start in range(0, len(x) - task.batch + 1, task.batch):
            rows = order[start : start + task.batch]
            if task.augmented:
                down, right = random.integers(0, 2 * pad + 1, (2, task.batch))
                images = windows[rows, down, right].transpose(0, 2, 3, 1)
                mirrored = random.random(task.batch) < 0.5
                images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
            else:
                images = x[rows]
            yield (images.astype(np.float32) / 255 - mean) / std, y[rows]


def prepare(options: SimpleNamespace) -> Prepared:
    """Compiles the step; the round takes some of them."""
    if options.precision != "bfloat16":
        jax.config.update("jax_default_matmul_precision", options.precision)
    task = workload.WORKLOADS[options.workload]
    source = batches(task, *workload.examples())
    fixed = jax.device_put(next(source))
    state = initial_state(task, options.rate)

    def steps(count: int) -> None:
        nonlocal state
        for _ in range(count):
            state = train_step(state, *(fixed if options.fixed_batch else next(source)))
        jax.block_until_ready(state.step)

    began = time.perf_counter()
    compiled = train_step.lower(state, *fixed).compile()
    seconds = time.perf_counter() - began
    work, _ = in_rounds(steps, options.seconds, unit=task.batch)
    memory = compiled.memory_analysis()
    return work, {
        "compile_seconds": seconds,
        "temporary_bytes": memory.temp_size_in_bytes if memory else None,
    }


if __name__ == "__main__":
    take_part(workload.FLAGS, prepare)
