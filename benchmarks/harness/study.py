"""What a study declares: its question, its variants, and the published numbers beside them."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness.settings import Settings
from flaxdrop.placement import Placement
from flaxdrop.results.claims import Claim
from flaxdrop.results.comparison import Comparison, compare
from flaxdrop.results.ledger import Row
from flaxdrop.schedule import schedule_index
from flaxdrop.training.frozen import FrozenNetwork
from flaxdrop.training.steps import Cell, initial_variables


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of a study: a network with a placement.

    Attributes:
      model: with `slots`.
      placement: what is on in it.
      schedule: of its rates over the training; empty: the recipe's.
    """

    model: Any
    placement: Placement
    schedule: str = ""


@dataclasses.dataclass(frozen=True)
class Study:
    """A published table as something that runs.

    Attributes:
      name: of the module, `python -m benchmarks.<name>`.
      question: what it answers, one sentence.
      example: the config to try it with.
      settings: the class of its settings.
      variants: (settings, classes) -> name -> variant, in the table's order.
      published: settings -> variant -> published accuracy, in [0, 1].
      baseline: the variant that the others are compared with.
      same: groups of variants that are one network with other masks; the first one names it.
      claims: what is published about its networks.
      frozen: settings -> the network whose features the variants are trained on; None: they are
        trained on the images.
      stated: settings -> what is published that belongs to no variant, in words without a stop.
      measure: (plan, variant, seed, variables) -> name -> number, of a trained network, for its row
        in the ledger; None: nothing.
      findings: (plan, comparison) -> lines to print; shows what the tables and the general pictures
        do not, in files of its own if need be (`plan.folder`). None: nothing.
    """

    name: str
    question: str
    example: str
    settings: type[Settings]
    variants: Callable[[Any, int], Mapping[str, Variant]]
    published: Callable[[Any], Mapping[str, float]]
    baseline: str
    same: tuple[tuple[str, ...], ...] = ()
    claims: tuple[Claim, ...] = ()
    frozen: Callable[[Any], FrozenNetwork] | None = None
    stated: Callable[[Any], str] | None = None
    measure: Callable[[Any, str, int, Any], Mapping[str, float]] | None = None
    findings: Callable[[Any, Comparison], Iterable[str]] | None = None

    def compare(self, rows: Iterable[Row], order: Iterable[str]) -> Comparison:
        """Compares rows of one config of the study.

        Args:
          rows: any part of them.
          order: all variants of the config.
        """
        return compare(rows, order=list(order), baseline=self.baseline, same=self.same)


@dataclasses.dataclass(frozen=True)
class Family:
    """Variants that one compiled program serves.

    Attributes:
      model: the network they share.
      placements: variant -> placement, all with the same slots, masks and shapes.
      schedules: variant -> schedule of its rates.
    """

    model: nn.Module
    placements: Mapping[str, Placement]
    schedules: Mapping[str, str]

    def cell(self, variant: str, seed: int) -> Cell:
        """What tells the cell from the others of its family."""
        return Cell(
            key=jax.random.key(seed),
            placement=self.placements[variant],
            schedule=np.int32(schedule_index(self.schedules[variant])),
        )


def families(variants: Mapping[str, Variant], schedule: str = "constant") -> list[Family]:
    """Groups variants by what must be compiled apart: the network, and masks that contradict.

    Every placement of a family names the slots of all of them, at rate 0 where its own does not.

    Args:
      variants: name -> variant.
      schedule: of the variants that have none of their own.
    """
    groups: list[tuple[Any, dict[str, str], dict[str, Placement]]] = []
    for name, variant in variants.items():
        variant.placement.validate(variant.model.slots)
        own = {slot: variant.placement.mask(slot) for slot in variant.placement.slots}
        for model, masks, members in groups:
            if model == variant.model and all(masks.get(s, own[s]) == own[s] for s in own):
                masks.update(own)
                members[name] = variant.placement
                break
        else:
            groups.append((variant.model, own, {name: variant.placement}))
    return [
        _family(
            model, masks, members, {name: variants[name].schedule or schedule for name in members}
        )
        for model, masks, members in groups
    ]


def _family(
    model: Any,
    masks: Mapping[str, str],
    members: Mapping[str, Placement],
    schedules: Mapping[str, str],
) -> Family:
    off = Placement(
        dict.fromkeys(sorted(masks), 0.0),
        masks,
    )
    return Family(
        model,
        {name: (off | placement).broadcast(model.slots) for name, placement in members.items()},
        schedules,
    )


def parameter_count(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """How many trainable parameters a network has."""
    x = jnp.zeros((1, *input_shape))
    shapes = jax.eval_shape(lambda: initial_variables(model, jax.random.key(0), x))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def restrict(study: Study, settings: Settings, classes: int) -> dict[str, Variant]:
    """The variants that the settings ask for, in their order.

    Raises:
      ValueError: an unknown variant; the message lists the known ones.
    """
    known = study.variants(settings, classes)
    if not settings.variants.strip():
        return dict(known)
    names = [name.strip() for name in settings.variants.split(",")]
    for name in names:
        if name not in known:
            raise ValueError(f"variants: unknown {name!r}, choose among {', '.join(known)}")
    return {name: known[name] for name in dict.fromkeys(names)}
