"""Where should dropout go in my network?

    python -m benchmarks.where --network my_networks:make --config configs/where.py --time_budget 3m

The network is any of Flax, Linen or NNX, and is not edited: `make(num_classes)`, in my_networks.py
of the current folder, returns it. Dropout is tried before and behind each of its layers, at every
rate. A race finds out where it helps: in each round every arm (a place with a rate) that is left is
trained with one more seed, and so is the network without dropout. An arm leaves when it is worse,
or cannot gain as much as the margin. The chance that any arm leaves wrongly is 5 % at most.
"""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.findings import where as findings
from benchmarks.harness.arguments import UsageError, one_line, warn
from benchmarks.harness.plan import Plan
from benchmarks.harness.racing import NONE, Arm, Race, make_arms, order_of_ranking, replay
from benchmarks.harness.settings import Settings
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Variant
from benchmarks.harness.workfolder import write_whole
from flaxdrop.data.dataset import Dataset
from flaxdrop.placement import Placement
from flaxdrop.results import ledger
from flaxdrop.results.race import FIRST_LOOK, MOST_SEEDS
from flaxdrop.training.stopping import Stop

if TYPE_CHECKING:
    from tqdm import tqdm

    from benchmarks.harness.cluster.joining import Cluster

_PROBED = 128  # training examples that the shift is measured on


@dataclasses.dataclass(frozen=True, kw_only=True)
class WhereSettings(Settings):
    """The network, and what is raced.

    Attributes:
      network: package.module:factory, found from the current folder; the factory takes the number
        of classes and returns a network of Flax, Linen or NNX.
      network_digest: of what it computes; the command fills it in.
      places: names or patterns of places, separated by commas, as Block_*/Conv_1:in; empty: all.
      rates: of dropout, each in (0, 1).
      margin: points of accuracy that dropout must gain to be worth it, above 0.
      seeds: how many each arm may get, 3 to 64.
    """

    network: str = ""
    network_digest: str = ""
    places: str = ""
    rates: tuple[float, ...] = (0.1, 0.3)
    margin: float = 1.0
    seeds: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rates or not all(0 < rate < 1 for rate in self.rates):
            raise ValueError(f"rates: must be in (0, 1), got {self.rates}")
        if len(set(self.rates)) < len(self.rates):
            raise ValueError(f"rates: must differ, got {self.rates}")
        if not 0 < self.margin < 100:
            raise ValueError(f"margin: must be in (0, 100) points, got {self.margin}")
        if not FIRST_LOOK <= self.seeds <= MOST_SEEDS:
            right = f"[{FIRST_LOOK}, {MOST_SEEDS}]"
            raise ValueError(f"seeds: must be in {right}, got {self.seeds}")
        if self.batch < 2:
            raise ValueError(f"batch: must be at least 2, got {self.batch}")

    def identity(self) -> dict[str, Any]:
        """As that of every study; other rates and another margin train no other cells."""
        fields = super().identity()
        return {name: fields[name] for name in fields if name not in ("rates", "margin")}


def choose_places(network: Any, asked: str) -> list[str]:
    """The groups of a network that have places of these names.

    Args:
      network: with slots.
      asked: names and patterns, separated by commas; empty: all groups.

    Raises:
      ValueError: one that names nothing; the message lists near ones.
    """
    if not asked.strip():
        return list(network.slots)
    named = {
        place.group
        for pattern in asked.split(",")
        for place in network.every.named(pattern.strip())
    }
    return [group for group in network.slots if group in named]


def make_study(network: Any, arms: Sequence[Arm]) -> Study[WhereSettings]:
    """The study of a network: without dropout, and each arm."""

    def variants(_: WhereSettings, __: int) -> Mapping[str, Variant]:
        return {NONE: Variant(network, Placement())} | {
            arm.variant: Variant(network, arm.placement) for arm in arms
        }

    return dataclasses.replace(STUDY, variants=variants)


def prepare(settings: WhereSettings, dataset: Dataset) -> Study[WhereSettings]:
    """The study of the network that the settings name and describe.

    Raises:
      ValueError: it cannot be had, or it is another one.
    """
    from benchmarks.harness.factory import digest, find_network

    network = find_network(settings.network, dataset.num_classes, dataset.image_shape)
    if digest(network, dataset.image_shape) != settings.network_digest:
        raise ValueError(f"network: {settings.network} must be the one of the run, is another")
    return make_study(network, make_arms(choose_places(network, settings.places), settings.rates))


def no_variants(_: WhereSettings, __: int) -> Mapping[str, Variant]:
    """Those of a network are known when it is."""
    return {}


STUDY = Study(
    name="where",
    question=__doc__.splitlines()[0],
    example="configs/where.py",
    settings=WhereSettings,
    variants=no_variants,
    baseline=NONE,
    prepare=prepare,
    short={
        "network": "package.module:factory, as --config.network",
        "time_budget": "for example 20m, as --config.time_budget",
    },
)


