"""Finds the network of a user by its name, `package.module:factory`, and checks it."""

import functools
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from typing import Any

import flax.linen as nn
import jax
from flax import nnx

from benchmarks.harness.any_network import LinenNetwork, NnxNetwork
from benchmarks.harness.arguments import one_line
from flaxdrop.training.steps import initial_variables

_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_COLLECTIONS = {"params", "batch_stats"}


def find_network(name: str, classes: int, image: tuple[int, ...]) -> LinenNetwork | NnxNetwork:
    """Imports a factory, calls it, and puts slots into the network.

    Args:
      name: `package.module:factory`, found from the current folder; the factory takes the number of
        classes and returns a network of Linen or NNX.
      classes: how many.
      image: the shape of an input, without the batch axis.

    Returns:
      The network, as the training takes one.

    Raises:
      ValueError: there is no such factory, it fails, or it makes no network that classifies images.
    """
    factory = _import(name)
    make = functools.partial(factory, classes)
    try:
        model = make()
    except Exception as error:
        raise ValueError(f"network: {name}({classes}) failed, {_told(error)}") from error
    if not isinstance(model, nn.Module | nnx.Module):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise ValueError(
            f"network: {name} must return a flax.linen.Module or flax.nnx.Module, got {got}"
        )
    x = jax.ShapeDtypeStruct((2, *image), "float32")
    network: LinenNetwork | NnxNetwork
    try:
        network = (
            LinenNetwork.of(model, x) if isinstance(model, nn.Module) else NnxNetwork.of(make, x)
        )
        variables = jax.eval_shape(network.init, jax.random.key(0), x)
        logits = jax.eval_shape(network.apply, variables, x)
    except Exception as error:
        raise ValueError(
            f"network: {name} cannot be called with images {list(x.shape)}, {_told(error)}"
        ) from error
    shape = getattr(logits, "shape", None)
    if shape != (2, classes):
        got = f"a {type(logits).__name__}" if shape is None else str(list(shape))
        raise ValueError(f"network: must give logits [N, {classes}], {name} gives {got}")
    if beside := set(variables) - _COLLECTIONS:
        raise ValueError(
            f"network: must have params and batch_stats alone, {name} has {', '.join(beside)}"
        )
    if not network.slots:
        raise ValueError(f"network: {name} has no place for dropout, it has no layer in it")
    return network


def digest(network: Any, image: tuple[int, ...]) -> str:
    """The digest of what a network computes, 12 hex digits: an edited one is another network."""
    x = jax.ShapeDtypeStruct((2, *image), "float32")
    key = jax.random.key(0)
    variables = jax.eval_shape(network.init, key, x)

    def train(variables: Any, x: Any, key: Any) -> Any:
        return network.apply(
            variables, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )

    with jax.default_matmul_precision(None):  # a run sets its own, and is opened again with it
        programs = (
            jax.make_jaxpr(network.init)(key, x),
            jax.make_jaxpr(network.apply)(variables, x),
            jax.make_jaxpr(train)(variables, x, key),
        )
    text = _ADDRESS.sub("", "\n".join(map(str, programs)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def start(network: Any, seed: int, x: Any) -> Any:
    """The variables of a network with a seed."""
    return initial_variables(network, jax.random.key(seed), x)


def _import(name: str) -> Any:
    if not _FORM.fullmatch(name):
        raise ValueError(f"network: must be package.module:factory, got {name!r}")
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ValueError(f"network: {module_name} cannot be imported, {_told(error)}") from error
    factory: Any = module
    for part in attribute.split("."):
        factory = getattr(factory, part, None)
    if not callable(factory):
        known = [word for word, value in vars(module).items() if callable(value) and word[0] != "_"]
        raise ValueError(
            f"network: {module_name} has no function {attribute!r}, it has"
            f" {', '.join(known) or 'none'}"
        )
    return factory


def _told(error: Exception) -> str:
    """An exception in a line: its kind, its words, and the line of the user's file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(os.getcwd())]
    where = f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {one_line(error)[:300]}{where}"
