"""The data of training: the images, a cell, its state, and the task that cells have in common."""

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import optax

from flaxdrop.placement import Placement
from flaxdrop.training.recipe import Recipe

METRICS = ("train_loss", "train_accuracy", "test_accuracy", "test_nll", "test_ece")


class Images(flax.struct.PyTreeNode):
    """A data set on the device.

    Attributes:
      x_train: uint8 `[N, H, W, C]`, or `[N, H W C]`.
      y_train: int32 `[N]`.
      x_test: uint8 `[M, H, W, C]`, or `[M, H W C]`.
      y_test: int32 `[M]`.
      mean: f32 `[C]`, of pixels in [0, 1].
      std: f32 `[C]`.
      shape: (H, W, C) of images that are stored as rows; None: they have their axes.
    """

    x_train: Any
    y_train: Any
    x_test: Any
    y_test: Any
    mean: Any
    std: Any
    shape: tuple[int, ...] | None = flax.struct.field(pytree_node=False, default=None)

    def as_rows(self) -> "Images":
        """The same images, each stored as one row.

        The last axis of an image has 3 channels, and a TPU's tiles have 128 lanes: at each dispatch
        it would lay out the whole data set anew, in four times its size.
        """
        if self.shape is not None:
            return self
        x_train, x_test = (x.reshape(len(x), -1) for x in (self.x_train, self.x_test))
        return self.replace(x_train=x_train, x_test=x_test, shape=self.x_train.shape[1:])

    def train_images(self, rows: Any) -> Any:
        """The training images at some places, `[len(rows), H, W, C]`."""
        return self._with_axes(self.x_train[rows])

    def test_images(self, rows: Any) -> Any:
        """The test images at some places, `[len(rows), H, W, C]`."""
        return self._with_axes(self.x_test[rows])

    def _with_axes(self, x: Any) -> Any:
        return x if self.shape is None else x.reshape(len(x), *self.shape)


class Cell(flax.struct.PyTreeNode):
    """The data in which the cells of one task differ.

    Attributes:
      key: the key that all its randomness is derived from.
      placement: its rates, spelled out (`Placement.broadcast`).
      subset: int32 `[examples]`, places in the data set of what it is trained on; None: of all.
      schedule: int32, of the rates: an index into `DROPOUT_SCHEDULES`.
    """

    key: jax.Array
    placement: Placement
    subset: Any = None
    schedule: Any = 0


class State(flax.struct.PyTreeNode):
    """The data that training changes.

    Attributes:
      step: int32, steps taken.
      params: of the network.
      batch_stats: of the network.
      opt_state: of the optimiser.
      loss_sum: f32, the training loss of the epoch so far, summed over examples.
      correct: int32, training examples of the epoch so far that were classified correctly.
      curve: f32 `[epochs, len(METRICS)]`; NaN where an epoch is not finished.
      right: uint8 `[judged epochs, test examples / 8]`, which test examples were classified
        correctly in the last epochs (`Recipe.judged_epochs`), as `numpy.packbits` has them.
      diverged: int32, the epoch, from 1, after which something of the network, of the optimiser or
        of the curve was not finite for the first time; 0: all was.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    loss_sum: jax.Array
    correct: jax.Array
    curve: jax.Array
    right: jax.Array
    diverged: jax.Array


@dataclasses.dataclass(frozen=True)
class Task:
    """All that the cells of one compiled program have in common.

    Attributes:
      model: takes `(x, train, placement)` and returns logits.
      recipe: how it is trained.
      examples: that each of its cells is trained on.
    """

    model: nn.Module
    recipe: Recipe
    examples: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch."""
        return self.recipe.steps_per_epoch(self.examples)

    @property
    def steps(self) -> int:
        """Steps in the whole training."""
        return self.recipe.epochs * self.steps_per_epoch

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimiser."""
        return self.recipe.make_optimizer(self.steps)
