"""What does dropout do to the variance that a batch norm sees? Simulation and closed form.

Figures 1 and 2 of Kim et al., UAI 2023, with the authors' settings (batch 100,000, width 128), and
which position shifts which batch norm. It takes about a minute and a half on two cores.

    python -m benchmarks.module_tests
"""

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

from tqdm import tqdm

from benchmarks.findings.module_tests import (
    BRANCH,
    COUNT,
    HEAD_CORRELATIONS,
    HEAD_RATE,
    RATES,
    SLOT_RATE,
    SUM,
    WIDTH,
    Result,
    figure1,
    figure2,
    simulate,
)
from benchmarks.harness.arguments import Flag, tool
from flaxdrop.plots.theory import Series, module_test
from flaxdrop.results.provenance import versions
from flaxdrop.table import Table
from flaxdrop.theory.simulation import NORMS, SLOTS


def draw(results: Sequence[Result], folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes both figures; returns their paths."""
    paths = [folder / "figure1.png", folder / "figure2.png"]

    def series(test: str, forms: Mapping[str, Callable[[float], float]]) -> dict[str, Series]:
        own = [result for result in results if result.test == test]
        points = {case: {one.x: one.estimate for one in own if one.case == case} for case in forms}
        return {case: Series(points[case], form) for case, form in forms.items()}

    orders = {
        "before the weight": functools.partial(figure1, before=True),
        "after the weight": functools.partial(figure1, before=False),
    }
    module_test(
        {"dropout before or after a weight, p = 0.5": series("figure1", orders)},
        paths[0],
        label="mean of the weights",
        title="Figure 1: variance shift by the order of dropout and weight",
    )
    alone = {f"p = {rate}": functools.partial(_branch, rate) for rate in RATES}
    sums = {f"p = {rate}": functools.partial(figure2, rate=rate) for rate in RATES}
    module_test(
        {
            "branch alone: its first norm makes all inputs one": series(BRANCH, alone),
            "residual sum": series(SUM, sums),
        },
        paths[1],
        label="standard deviation of the input",
        title="Figure 2: variance shift of the branch and of the residual sum",
    )
    return paths


def _branch(rate: float, std: float) -> float:
    del std
    return figure2(0.0, rate)


def slot_table(results: Sequence[Result]) -> Table:
    """Which slot shifts which batch norm: simulated, with the closed form in brackets."""
    found = {result.case: result for result in results if result.test == "slots"}
    cells = tuple((slot, *(_cell(found[f"{slot} -> {norm}"]) for norm in NORMS)) for slot in SLOTS)
    return Table((f"slot, p = {SLOT_RATE}", *NORMS), cells, (_NOTE,))


def head_table(results: Sequence[Result]) -> Table:
    """What dropout does to the pooled feature."""
    found = [result for result in results if result.test == "head"]
    cases = tuple(dict.fromkeys(result.case for result in found))
    cells = tuple(
        (case, *(_cell(result) for result in found if result.case == case)) for case in cases
    )
    columns = (f"head, p = {HEAD_RATE}", *(f"correlation {c}" for c in HEAD_CORRELATIONS))
    return Table(columns, cells, ("Of the pixels of a channel, before the ReLU.",))


_NOTE = "Variance of the norm's input without dropout / with it, and [closed form]; 1 is no shift."


def _cell(result: Result) -> str:
    form = "" if result.closed_form is None else f" [{result.closed_form:.3f}]"
    return f"{result.estimate.ratio:.3f}{form}"


FLAGS = (
    Flag("workdir", "runs/module_tests", "the folder that results go to"),
    Flag("batch", 100_000, "how many examples a draw has"),
    Flag("draws", 10, "how often inputs, weights and masks are drawn"),
)


@tool(__doc__, FLAGS)
def main(options: SimpleNamespace) -> None:
    """Simulates, and writes the figures and `module_tests.json` to the folder."""
    batch, draws = options.batch, options.draws
    folder = pathlib.Path(options.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    results = list(tqdm(simulate(batch, draws), total=COUNT, unit="ratio"))
    paths = draw(results, folder)
    compared = sum(result.closed_form is not None for result in results)
    worst = max(results, key=lambda result: abs(result.deviation))
    record = {
        "batch": batch,
        "draws": draws,
        "width": WIDTH,
        "versions": versions(),
        "largest_deviation": worst.deviation,
        "results": [
            dataclasses.asdict(result) | {"deviation": result.deviation} for result in results
        ],
    }
    path = folder / "module_tests.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(slot_table(results).text())
    print(head_table(results).text())
    print(
        f"largest deviation of simulation from closed form: {worst.deviation:+.1f} standard errors"
        f" ({worst.test}, {worst.case}, x = {worst.x:g}: {_cell(worst)}),"
        f" of {compared} comparisons over {draws} draws each"
    )
    print(f"pictures  {paths[0]}, {paths[1]}\nresults   {path}")


if __name__ == "__main__":
    sys.exit(main())
