"""What a run shows of its rows: tables, claims, pictures, and what the study finds."""

import textwrap
from collections.abc import Sequence

from benchmarks.harness.decide import decision_table
from benchmarks.harness.plan import Plan, S
from benchmarks.harness.study import Study
from flaxdrop.results import ledger
from flaxdrop.results.claims_table import claim_lines, claims_table
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.regime import regime
from flaxdrop.results.table import accuracy_table, effect_table
from flaxdrop.table import WIDTH, Table


def report(study: Study[S], plan: Plan[S], rows: Sequence[ledger.Row], *, complete: bool) -> None:
    """Writes the table and the pictures, and shows the table with what the study finds."""
    rows = plan.finished(rows)
    if not rows:
        return
    from flaxdrop.plots import variants

    folder = plan.folder
    comparison = study.compare(rows, plan.every_variant)
    line = regime(comparison)
    written = _tables(study, plan, comparison)
    written += [claims_table(comparison, study.claims)] if study.claims else []
    folder.table.write_text(f"{line}.\n\n" + "\n".join(table.markdown() for table in written))
    variants.draw_positions(
        comparison,
        folder.picture("positions"),
        title=study.question,
        subtitle=line,
        labels=study.labels,
        layout=study.layout,
    )
    variants.draw_curves(comparison, folder.picture("curves"), title=study.question, subtitle=line)
    show(study, plan, rows)
    if complete and study.findings:  # they may take longer than a time budget leaves
        for line in study.findings(plan, comparison):
            print(line)
    print(f"ledger    {folder.ledger}")
    print(f"table     {folder.table}")
    print(f"pictures  {folder.picture('positions')}, {folder.picture('curves')}")


def show(study: Study[S], plan: Plan[S], rows: Sequence[ledger.Row]) -> None:
    """Prints the tables and the claims; writes nothing."""
    comparison = study.compare(plan.finished(rows), plan.every_variant)
    print(f"\n{regime(comparison)}.\n")
    for table in _tables(study, plan, comparison):
        print(table.text())
    for words in claim_lines(comparison, study.claims):
        print(textwrap.fill(words, WIDTH, subsequent_indent="  "))


def _tables(study: Study[S], plan: Plan[S], comparison: Comparison) -> list[Table]:
    return [
        accuracy_table(comparison, study.published(plan.settings)),
        effect_table(comparison),
        *([decision_table(study.claims, comparison)] if plan.settings.decide else []),
    ]
