"""What a study declares: its question, its variants, and the published numbers beside them."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic

from benchmarks.harness.plan import Plan, S
from benchmarks.harness.variants import Variant
from flaxdrop.results.ledger import Row
from flaxdrop.training.frozen import FrozenNetwork


@dataclasses.dataclass(frozen=True)
class Study(Generic[S]):
    """A published table as something that runs.

    Attributes:
      name: of the module, `python -m benchmarks.<name>`.
      question: what it answers, one sentence.
      example: the config to try it with.
      settings: the class of its settings.
      variants: (settings, classes) -> name -> variant, in the table's order.
      baseline: the variant that the others are compared with.
      published: settings -> variant -> published accuracy, in [0, 1]; empty by default.
      nulls: pairs of variants that are one network with different masks: their difference is noise.
      frozen: settings -> the network whose features the variants are trained on; None: they are
        trained on the images.
      stated: settings -> what is published that belongs to no variant, in words without a stop.
      measure: (plan, variant, seed, variables) -> name -> number, of a trained network, for its row
        in the ledger; None: nothing.
      findings: (plan, rows) -> lines to print; shows what the table and the general pictures do
        not, in files of its own if need be (`plan.folder`). None: nothing.
      needs: optional package -> the extra of flaxdrop that installs it; asked before training.
    """

    name: str
    question: str
    example: str
    settings: type[S]
    variants: Callable[[S, int], Mapping[str, Variant]]
    baseline: str
    published: Callable[[S], Mapping[str, float]] = lambda _: {}
    nulls: tuple[tuple[str, str], ...] = ()
    frozen: Callable[[S], FrozenNetwork] | None = None
    stated: Callable[[S], str] | None = None
    measure: Callable[[Plan[S], str, int, Mapping[str, Any]], Mapping[str, float]] | None = None
    findings: Callable[[Plan[S], Sequence[Row]], Iterable[str]] | None = None
    needs: Mapping[str, str] = dataclasses.field(default_factory=dict)
