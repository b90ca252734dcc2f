"""Whether differences to the baseline have the published sign."""

from collections.abc import Mapping

from flaxdrop.results.comparison import Effect


def agreement(
    effects: Mapping[str, Effect], published: Mapping[str, float], baseline: str
) -> list[str]:
    """Sorts the variants by what their difference says about the published one, in words.

    A difference counts when it stands out (`Effect.stands_out`): agrees where its sign is the
    published one, does not where it is the other; all others are undecided.

    Args:
      effects: variant -> its difference of the best accuracy to the baseline's.
      published: variant -> published accuracy, a run each; may be empty.
      baseline: the variant that the others are compared with.

    Returns:
      A line for each kind that has variants; none where nothing is to be compared.
    """
    found: dict[str, list[str]] = {"agrees": [], "does not agree": [], "undecided": []}
    for variant, effect in effects.items():
        if variant not in published or baseline not in published or not effect.difference.n:
            continue
        theirs = 100 * (published[variant] - published[baseline])
        words = f"{variant} ({effect.difference.mean:+.2f} points, published {theirs:+.2f})"
        same = effect.difference.mean * theirs > 0
        kind = ("agrees" if same else "does not agree") if effect.stands_out else "undecided"
        found[kind].append(words)
    return [
        f"Best accuracy against {baseline}, {kind}: {', '.join(words)}."
        for kind, words in found.items()
        if words
    ]
