"""Architectures as bags of labels (subtrees, paths, choices), read when first asked about; and how many pairs agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasharness.spaces.base import Floats, Indices, Space

Labels = NDArray[np.int32]


class LabelCounts:
    """The labels of a space's architectures on each of ``levels`` levels, kept for as long as it lives.

    A subclass says in `_read` which labels an architecture has. They are numbered as they come up, so that the numbers
    depend on what else was asked about; what is counted with them does not.
    """

    def __init__(self, space: Space, levels: int) -> None:
        self._space, self._levels = space, levels
        self._numbers: dict[object, int] = {}
        self._known = np.zeros(space.size, dtype=bool)
        self._labels = np.zeros((space.size, levels, 0), dtype=np.int32)  # counted from 1; 0 for none
        self._squares = np.zeros((space.size, levels))

    def _read(self, index: int) -> Labels:
        """Numbers of the labels of one architecture, from 0: int32 ``[levels, some]``; new ones join ``_numbers``."""
        raise NotImplementedError

    def labels(self, ids: Indices) -> Labels:
        """The labels of architectures ``[...]``: int32 ``[..., levels, some]``, counted from 1, 0 behind the last."""
        for index in np.unique(ids[~self._known[ids]]).tolist():
            found = 1 + self._read(index)
            count, room = found.shape[1], self._labels.shape[2]
            if count > room:
                wider = np.zeros((self._space.size, self._levels, count), dtype=np.int32)
                wider[..., :room] = self._labels
                self._labels = wider
            self._labels[index, :, :count] = found
            squares = [(np.unique(row, return_counts=True)[1].astype(np.float64) ** 2).sum() for row in found]
            self._squares[index] = np.cumsum(squares)
            self._known[index] = True
        return self._labels[ids]

    def squares(self, ids: Indices, level: Indices) -> Floats:
        """Pairs of equal labels within architectures ``[runs, k]``, up to ``level [runs]``: float64 ``[runs, k]``."""
        self.labels(ids)
        return self._squares[ids, level[:, None]]

    def pairs(self, one: Indices, other: Indices, level: Indices) -> NDArray[np.float32]:
        """Pairs of equal labels between ``[runs, m]`` and ``[runs, n]``, up to ``level [runs]``: ``[runs, m, n]``.

        Whole numbers, exact.
        """
        a, b = self.labels(one), self.labels(other)
        pairs = np.zeros((len(one), one.shape[1], other.shape[1]), dtype=np.float32)
        for depth in range(int(level.max(initial=0)) + 1):
            rows = np.flatnonzero(level >= depth)
            left, right = (np.ascontiguousarray(side[rows, :, depth]) for side in (a, b))
            common = _present(left, len(self._numbers)) & _present(right, len(self._numbers))
            common[0] = False
            used = np.flatnonzero(common)
            local = np.zeros(len(common), dtype=np.intp)  # counted from 1; 0 for what only one side has
            local[used] = 1 + np.arange(len(used))
            counts = (_counts(local[side], len(used)) for side in (left, right))
            product = next(counts) @ next(counts).transpose(0, 2, 1)
            if len(rows) == len(pairs):
                pairs += product
            else:
                pairs[rows] += product
        return pairs


def _present(labels: Labels, most: int) -> NDArray[np.bool_]:
    """Which of the labels 0 to ``most`` occur: bool ``[most + 1]``."""
    found = np.zeros(most + 1, dtype=bool)
    found[labels.ravel()] = True
    return found


def _counts(labels: NDArray[np.intp], used: int) -> NDArray[np.float32]:
    """How often each of ``used`` labels, counted from 1, occurs: ``[runs, k, used]`` of labels ``[runs, k, some]``."""
    runs, k, _ = labels.shape
    places = labels + (np.arange(runs * k) * (used + 1)).reshape(runs, k, 1)
    counted = np.bincount(places.ravel(), minlength=runs * k * (used + 1))
    return counted.reshape(runs, k, used + 1)[..., 1:].astype(np.float32)
