"""Trainings on photos, beside the published error: a section of BENCHMARKS.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.preresnet import SCORES
from flaxdrop.table import EMPTY, Table
from flaxdrop.training.content import NUMERICS

FILE = "photos.jsonl"


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of the present numerics, each with what it was trained on, in Markdown."""
    cells = []
    for row in rows:
        if row["numerics"] != NUMERICS:
            continue
        config, measured = row["config"], row["measured"]
        trained = (
            f"{config['dataset']}, PreResNet-{config['depth']}, {config['image_size']} pixels,"
            f" {row['train_examples']:,} training and {row['test_examples']:,} test images,"
            f" {config['epochs']} epochs, rate {config['rate']:g}"
        )
        waited = measured.get("waited_share")
        published = SCORES.get(config["dataset"])
        cells.append(
            (
                trained,
                row["variant"],
                f"{row['seed']}",
                f"{100 * (1 - row['last_accuracy']):.1f}",
                f"{100 * (1 - row['best_accuracy']):.1f}",
                EMPTY if published is None else f"{100 * (1 - published):.6g}",
                f"{row['wall_seconds']:,.0f}",
                EMPTY if waited is None else f"{100 * waited:.1f}",
            )
        )
    columns = (
        "trained on",
        "variant",
        "seed",
        "test error, last epoch, %",
        "best epoch",
        "published (PreResNet-101, 200 epochs)",
        "s",
        "of them waited for images, %",
    )
    notes = (
        "Read and augmented on the host while the network trains. Short forms: they show that the"
        " path from files to a table works, and nothing about dropout. The published error is of"
        " another depth, 224 pixels, all training images; position and rate not stated.",
    )
    return "\n".join(["## Photos", "", Table(columns, tuple(cells), notes).markdown()])
