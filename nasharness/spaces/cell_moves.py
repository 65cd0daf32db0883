"""Neighbours of NAS-Bench-101's cells: one operation changed, or one edge added or removed, among all that are listed.

What a change leaves off every path from input to output is cut away, and the rest is looked up as whatever listed cell
it is isomorphic to: all orders of a cell's nodes that keep its edges pointing forward are held beside it. Being
neighbours goes both ways, so that a small cell can grow into those that shrink to it.

A cell is two numbers here: its edges, bit k for ``EDGES[k]``, and its operations in base 3, digit j of place j + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.spaces.base import Indices
from nasharness.spaces.cells import EDGES, NODES

Ints = NDArray[np.int64]

_BITS = len(EDGES)
_BIT = {edge: bit for bit, edge in enumerate(EDGES)}
_INNER = NODES - 2
_LABELLINGS = 3**_INNER
#: bits that are looked up at a time
_PART = 7
_HUB = 100


def near_cells(features: NDArray[np.int8]) -> tuple[Ints, Indices]:
    """Neighbours of cells ``[n, 26]``: ``(starts [n + 1], rows)``, ascending within a row."""
    n = len(features)
    edges, operations, counts = _numbers(features)
    digits = np.maximum(features[:, _BITS:].astype(np.int64) - 1, 0)
    find = _Lookup(edges, operations, counts)
    cut, kept = _pruned_all()
    chosen = np.stack([_rearranged([node for node in range(_INNER) if mask >> node & 1]) for mask in range(2**_INNER)])
    everyone = np.arange(n)
    left, right = [], []
    for bit in range(_BITS):
        changed = edges ^ (1 << bit)
        found = find(cut[changed], chosen[kept[changed], operations])
        there = np.flatnonzero((found >= 0) & (found != everyone))
        left += [there, found[there]]
        right += [found[there], there]
    for node in range(_INNER):
        rows = np.flatnonzero(counts > node)
        for step in (1, 2):
            other = (digits[rows, node] + step) % 3
            found = find(edges[rows], operations[rows] + (other - digits[rows, node]) * 3**node)
            there = (found >= 0) & (found != rows)
            left.append(rows[there])
            right.append(found[there])
    return _grouped(np.concatenate(left) * n + np.concatenate(right), n)


def within_two(near: tuple[Ints, Indices], count: int) -> tuple[Ints, Indices]:
    """Of the rows below ``count``, those at most two steps apart in ``near``, likewise.

    No step leads over a cell with more than ``_HUB`` neighbours: all cells with a bridge are near the few smallest
    ones.
    """
    starts, rows = near
    first = np.repeat(np.arange(count), np.diff(starts[: count + 1]))
    middle = rows[: starts[count]].astype(np.int64)
    size = starts[middle + 1] - starts[middle]
    size[size > _HUB] = 0
    ends = np.cumsum(size)
    second = rows[np.repeat(starts[middle] - (ends - size), size) + np.arange(size.sum())].astype(np.int64)
    left = np.concatenate([first, np.repeat(first, size)])
    right = np.concatenate([middle, second])
    kept = (right < count) & (left != right)
    return _grouped(left[kept] * count + right[kept], count)


def _grouped(pairs: Ints, n: int) -> tuple[Ints, Indices]:
    """The pairs ``n * left + right``, each once, as ``(starts [n + 1], rows)``; reorders ``pairs``."""
    pairs.sort()  # np.unique takes ten times as long
    once = pairs[np.concatenate([[True], pairs[1:] != pairs[:-1]])] if len(pairs) else pairs
    starts = np.concatenate([[0], np.cumsum(np.bincount(once // n, minlength=n))])
    return starts, (once % n).astype(np.int32)


def canonical(features: NDArray[np.int8]) -> NDArray[np.int8]:
    """The same cells ``[n, 26]``, each with its nodes in the order that gives the least numbers.

    Raises UsageError for a cell with a node that is on no path from input to output.
    """
    edges, operations, counts = _numbers(features)
    wrong = np.flatnonzero(_pruned_all()[0][edges] != edges)
    if len(wrong):
        raise UsageError(f"row {wrong[0]}: a node is on no path from input to output, or there is no path")
    least = np.full(len(features), np.iinfo(np.int64).max)
    for forms, labels, rows in _orders(edges, operations, counts):
        least[rows] = np.minimum(least[rows], forms * _LABELLINGS + labels)
    found = np.zeros_like(features)
    found[:, :_BITS] = least[:, None] // _LABELLINGS >> np.arange(_BITS) & 1
    digits = least[:, None] % _LABELLINGS // 3 ** np.arange(_INNER) % 3
    found[:, _BITS:] = np.where(np.arange(_INNER) < counts[:, None], digits + 1, 0)
    return found


def _numbers(features: NDArray[np.int8]) -> tuple[Ints, Ints, Ints]:
    """Edges, operations and the count of nodes between input and output: ``[n]`` each."""
    edges = features[:, :_BITS].astype(np.int64) @ (1 << np.arange(_BITS))
    operations = np.maximum(features[:, _BITS:].astype(np.int64) - 1, 0) @ 3 ** np.arange(_INNER)
    return edges, operations, np.count_nonzero(features[:, _BITS:], axis=1)


def _orders(edges: Ints, operations: Ints, counts: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Every order of every cell's nodes that keeps edges pointing forward: edges, operations and row, ``[.]`` each."""
    for count in range(_INNER + 1):
        rows = np.flatnonzero(counts == count)
        for order in permutations(range(count)):
            places = [0, *(place + 1 for place in order), *range(count + 1, NODES)]  # where each place goes
            backward = sum(1 << bit for (one, two), bit in _BIT.items() if places[one] > places[two])
            fit = rows[(edges[rows] & backward) == 0]
            source = [order.index(place) for place in range(count)]
            yield _moved(edges[fit], places), _rearranged(source)[operations[fit]], fit


