"""A cell of operations on nodes as text for a terminal: a row a node, a rail a source."""

from __future__ import annotations

from nasharness.spaces.shrink import Graph

#: start of a rail, rail, read, crossing without reading, line, arrow head, marks of an output
_UNICODE = ("┐", "│", "●", "┼", "─", "◀", "▶")
_ASCII = (".", "|", "o", "+", "-", "<", ">")
_PITCH = 4


def draw_graph(graph: Graph, ascii: bool = False) -> str:  # noqa: A002 - as in Space.draw
    """Draw a graph: every node's output is a rail that runs down to its last reader; a dot is where a node reads it.

    A line that crosses a rail without a dot does not read it. Leaves, which make the output, have an arrow;
    nodes that nothing reaches are in brackets.
    """
    start, rail, dot, cross, line, into, out = _ASCII if ascii else _UNICODE
    sources = sorted({source for source, _ in graph.eligible})
    column = {source: place for place, source in enumerate(sources)}
    last = {source: max(target for one, target in graph.eligible if one == source) for source in sources}
    names = ["input", *graph.operations]
    labels = [
        f"{node:>2}  {name}" if graph.reached[node] else f"{node:>2}  ({name}, not reached)"
        for node, name in enumerate(names)
    ]
    margin = max(map(len, labels)) + 2
    width = _PITCH * len(sources)
    rows = []
    for node, label in enumerate(labels):
        read = graph.inputs(node) if graph.reached[node] else ()
        cells = [" "] * width
        for source in sources:
            if source < node <= last[source]:
                cells[_PITCH * column[source] + _PITCH - 1] = rail
        if read:
            end = _PITCH * column[read[-1]] + _PITCH - 1
            for place in range(end):
                cells[place] = cross if cells[place] == rail else line
            for source in read:
                cells[_PITCH * column[source] + _PITCH - 1] = dot
            cells[0] = into
        if node in column:
            cells[_PITCH * column[node] + _PITCH - 1] = start
        if node == 0 and sources:
            cells[: _PITCH - 1] = [line] * (_PITCH - 1)
        tail = f" {out} out" if node in graph.leaves else ""
        rows.append((label.ljust(margin) + "".join(cells) + tail).rstrip())
    return "\n".join(rows)
