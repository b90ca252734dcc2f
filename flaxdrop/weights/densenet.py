"""Pretrained weights of a DenseNet: reads the files of Keras, torchvision and timm, writes timm's.

Every tensor of the network must be in the file, with the network's shape, and every tensor of the
file in the network; formats differ in how tensors are named and which way kernels lie.
"""

import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from flaxdrop.models.densenet import DenseNet
from flaxdrop.weights.keras import read_keras
from flaxdrop.weights.safetensors import read_safetensors, write_safetensors
from flaxdrop.weights.torch import read_torch

_NAMED = 3  # of unexpected tensors
Names = tuple[str, ...]  # of the modules around a variable, and its own


def load_pretrained(
    model: DenseNet, path: str | pathlib.Path, new_classifier: jax.Array | None = None
) -> dict[str, Any]:
    """Reads the variables of a network from a file of pretrained weights.

    The images that the published files expect are RGB in [0, 1], less (0.485, 0.456, 0.406), over
    (0.229, 0.224, 0.225). Keras trained its weights with `epsilon=1.001e-5`.

    Args:
      model: the network; one without a classifier leaves the file's where it is.
      path: .h5 from Keras, with top or without (needs h5py); .pth or .pt from torchvision (needs
        torch, and runs no code that is pickled in it); .safetensors from timm (needs safetensors).
        Prefixes that wrappers put before names, as "module." and "_orig_mod.", are taken off.
      new_classifier: PRNG key for a classifier with initial weights, whether or not the file has
        one, of whatever name; None: the file's.

    Returns:
      {"params": ..., "batch_stats": ...}, f32, for `model.apply`.

    Raises:
      ValueError: the file cannot be read; or the first tensor that is missing, does not fit (both
        shapes are given), holds what is not finite or a negative variance, or is not in the
        network.
    """
    path = pathlib.Path(path).expanduser()
    if path.suffix not in FORMATS:
        raise ValueError(
            f"weights {path}: cannot read {path.suffix or 'a file without a suffix'},"
            f" only {', '.join(FORMATS)}"
        )
    form = FORMATS[path.suffix]
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = flax.traverse_util.flatten_dict(jax.eval_shape(model.init, jax.random.key(0), image))
    found = _spelled(form, path)
    if not model.num_classes or new_classifier is not None:
        shapes = {place: leaf for place, leaf in shapes.items() if place[1] != "classifier"}
    places = {form.name(place[1:]): place for place in shapes}
    others = {name: array for name, array in found.items() if name not in places}
    if not model.num_classes or new_classifier is not None:
        heads = {_layer(name) for name, array in others.items() if array.ndim == 2}
        others = {name: array for name, array in others.items() if _layer(name) not in heads}

    variables = {}
    for name, place in places.items():
        ours = shapes[place]
        axes = form.axes.get(ours.ndim, tuple(range(ours.ndim)))
        needed = tuple(ours.shape[axes.index(axis)] for axis in range(ours.ndim))
        if name not in found:
            words = f"tensor {name} {needed} is missing"
            if others:
                words += f"; not in the network are {', '.join(list(others)[:_NAMED])}"
            if len(others) > _NAMED:
                words += f" and {len(others) - _NAMED} more"
            raise ValueError(f"weights {path}: {words}")
        array = found[name]
        if array.shape != needed or not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(
                f"weights {path}: tensor {name} is {array.dtype} {array.shape}, the network needs"
                f" floating-point {needed}"
            )
        with np.errstate(over="ignore"):  # infinity is refused
            values = array.astype(np.float32)
        least, words = (0, "finite, at least 0") if place[-1] == "var" else (-np.inf, "finite")
        wrong = values[~(np.isfinite(values) & (values >= least))]
        if wrong.size:
            raise ValueError(f"weights {path}: tensor {name} must be {words}, got {wrong[0]:g}")
        variables[place] = jnp.asarray(values.transpose(axes))
    for name, array in others.items():
        raise ValueError(f"weights {path}: tensor {name} {array.shape} is not in the network")

    if new_classifier is not None and model.num_classes:
        fresh = jax.jit(lambda key, x: model.init(key, x)["params"]["classifier"])
        for leaf, array in fresh(new_classifier, jnp.zeros(image.shape)).items():
            variables["params", "classifier", leaf] = array
    return flax.traverse_util.unflatten_dict(variables)