class _Lookup:
    """Finds the row of a cell, its nodes in any order; -1 where no row is isomorphic to it."""

    def __init__(self, edges: Ints, operations: Ints, counts: Ints) -> None:
        every = zip(*_orders(edges, operations, counts), strict=True)
        forms, labels, rows = (np.concatenate(parts) for parts in every)
        known = np.zeros(1 << _BITS, dtype=bool)
        known[forms] = True
        self._rank = np.where(known, np.cumsum(known) - 1, -1)
        self._rows = np.full(int(known.sum()) * _LABELLINGS, -1, dtype=np.int32)
        self._rows[self._rank[forms] * _LABELLINGS + labels] = rows

    def __call__(self, edges: Ints, operations: Ints) -> Ints:
        rank = np.where(edges < 0, -1, self._rank[edges])
        return np.where(rank < 0, -1, self._rows[rank * _LABELLINGS + operations])


def _rearranged(source: list[int]) -> Ints:
    """For every number of operations, the one whose digit j is digit ``source[j]``; further digits are 0: ``[243]``."""
    every = np.arange(_LABELLINGS)
    return np.asarray(
        sum((every // 3**digit % 3 * 3**place for place, digit in enumerate(source)), np.zeros_like(every))
    )


def _moved(edges: Ints, places: list[int]) -> Ints:
    """Edges ``[n]`` after node i has moved to ``places[i]``; edges of nodes that go nowhere (-1) vanish."""
    moved = np.zeros_like(edges)
    for low in range(0, _BITS, _PART):
        table = np.zeros(1 << _PART, dtype=np.int64)
        for bit in range(low, min(low + _PART, _BITS)):
            new = _BIT.get((places[EDGES[bit][0]], places[EDGES[bit][1]]))
            if new is not None:
                table |= (np.arange(1 << _PART) >> (bit - low) & 1) << new
        moved |= table[edges >> low & ((1 << _PART) - 1)]
    return moved


def _pruned_all() -> tuple[Ints, Ints]:
    """For all 2^21 sets of edges: what pruning leaves, moved up to the front, and which inner nodes that are.

    The edges are -1 where no path leads from input to output; inner nodes are a set of five bits.
    """
    every = np.arange(1 << _BITS)
    fed = np.ones(len(every), dtype=np.uint8)
    read = np.full(len(every), 1 << (NODES - 1), dtype=np.uint8)
    there = [(every >> bit & 1).astype(np.uint8) for bit in range(_BITS)]
    for source, target in EDGES:  # row by row: a source is settled before its own row
        fed |= (there[_BIT[source, target]] & (fed >> source & 1)) << target
    for source, target in reversed(EDGES):
        read |= (there[_BIT[source, target]] & (read >> target & 1)) << source
    kept = (fed & read) >> 1 & (2**_INNER - 1)
    left = np.empty(len(every), dtype=np.int64)
    for mask in range(2**_INNER):
        inner = [node for node in range(_INNER) if mask >> node & 1]
        places = [0, *(inner.index(node) + 1 if node in inner else -1 for node in range(_INNER)), NODES - 1]
        rows = np.flatnonzero(kept == mask)
        left[rows] = _moved(every[rows], places)
    left[fed >> (NODES - 1) == 0] = -1
    return left, kept.astype(np.int64)
