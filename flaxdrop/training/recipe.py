"""A recipe: optimiser, schedule, batch, epochs and augmentation, as data."""

import dataclasses
import math

import optax

from flaxdrop.schedule import DROPOUT_SCHEDULES

OPTIMIZERS = ("sgd", "keras_sgd", "adam")
AUGMENTATIONS = ("crop", "photo")
SCHEDULES = ("constant", "step", "cosine", "one_cycle", "inverse_time")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a cell is trained.

    Attributes:
      epochs: passes over the training examples, at least 1.
      batch: examples a step. An epoch has `examples // batch` steps; what is left over differs from
        epoch to epoch.
      optimizer: "sgd", with the learning rate outside of the velocity, as in PyTorch; "keras_sgd",
        with the rate inside of it; "adam".
      learning_rate: the first one, above 0.
      schedule: "constant"; "step": times `decay` at each of `decay_at`; "cosine": to 0;
        "one_cycle": up to `learning_rate` by a cosine, then down to 0; "inverse_time": over
        1 + `decay` * step, which Keras calls decay.
      decay_at: where the step schedule decays, as fractions of the training, ascending in (0, 1).
      decay: the factor, in (0, 1].
      momentum: of SGD, in [0, 1).
      nesterov: Nesterov's momentum (SGD only).
      weight_decay: added to the gradient of every parameter, as in PyTorch; at least 0.
      mean: of the pixels by channel, in [0, 1], subtracted; empty: of the training images.
      std: of the pixels by channel, divided by; empty: of the training images.
      augmentation: "crop", on the device, as `crop` and `flip` say; "photo", on the host, from
        image files (`flaxdrop.data.photo`), which mirrors them, too.
      crop: pixels of zeros around the image before it is cropped at random; 0: no crop.
      flip: mirror half of the examples.
      dropout_schedule: of the rate over the training: "constant", "linear", "early", "late" or
        "curriculum" (`flaxdrop.schedule.rate_share`).
      dropout_switch: where "early" ends and "late" begins, a fraction of the training, in
        (0, 1).

    Raises:
      ValueError: a field out of its range; the message names it.
    """

    epochs: int
    batch: int
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    schedule: str = "step"
    decay_at: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augmentation: str = "crop"
    crop: int = 0
    flip: bool = False
    dropout_schedule: str = "constant"
    dropout_switch: float = 0.5

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.batch >= 1, "batch", self.batch, "at least 1")
        for name, known in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("augmentation", AUGMENTATIONS),
            ("dropout_schedule", DROPOUT_SCHEDULES),
        ):
            value = getattr(self, name)
            require(value in known, name, value, f"one of {', '.join(known)}")
        rate, decay = self.learning_rate, self.weight_decay
        require(0 < rate < math.inf, "learning_rate", rate, "finite and above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        require(0 <= decay < math.inf, "weight_decay", decay, "finite and at least 0")
        require(0 < self.decay <= 1, "decay", self.decay, "in (0, 1]")
        ascending = list(self.decay_at) == sorted(set(self.decay_at))
        inside = all(0 < at < 1 for at in self.decay_at)
        require(ascending and inside, "decay_at", self.decay_at, "ascending fractions in (0, 1)")
        require(0 < self.dropout_switch < 1, "dropout_switch", self.dropout_switch, "in (0, 1)")
        require(self.crop >= 0, "crop", self.crop, "at least 0")
        if self.augmentation == "photo":
            require(self.crop == 0, "crop", self.crop, "0 with photos, which are cropped")
            require(not self.flip, "flip", self.flip, "False with photos, which are mirrored")
        require(len(self.mean) == len(self.std), "std", self.std, "one value for each of mean")
        require(all(0 <= value <= 1 for value in self.mean), "mean", self.mean, "in [0, 1]")
        finite = all(0 < value < math.inf for value in self.std)
        require(finite, "std", self.std, "finite and above 0")

    def steps_per_epoch(self, examples: int) -> int:
        """Whole batches in an epoch.

        Raises:
          ValueError: a batch larger than the training set.

        >>> Recipe(epochs=164, batch=128).steps_per_epoch(50_000)
        390
        """
        require(self.batch <= examples, "batch", self.batch, f"at most the {examples} examples")
        return examples // self.batch

    @property
    def judged_epochs(self) -> int:
        """How many epochs, the last ones, tell what a network has learnt.

        The last one, where the learning rate has fallen; five where it has not: from epoch to epoch
        the accuracy then moves by more than what dropout does to it.
        """
        annealed = self.schedule in ("step", "cosine", "one_cycle")
        return 1 if annealed else min(5, self.epochs)

    def rate_schedule(self, steps: int) -> optax.Schedule:
        """The learning rate as a function of the step, for a training of `steps` steps."""
        if self.schedule == "cosine":
            return optax.cosine_decay_schedule(self.learning_rate, steps)
        if self.schedule == "one_cycle":
            return optax.cosine_onecycle_schedule(steps, self.learning_rate)
        if self.schedule == "constant":
            return optax.constant_schedule(self.learning_rate)
        if self.schedule == "inverse_time":
            return lambda step: self.learning_rate / (1 + self.decay * step)
        # In a short training two decays may come to the same step: both count.
        boundaries: dict[int, float] = {}
        for step in (round(at * steps) for at in self.decay_at):
            boundaries[step] = boundaries.get(step, 1.0) * self.decay
        return optax.piecewise_constant_schedule(self.learning_rate, boundaries)

    def make_optimizer(self, steps: int) -> optax.GradientTransformation:
        """The optimiser, for a training of `steps` steps."""
        schedule = self.rate_schedule(steps)
        if self.optimizer == "adam":
            base = optax.adam(schedule)
        elif self.optimizer == "keras_sgd":
            base = optax.chain(
                optax.scale_by_learning_rate(schedule), optax.trace(self.momentum, self.nesterov)
            )
        else:
            base = optax.sgd(schedule, self.momentum or None, self.nesterov)
        if not self.weight_decay:
            return base
        return optax.chain(optax.add_decayed_weights(self.weight_decay), base)


def require(holds: bool, field: str, value: object, right: str) -> None:
    """Refuses the value of a field that is not right.

    Raises:
      ValueError: it does not hold.
    """
    if not holds:
        raise ValueError(f"{field}: must be {right}, got {value!r}")
