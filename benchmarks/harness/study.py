"""What a study declares: its question, its variants, and the published numbers beside them."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic

from benchmarks.harness.plan import Plan, S
from benchmarks.harness.variants import Variant
from flaxdrop.data.dataset import Dataset
from flaxdrop.results.claims import Claim
from flaxdrop.results.comparison import Comparison, compare
from flaxdrop.results.ledger import Row
from flaxdrop.training.frozen import FrozenNetwork


@dataclasses.dataclass(frozen=True)
class Study(Generic[S]):
    """A published table as something that runs.

    Attributes:
      name: of its module in `benchmarks`; of a study in a file of its own, any word.
      question: what it answers, one sentence.
      example: the config to try it with.
      settings: the class of its settings.
      variants: (settings, classes) -> name -> variant, in the table's order.
      baseline: the variant that the others are compared with.
      same: groups of variants that are one network with other masks; the first one names it.
      claims: what is published about its networks.
      labels: variant -> where it is, in few words, for pictures.
      layout: the chain of operations that the variants are places in, for pictures.
      published: settings -> variant -> published accuracy, in [0, 1]; empty by default.
      frozen: settings -> the network whose features the variants are trained on; None: they are
        trained on the images.
      stated: settings -> what is published that belongs to no variant, in words without a stop.
      measure: (plan, variant, seed, variables) -> name -> number, of a trained network, for its row
        in the ledger; None: nothing.
      findings: (plan, comparison) -> lines to print; shows what the tables and the general pictures
        do not, in files of its own if need be (`plan.folder`). None: nothing.
      short: field of the settings that has a flag of its name, too -> what it is.
      prepare: (settings, dataset) -> the study with its variants, where these depend on the data;
        None: it is complete.
      needs: optional package -> the extra of flaxdrop that installs it; asked before training.
    """

    name: str
    question: str
    example: str
    settings: type[S]
    variants: Callable[[S, int], Mapping[str, Variant]]
    baseline: str
    published: Callable[[S], Mapping[str, float]] = lambda _: {}
    same: tuple[tuple[str, ...], ...] = ()
    claims: tuple[Claim, ...] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    layout: str = ""
    frozen: Callable[[S], FrozenNetwork] | None = None
    stated: Callable[[S], str] | None = None
    measure: Callable[[Plan[S], str, int, Mapping[str, Any]], Mapping[str, float]] | None = None
    findings: Callable[[Plan[S], Comparison], Iterable[str]] | None = None
    short: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prepare: "Callable[[S, Dataset], Study[S]] | None" = None
    needs: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def compare(self, rows: Iterable[Row], order: Iterable[str]) -> Comparison:
        """Compares rows of one config of the study.

        Args:
          rows: any part of them.
          order: all variants of the config.
        """
        return compare(rows, order=list(order), baseline=self.baseline, same=self.same)
