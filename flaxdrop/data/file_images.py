"""Images in files, each read when it is used: those that do not fit, and photos."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from flaxdrop.data import image_file, photo
from flaxdrop.data.resize import square

# "square": the shorter side brought to the size, the centre kept, as of images that are kept
# decoded; "photo": cropped, turned and coloured at random in training (`flaxdrop.data.photo`).
FORMS = ("square", "photo")


@dataclasses.dataclass(frozen=True, eq=False)
class FileImages:
    """Stands where an array uint8 [N, side, side, 3] of images does.

    Attributes:
      paths: of the files.
      states: int64 [N, 2], size and time of change of each when it was found.
      side: in pixels, of what is made of an image.
      form: how it is made, one of `FORMS`.
      name: of the dataset, for messages.
    """

    paths: np.ndarray
    states: np.ndarray
    side: int
    form: str
    name: str

    @classmethod
    def of(cls, files: Sequence[pathlib.Path], side: int, form: str, name: str) -> "FileImages":
        """Notes what the files are now."""
        states = np.array([_state(path) for path in files], np.int64).reshape(-1, 2)
        return cls(np.array(list(map(str, files)), object), states, side, form, name)

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, side, side, 3)."""
        return len(self.paths), self.side, self.side, 3

    @property
    def size(self) -> int:
        """How many numbers they are."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, places: np.ndarray | slice) -> "FileImages":
        return dataclasses.replace(self, paths=self.paths[places], states=self.states[places])

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        del dtype, copy
        return np.stack([self.read(place) for place in range(len(self))])

    def astype(self, dtype: np.typing.DTypeLike) -> np.ndarray:
        """Reads them all, as in a test."""
        return np.asarray(self).astype(dtype)

    def read(self, place: int, random: np.random.RandomState | None = None) -> np.ndarray:
        """Reads an image.

        Args:
          place: which one.
          random: to crop, turn and colour it with; None: as in a test.

        Returns:
          uint8 [side, side, 3].

        Raises:
          ValueError: it cannot be read, or is another file than the one that was found.
        """
        path = pathlib.Path(self.paths[place])
        if self.form == "square":
            shape = functools.partial(square, size=self.side)
        elif random is None:
            shape = functools.partial(photo.centre, side=self.side)
        else:
            shape = functools.partial(photo.augment, side=self.side, random=random)
        try:
            if _state(path) != tuple(self.states[place]):
                raise ValueError("it has changed since the training began")
            return image_file.read(path, shape)
        except ValueError as error:
            fault = str(error)
        except OSError as error:
            fault = error.strerror or str(error)
        raise ValueError(f"dataset {self.name}: image {path} cannot be read: {fault}")


def _state(path: pathlib.Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
