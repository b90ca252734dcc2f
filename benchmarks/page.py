"""Writes a run as one page for a browser: tables that sort, curves, seeds, and the probe.

python -m benchmarks.page runs/FOLDER

The file `report.html` fetches nothing: it can be sent. The probe is that of the lowest seed.
"""

import importlib.util
import pathlib
import sys
from types import SimpleNamespace

from benchmarks.harness.any_network import Measure
from benchmarks.harness.arguments import Flag, tool
from benchmarks.harness.finished_run import FinishedRun, open_run
from benchmarks.harness.plan import cell_name
from benchmarks.probe import measure_shift
from flaxdrop.analysis.shift import Shift
from flaxdrop.results.claims_table import claims_table
from flaxdrop.results.regime import regime
from flaxdrop.results.table import accuracy_table, effect_table

_EXAMPLES = 256  # that the probe measures on
_MASKS = 4


def report(run: FinishedRun) -> str:
    """Makes the page of a run, HTML."""
    from benchmarks.harness import html
    from flaxdrop.plots import interactive

    study, plan = run.study, run.plan
    comparison = study.compare(run.rows, plan.every_variant)
    sections = [
        ("What every variant reached", html.table(accuracy_table(comparison))),
        (f"Differences to {comparison.baseline}", html.table(effect_table(comparison))),
    ]
    if comparison.effects["accuracy"]:
        picture = html.picture(interactive.draw_differences(comparison))
        sections.append(("Seed by seed", picture))
    if study.claims:
        sections.append(("Published claims", html.table(claims_table(comparison, study.claims))))
    sections.append(("Learning curves", html.picture(interactive.draw_curves(comparison))))
    shifts, why_not = probe(run)
    if shifts:
        probed = html.picture(interactive.draw_shifts(shifts, list(comparison.by_variant)))
    else:
        probed = html.paragraph(why_not)
    sections.append(("What dropout does to the norms, over the depth of the network", probed))
    return html.page(study.question, regime(comparison) + ".", sections)


def probe(run: FinishedRun) -> tuple[dict[str, Shift], str]:
    """Variant -> shift of its network of the lowest seed; and why there is none."""
    lowest = min(row.seed for row in run.rows)
    placed = [
        row.variant
        for row in run.rows
        if row.seed == lowest and run.plan.placement(row.variant).slots
    ]
    shifts, why_not = {}, "No variant has dropout."
    probes: dict[int, Measure] = {}
    batch = run.batch(min(_EXAMPLES, run.plan.examples))
    for variant in placed:
        try:
            _, variables, _ = run.load(cell_name(variant, lowest))
            shifts[variant] = measure_shift(run, probes, variant, variables, batch, _MASKS)
        except ValueError as error:  # no checkpoint, or no norms
            why_not = f"{variant}: {error}."
    return shifts, why_not


FLAGS = (
    Flag("out", "", "the file (default: report.html in the folder of the run)"),
    Flag("data_dir", "", "where the data of the run are; as in the run"),
)


@tool(__doc__, FLAGS, ("FOLDER",))
def main(options: SimpleNamespace) -> None:
    """Runs the tool."""
    if importlib.util.find_spec("plotly") is None:
        raise ValueError('plotly: must be installed for a page; pip install ".[page]"')
    (folder,) = options.words
    path = pathlib.Path(options.out or pathlib.Path(folder) / "report.html")
    path.write_text(report(open_run(folder, options.data_dir)))
    print(f"page      {path}")


if __name__ == "__main__":
    sys.exit(main())
