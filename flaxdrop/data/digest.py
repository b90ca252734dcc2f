"""The digest of a dataset's content."""

import hashlib
from collections.abc import Sequence

import numpy as np


def arrays_digest(arrays: Sequence[np.ndarray], classes: Sequence[str]) -> str:
    """A digest of labelled images: of every dtype, shape, value and name, in their order.

    184 MB (CIFAR) take 0.15 s.

    Args:
      arrays: of any dtype and shape.
      classes: the name of each label.

    Returns:
      32 hexadecimal digits.

    >>> x, y = np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1], np.int32)
    >>> len(arrays_digest([x, y], ("zero", "one")))
    32
    """
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    for label in classes:
        encoded = label.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
