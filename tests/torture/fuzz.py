"""Command lines and placements by chance: they are taken, or refused in one line.

A case is a study, one of its configs and one to four fields with values of any kind. It is planned
(`--dry_run`), which builds every network of the study, and must end with status 0 or 2, in one line
on stderr, with bounded time and memory.
"""

import dataclasses
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.harness.catalog import load_study
from benchmarks.harness.precision import PRECISIONS
from flaxdrop.mask import MASKS
from flaxdrop.placement import Placement
from flaxdrop.schedule import DROPOUT_SCHEDULES
from flaxdrop.training.recipe import OPTIMIZERS, SCHEDULES
from tests.torture.zygote import ROOT, Ended, Zygote

CONFIGS = {
    "preresnet": ("digits", "cifar100:tiny"),
    "schedules": ("schedules_digits",),
    "vgg_depth": ("vgg_digits",),
    "pooling": ("pooling_digits",),
    "head": ("head_digits",),
    "transfer": ("transfer_digits",),
    "pretrain": ("pretrain_cifar100:tiny",),
}
MOST_BYTES, MOST_SECONDS = 6 << 30, 120  # of memory and of the processor, for a case
WAIT = 600  # seconds, while others have the processor
_LARGE = (10**3, 10**6, 2**31 - 1, 2**31, 2**63, 10**30)
_INTEGERS = st.integers(-3, 40) | st.sampled_from([*_LARGE, *(-value for value in _LARGE)])
_NUMBERS = st.floats() | st.floats(0, 1) | st.sampled_from([0.0, -0.0, 0.5, 1.0, 1e-300, 1e300])
_NAMES = st.sampled_from(
    [
        *("", "none", "p6", "p6,p6", "p6,none", ",", "p6=0.1", "p6=0_1", "\uff10", "\x1b[31m"),
        *("digits", "cifar10", "npz:/nowhere", "npz:", "folder:/", "sgd", "adam", "step", "cosine"),
        *("basic", "bottleneck", "element", "channel", "block0", "block99", "float32", "bfloat16"),
        *("constant", "early", "0s", "9m", "1e9h", "True", "None", "nan", "[v2]", "()", "{}"),
    ]
)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_WORDS = _NAMES | _TEXTS


# Values that are taken, or nearly: else nearly every case would be refused at its first field.
_PLAUSIBLE: dict[str, Iterable[Any]] = {
    "dataset": ("digits",),
    "data_dir": ("", "/nowhere"),
    "variants": ("", "none"),
    "time_budget": ("", "9m"),
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "dropout_schedule": DROPOUT_SCHEDULES,
    "precision": PRECISIONS,
    "mask": (*MASKS, "block3", "block99"),
    "block": ("basic", "bottleneck"),
    "stem": ("cifar", "imagenet"),
    "network": ("preresnet", "vgg", "densenet", "convnet"),
    "depth": (2, 4, 8, 9, 11, 20, 50, 110, 1001),
    "decay_at": ((), (0.5,), (0.1, 0.9), (0.999999,)),
    "mean": ((), (0.5,), (0.5, 0.5, 0.5)),
    "std": ((), (0.5,), (0.5, 0.5, 0.5)),
    "widths": ((1,), (4,), (4, 8), (16, 32, 64), (3, 5, 7, 11), (2048, 2048)),
    "layers": ((1,), (2, 2), (6, 12, 24, 16)),
    "rates": ((0.0,), (0.5,), (0.0, 1.0)),
    "image_size": (0, 1, 2, 3, 8, 16, 32, 64, 224),
    "train_examples": (0, 1, 2, 50, 900, 901),
    "test_examples": (0, 1, 2, 50, 897, 898),
}
_PLAUSIBLE_KINDS: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(1, 20),
    float: st.floats(0, 1),
    bool: st.booleans(),
}


