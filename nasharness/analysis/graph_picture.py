"""A cell of operations on nodes as a picture: nodes in a row, edges as arcs, above from even nodes, below from odd."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nasharness.analysis.cells import FORMATS
from nasharness.analysis.figures.style import COLOURS, MUTED, PAPER, TEXT, looks, save
from nasharness.errors import UsageError
from nasharness.spaces.shrink import Graph
from nasharness.storage import atomically, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: operation -> (words, colour)
NODES = {
    "sep3x3": ("sep\n3x3", COLOURS["vermilion"][0]),
    "conv1x1": ("conv\n1x1", COLOURS["blue"][0]),
    "relu": ("relu", COLOURS["vermilion"][0]),
    "sigmoid": ("sigmoid", COLOURS["green"][0]),
    "tanh": ("tanh", COLOURS["blue"][0]),
    "identity": ("identity", COLOURS["grey"][0]),
}
#: half the width and height of a node, in distances between nodes
_WIDE, _HIGH = 0.33, 0.27


def figure(graph: Graph, caption: str = "") -> Figure:
    """Draw a graph. Call within ``style.looks()``. Nodes that nothing reaches are pale and dotted."""
    from matplotlib.figure import Figure

    spans = [(target - source, source) for source, target in graph.eligible]
    above = max((span for span, source in spans if source % 2 == 0 and span > 1), default=0)
    below = max((span for span, source in spans if source % 2 == 1 and span > 1), default=0)
    top, bottom = _height(above) + 0.12, -(_height(below) + 0.16 if below else _HIGH + 0.12)
    left, right = -0.95, graph.nodes - 1 + 0.95
    scale = min(0.62, 7.0 / (right - left))  # inches between nodes; a page's width at most
    lines = 0.1 * (caption.count("\n") + 1) + 0.04 if caption else 0.0
    width, height = max(2.2, scale * (right - left)), scale * (top - bottom) + lines
    made = Figure(figsize=(width, height))
    axes = made.add_axes((0.0, lines / height, 1.0, 1 - lines / height))
    axes.axis("off")
    axes.set_aspect("equal")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    for source, target in graph.eligible:
        _draw_edge(axes, graph, source, target)
    for node in range(graph.nodes):
        _draw_node(axes, graph, node)
    axes.text(-0.5, 0, "in", ha="right", va="center")
    axes.annotate("", (-_WIDE, 0), (-0.48, 0), arrowprops=_arrow(TEXT))
    if caption:
        made.text(0.5, 0.03 / height, caption, ha="center", va="bottom", fontsize=5.2, linespacing=1.25, color=MUTED)
    return made


def _height(span: int) -> float:
    """How far the top of an arc lies above the row."""
    return _HIGH + 0.26 * span if span > 1 else _HIGH


def _arrow(colour: str) -> dict[str, object]:
    return {"arrowstyle": "-|>,head_length=0.32,head_width=0.17", "color": colour, "linewidth": 0.9,
            "shrinkA": 0, "shrinkB": 0}  # fmt: skip


def _draw_node(axes: Axes, graph: Graph, node: int) -> None:
    from matplotlib.patches import FancyBboxPatch

    words, colour = (
        ("0", TEXT) if node == 0 else NODES.get(graph.operations[node - 1], (graph.operations[node - 1], TEXT))
    )
    reached = graph.reached[node]
    pad = 0.06
    axes.add_patch(
        FancyBboxPatch(
            (node - _WIDE + pad, -_HIGH + pad), 2 * (_WIDE - pad), 2 * (_HIGH - pad),
            boxstyle=f"round,pad={pad},rounding_size=0.1", facecolor=PAPER,
            edgecolor=colour if reached else MUTED, linewidth=1.5 if reached else 0.7,
            linestyle="-" if reached else ":", zorder=5,
        )
    )  # fmt: skip
    axes.text(node, 0, words, ha="center", va="center", fontsize=5.6, linespacing=0.95, zorder=6,
              color=TEXT if reached else MUTED)  # fmt: skip
    if node:
        axes.text(
            node - _WIDE + 0.05, _HIGH - 0.04, str(node), ha="left", va="top", fontsize=4.4, color=MUTED, zorder=6
        )
    if node in graph.leaves:
        axes.annotate("", (node + _WIDE * 0.6, -_HIGH - 0.24), (node + _WIDE * 0.6, -_HIGH), arrowprops=_arrow(TEXT))
        axes.text(node + _WIDE * 0.6 + 0.09, -_HIGH - 0.2, "out", ha="left", va="center", fontsize=5.6)


def _draw_edge(axes: Axes, graph: Graph, source: int, target: int) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    colour = TEXT if source == 0 else NODES.get(graph.operations[source - 1], ("", MUTED))[1]
    span = target - source
    if span == 1:
        curve = Curve([(source + _WIDE, 0), (target - _WIDE, 0)])
    else:
        up = 1 if source % 2 == 0 else -1
        apex = (_height(span) - _HIGH) / 0.75 + _HIGH  # a cubic's middle lies three quarters of the way to its controls
        # arcs leave on the right half of a node and arrive on the left one, the longest outside
        leave = source + 0.28 - 0.42 * span / graph.nodes
        arrive = target - 0.28 + 0.42 * span / graph.nodes
        lean = 0.22 * span
        curve = Curve(
            [(leave, up * _HIGH), (leave + lean, up * apex), (arrive - lean, up * apex), (arrive, up * _HIGH)],
            [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4],
        )
    axes.add_patch(
        FancyArrowPatch(
            path=curve, arrowstyle="-|>,head_length=3,head_width=1.6", mutation_scale=1, color=colour, linewidth=0.9,
            zorder=3, shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip


def write(graph: Graph, path: str | os.PathLike[str], caption: str = "") -> Path:
    """Write the picture to ``path``, whose ending is png, pdf or svg. Raises UsageError where it cannot."""
    target = Path(path)
    kind = target.suffix[1:].lower()
    if kind not in FORMATS:
        raise UsageError(f"{target}: expected a name that ends in {', '.join('.' + name for name in FORMATS)}")
    with looks():
        content = save(figure(graph, caption), kind)
    with writing(target, "choose another file"):
        atomically(target, content)
    return target
