"""The weights in an .h5 file of Keras."""

import pathlib
from typing import Any

import numpy as np

from flaxdrop.memory import check_fits
from flaxdrop.weights.optional import optional


def read_keras(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads all weights of the file, as "<layer>/<weight>", in its order.

    The layout is that of `save_weights("FILE.h5")` in Keras 1 and 2, in which the files of
    keras.applications are, and of `save("FILE.h5")`, in Keras 3 too: the attribute `layer_names`
    names the groups, and in each `weight_names` names the arrays.

    Returns:
      Weights by name, for example "conv1/bn/gamma": what newer files call
      "conv1_bn/conv1_bn/gamma:0" is "conv1_bn/gamma".

    Raises:
      ValueError: the file cannot be read, is damaged, or has another layout; h5py is not installed.
    """
    path = pathlib.Path(path)
    h5py = optional("h5py", f"{path}: reading .h5")
    try:
        with path.open("rb"), h5py.File(path, "r") as file:
            return _weights(file.get("model_weights", file))
    except OSError as error:
        raise ValueError(f"weights {path}: {error.strerror or 'not an .h5 file'}") from error
    except Exception as error:  # what damaged bytes raise in h5py is open-ended
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"weights {path}: not a readable .h5 file of Keras ({reason})") from error


def _weights(root: Any) -> dict[str, np.ndarray]:
    layers = _attribute(root, "layer_names")
    if not layers:
        raise ValueError("no layer_names: the .weights.h5 of Keras 3 has none, save as .h5")
    weights: dict[str, np.ndarray] = {}
    for layer in layers:
        for path in _attribute(root[layer], "weight_names"):
            name = f"{layer}/{path.rpartition('/')[2].partition(':')[0]}"
            if name in weights:
                raise ValueError(f"two weights {name}, as of a model inside a model")
            dataset = root[layer][path]
            if dataset.file.filename != root.file.filename:
                raise ValueError(f"{name} is a link into another file")
            weights[name] = _array(dataset, name, sum(w.nbytes for w in weights.values()))
    return weights


def _array(dataset: Any, name: str, before: int) -> np.ndarray:
    """The array of a data set that lies in the file itself and fits into memory."""
    if dataset.external:
        raise ValueError(f"{name} lies in another file")
    if dataset.is_virtual:
        raise ValueError(f"{name} is put together from other files")
    check_fits(name, before + dataset.nbytes, "the weights")
    if dataset.id.get_storage_size() == 0 and dataset.size:
        raise ValueError(f"{name} was never written")
    array: np.ndarray = dataset[()]
    return array


def _attribute(group: Any, name: str) -> list[str]:
    # One that is too long for HDF5 is cut into name0, name1, ...
    keys = [name, *(f"{name}{part}" for part in range(len(group.attrs)))]
    words = [word for key in keys if key in group.attrs for word in group.attrs[key]]
    return [word.decode() if isinstance(word, bytes) else word for word in words]
