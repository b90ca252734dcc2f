"""Pictures of a run for a browser: what is under the pointer is told. Needs plotly, an extra."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from flaxdrop.analysis.shift import Shift
from flaxdrop.plots.style import BAND, COLOURS, FAINT, INK
from flaxdrop.plots.verdict import ends, verdict
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.plain import CURVES

_LINES = ("solid", "dash", "dot")  # with the colours, fifteen lines can be told apart
_CURVES = {
    "test_accuracy": "test accuracy, %",
    "train_accuracy": "training accuracy with dropout, %",
    "test_nll": "test NLL, nats",
    "train_loss": "training loss with dropout, nats",
}
assert _CURVES.keys() <= set(CURVES)


def draw_differences(comparison: Comparison) -> go.Figure:
    """The difference of every network to the baseline, with that of each seed as a point."""
    figure = _figure(f"difference to {comparison.baseline}, points", "")
    values = {name: outcome.values["accuracy"] for name, outcome in comparison.by_variant.items()}
    base = values.get(comparison.baseline, {})
    for name, effect in reversed(comparison.effects["accuracy"].items()):
        seeds = [
            (f"{variant}, seed {seed}", values[variant][seed] - base[seed])
            for variant in comparison.networks[name]
            for seed in sorted(values[variant].keys() & base.keys())
        ]
        figure.add_scatter(
            x=[difference for _, difference in seeds],
            y=[name] * len(seeds),
            customdata=[words for words, _ in seeds],
            hovertemplate="%{customdata}: %{x:+.2f} points<extra></extra>",
            mode="markers",
            marker={"color": BAND, "size": 7, "line": {"color": FAINT, "width": 1}},
        )
        kind, (low, high) = verdict(effect), ends(effect)
        figure.add_scatter(
            x=[effect.mean],
            y=[name],
            customdata=[f"{name}: {effect:+.2f} points, p = {effect.corrected:.3f}, {kind.words}"],
            hovertemplate="%{customdata}<extra></extra>",
            mode="markers",
            marker={"color": kind.colour, "size": 11, "symbol": "diamond"},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - effect.mean],
                "arrayminus": [effect.mean - low],
                "color": kind.colour,
                "thickness": 2,
            },
        )
    figure.add_vline(x=0, line={"color": INK, "width": 1})
    figure.update_layout(showlegend=False, height=140 + 38 * len(comparison.effects["accuracy"]))
    return figure


def draw_curves(comparison: Comparison) -> go.Figure:
    """The learning curves: means over the seeds of each variant; a menu chooses what is shown."""
    figure = _figure("epoch", _CURVES["test_accuracy"])
    shown = []
    for metric, words in _CURVES.items():
        for i, variant in enumerate(comparison.by_variant):
            curves = [row.curve[metric] for row in comparison.rows if row.variant == variant]
            epochs = min(map(len, curves))
            mean = np.mean([curve[:epochs] for curve in curves], axis=0)
            mean = 100 * mean if words.endswith("%") else mean
            figure.add_scatter(
                x=np.arange(1, epochs + 1).tolist(),
                y=mean.tolist(),
                name=variant,
                line=_line(i),
                visible=metric == "test_accuracy",
                hovertemplate=f"epoch %{{x}}: %{{y:.4g}}, mean of n = {len(curves)}",
            )
            shown.append(metric)
    buttons = [
        {
            "label": words,
            "method": "update",
            "args": [
                {"visible": [metric == chosen for metric in shown]},
                {"yaxis.title.text": words},
            ],
        }
        for chosen, words in _CURVES.items()
    ]
    menu = {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.18, "yanchor": "top"}
    figure.update_layout(updatemenus=[menu], hovermode="closest")
    return figure


def draw_shifts(shifts: Mapping[str, Shift], order: Sequence[str]) -> go.Figure:
    """The shift of every norm over the depth of the network, a line for each variant.

    Args:
      shifts: variant -> what `flaxdrop.analysis.variance_shift` measured.
      order: of all variants: each has the colour that it has in the learning curves.
    """
    figure = _figure("norm, in the order of the network", "variance at inference / in training")
    for variant, shift in shifts.items():
        figure.add_scatter(
            x=list(range(1, len(shift.norms) + 1)),
            y=[norm.geometric_mean for norm in shift.norms],
            customdata=[norm.norm for norm in shift.norms],
            name=variant,
            mode="lines+markers",
            line=_line(order.index(variant)),
            hovertemplate="%{customdata}: %{y:.3f}",
        )
    figure.add_hline(y=1, line={"color": INK, "width": 1})
    figure.update_yaxes(type="log")
    return figure


def _line(index: int) -> dict[str, Any]:
    return {
        "color": COLOURS[index % len(COLOURS)],
        "dash": _LINES[index // len(COLOURS) % len(_LINES)],
        "width": 2,
    }


def _figure(x: str, y: str) -> go.Figure:
    axis = {"gridcolor": BAND, "linecolor": FAINT, "zeroline": False}
    return go.Figure(
        layout={
            "template": "none",
            "font": {"family": "system-ui, sans-serif", "size": 14, "color": INK},
            "xaxis": {**axis, "title": {"text": x}},
            "yaxis": {**axis, "title": {"text": y}, "automargin": True},
            "margin": {"l": 70, "r": 20, "t": 60, "b": 55},
            "height": 460,
        }
    )
