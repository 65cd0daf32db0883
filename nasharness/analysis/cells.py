"""Architectures as pictures: the cell of tss as a graph, the widths of sss as a row of layers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nasharness import spaces
from nasharness.analysis.figures.style import COLOURS, GRID, MUTED, PAPER, TEXT, looks, save, themed_svg
from nasharness.errors import UsageError
from nasharness.spaces.base import Space
from nasharness.spaces.tss import EDGES, OPERATIONS
from nasharness.storage import atomically, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: operation -> (words, colour, line width, dash)
STROKES = {
    "none": ("none", MUTED, 0.7, (0, (1, 2.5))),
    "skip_connect": ("skip", COLOURS["green"][0], 1.1, "-"),
    "nor_conv_1x1": ("conv 1x1", COLOURS["blue"][0], 1.8, "-"),
    "nor_conv_3x3": ("conv 3x3", COLOURS["vermilion"][0], 2.6, "-"),
    "avg_pool_3x3": ("pool 3x3", COLOURS["amber"][0], 1.6, (0, (2.4, 1.0))),
}
#: How far the middle of an edge's arc lies above (or below) the row of nodes, in distances between nodes.
ARCS = {(0, 1): 0.0, (1, 2): 0.0, (2, 3): 0.0, (0, 2): 0.44, (0, 3): 0.86, (1, 3): -0.44}
FORMATS = ("png", "pdf", "svg")


def figure(space: Space | str, arch: int | str, caption: str = "") -> Figure:
    """Draw an architecture, an index or a published string. Call within ``style.looks()``.

    Edges that carry nothing from input to output are dotted and pale; a node off every live path is an empty circle.
    """
    from matplotlib.figure import Figure

    chosen = spaces.get(space) if isinstance(space, str) else space
    index = chosen.parse(arch)
    choices = chosen.choices(np.int32(index)).tolist()
    lines = caption.count("\n") + 1 if caption else 0
    made = Figure(figsize=(3.4, 1.75 + 0.1 * lines))
    bottom = (0.06 + 0.1 * lines) / (1.75 + 0.1 * lines) if caption else 0.01
    axes = made.add_axes((0.01, bottom, 0.98, 0.98 - bottom))
    axes.axis("off")
    if chosen.name == "tss":
        _draw_cell(axes, choices)
    else:
        _draw_widths(axes, [int(chosen.options[position][choice]) for position, choice in enumerate(choices)])
    if caption:
        made.text(0.5, 0.02, caption, ha="center", va="bottom", fontsize=5.2, linespacing=1.25, color=MUTED)
    return made


def _draw_cell(axes: Axes, choices: Sequence[int]) -> None:
    operations = {edge: OPERATIONS[choice] for edge, choice in zip(EDGES, choices, strict=True)}
    fed, read = _live(operations)
    for (source, target), operation in operations.items():
        live = operation != "none" and fed[source] and read[target]
        _draw_edge(axes, source, target, operation, live)
    for node in range(4):
        used = fed[node] and read[node]
        axes.scatter(node, 0, s=210, color=PAPER, edgecolors=TEXT if used else MUTED, linewidths=1.1, zorder=5,
                     linestyle="-" if used else ":")  # fmt: skip
        axes.text(node, -0.005, str(node), ha="center", va="center", zorder=6, color=TEXT if used else MUTED)
    axes.text(-0.26, 0, "in", ha="right", va="center")
    axes.text(3.26, 0, "out", ha="left", va="center")
    axes.set_xlim(-0.55, 3.6)
    axes.set_ylim(-0.62, 1.02)


def _draw_edge(axes: Axes, source: int, target: int, operation: str, live: bool) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    words, colour, width, dash = STROKES[operation]
    if not live:
        colour, width, dash = MUTED, 0.7, (0, (1, 2.5))
        words = words if operation == "none" else f"({words})"
    height = ARCS[source, target]
    margin = 0.17
    lift = 0.0
    if height == 0:
        curve = Curve([(source + margin, 0), (target - margin, 0)])
    else:
        lift = 0.11 if height > 0 else -0.11
        apex = height / 0.75  # the middle of a cubic curve lies three quarters of the way to its control points
        lean = 0.28 * (target - source)
        curve = Curve(
            [
                (source + (0.12 if target - source == 2 else 0.03), lift),
                (source + lean, apex),
                (target - lean, apex),
                (target - (0.12 if target - source == 2 else 0.03), lift),
            ],
            [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4],
        )
    axes.add_patch(
        FancyArrowPatch(
            path=curve,
            arrowstyle="-|>,head_length=4,head_width=2.2" if live else "-",
            mutation_scale=1,
            color=colour,
            linewidth=width,
            linestyle=dash,
            zorder=3 if live else 2,
            shrinkA=0,
            shrinkB=0,
        )
    )
    # above a straight edge, which is short; on an arc
    middle = 0.11 if height == 0 else height + lift / 4
    axes.text(
        (source + target) / 2,
        middle,
        words,
        ha="center",
        va="center",
        fontsize=6.3,
        color=TEXT if live else MUTED,
        zorder=4,
        bbox={"boxstyle": "square,pad=0.16", "facecolor": PAPER, "edgecolor": "none"},
    )


def _live(operations: dict[tuple[int, int], str]) -> tuple[list[bool], list[bool]]:
    """For each node, whether a path leads to it from the input, and whether one leads from it to the output."""
    fed, read = [True, False, False, False], [False, False, False, True]
    for source, target in sorted(operations):
        fed[target] |= fed[source] and operations[source, target] != "none"
    for source, target in sorted(operations, reverse=True):
        read[source] |= read[target] and operations[source, target] != "none"
    return fed, read


def _draw_widths(axes: Axes, widths: Sequence[int]) -> None:
    from matplotlib.patches import Rectangle

    layers = ("stem,\ncell 1", "block 1", "cell 2", "block 2", "cell 3")
    colours = [COLOURS[name][0] for name in ("blue", "green", "blue", "green", "blue")]
    for layer, (width, name, colour) in enumerate(zip(widths, layers, colours, strict=True)):
        axes.add_patch(Rectangle((layer - 0.3, -0.5), 0.6, 1.0, facecolor=GRID, edgecolor="none", zorder=1))
        high = width / 64
        axes.add_patch(Rectangle((layer - 0.3, -high / 2), 0.6, high, facecolor=colour, edgecolor=PAPER, zorder=2))
        axes.text(layer, 0, str(width), ha="center", va="center", color=PAPER, fontweight="bold", zorder=3)
        axes.text(layer, -0.58, name, ha="center", va="top", fontsize=6)
        if layer:
            axes.annotate(
                "",
                (layer - 0.32, 0),
                (layer - 0.68, 0),
                arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0},
            )
    axes.text(-0.42, 0, "in", ha="right", va="center")
    axes.text(4.42, 0, "out", ha="left", va="center")
    axes.text(2, 0.56, "channels of 64", ha="center", va="bottom", fontsize=6, color=MUTED)
    axes.set_xlim(-0.85, 4.95)
    axes.set_ylim(-0.95, 0.72)


def svg(space: Space | str, arch: int | str, prefix: str, title: str) -> str:
    """The picture as an ``<svg>`` element of a page; see ``style.themed_svg``."""
    with looks():
        return themed_svg(figure(space, arch), prefix, title)


def write(space: Space | str, arch: int | str, path: str | os.PathLike[str]) -> Path:
    """Write the picture to ``path``, whose ending is png, pdf or svg. Raises UsageError where it cannot."""
    target = Path(path)
    kind = target.suffix[1:].lower()
    if kind not in FORMATS:
        raise UsageError(f"{target}: expected a name that ends in {', '.join('.' + name for name in FORMATS)}")
    chosen = spaces.get(space) if isinstance(space, str) else space
    index = chosen.parse(arch)
    with looks():
        content = save(figure(chosen, index, _caption(chosen, index)), kind)
    with writing(target, "choose another file"):
        atomically(target, content)
    return target


def _caption(space: Space, index: int) -> str:
    text = space.string(index)
    if len(text) > 60:  # a cell's three nodes do not fit on one line
        text = text.replace("+", "+\n", 2).replace("+\n", "+", 1)
    return f"{space.name} {index}\n{text}"
