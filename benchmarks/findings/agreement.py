"""Whether differences to the baseline have the published sign."""

from collections.abc import Mapping

from flaxdrop.results.comparison import Comparison


def agreement(comparison: Comparison, published: Mapping[str, float]) -> list[str]:
    """Sorts the variants by what their difference says about the published one, in words.

    A significant difference agrees where its sign is the published one, and does not where it is
    the other; all others are undecided.

    Args:
      comparison: of the rows; the best accuracy is compared, as the sources report it.
      published: variant -> published accuracy, a run each; may be empty.

    Returns:
      A line for each kind that has variants; none where nothing is to be compared.
    """
    baseline = comparison.baseline
    found: dict[str, list[str]] = {"agrees": [], "does not agree": [], "undecided": []}
    for name, effect in comparison.effects["best"].items():
        if name not in published or baseline not in published:
            continue
        theirs = 100 * (published[name] - published[baseline])
        same = effect.mean * theirs > 0
        kind = ("agrees" if same else "does not agree") if effect.significant else "undecided"
        found[kind].append(f"{name} ({effect.mean:+.2f} points, published {theirs:+.2f})")
    return [
        f"Best accuracy against {baseline}, {kind}: {', '.join(words)}."
        for kind, words in found.items()
        if words
    ]
