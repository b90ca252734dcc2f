"""What the cells of a table were trained on, in one line: numbers mean little without it."""

import os
from collections.abc import Iterable

import numpy as np

from flaxdrop.results.comparison import Comparison

_PIXELS = {"digits": 8, "cifar10": 32, "cifar100": 32}  # of the sources' own images


def regime(comparison: Comparison) -> str:
    """Images, pixels, test images, epochs, steps, and how well the baseline knows its images.

    Returns:
      A line without a stop; empty where no cell has finished.
    """
    rows = [row for row in comparison.rows if row.status == "finished"]
    if not rows:
        return ""
    config, row = rows[0].config, rows[0]
    pixels = config.get("image_size") or _PIXELS.get(str(config.get("dataset")))
    images = row.train_examples or config.get("train_examples") or 0
    # Of a file or a folder its name: where it lies on this machine says nothing to a reader.
    source = os.path.basename(str(config.get("dataset")).rstrip("/")).rpartition(":")[2]
    words = [f"{source}: {images:,} training images" if images else ""]
    if pixels and words[0]:
        words[0] += f" of {pixels} pixels"
    if row.test_examples:
        words.append(f"{row.test_examples:,} test images")
    if "rate" in config:
        words.append(f"rate {config['rate']:g}")
    if epochs := config.get("epochs"):
        steps = epochs * (images // config["batch"])
        words.append(f"{epochs} epochs" + (f" ({steps:,} steps)" if steps else ""))
    base = comparison.by_variant.get(comparison.baseline)
    if base and base.train:
        words.append(
            f"training accuracy of {comparison.baseline} {np.mean(list(base.train.values())):.1f} %"
        )
    seeds = _span(len(outcome.train) for outcome in comparison.outcomes)
    words.append(f"n = {seeds} seed{'' if seeds == '1' else 's'}")
    return ", ".join(filter(None, words))


def _span(counts: Iterable[int]) -> str:
    known = sorted(set(counts))
    return f"{known[0]}" if len(known) == 1 else f"{known[0]} to {known[-1]}"