def run(
    study: Study[WhereSettings],
    settings: WhereSettings,
    *,
    workdir: str | None,
    dry_run: bool,
    tensorboard: bool = False,
    cluster: str = "",
) -> int:
    """Races the places of a network.

    Returns:
      The exit status.

    Raises:
      UsageError: what the user got wrong, or a disk that is full.
    """
    from benchmarks.harness.cluster.joining import joined
    from benchmarks.harness.factory import digest, find_network
    from benchmarks.harness.planning import load_data, make_plan
    from benchmarks.harness.tensorboard import CurveWriter, check_tensorboard
    from benchmarks.harness.training import naming_ledger
    from flaxdrop.training.environment import configure_jax

    stop = Stop(settings.budget_seconds)
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(joined(cluster))
        stack.enter_context(stop.listening())
        try:
            if not settings.network:
                raise ValueError("network: must be given, for example --network my_networks:make")
            if tensorboard:
                check_tensorboard()
            configure_jax()
            dataset = load_data(settings, without_data=dry_run)
            network = find_network(settings.network, dataset.num_classes, dataset.image_shape)
            made = digest(network, dataset.image_shape)
            settings = dataclasses.replace(settings, network_digest=made)
            try:
                places = choose_places(network, settings.places)
            except ValueError as error:
                raise ValueError(f"places: {one_line(error).removeprefix('placement: ')}") from None
            arms = make_arms(places, settings.rates)
            study = make_study(network, arms)
            elsewhere = hosts is not None
            plan = make_plan(study, settings, workdir, dataset=dataset, elsewhere=elsewhere)
            if dry_run:
                plan.folder.check(study.name, plan.identity)
            elif plan.folder.read_only:
                rows, _ = plan.recorded()
                raced = _replay(plan, arms, rows, range(len(arms)))
                if raced.missing:
                    raise ValueError(f"workdir: cannot write {plan.folder.path}, must for more")
                print(findings.describe(plan, network, arms))
                findings.show(plan, raced, rows)
                return 0
            else:
                stack.enter_context(plan.folder.claimed(study.name, plan.identity))
            rows, warnings = plan.recorded()
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error
        warn(warnings)
        print(findings.describe(plan, network, arms))
        if dry_run:
            print(findings.estimate(plan, network, arms))
            return 0
        try:
            with naming_ledger(plan.folder):
                curves = CurveWriter(plan.folder.path / "tensorboard") if tensorboard else None
                rows, raced = _race(study, plan, network, arms, rows, stop, curves, hosts)
                findings.report(plan, raced, rows)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if stop.reason and not raced.finished:
            print(f"{stop.reason}: those in training are saved; run the same command to go on")
        return stop.exit_status


def _race(
    study: Study[WhereSettings],
    plan: Plan[WhereSettings],
    network: Any,
    arms: tuple[Arm, ...],
    rows: list[ledger.Row],
    stop: Stop,
    curves: Any,
    hosts: "Cluster | None",
) -> tuple[list[ledger.Row], Race]:
    """Trains round after round; returns all rows, and what is known in the end."""
    from benchmarks.harness.run import row_line
    from benchmarks.harness.training import compile_family, progress_bar, train_family
    from flaxdrop.training.loop import TrainingStopped

    first = order_of_ranking(arms, _probe(plan, network))

    def look() -> Race:
        return _replay(plan, arms, rows, first)

    raced = look()
    if not raced.missing:
        return rows, raced
    steps = plan.task(plan.families[0]).steps * plan.settings.batch
    if hosts:
        from benchmarks.harness.cluster.run import train_on

        print(f"{len(arms)} arms {hosts.describe()}", flush=True)

        def cells(bar: "tqdm") -> Iterator[ledger.Row]:
            return train_on(hosts, study, plan, {0: raced.missing}, stop, bar, curves)

    else:
        print(f"compiling one program for {len(arms)} arms", flush=True)
        compiled = compile_family(plan, plan.families[0])

        def cells(bar: "tqdm") -> Iterator[ledger.Row]:
            return train_family(study, plan, compiled, raced.missing, stop, bar.update, curves)

    while raced.missing:
        print(findings.round_line(raced), flush=True)
        with progress_bar(len(raced.missing) * steps) as bar:
            try:
                for done, row in enumerate(cells(bar), start=1):
                    rows = [*rows, row]
                    bar.write(row_line(row, done, len(raced.missing)))
            except TrainingStopped:
                return rows, look()
        raced = look()
    return rows, raced


def _replay(
    plan: Plan[WhereSettings], arms: tuple[Arm, ...], rows: list[ledger.Row], first: Sequence[int]
) -> Race:
    settings = plan.settings
    return replay(arms, rows, margin=settings.margin, seeds=settings.seeds, first=first)


def _probe(plan: Plan[WhereSettings], network: Any) -> dict[str, float]:
    """Place -> shift of the norms that dropout would cause there; empty without norms."""
    from benchmarks.harness.factory import start
    from flaxdrop.data import augment

    path = plan.folder.path / "probe.json"
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(path.read_text()))
    pixels = plan.pixels
    batch = augment.normalise(pixels.x_train[:_PROBED], pixels.mean, pixels.std)
    try:
        ranking = network.rank(start(network, 0, batch[:1]), batch, plan.settings.rates[0])
    except ValueError as error:
        print(f"no probe: {one_line(error)}")
        shifts: dict[str, float] = {}
    else:
        (plan.folder.path / "probe.md").write_text(ranking.table().markdown())
        print(ranking)
        shifts = {ranked.slot: ranked.size for ranked in ranking.slots}
    write_whole(path, json.dumps(shifts))
    return shifts


def main(arguments: Sequence[str]) -> int:
    """Runs the command as a command line says; returns the exit status."""
    from benchmarks.harness.command import execute

    return execute(STUDY, ["where", *arguments], run)


if __name__ == "__main__":
    from benchmarks.harness.arguments import leave

    leave(main(sys.argv[1:]))