def _values(name: str, kind: Any) -> st.SearchStrategy[str]:
    """Texts of values for a field: three of four are plausible."""
    own: st.SearchStrategy[Any]
    if kind is int:
        own = _INTEGERS
    elif kind is float:
        own = _NUMBERS
    elif kind is bool:
        own = st.booleans()
    elif kind is str:
        own = _WORDS
    else:
        number = _INTEGERS if int in typing.get_args(kind) else _NUMBERS
        own = st.lists(number, max_size=5).map(tuple)
    plausible = _PLAUSIBLE_KINDS.get(kind, own)
    if name in _PLAUSIBLE:
        plausible = st.sampled_from(tuple(_PLAUSIBLE[name]))
    anything = _INTEGERS | _NUMBERS | _WORDS
    kinds = [*[plausible] * 6, own, anything]
    return st.sampled_from(range(8)).flatmap(lambda i: kinds[i]).map(str)


@dataclasses.dataclass(frozen=True)
class Case:
    """A command line.

    Attributes:
      study: its name.
      config: as after `configs/`.
      fields: field -> text of its value.
    """

    study: str
    config: str
    fields: dict[str, str]

    @property
    def arguments(self) -> list[str]:
        """The words of its command line, behind the name of the program."""
        file, colon, form = self.config.partition(":")
        config = f"{ROOT}/configs/{file}.py{colon}{form}"
        given = [f"--config.{name}={value}" for name, value in self.fields.items()]
        return ["--config", config, *given, "--dry_run"]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Command lines."""
    study = draw(st.sampled_from(list(CONFIGS)))
    fields = {field.name: field for field in dataclasses.fields(load_study(study).settings)}
    names = draw(st.lists(st.sampled_from(list(fields)), min_size=1, max_size=4, unique=True))
    chosen = {name: draw(_values(name, fields[name].type)) for name in names}
    return Case(study, draw(st.sampled_from(CONFIGS[study])), chosen)


def fuzz(zygote: Zygote, seed: int, count: int) -> Iterator[str]:
    """Runs command lines, each in a process of its own.

    Args:
      zygote: starts them.
      seed: of the cases.
      count: of them.

    Yields:
      What is wrong with a case; empty: nothing.
    """
    found: list[tuple[Case, Ended]] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def run(case: Case) -> None:
        words = case.arguments
        limits = {"RLIMIT_DATA": MOST_BYTES, "RLIMIT_CPU": MOST_SECONDS}
        ended = zygote.run(f"benchmarks.{case.study}", *words, seconds=WAIT, limits=limits)
        found.append((case, ended))

    run()
    for case, ended in found:
        words = fault(ended.status, ended.err)
        if ended.bytes > MOST_BYTES:
            words = f"{ended.bytes / 1e9:.1f} GB"
        yield words and f"{case}: {words}"


def fault(status: int, err: str) -> str:
    """What is wrong with how a case ended; empty: nothing."""
    lines = [line for line in err.split("\n") if line and not line.startswith("warning: ")]
    if status == 0:
        return f"status 0, and said {lines}" if lines else ""
    if status != 2:
        return f"status {status}, said {lines[-3:]}"
    fine = len(lines) == 1 and lines[0].startswith("error: ") and lines[0].isprintable()
    return "" if fine else f"must be one line, got {lines}"


_SLOTS = st.sampled_from(["p6", "h4", "conv2", "Block_*/Conv_1:in", "a/b:out", "\uff506", "", "6p"])
_RATES = st.sampled_from(
    [
        "0",
        "1",
        "0.1",
        ".5",
        "1.",
        "0..1",
        "0.1/0.2",
        "1e-3",
        "1.0000001",
        "-0",
        "nan",
        "0_1",
        "",
        "/",
    ]
) | st.floats().map(str)
_MASKS = st.sampled_from(["", ":channel", ":block3", ":block0", ":sample", ":element", ":x", ":"])
_PARTS = st.builds("{}={}{}".format, _SLOTS | _TEXTS, _RATES | _TEXTS, _MASKS)
PLACEMENTS = (
    st.lists(_PARTS, max_size=4).map(",".join)
    | _TEXTS
    | st.sampled_from(["none", "uai2023", "wide_resnet"])
)


def placement_fault(text: str) -> str:
    """What is wrong with how a placement is read; empty: nothing."""
    try:
        placement = Placement.parse(text)
    except ValueError as error:
        words = str(error)
        fine = words.isprintable() and words.startswith(("placement: ", "mask: "))
        return "" if fine else f"must be one line that names its field, got {words!r}"
    again = Placement.parse(str(placement))
    return "" if again == placement else f"{placement} is read as {again}"
