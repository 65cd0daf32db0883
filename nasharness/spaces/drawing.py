"""Architectures as text for a terminal: the cell of tss as a graph, the widths of sss as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nasharness.spaces.graph import LabelledGraph

#: published name of an operation -> how it is written into a picture
LABELS = {
    "none": "none",
    "skip_connect": "skip",
    "nor_conv_1x1": "conv 1x1",
    "nor_conv_3x3": "conv 3x3",
    "avg_pool_3x3": "pool 3x3",
    "conv3x3-bn-relu": "conv 3x3",
    "conv1x1-bn-relu": "conv 1x1",
    "maxpool3x3": "pool 3x3",
}
_SPAN = 21  # columns from the middle of a node to the middle of the next
_MIDDLES = tuple(5 + _SPAN * node for node in range(4))


@dataclass(frozen=True)
class _Pen:
    """Characters of one kind of edge. ``corners``: top left, top right, bottom left, bottom right."""

    along: str
    across: str
    corners: str


_LIGHT, _HEAVY = _Pen("─", "│", "┌┐└┘"), _Pen("━", "┃", "┏┓┗┛")
_DOUBLE, _DOTTED = _Pen("═", "║", "╔╗╚╝"), _Pen("┄", "┊", "┄┄┄┄")
_DASHES, _THICK = _Pen("-", "|", "++++"), _Pen("=", "|", "++++")
_WAVES, _DOTS = _Pen("~", "|", "++++"), _Pen(".", ":", "....")
#: how an operation's line looks; any other is light
_UNICODE = {"none": _DOTTED, "nor_conv_1x1": _HEAVY, "nor_conv_3x3": _HEAVY, "avg_pool_3x3": _DOUBLE}
_ASCII = {"none": _DOTS, "nor_conv_1x1": _THICK, "nor_conv_3x3": _THICK, "avg_pool_3x3": _WAVES}


class _Canvas:
    def __init__(self, rows: int, columns: int) -> None:
        self._cells = [[" "] * columns for _ in range(rows)]

    def put(self, row: int, column: int, text: str) -> None:
        self._cells[row][column : column + len(text)] = text

    def line(self, row: int, first: int, last: int, pen: _Pen, label: str) -> None:
        """Draw from column ``first`` to ``last``, both included, with the label in the middle."""
        self.put(row, first, f" {label} ".center(last - first + 1, "\0").replace("\0", pen.along))

    def text(self) -> str:
        return "\n".join("".join(cells).rstrip() for cells in self._cells)


def draw_cell(graph: LabelledGraph, ascii: bool = False) -> str:  # noqa: A002
    """Draw a cell of four nodes with an operation on each edge.

    Convolutions are heavy lines, pooling double, skip connections light. Dotted is what carries nothing from the input
    to the output: ``none``, and, in brackets, an operation whose source has no signal or whose target leads nowhere.
    A node off every live path is crossed out, and a line below says why.
    """
    pens, other = (_ASCII, _DASHES) if ascii else (_UNICODE, _LIGHT)
    right, down, up, cross = (">", "v", "^", "x") if ascii else ("▶", "▼", "▲", "×")
    fed, read = graph.reached()

    canvas = _Canvas(6, 80)
    canvas.put(3, 0, "in")
    canvas.put(3, _MIDDLES[3] + 4, "out")
    for node, middle in enumerate(_MIDDLES):
        canvas.put(3, middle - 2, f"( {node} )" if fed[node] and read[node] else f" {cross}{node}{cross} ")

    for (source, target, operation), live in zip(graph.edges, graph.live(), strict=True):
        pen = pens.get(operation, other) if live else pens["none"]
        words = LABELS.get(operation, operation)
        label = words if live or operation == graph.absent else f"({words})"
        start, end = _MIDDLES[source], _MIDDLES[target]
        if target == source + 1:
            canvas.line(3, start + 3, end - 3, pen, label)
            if live:
                canvas.put(3, end - 3, right)
            continue
        # Longer edges go round: from node 0 above the row of nodes, the outer one outside; from node 1 below it.
        if source == 0:
            start += -1 if target == 3 else 1
        row, step = (5, -1) if source == 1 else (0 if target == 3 else 1, 1)
        corners = pen.corners[2:] if source == 1 else pen.corners[:2]
        canvas.line(row, start + 1, end - 1, pen, label)
        canvas.put(row, start, corners[0])
        canvas.put(row, end, corners[1])
        for between in range(row + step, 3, step):
            canvas.put(between, start, pen.across)
            canvas.put(between, end, pen.across)
        if live:
            canvas.put(3 - step, end, up if source == 1 else down)
    return "\n".join([canvas.text(), *_remarks(fed, read)])


def _remarks(fed: list[bool], read: list[bool]) -> list[str]:
    if not fed[3]:
        return ["No path leads from in to out: the network's answer does not depend on the image."]
    remarks = []
    for node in (1, 2):
        if not fed[node]:
            remarks.append(f"Node {node} is empty: nothing reaches it from the input.")
        elif not read[node]:
            remarks.append(f"Node {node} is unused: nothing leads from it to the output.")
    return remarks


def draw_widths(widths: Sequence[int], ascii: bool = False) -> str:  # noqa: A002
    """Draw the five widths (channels) of sss as bars, one column for two channels, from the image down."""
    layers = ("stem, cell 1", "block 1", "cell 2", "block 2", "cell 3")
    scales = ("full", "1/2", "1/2", "1/4", "1/4")
    bar = "#" if ascii else "█"
    lines = [
        f"c{layer}  {layers[layer]:<12}  {scales[layer]:>4} size, {width:>2} channels  {bar * (width // 2)}"
        for layer, width in enumerate(widths)
    ]
    return "\n".join(lines)


def draw_choices(positions: Sequence[str], chosen: Sequence[str]) -> str:
    """Write down what stands at each position, as many to a line as fit into 80 columns."""
    parts = [f"{position} {option}" for position, option in zip(positions, chosen, strict=True)]
    width = max((len(part) for part in parts), default=0) + 2
    rows = max(1, 80 // max(width, 1))
    return "\n".join(
        "".join(part.ljust(width) for part in parts[at : at + rows]).rstrip() for at in range(0, len(parts), rows)
    )
