"""Cells of NAS-Bench-101: graphs of up to seven nodes that carry operations (arXiv 1902.09635).

A cell is held in seven places: the input at 0, its nodes at 1, 2, ..., the output at 6. Features are the 21 possible
edges, row by row, and the operations of places 1 to 5, absent behind the last node. Its string is the upper triangle of
its own adjacency matrix, rows joined by ``.``, then ``:`` and an operation a node: 3 and 1 for a convolution 3x3 and
1x1, m for max-pooling 3x3. So ``11.1:3`` is input -> conv3x3 -> output, with input -> output.
"""

from __future__ import annotations

import re
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.spaces.graph import LabelledGraph
from nasharness.spaces.listed import ListedSpace

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
LETTERS = "31m"
NODES = 7
#: (source, target) of each possible edge, row by row
EDGES = tuple((source, target) for source in range(NODES) for target in range(source + 1, NODES))
POSITIONS = (*(f"{source}->{target}" for source, target in EDGES), *(f"node {place}" for place in range(1, NODES - 1)))
OPTIONS = (("no", "yes"),) * len(EDGES) + (("absent", *OPERATIONS),) * (NODES - 2)
_STRING = re.compile(r"[01.]+:[31m]{0,5}")


class CellSpace(ListedSpace):
    """Cells of NAS-Bench-101 that a table lists. ``features``: int8 ``[n, 26]``, as above."""

    kind = "cells"

    def __init__(self, name: str, strings: NDArray[np.bytes_], **options: Any) -> None:
        super().__init__(name, strings, **options)
        self.string_form = "rows of the upper triangle, then operations 3, 1 or m, as in 110.01.1:31"

    def graph(self, arch: Any) -> LabelledGraph:
        """See `Space.graph`: nodes carry operations."""
        return graph_of(self.string(self.parse(arch)))

    def from_string(self, text: str) -> int:
        """See `Space.from_string`. Any cell that computes the same as a listed one is that one.

        So its nodes may come in any order, and nodes off every path from input to output do not count.
        """
        given = text.strip()
        if given in self._index_of_string:
            return self._index_of_string[given]
        try:
            matrix, letters = parsed(given)
        except ValueError as error:
            raise self._malformed(text, str(error)) from None
        matrix, letters = _pruned(matrix, letters)
        for order in permutations(range(len(letters))):
            places = [0, *(place + 1 for place in order), len(letters) + 1]
            moved = matrix[np.ix_(places, places)]
            if not np.tril(moved).any():
                row = self._index_of_string.get(string_of(moved, "".join(letters[place] for place in order)))
                if row is not None:
                    return row
        raise self._malformed(text, "the table lists no such cell")

    def draw(self, arch: Any, ascii: bool = False) -> str:  # noqa: A002
        """See `Space.draw`: a row a node, a rail a source."""
        from nasharness.spaces.drawing_graph import draw_graph
        from nasharness.spaces.shrink import Graph

        graph = self.graph(arch)
        return draw_graph(Graph.of(graph.nodes[1:], [edge[:2] for edge in graph.edges]), ascii=ascii)


def parsed(text: str) -> tuple[NDArray[np.int8], str]:
    """The adjacency matrix ``[nodes, nodes]`` and the operations' letters of a string. Raises ValueError saying why."""
    if not _STRING.fullmatch(text):
        raise ValueError("it is not of that form")
    triangle, _, letters = text.partition(":")
    rows, nodes = triangle.split("."), len(letters) + 2
    if [len(row) for row in rows] != list(range(nodes - 1, 0, -1)):
        raise ValueError(f"{len(letters)} operation(s) go with rows of {', '.join(map(str, range(nodes - 1, 0, -1)))}")
    matrix = np.zeros((nodes, nodes), dtype=np.int8)
    for source, row in enumerate(rows):
        matrix[source, source + 1 :] = list(map(int, row))
    return matrix, letters


