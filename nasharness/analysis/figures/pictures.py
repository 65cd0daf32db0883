"""Architectures as pictures: a graph as nodes in a row and edges as arcs, anything else as the option of each position.

Arcs from even nodes go above the row, from odd ones below it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness import spaces
from nasharness.analysis.figures.files import kind_of, write_picture
from nasharness.analysis.figures.style import (
    GRID,
    MUTED,
    PAPER,
    TEXT,
    looks,
    option_colours,
    save,
    themed_svg,
)
from nasharness.spaces.base import Space
from nasharness.spaces.drawing import LABELS
from nasharness.spaces.graph import LabelledGraph
from nasharness.spaces.shrink import Graph, GraphSpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTTED = (0, (1, 2.5))


@dataclass(frozen=True)
class _Node:
    """``live``: on a path; else it is pale and dotted. ``out``: the output of the cell is taken here."""

    words: str
    colour: str
    live: bool
    out: bool = False


@dataclass(frozen=True)
class _Arc:
    """An edge; ``words``: its operation, where edges carry them."""

    source: int
    target: int
    words: str
    colour: str
    live: bool


def figure(space: Space | GraphSpace | str, arch: int | str | Graph, caption: str = "") -> Figure:
    """Draw an architecture: an index, a published string or a graph. Call within ``style.looks()``.

    What carries nothing from input to output is dotted and pale.
    """
    chosen = _space(space)
    if isinstance(chosen, GraphSpace):
        nodes, arcs = _of_nodes(chosen, arch if isinstance(arch, Graph) else chosen.parse(str(arch)))
    elif isinstance(arch, Graph) or (graph := chosen.graph(arch)) is None:
        return _row(chosen, chosen.parse(arch), caption)
    else:
        nodes, arcs = _of_graph(graph, chosen.options[0] if chosen.options else ())
    shape = _Shape(bool(arcs and arcs[0].words), len(nodes))
    tops = [shape.top(arc.target - arc.source) for arc in arcs if arc.source % 2 == 0]
    lows = [shape.high + 0.1 for node in nodes[:-1] if node.out]
    lows += [shape.top(arc.target - arc.source) for arc in arcs if arc.source % 2 and arc.target > arc.source + 1]
    left, right = -0.62 - shape.wide, len(nodes) - 1 + 0.62 + shape.wide
    top, bottom = max(tops, default=shape.high) + 0.16, -(max(lows, default=shape.high) + 0.16)
    scale = min(shape.scale, 7.0 / (right - left))  # inches between nodes; a page's width at most
    made, axes = _canvas(max(2.2, scale * (right - left)), scale * (top - bottom), caption)
    axes.set_aspect("equal")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    for arc in arcs:
        _draw_arc(axes, shape, arc)
    for place, node in enumerate(nodes):
        _draw_node(axes, shape, place, node)
    axes.text(-shape.wide - 0.17, 0, "in", ha="right", va="center")
    axes.annotate("", (-shape.wide, 0), (-shape.wide - 0.15, 0), arrowprops=_arrow(TEXT))
    return made


def svg(space: Space | GraphSpace | str, arch: int | str | Graph, prefix: str, title: str) -> str:
    """The picture as an ``<svg>`` element of a page; see ``style.themed_svg``."""
    with looks():
        return themed_svg(figure(space, arch), prefix, title)


def write(
    space: Space | GraphSpace | str, arch: int | str | Graph, path: str | os.PathLike[str], caption: str | None = None
) -> Path:
    """Write the picture to ``path``, whose ending is png, pdf or svg. Raises UsageError where it cannot.

    ``caption``: by default the space, the index and the published string.
    """
    kind = kind_of(Path(path))
    chosen = _space(space)
    if caption is None and isinstance(chosen, Space) and not isinstance(arch, Graph):
        index = chosen.parse(arch)
        caption = f"{chosen.name} {index}\n{_broken(chosen.string(index))}"
    with looks():
        return write_picture(path, save(figure(chosen, arch, caption or ""), kind))


def _broken(text: str) -> str:
    """A long string on two lines."""
    middle = text.find("+", len(text) // 3) + 1 if len(text) > 60 else 0
    return f"{text[:middle]}\n{text[middle:]}" if middle else text


def _space(space: Space | GraphSpace | str) -> Space | GraphSpace:
    if isinstance(space, str):
        return spaces.graphs(space) if spaces.is_graphs(space) else spaces.get(space)
    return space


# ---- what there is to draw


def _of_graph(graph: LabelledGraph, options: Sequence[str]) -> tuple[list[_Node], list[_Arc]]:
    """A cell whose edges carry operations, of ``options``, or whose nodes do; from the first node to the last."""
    fed, read = graph.reached()
    last = len(graph.nodes) - 1
    on_edges = any(operation for _, _, operation in graph.edges)
    inner = sorted(set(graph.nodes[1:-1]))
    colours = option_colours(options) if on_edges else option_colours(inner, 1)
    nodes = [
        _Node(
            LABELS.get(name, name) if not on_edges else name,
            TEXT if on_edges or node in (0, last) else colours[name],
            fed[node] and read[node],
            node == last,
        )
        for node, name in enumerate(graph.nodes)
    ]
    arcs = []
    for (source, target, name), live in zip(graph.edges, graph.live(), strict=True):
        arc = _Arc(source, target, LABELS.get(name, name), colours.get(name, MUTED), live)
        arcs.append(arc if live or name == graph.absent else _pale(arc))
    return nodes, arcs


def _pale(arc: _Arc) -> _Arc:
    return _Arc(arc.source, arc.target, arc.words and f"({arc.words})", arc.colour, False)


def _of_nodes(space: GraphSpace, graph: Graph) -> tuple[list[_Node], list[_Arc]]:
    """A cell whose nodes carry operations; all that nothing reads is its output."""
    colours = option_colours(space.operations, 1)
    nodes = [_Node("0", TEXT, True, 0 in graph.leaves)]
    for node, name in enumerate(graph.operations, 1):
        words = re.sub(r"^([a-z]+)(?=\d)", r"\1\n", name)
        nodes.append(_Node(words, colours.get(name, TEXT), graph.reached[node], node in graph.leaves))
    return nodes, [_Arc(source, target, "", nodes[source].colour, True) for source, target in graph.eligible]


def _choices(space: Space, index: int) -> list[int]:
    found: list[int] = space.choices(np.int32(index)).tolist()
    return found


# ---- drawing


@dataclass(frozen=True)
class _Shape:
    """Sizes in distances between nodes: small nodes where edges carry words. ``scale``: inches of a distance."""

    worded: bool
    nodes: int

    @property
    def wide(self) -> float:
        return 0.17 if self.worded else 0.33

    @property
    def high(self) -> float:
        return 0.17 if self.worded else 0.27

    @property
    def scale(self) -> float:
        return 0.82 if self.worded else 0.62

    def top(self, span: int) -> float:
        """How far the middle of an arc lies above the row of nodes."""
        return self.high + 0.3 * (span - 1) if span > 1 else self.high


def _canvas(width: float, height: float, caption: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    lines = 0.1 * (caption.count("\n") + 1) + 0.04 if caption else 0.0
    made = Figure(figsize=(width, height + lines))
    axes = made.add_axes((0.0, lines / (height + lines), 1.0, height / (height + lines)))
    axes.axis("off")
    if caption:
        made.text(0.5, 0.03 / (height + lines), caption, ha="center", va="bottom", fontsize=5.2, linespacing=1.25,
                  color=MUTED)  # fmt: skip
    return made, axes


def _arrow(colour: str) -> dict[str, Any]:
    return {"arrowstyle": "-|>,head_length=0.32,head_width=0.17", "color": colour, "linewidth": 0.9,
            "shrinkA": 0, "shrinkB": 0}  # fmt: skip


def _draw_node(axes: Axes, shape: _Shape, place: int, node: _Node) -> None:
    from matplotlib.patches import FancyBboxPatch

    pad = 0.06
    axes.add_patch(
        FancyBboxPatch(
            (place - shape.wide + pad, -shape.high + pad), 2 * (shape.wide - pad), 2 * (shape.high - pad),
            boxstyle=f"round,pad={pad},rounding_size=0.1", facecolor=PAPER, zorder=5,
            edgecolor=node.colour if node.live else MUTED, linewidth=1.5 if node.live else 0.7,
            linestyle="-" if node.live else ":",
        )
    )  # fmt: skip
    axes.text(place, 0, node.words, ha="center", va="center", fontsize=5.6, linespacing=0.95, zorder=6,
              color=TEXT if node.live else MUTED)  # fmt: skip
    if place and not shape.worded:
        axes.text(place - shape.wide + 0.05, shape.high - 0.04, str(place), ha="left", va="top", fontsize=4.4,
                  color=MUTED, zorder=6)  # fmt: skip
    if node.out and place == shape.nodes - 1:
        axes.annotate("", (place + shape.wide + 0.17, 0), (place + shape.wide, 0), arrowprops=_arrow(TEXT))
        axes.text(place + shape.wide + 0.19, 0, "out", ha="left", va="center", fontsize=5.6)
    elif node.out:
        side = place + 0.6 * shape.wide
        axes.annotate("", (side, -shape.high - 0.24), (side, -shape.high), arrowprops=_arrow(TEXT))
        axes.text(side + 0.09, -shape.high - 0.2, "out", ha="left", va="center", fontsize=5.6)


def _draw_arc(axes: Axes, shape: _Shape, arc: _Arc) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    span, up = arc.target - arc.source, 1 if arc.source % 2 == 0 else -1
    if span == 1:
        curve = Curve([(arc.source + shape.wide, 0), (arc.target - shape.wide, 0)])
    else:
        # a cubic's middle lies three quarters of the way to its controls
        low = shape.high
        apex = (shape.top(span) - low) / 0.75 + low
        # arcs leave on the right half of a node and arrive on the left one, the longest outside
        aside = shape.wide * (0.85 - 1.27 * span / shape.nodes)
        leave, arrive, lean = arc.source + aside, arc.target - aside, 0.22 * span
        curve = Curve(
            [(leave, up * low), (leave + lean, up * apex), (arrive - lean, up * apex), (arrive, up * low)],
            [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4],
        )
    heavy = 1.8 if shape.worded else 0.9
    axes.add_patch(
        FancyArrowPatch(
            path=curve, arrowstyle="-|>,head_length=3.4,head_width=1.9" if arc.live else "-", mutation_scale=1,
            color=arc.colour if arc.live else MUTED, linewidth=heavy if arc.live else 0.7,
            linestyle="-" if arc.live else DOTTED, zorder=3 if arc.live else 2, shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip
    if arc.words:
        # above a straight edge, which is short; on an arc
        axes.text(
            (arc.source + arc.target) / 2, 0.11 if span == 1 else up * shape.top(span), arc.words, ha="center",
            va="center", fontsize=6.3, color=TEXT if arc.live else MUTED, zorder=4,
            bbox={"boxstyle": "square,pad=0.16", "facecolor": PAPER, "edgecolor": "none"},
        )  # fmt: skip


def _row(space: Space, index: int, caption: str) -> Figure:
    """A box a position, as high as its option stands among the others where they are ordered."""
    from matplotlib.patches import Rectangle

    count = len(space.positions)
    made, axes = _canvas(min(7.0, max(2.2, 0.58 * (count + 0.8))), 1.4, caption)
    colours = option_colours(space.positions, 1)
    for place, choice in enumerate(_choices(space, index)):
        options = space.options[place]
        high = (choice + 1) / len(options) if space.ordinal else 1.0
        axes.add_patch(Rectangle((place - 0.3, -0.5), 0.6, 1.0, facecolor=GRID, edgecolor="none", zorder=1))
        axes.add_patch(Rectangle((place - 0.3, -high / 2), 0.6, high, facecolor=colours[space.positions[place]],
                                 edgecolor=PAPER, zorder=2))  # fmt: skip
        name = LABELS.get(options[choice], options[choice])
        axes.text(place, 0, name, ha="center", va="center", color=PAPER, fontweight="bold", zorder=3)
        axes.text(place, -0.58, space.positions[place], ha="center", va="top", fontsize=6)
    axes.text(-0.42, 0, "in", ha="right", va="center")
    axes.text(count - 0.58, 0, "out", ha="left", va="center")
    axes.set_xlim(-0.85, count - 0.05)
    axes.set_ylim(-0.8, 0.6)
    return made
