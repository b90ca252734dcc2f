"""Slots in a Linen network that is not edited: before and behind every layer.

The network is traced once, and its boundaries become places for dropout (`flaxdrop.boundaries`).
When the slotted network is called, the calls of its modules are intercepted, and the arrays at the
places that a placement names go through `flaxdrop.dropout`. A place's rate, and the words that its
mask depends on, lie among the "params" of its module: the network threads these through `nn.scan`,
`nn.vmap`, `nn.remat` and `nn.jit` already, or it could not be trained.

The mask of a place depends on the "dropout" key, the path of the module, the side, the iterations
of the scans around it and, in a module that is called again, the number of the call.

The positions of Kim et al. 2023 in the branch of a pre-activation block, BatchNorm_0 - ReLU -
Conv_0 - BatchNorm_1 - ReLU - Conv_1 (P6 and H4 are confirmed, the other labels are inferred):

  ========  =======================  ==========================================
  position  boundary                 what it is
  ========  =======================  ==========================================
  P0        Block_*:in               the trunk, before it splits
  P1        Block_*/BatchNorm_0:in   before the first norm
  P2        Block_*/BatchNorm_0:out  before the first ReLU
  P3        Block_*/Conv_0:in        before the first convolution
  P4        Block_*/BatchNorm_1:in   before the second norm, also Conv_0:out
  P5        Block_*/BatchNorm_1:out  before the second ReLU
  P6        Block_*/Conv_1:in        before the last convolution
  P7        Block_*/Conv_1:out       behind it, before the addition
  H4        (in no module)           behind the last ReLU, before the pooling
  H5        Dense_0:in               behind the pooling, before the classifier
  ========  =======================  ==========================================
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.core
import flax.linen as nn

from flaxdrop import hashing
from flaxdrop.boundaries.interception import dropping, told_to_places, with_told, without_told
from flaxdrop.boundaries.places import Place, Places, find_places
from flaxdrop.boundaries.tracing import find_boundaries
from flaxdrop.calling import mode_options, naming_call
from flaxdrop.dropout import Dropout
from flaxdrop.linen import check_linen
from flaxdrop.placement import Placement
from flaxdrop.slots import note_reached

_inner: contextvars.ContextVar[tuple[Callable[..., Any], ...]] = contextvars.ContextVar(
    "inner", default=()
)


@contextlib.contextmanager
def intercept_layers(model: Any, interceptor: Callable[..., Any]) -> Iterator[None]:
    """Intercepts the layers of a network as they are called behind its slots, if it has any.

    `flax.linen.intercept_methods` would see the input of a layer before dropout.
    """
    if not isinstance(model, SlottedModel):
        with nn.intercept_methods(interceptor):
            yield
        return
    token = _inner.set((*_inner.get(), interceptor))
    try:
        yield
    finally:
        _inner.reset(token)


@contextlib.contextmanager
def _inner_interceptors() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for interceptor in _inner.get():
            stack.enter_context(nn.intercept_methods(interceptor))
        yield


@dataclasses.dataclass(frozen=True)
class SlottedModel:
    """A Linen network with slots at its boundaries; made by `with_slots`.

    It is called as the network is, with the network's own variables, and takes `placement=` beside.

    Attributes:
      model: the network.
      places: in the order of the calls.
      left_out: (name of a boundary, why it takes no dropout).
    """

    model: nn.Module
    places: tuple[Place, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def slots(self) -> Mapping[str, int]:
        """Group -> number of its places: a repeated block's places are one group."""
        return self._every.slots

    @property
    def aliases(self) -> Mapping[str, str]:
        """Name of a boundary -> name of the place that it is."""
        return self._every.aliases

    @property
    def _every(self) -> Places:
        return Places(type(self.model).__name__, self.places, self.left_out)

    def init(self, *arguments: Any, placement: Placement | None = None, **options: Any) -> Any:
        """Calls `init` of the network, which dropout does not change."""
        self._check(placement)
        for slot in self.slots:
            note_reached(slot)
        return self.model.init(*arguments, **options)

    def init_with_output(
        self, rngs: Any, *arguments: Any, placement: Placement | None = None, **options: Any
    ) -> tuple[Any, Any]:
        """Calls `init_with_output` of the network, and the network once more under a placement."""
        out, variables = self.model.init_with_output(rngs, *arguments, **options)
        if placement is not None and placement.slots:
            options.pop("mutable", None)
            out = self.apply(variables, *arguments, placement=placement, rngs=rngs, **options)
        return out, variables

    def apply(
        self,
        variables: Any,
        *arguments: Any,
        placement: Placement | None = None,
        rngs: Any = None,
        mutable: Any = False,
        **options: Any,
    ) -> Any:
        """Calls `apply` of the network, with dropout where a placement has it.

        Args:
          variables: the network's own.
          *arguments: of the network.
          placement: where dropout is on; None: nowhere, and the call is that of the network.
          rngs: with a "dropout" key, where a slot has a rate.
          mutable: as of `flax.linen.Module.apply`.
          **options: other keywords, as `train=`, `method=`, `capture_intermediates=`.

        Returns:
          What the network gives.

        Raises:
          ValueError: a placement that is none, or names no place, or one place twice; a rate
            outside [0, 1], or another number of rates than places; a mask that does not fit the
            array; no "dropout" key.
        """
        settings = self._check(placement)
        call: Any = self.model.apply
        apply = functools.partial(call, mutable=mutable, rngs=rngs, **options)
        if not settings:
            with _inner_interceptors():
                return apply(variables, *arguments)
        if not isinstance(rngs, Mapping) or "dropout" not in rngs:
            raise ValueError(
                f'slot {next(iter(settings))} has a rate: pass rngs={{"dropout": key}} to apply'
            )
        words = hashing.key_to_words(rngs["dropout"])
        told, beside = told_to_places(self.places, settings, words)
        given = dict(flax.core.unfreeze(variables))
        given["params"] = with_told(given.get("params", {}), told)
        masks = {mask for _, mask in settings.values()}
        with nn.intercept_methods(dropping(frozenset(masks), beside)), _inner_interceptors():
            out = apply(given, *arguments)
        if not mutable:
            return out
        out, changed = out
        if "params" in changed:
            frozen = isinstance(changed, flax.core.FrozenDict)
            plain = dict(flax.core.unfreeze(changed))
            plain["params"] = without_told(plain["params"])
            if "params" not in variables and not plain["params"]:
                del plain["params"]
            changed = flax.core.freeze(plain) if frozen else plain
        return out, changed

    def resolve(self, placement: Placement) -> Placement:
        """Spells a placement out over the places that its names and patterns name.

        Args:
          placement: of names ("Block_0/Conv_1:in"), of aliases, and of patterns ("Block_*:in").

        Returns:
          A placement that names places, each with a rate, or with one for every iteration.

        Raises:
          ValueError: as `apply`.
        """
        settings = self._check(placement)
        return Placement(
            {name: rate for name, (rate, _) in settings.items()},
            {name: mask for name, (_, mask) in settings.items()},
        )

    def _check(self, placement: Placement | None) -> dict[str, tuple[Any, str]]:
        """Name of a place -> its rate and mask."""
        if placement is None:
            return {}
        settings = self._every.settings(placement)
        for slot in placement.slots:
            note_reached(slot)
        return {name: (setting.rate, setting.mask) for name, setting in settings.items()}


