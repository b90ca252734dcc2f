"""What the rows say about every published claim: a grid a study, claims by scale."""

from collections.abc import Iterator, Sequence

from benchmarks.reproduction.progress import Progress
from flaxdrop.results.claims import NOT_RUN, Claim, judge
from flaxdrop.results.claims_table import NOTES, differences, needed, other_verdicts, verdict_words
from flaxdrop.results.regime import regime
from flaxdrop.table import EMPTY, Table


def grids(runs: Sequence[Progress]) -> Iterator[str]:
    """The section, in Markdown."""
    yield "## What it means\n"
    studies = dict.fromkeys(run.job.study.name for run in runs)
    for name in studies:
        own = [run for run in runs if run.job.study.name == name]
        claims = own[0].job.study.claims
        if claims:
            yield f"**{own[0].job.study.question}**\n"
            yield _grid(claims, [run for run in own if run.begun]).markdown()
    notes = (
        *NOTES,
        "Every entry: the verdict by the accuracy after the last epoch (by the mean of the last"
        " five, where the learning rate is constant), its differences [95 % interval], then the"
        " verdicts by the best epoch, which the sources report, and by the likelihood.",
        "A small form answers for its own network and images. The verdict of the fullest form is"
        " the one that counts.",
    )
    yield "\n".join(f"- {note}" for note in notes) + "\n"


def _grid(claims: Sequence[Claim], runs: Sequence[Progress]) -> Table:
    lines = [
        (f"{claim.words} ({claim.source})", *(_entry(claim, run) for run in runs))
        for claim in claims
    ]
    if not runs:
        # What is proved needs no rows.
        words = {True: "proved", False: NOT_RUN}
        lines = [(line[0], words[bool(c.proof)]) for line, c in zip(lines, claims, strict=True)]
        return Table(("published claim", "verdict"), tuple(lines), ())
    columns = ("published claim", *(f"{run.job.name}" for run in runs))
    trained = ("trained on", *(regime(run.comparison) or EMPTY for run in runs))
    return Table(columns, (trained, *lines), ())


def _entry(claim: Claim, run: Progress) -> str:
    found = judge(claim, run.comparison)
    words = [f"**{verdict_words(claim, found)}**"]
    if found.verdict != NOT_RUN:
        words += [differences(found), other_verdicts(claim, run.comparison)]
        if (seeds := needed(found)) != EMPTY:
            words.append(f"Seeds to decide: {seeds}")
    return ". ".join(filter(None, words))
