"""The pictures of BENCHMARKS.md; each tells which rows it was drawn from, and by which version."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.reproduction.progress import ByRate, Progress, by_rate
from flaxdrop.plots import rates, variants
from flaxdrop.results.ledger import Row
from flaxdrop.results.regime import regime

FOLDER = pathlib.Path("docs/benchmarks")
_VERSION = 2  # raise it with every change of what a picture of the same rows shows
_DIGEST = "drawn from"  # key in a picture's metadata


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of rows.

    Attributes:
      study: its name.
      name: of what is shown of it.
      words: what is shown, for those who cannot see it.
      rows: that it shows.
      draw: writes it.
    """

    study: str
    name: str
    words: str
    rows: Sequence[Row]
    draw: Callable[[pathlib.Path], Figure]

    @property
    def path(self) -> pathlib.Path:
        """Where it is."""
        name = "".join(char if char.isalnum() else "-" for char in self.name)
        return FOLDER / f"{self.study}-{name}.png"

    @property
    def fresh(self) -> bool:
        """It is there, of these rows and by this code."""
        try:
            with Image.open(self.path) as picture:
                return picture.info.get(_DIGEST) == digest(self.rows)
        except OSError:
            return False

    def markdown(self) -> str:
        """What shows it in a page of the repository's root."""
        return f"![{self.words}]({self.path.as_posix()})\n"

    def write(self) -> None:
        """Draws it, with the digest of what it was drawn from."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.draw(self.path)
        with Image.open(self.path) as picture:
            picture.load()
        about = PngInfo()
        about.add_text(_DIGEST, digest(self.rows))
        picture.save(self.path, pnginfo=about, optimize=True)


def digest(rows: Sequence[Row]) -> str:
    """SHA-256 of the rows, whatever their order, and of the version of what draws them."""
    lines = sorted(row.to_json() for row in rows)
    return hashlib.sha256("\n".join([f"{_VERSION}", *lines]).encode()).hexdigest()


def of_run(run: Progress) -> Picture:
    """The picture of a config's variants beside each other."""
    study = run.job.study
    return Picture(
        study.name,
        run.job.name,
        f"Accuracy by variant, and differences to {study.baseline}",
        run.rows,
        lambda path: variants.draw_positions(
            run.comparison,
            path,
            title=study.question,
            subtitle=regime(run.comparison),
            labels=study.labels,
            layout=study.layout,
        ),
    )


def of_rates(group: ByRate) -> Picture:
    """The picture of every network over the rates."""
    study = group.last.job.study
    return Picture(
        study.name,
        group.name,
        f"Differences to {study.baseline} by rate, a panel a network",
        [row for run in group.runs.values() for row in run.rows],
        lambda path: rates.draw_each_place(
            group.comparison,
            path,
            title="How much dropout does each place bear?",
            subtitle=regime(group.last.comparison),
        ),
    )


def pictures(runs: Sequence[Progress]) -> list[Picture]:
    """All that the page of these runs shows."""
    return [*(of_run(run) for run in runs if run.begun), *map(of_rates, by_rate(runs))]