def string_of(matrix: NDArray[np.int8], letters: str) -> str:
    """The string of an adjacency matrix and its operations' letters."""
    rows = ["".join(map(str, matrix[source, source + 1 :].tolist())) for source in range(len(matrix) - 1)]
    return ".".join(rows) + ":" + letters


def graph_of(text: str) -> LabelledGraph:
    """The graph of a string."""
    matrix, letters = parsed(text)
    nodes = ("input", *(OPERATIONS[LETTERS.index(letter)] for letter in letters), "output")
    return LabelledGraph(nodes, tuple((int(one), int(two), "") for one, two in np.argwhere(matrix)))


def strings_of(features: NDArray[np.int8]) -> NDArray[np.bytes_]:
    """The strings of cells ``[n, 26]``: bytes ``[n]``."""
    edges, operations = features[:, : len(EDGES)], features[:, len(EDGES) :]
    counts = np.count_nonzero(operations, axis=1)
    text = np.zeros((len(features), 33), dtype=np.uint8)
    for count in range(NODES - 1):
        rows = np.flatnonzero(counts == count)
        at = 0
        for source in range(count + 1):
            for target in (*range(source + 1, count + 1), NODES - 1):
                text[rows, at] = ord("0") + edges[rows, EDGES.index((source, target))]
                at += 1
            text[rows, at] = ord("." if source < count else ":")
            at += 1
        letters = np.frombuffer(f" {LETTERS}".encode(), dtype=np.uint8)
        text[rows[:, None], at + np.arange(count)] = letters[operations[rows, :count]]
    return np.ascontiguousarray(text).view("S33").ravel()


def features_of(nodes: NDArray[Any], adjacency: NDArray[Any], operations: NDArray[Any]) -> NDArray[np.int8]:
    """Features ``[n, 26]`` of cells given as numbers ``[n]``.

    ``adjacency``: bit k is the k-th entry, row by row, of the strict upper triangle of the nodes x nodes matrix.
    ``operations``: in base 3, digit j is that of node j + 1. Raises UsageError naming the first number that cannot be.
    """
    found = np.zeros((len(nodes), len(POSITIONS)), dtype=np.int8)
    wrong = np.flatnonzero((nodes < 2) | (nodes > NODES))
    if len(wrong):
        raise UsageError(f"row {wrong[0]}: {nodes[wrong[0]]} nodes, expected 2 to {NODES}")
    for count in range(2, NODES + 1):
        rows = np.flatnonzero(nodes == count)
        edges, labels = adjacency[rows].astype(np.int64), operations[rows].astype(np.int64)
        for what, values, limit in (("adj", edges, 2 ** (count * (count - 1) // 2)), ("ops", labels, 3 ** (count - 2))):
            bad = np.flatnonzero((values < 0) | (values >= limit))
            if len(bad):
                raise UsageError(
                    f"row {rows[bad[0]]}: {what} is {values[bad[0]]}, expected 0 to {limit - 1} for {count} nodes"
                )
        bit = 0
        for source in range(count):
            for target in range(source + 1, count):
                place = NODES - 1 if target == count - 1 else target
                found[rows, EDGES.index((source, place))] = edges >> bit & 1
                bit += 1
        for node in range(count - 2):
            found[rows, len(EDGES) + node] = 1 + labels // 3**node % 3
    return found


def _pruned(matrix: NDArray[np.int8], letters: str) -> tuple[NDArray[np.int8], str]:
    """Without the nodes that are on no path from input to output."""
    fed, read = [0], [len(matrix) - 1]
    for node in range(1, len(matrix)):
        if matrix[fed, node].any():
            fed.append(node)
    for node in range(len(matrix) - 2, -1, -1):
        if matrix[node, read].any():
            read.append(node)
    kept = sorted({0, len(matrix) - 1} | (set(fed) & set(read)))
    return matrix[np.ix_(kept, kept)], "".join(letters[node - 1] for node in kept[1:-1])