def with_slots(model: nn.Module, *arguments: Any, **options: Any) -> SlottedModel:
    """Puts slots before and behind every layer of a Linen network, without editing it.

    A slot is at every module that takes one array (`:in`), and at every one that gives one
    (`:out`), wherever it is called by `__call__`. Boundaries that are one place, such as
    `Conv_0:out` and `BatchNorm_1:in` where the array goes from one to the other and nowhere else,
    are one slot, which has both names; where only some of the repeated blocks have it so, both are
    slots. Dropout that stands in the network stays as it is.

    Args:
      model: any Linen network. It is traced, not computed.
      *arguments: arrays, or their shapes, that it is called with: an example.
      **options: keywords of the call. Without them it is called as in training, if its keyword has
        a known name, as `train` and `deterministic`.

    Returns:
      The network with slots. `placement=` of its `apply` says where dropout is on, by names and
      patterns: "Block_*/Conv_1:in=0.1", "Block_*/Conv_1:in=0..0.3:channel" (over the blocks).

    Raises:
      ValueError: it is no Linen module, or is not called like that.

    >>> import jax, jax.numpy as jnp
    >>> class Block(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         return x + nn.Dense(8)(nn.relu(nn.LayerNorm()(x)))
    >>> x = jnp.ones((2, 8))
    >>> model = with_slots(nn.Sequential([nn.Dense(8), Block(), Block()]), x)
    >>> for slot, places in model.slots.items():
    ...     print(slot, places)
    layers_0:in 1
    layers_[1-2]:in 2
    layers_*/LayerNorm_0:in 2
    layers_*/LayerNorm_0:out 2
    layers_*/Dense_0:in 2
    layers_*/Dense_0:out 2
    layers_2:out 1
    >>> model.aliases["layers_0:out"]
    'layers_1:in'
    >>> variables = model.init(jax.random.key(0), x)
    >>> placement, rngs = Placement.parse("layers_*/Dense_0:in=0.1"), {"dropout": jax.random.key(1)}
    >>> model.apply(variables, x, placement=placement, rngs=rngs).shape
    (2, 8)
    """
    check_linen(model)
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: must be a flax.linen.Module, got {type(model).__name__}")
    with naming_call("options", "train=True"):
        found = find_boundaries(model, arguments, {**mode_options(model, train=True), **options})
    places = find_places(found, lambda kind: issubclass(kind, nn.Dropout | Dropout))
    return SlottedModel(model, places, tuple(found.left_out.items()))