def _spelled(form: "Format", path: pathlib.Path) -> dict[str, np.ndarray]:
    """The file's tensors, by the names that the format has for them today."""
    found: dict[str, np.ndarray] = {}
    tensors = form.read(path)
    # What stands before the name of the first kernel was put before all.
    first = form.name(("stem", "kernel"))
    prefixes = [name.removesuffix(first) for name in tensors if name.endswith(f".{first}")]
    if len(prefixes) > 1:
        raise ValueError(f"weights {path}: must hold one network, got {' and '.join(prefixes)}")
    for spelled, array in tensors.items():
        name = form.spell(spelled.removeprefix("".join(prefixes)))
        if name in found:
            raise ValueError(f"weights {path}: tensor {name} is there twice, also as {spelled}")
        if name is not None:
            found[name] = array
    return found


def _layer(name: str) -> str:
    return re.sub(r"[./][^./]*$", "", name)


def save_pretrained(variables: Mapping[str, Any], path: str | pathlib.Path) -> None:
    """Writes the variables of a DenseNet as timm does, for `load_pretrained` and for timm.

    Args:
      variables: {"params": ..., "batch_stats": ...}.
      path: ends in .safetensors.

    Raises:
      ValueError: another suffix, or safetensors is not installed.
      OSError: it cannot be written.

    >>> import tempfile
    >>> model = DenseNet(depth=(1,), num_classes=2, growth=4)
    >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    >>> variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5), shapes)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_pretrained(variables, f"{folder}/weights.safetensors")
    ...     again = load_pretrained(model, f"{folder}/weights.safetensors")
    >>> bool((again["params"]["stem"]["kernel"] == variables["params"]["stem"]["kernel"]).all())
    True
    """
    path = pathlib.Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights {path}: can write only .safetensors")
    tensors = {}
    for place, array in flax.traverse_util.flatten_dict(variables).items():
        theirs = np.argsort(_TORCH_AXES.get(array.ndim, tuple(range(array.ndim))))
        tensors[_torch_name(place[1:])] = np.asarray(array, np.float32).transpose(theirs)
    write_safetensors(path, tensors)


class Format(NamedTuple):
    """How one kind of file keeps its tensors.

    Attributes:
      read: the file's tensors, by their names in the file.
      spell: brings what older and newer files call a tensor to one name; None: it is no weight.
      name: that name, of the variable at a place in our tree.
      axes: rank -> the file's axes in our order, where they differ.
    """

    read: Callable[[pathlib.Path], Mapping[str, np.ndarray]]
    spell: Callable[[str], str | None]
    name: Callable[[Names], str]
    axes: Mapping[int, tuple[int, ...]]


def _torch_spell(name: str) -> str | None:
    if name.endswith(".num_batches_tracked"):
        return None
    # torchvision's first checkpoints have "norm.1" where its networks have "norm1".
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1", name)


def _torch_name(names: Names) -> str:
    *modules, leaf = names
    leaf = {"bias": "bias", "mean": "running_mean", "var": "running_var"}.get(leaf, "weight")
    if modules == ["classifier"]:
        return f"classifier.{leaf}"
    whole = {"stem": "conv0", "stem_norm": "norm0", "norm": "norm5"}
    first = re.sub(r"block(\d+)_layer(\d+)", r"denseblock\1.denselayer\2", modules[0])
    return ".".join(["features", whole.get(first, first), *modules[1:], leaf])


def _keras_spell(name: str) -> str:
    layer, _, weight = name.rpartition("/")
    layer = layer.replace("/", "_")  # "conv1/bn" in the published files
    return f"{'predictions' if layer == 'fc1000' else layer}/{weight}"


def _keras_name(names: Names) -> str:
    *modules, leaf = names
    if modules == ["classifier"]:
        return f"predictions/{leaf}"
    leaf = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_variance"}.get(
        leaf, leaf
    )
    inner = {"norm1": "_0_bn", "conv1": "_1_conv", "norm2": "_1_bn", "conv2": "_2_conv"}
    if match := re.fullmatch(r"block(\d+)_layer(\d+)", modules[0]):
        layer = f"conv{int(match[1]) + 1}_block{match[2]}{inner[modules[1]]}"
    elif match := re.fullmatch(r"transition(\d+)", modules[0]):
        layer = f"pool{int(match[1]) + 1}_{'bn' if modules[1] == 'norm' else 'conv'}"
    else:
        layer = {"stem": "conv1_conv", "stem_norm": "conv1_bn", "norm": "bn"}[modules[0]]
    return f"{layer}/{leaf}"


_TORCH_AXES = {4: (2, 3, 1, 0), 2: (1, 0)}
_PTH = Format(read_torch, _torch_spell, _torch_name, _TORCH_AXES)
FORMATS = {
    ".h5": Format(read_keras, _keras_spell, _keras_name, {}),
    ".pth": _PTH,
    ".pt": _PTH,
    ".safetensors": Format(read_safetensors, _torch_spell, _torch_name, _TORCH_AXES),
}
