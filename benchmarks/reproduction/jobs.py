"""The jobs of the reproduction: which cells of which configs, the most wanted first.

`benchmarks.reproduce` trains them, `benchmarks.report` tells what was found.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from benchmarks import head, pooling, preresnet, schedules, vgg_depth
from benchmarks.harness.catalog import load_settings
from benchmarks.harness.published_data import PUBLISHED
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from flaxdrop.results.ledger import Row
from flaxdrop.results.provenance import config_hash
from flaxdrop.training.content import NUMERICS, Content

Cell: TypeAlias = tuple[str, int]  # variant, seed
FORMS = ("small", "quick", "full")
_SEEDS = 3
_BASELINE_SEEDS = 6  # every difference has it: they pay most

# Studies that train and are no part of it, and why.
LEFT_OUT = {
    "transfer": "its features come from weights that are downloaded or from a file of one's own",
    "pretrain": "it makes such a file, and has nothing to compare",
}


@dataclasses.dataclass(frozen=True)
class Job:
    """Cells of one config that are wanted together.

    Attributes:
      study: whose cells they are.
      config: the file, as `--config` takes it.
      form: of the config: "small", "quick" or "full".
      settings: those of the config with the changes; they say which variants and seeds.
      changes: fields of the config that are overridden, the seeds and variants apart.
    """

    study: Study[Any]
    config: str
    form: str
    settings: Settings
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def config_hash(self) -> str:
        """That of its rows."""
        return self.content.config_hash

    @functools.cached_property
    def content(self) -> Content:
        """That of its rows: of the config, with the present numerics, on the published images."""
        own = config_hash(self.settings.identity())
        return Content(own, NUMERICS, PUBLISHED[self.settings.dataset], "")

    @functools.cached_property
    def every_variant(self) -> Mapping[str, Variant]:
        """All of the study's; names and placements do not depend on the number of classes."""
        return self.study.variants(self.settings, 10)

    @property
    def cells(self) -> list[Cell]:
        """All that are wanted."""
        names = self.wanted_variants
        return [(name, seed) for seed in range(self.settings.seeds) for name in names]

    @property
    def wanted_variants(self) -> list[str]:
        """The variants of which cells are wanted."""
        chosen = self.settings.variants
        return chosen.split(",") if chosen else list(self.every_variant)

    def missing(self, rows: Iterable[Row]) -> list[Cell]:
        """The cells that are not among the rows, which may be of other cells too."""
        own = self.content
        # The hash alone tells most of them apart, and there may be very many.
        near = (row for row in rows if row.config_hash == own.config_hash)
        done = {(row.variant, row.seed) for row in near if row.content == own}
        return [cell for cell in self.cells if cell not in done]

    @property
    def name(self) -> str:
        """The config with its form and changes, for people.

        >>> from benchmarks.reproduction.jobs import all_jobs
        >>> all_jobs()[0].name
        'cifar100:small, rate=0.3'
        """
        changes = [f"{field}={value}" for field, value in self.changes.items()]
        return ", ".join([f"{pathlib.Path(self.config).stem}:{self.form}", *changes])

    @property
    def command(self) -> str:
        """What trains all variants of its config, in a folder of its own."""
        fields = {**self.changes, "seeds": self.settings.seeds}
        return " ".join(
            [
                f"python -m benchmarks.{self.study.name} --config {self.config}:{self.form}",
                *(f"--config.{field}={value}" for field, value in fields.items()),
            ]
        )


def _job(
    study: Study[Any],
    config: str,
    form: str,
    variants: str = "",
    seeds: int = _SEEDS,
    **changes: Any,
) -> Job:
    file = f"configs/{config}.py"
    fields = {**changes, "variants": variants, "seeds": seeds}
    return Job(study, file, form, load_settings(study, f"{file}:{form}", **fields), changes)


def _positions(config: str, form: str, **changes: Any) -> list[Job]:
    """P6 first, then the other positions, then more seeds of the baseline."""
    wanted = (("none,p6", _SEEDS), ("", _SEEDS), ("none", _BASELINE_SEEDS))
    return [
        _job(preresnet.STUDY, config, form, variants, seeds, **changes)
        for variants, seeds in wanted
    ]


def _others(form: str) -> list[Job]:
    return [
        _job(study, f"{study.name}_cifar10", form)
        for study in (head.STUDY, pooling.STUDY, schedules.STUDY)
    ]


# What the claims name.
_DEPTH = (
    "BN,conv 0.2,conv 0.5,half the filters,dense 0.2,dense 0.5,conv 0.2 + dense 0.5,no BN,"
    "block 1 only 0.2,block 1 only 0.5,block 3 only 0.2,block 3 only 0.5"
)


def _small() -> list[Job]:
    """For CPUs: where positions differ first, for cells take long."""
    return [
        *_positions("cifar100", "small", rate=0.3),
        _job(vgg_depth.STUDY, "vgg_cifar10", "small", _DEPTH),
        *_positions("cifar10", "small", rate=0.3),
        *_positions("cifar100", "small"),
        *_positions("cifar100", "small", rate=0.5),
        _job(vgg_depth.STUDY, "vgg_cifar10", "small"),
        *_others("small"),
    ]


def _named(form: str) -> list[Job]:
    """The published tables."""
    return [
        *_positions("cifar100", form),
        *_positions("cifar10", form),
        _job(vgg_depth.STUDY, "vgg_cifar10", form),
    ]


def _rates_and_others(form: str) -> list[Job]:
    """All positions at higher rates, and the studies without a table of a paper."""
    rates = [
        job
        for rate in (0.3, 0.5)
        for config in ("cifar100", "cifar10")
        for job in _positions(config, form, rate=rate)
    ]
    return [*_others(form), *rates]


@functools.cache
def all_jobs() -> tuple[Job, ...]:
    """Every job, the most wanted first: there is a whole table early, and it gets better."""
    return (
        *_small(),
        *_named("quick"),
        *_named("full"),
        *_rates_and_others("quick"),
        *_rates_and_others("full"),
    )
