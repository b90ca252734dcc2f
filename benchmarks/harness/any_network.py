"""Any Flax network as the training takes one: of Linen or of NNX, with slots, unedited."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

import flaxdrop.nnx
from flaxdrop import hashing
from flaxdrop.analysis.advice import Advice, advise
from flaxdrop.analysis.probing import probe
from flaxdrop.analysis.ranking import Ranking, rank_slots
from flaxdrop.analysis.shift import Shift
from flaxdrop.boundaries.places import Places
from flaxdrop.boundaries.slotted import SlottedModel, with_slots
from flaxdrop.calling import mode_options
from flaxdrop.nnx.any_network import use_fast_convolutions
from flaxdrop.nnx.hooks import assign, variables_of
from flaxdrop.nnx.norm_inputs import reseed
from flaxdrop.nnx.slots import class_of, plan_of
from flaxdrop.ops.any_network import fast_convolutions
from flaxdrop.placement import Placement

Measure = Callable[[Any, Any, Placement, int], Shift]


@dataclasses.dataclass(frozen=True, eq=False)
class LinenNetwork:
    """A Linen network with slots, called as the networks of `flaxdrop.models` are.

    Attributes:
      slotted: the network with slots.
      fast: whether its convolutions are flaxdrop's.
    """

    slotted: SlottedModel
    fast: bool = True

    @classmethod
    def of(cls, model: nn.Module, x: Any) -> "LinenNetwork":
        """Puts slots into a network; x: shape of an example batch."""
        return cls(with_slots(model, x))

    @property
    def name(self) -> str:
        """Of its class."""
        return type(self.slotted.model).__name__

    @property
    def slots(self) -> Mapping[str, int]:
        """Group -> number of its places."""
        return self.slotted.slots

    @property
    def every(self) -> Places:
        """All its places."""
        return Places(self.name, self.slotted.places, self.slotted.left_out)

    def init(self, key: jax.Array, x: Any) -> dict[str, Any]:
        """Its variables before the first step."""
        options: Any = mode_options(self.slotted.model, train=False)
        with self._convolutions():
            variables: Any = self.slotted.init({"params": key, "dropout": key}, x, **options)
        return {"params": variables.get("params", {}), **variables}

    def apply(self, variables: Any, x: Any, train: bool = False, **options: Any) -> Any:
        """Calls it; `placement`, `rngs` and `mutable` as of `flaxdrop.with_slots`."""
        options |= mode_options(self.slotted.model, train)
        given = {name: value for name, value in variables.items() if value}
        with self._convolutions():
            return self.slotted.apply(given, x, **options)

    def rank(self, variables: Any, batch: Any, rate: float) -> Ranking:
        """All groups by the shift that dropout would cause there."""
        return rank_slots(self.slotted, variables, batch, rate=rate)

    def probe(self, variables: Any, batch: Any, placement: Placement) -> Measure:
        """Makes it ready to be measured: (variables, batch, placement, masks) -> its shift."""
        network: Any = self.slotted
        made = probe(network, variables, batch, placement, **self._modes)
        return lambda variables, batch, placement, masks: made.measure(
            variables, batch, placement, masks=masks
        )

    def advise(
        self, variables: Any, batch: Any, placement: Placement, masks: int
    ) -> tuple[Advice, ...]:
        """What to do with its dropout."""
        network: Any = self.slotted
        return advise(network, variables, batch, placement, masks=masks, **self._modes)

    @property
    def _modes(self) -> dict[str, Any]:
        return _modes(self.slotted.model)

    def _convolutions(self) -> Any:
        return fast_convolutions() if self.fast else contextlib.nullcontext()


@dataclasses.dataclass(frozen=True, eq=False)
class NnxNetwork:
    """An NNX network with slots, called as a network of Linen.

    Its parameters and its other Variables, such as running statistics, are dictionaries by path.
    The streams of random numbers of the network are none of them: the call derives them anew.

    Attributes:
      make: makes the network.
      slotted: one that it made, with slots.
      fast: whether its convolutions are flaxdrop's.
    """

    make: Callable[[], Any]
    slotted: Any
    fast: bool = True

    @classmethod
    def of(cls, make: Callable[[], Any], x: Any) -> "NnxNetwork":
        """Puts slots into a network; x: shape of an example batch."""
        model = make()
        model.eval()
        options = mode_options(model, train=False)
        return cls(make, flaxdrop.nnx.with_slots(model, x, **options))

    @property
    def name(self) -> str:
        """Of its class."""
        return class_of(self.slotted).__name__

    @property
    def slots(self) -> Mapping[str, int]:
        """Group -> number of its places."""
        return self.every.slots

    @property
    def every(self) -> Places:
        """All its places."""
        return plan_of(self.slotted)

    def init(self, key: jax.Array, _: Any = None) -> dict[str, Any]:
        """Its variables before the first step: all that it draws comes from the key."""
        with _streams_from(key):
            return _variables(self.make())

    def apply(
        self,
        variables: Any,
        x: Any,
        train: bool = False,
        placement: Placement | None = None,
        rngs: Any = None,
        mutable: Any = False,
    ) -> Any:
        """Calls it; `placement`, `rngs` and `mutable` as of `flaxdrop.with_slots`."""
        key = rngs["dropout"] if rngs else jax.random.key(0)
        network = self._with(variables)
        if self.fast:
            use_fast_convolutions(network)
        network.train() if train else network.eval()
        reseed(network, key)
        asked = {} if placement is None else {"placement": placement, "key": key}
        out = network(x, **asked, **mode_options(network, train))
        return (out, {"batch_stats": _variables(network)["batch_stats"]}) if mutable else out

    def rank(self, variables: Any, batch: Any, rate: float) -> Ranking:
        """All groups by the shift that dropout would cause there."""
        network = self._with(variables)
        return flaxdrop.nnx.rank_slots(network, batch, rate=rate, **_modes(network))

    def probe(self, *_: Any) -> Measure:
        """Makes it ready to be measured: (variables, batch, placement, masks) -> its shift."""

        def measure(variables: Any, batch: Any, placement: Placement, masks: int) -> Shift:
            network = self._with(variables)
            return flaxdrop.nnx.variance_shift(
                network, batch, placement, masks=masks, **_modes(network)
            )

        return measure

    def advise(
        self, variables: Any, batch: Any, placement: Placement, masks: int
    ) -> tuple[Advice, ...]:
        """What to do with its dropout."""
        network = self._with(variables)
        return flaxdrop.nnx.advise(network, batch, placement, masks=masks, **_modes(network))

    def _with(self, variables: Any) -> Any:
        """A copy of the network with these values."""
        graph, state = nnx.split(self.slotted)
        network = nnx.merge(graph, jax.tree.map(lambda leaf: leaf, state))  # new Variables, of here
        values = {**variables["params"], **variables.get("batch_stats", {})}
        for path, variable in variables_of(network).items():
            if (name := ".".join(path)) in values:
                assign(variable, values[name])
        return network


def _modes(network: Any) -> dict[str, Any]:
    """How it is called in training and at inference."""
    return {
        "training": mode_options(network, True),
        "inference": mode_options(network, False),
    }


def _variables(network: Any) -> dict[str, Any]:
    """The values of a network's Variables by path: of parameters, and of what training changes."""
    found: dict[str, dict[str, Any]] = {"params": {}, "batch_stats": {}}
    for path, variable in variables_of(network).items():
        if not isinstance(variable, nnx.RngState):
            kind = "params" if isinstance(variable, nnx.Param) else "batch_stats"
            found[kind][".".join(path)] = variable[...]
    return found


@contextlib.contextmanager
def _streams_from(cell: jax.Array) -> Iterator[None]:
    """Streams of random numbers that are made inside the context depend on the key of a cell.

    A factory says `nnx.Rngs(0)`: all its networks would have the same weights.
    """
    made = nnx.RngStream.__init__

    @functools.wraps(made)
    def make(self: Any, key: Any, *, tag: str) -> None:
        if isinstance(key, int):
            words = [jnp.uint32(key & 0xFFFFFFFF)]
        else:
            words = list(hashing.key_to_words(jnp.ravel(key)[0]))
        own = cell
        for word in words:
            own = jax.random.fold_in(own, word)
        made(self, own, tag=tag)

    with mock.patch.object(nnx.RngStream, "__init__", make):
        yield
