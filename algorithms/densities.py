"""Kernel densities over architectures, one for each run: what BOHB's model is made of."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from heapq import heapify, heappush, heappushpop

import numpy as np
from numpy.typing import NDArray

from nasharness.spaces.base import Choices, Floats

#: How many of so many points are good, and how many of the others are bad: all but the worst, or all.
Split = Callable[[int], tuple[int, int]]
#: The densities ``[k, runs]`` of the good and of the bad points at ``choices [positions, k, runs]``.
Answer = Callable[[Choices], tuple[Floats, Floats]]
#: Positions whose patterns of agreement are looked up at once.
BITS = 8


class Kernels:
    """Products of Aitchison-Aitken kernels: 1 - h where the categories agree, else h / (levels - 1).

    ``counts``, ``[options, positions, runs]``: how many of the ``n`` points of a run make each choice; levels are those
    that occur, as statsmodels counts them. A position with one level makes the density elsewhere infinite, or not a
    number.

    The bandwidth ``h``, float64 ``[positions, runs]``, follows the normal reference rule, 1.06 std n^(-1 / (4 +
    positions)), but is at least ``least``. That treats the numbers of categories as if they were quantities, and it is
    clipped from below alone: above 1 a kernel is negative where the categories agree. Both are so in HpBandSter with
    statsmodels, hence in the published results.
    """

    def __init__(self, counts: NDArray[np.int64], n: int, least: float) -> None:
        options = np.arange(len(counts))[:, None, None]
        total, squares = (options * counts).sum(axis=0), (options * options * counts).sum(axis=0)
        levels = (counts > 0).sum(axis=0).astype(np.float64)
        deviation = np.sqrt(n * squares - total * total) / n  # of integers: exact up to the root
        positions = counts.shape[1]
        self.n = n
        self.h: Floats = np.maximum(1.06 * deviation * float(n) ** (-1.0 / (4 + positions)), least)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._differs = self.h / (levels - 1.0)
        self._agrees = 1.0 - self.h

    def table(self, first: int, end: int) -> Floats:
        """The product for every pattern of agreement: ``[runs, 2^(end - first)]``, bit 0 for position ``first``."""
        table = np.ones((self.h.shape[1], 1))
        with np.errstate(invalid="ignore", over="ignore"):
            for position in range(first, end):
                differs, agrees = self._differs[position][:, None], self._agrees[position][:, None]
                table = np.concatenate([table * differs, table * agrees], axis=1)
        return table


class Density(Kernels):
    """Kernel densities of ``data``, int8 ``[positions, runs, points]``, looked at point by point."""

    def __init__(self, data: NDArray[np.int8], least: float) -> None:
        options = range(int(data.max()) + 1)
        super().__init__(np.array([np.add.reduce(data == one, axis=-1, dtype=np.int64) for one in options]),
                         data.shape[2], least)  # fmt: skip
        self.data = data
        positions = len(data)
        self._products = [self.table(first, min(first + BITS, positions)) for first in range(0, positions, BITS)]

    def at(self, choices: Choices) -> Floats:
        """The density, float64 ``[runs]``, at ``choices [positions, runs]``."""
        kernels = np.ones(self.data.shape[1:])
        with np.errstate(invalid="ignore", over="ignore"):
            for part, table in enumerate(self._products):
                pattern = np.zeros(self.data.shape[1:], dtype=np.uint8)
                for bit, position in enumerate(range(part * BITS, min((part + 1) * BITS, len(self.data)))):
                    same = self.data[position] == choices[position][:, None]
                    pattern |= same.view(np.uint8) << np.uint8(bit)
                runs, patterns = table.shape
                kernels *= table.ravel().take(pattern + np.arange(0, runs * patterns, patterns)[:, None])
            # along the last, contiguous axis: a run's sum is the same bits in any batch
            return np.asarray(np.add.reduce(kernels, axis=1) / self.n)


class Observations:
    """What the runs have seen at one rung, sorted by loss: all runs have seen equally much."""

    def __init__(self, positions: int, runs: int, split: Split) -> None:
        self.n = 0
        self._split = split
        self._data = np.zeros((positions, runs, 32), dtype=np.int8)
        self._loss = np.full((runs, 32), np.inf)

    @property
    def data(self) -> NDArray[np.int8]:
        """Choices, best first: ``[positions, runs, n]``."""
        return self._data[:, :, : self.n]

    @property
    def loss(self) -> Floats:
        """Losses, ascending: ``[runs, n]``."""
        return self._loss[:, : self.n]

    def insert(self, choices: Choices, loss: Floats) -> None:
        """Add one observation a run: choices ``[runs, positions]``, loss ``[runs]``; behind its equals."""
        n = self.n
        if n == self._loss.shape[1]:
            self._data = np.concatenate([self._data, np.zeros_like(self._data)], axis=2)
            self._loss = np.concatenate([self._loss, np.full_like(self._loss, np.inf)], axis=1)
        place = (self._loss[:, :n] <= loss[:, None]).sum(axis=1)[:, None]
        behind = np.arange(n) >= place  # these make room
        for array, fresh in ((self._loss, loss), *zip(self._data, choices.T, strict=True)):
            old = array[:, :n].copy()
            np.copyto(array[:, 1 : n + 1], old, where=behind)
            array[np.arange(len(array)), place[:, 0]] = fresh
        self.n += 1

    def model(self, least: float) -> tuple[Floats, Answer]:
        """The bandwidths of the good ones, and what answers with the densities of the good and of the bad ones."""
        good, bad = self._split(self.n)
        parts = Density(self.data[:, :, :good], least), Density(self.data[:, :, good : good + bad], least)

        def at(choices: Choices) -> tuple[Floats, Floats]:
            inside, outside = (np.array([part.at(each) for each in choices.transpose(1, 0, 2)]) for part in parts)
            return inside, outside

        return parts[0].h, at

    def point(self, share: Floats) -> Choices:
        """The good one at ``share [runs]``, in [0, 1), of them in order: ``[positions, runs]``."""
        place = (share * self._split(self.n)[0]).astype(np.intp)
        return np.asarray(self._data[:, np.arange(len(share)), place])


class Agreement:
    """How many good and bad points of each run make the same choices as an architecture, on each subset of positions.

    A point is added in time that does not depend on how many there are, and so are the densities answered. The two
    counts are the lower and the upper half of one number, so that both are read and changed at once.
    """

    #: what a good point adds, and a bad one
    GOOD, BAD = 1, 1 << 32

    def __init__(self, sizes: NDArray[np.int64], runs: int) -> None:
        self._strides = np.cumprod([1, *(sizes + 1)])[:-1]
        self._total = cells(sizes)
        self._counts = np.zeros(runs * self._total, dtype=np.int64)
        self._rows = np.arange(runs)
        option = np.arange(sizes.max())[:, None]
        self._has, self._single = option < sizes, np.where(option < sizes, (1 + option) * self._strides, 0)

    def _places(self, choices: Choices, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Where the subsets of ``choices [positions, some]`` are counted: ``[some, 2^positions]``, as in `Kernels`."""
        found = np.empty((len(rows), 1 << len(choices)), dtype=np.int64)
        found[:, 0] = rows * self._total
        for bit, (choice, stride) in enumerate(zip(choices.astype(np.int64), self._strides, strict=True)):
            np.add(found[:, : 1 << bit], ((1 + choice) * stride)[:, None], out=found[:, 1 << bit : 2 << bit])
        return found

    def change(self, choices: Choices, rows: NDArray[np.intp], by: int) -> None:
        """Add ``by`` for a point of each of ``rows``: ``choices [positions, some]``."""
        self._counts[self._places(choices, rows)] += by  # a row has one point, and its places differ

    def kernels(self, split: tuple[int, int], least: float) -> tuple[Kernels, Kernels]:
        """The kernels of the good and of the bad points, so many as ``split`` says."""
        singles = self._counts.reshape(len(self._rows), -1)[:, self._single] * self._has  # [runs, options, positions]
        good, bad = (Kernels(part.transpose(1, 2, 0), n, least) for part, n in zip(_parts(singles), split, strict=True))
        return good, bad

    def patterns(self, choices: Choices) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many points agree on just the positions of each pattern: ``[k, runs, 2^positions]``, good and bad.

        ``choices [positions, k, runs]``.
        """
        positions, k, runs = choices.shape
        counts = self._counts[self._places(choices.reshape(positions, -1), np.tile(self._rows, k))]  # at least on them
        for bit in range(positions):
            halves = counts.reshape(k * runs, -1, 2, 1 << bit)
            halves[:, :, 0] -= halves[:, :, 1]
        return _parts(counts.reshape(k, runs, -1))


def _parts(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return counts & (Agreement.BAD - 1), counts >> 32


class ManyObservations:
    """What `Observations` is, where there are many: time for one more grows with the logarithm of their number.

    The good ones of a run are a sorted list, the others a heap; a point is its loss and its number, in which equals are
    sorted. Densities are sums in another order than point by point, so they may differ in the last bits.
    """

    def __init__(self, few: Observations, sizes: NDArray[np.int64], split: Split) -> None:
        positions, runs, self.n = few.data.shape
        self._split = split
        self._data = np.ascontiguousarray(few.data)
        self._rows = np.arange(runs)
        good, bad = split(self.n)
        points = [list(zip(row, range(self.n), strict=True)) for row in np.nan_to_num(few.loss, nan=np.inf).tolist()]
        self._good, self._rest = [row[:good] for row in points], [row[good:] for row in points]
        self._worst = [row[-1] for row in points]
        self._agree = Agreement(sizes, runs)
        for point in range(good + bad):
            self._change([point] * runs, Agreement.GOOD if point < good else Agreement.BAD)
        for row in self._rest:
            heapify(row)

    def insert(self, choices: Choices, loss: Floats) -> None:
        """Add one observation a run: choices ``[runs, positions]``, loss ``[runs]``; behind its equals."""
        n = self.n
        if n == self._data.shape[2]:
            self._data = np.concatenate([self._data, np.zeros_like(self._data)], axis=2)
        self._data[:, :, n] = choices.T
        before, after = self._split(n), self._split(n + 1)
        if sum(before) < n:  # the worst was left out
            self._change([point for _, point in self._worst], Agreement.BAD)
        self._change([n] * len(loss), Agreement.BAD)
        grows = after[0] > before[0]
        entered, left = [], []  # points that become good, and those that no longer are; -1: none
        for run, value in enumerate(np.nan_to_num(loss, nan=np.inf).tolist()):
            point, best, rest = (value, n), self._good[run], self._rest[run]
            self._worst[run] = max(self._worst[run], point)
            first = point if point < best[-1] else heappushpop(rest, point) if grows else None
            if first is None:
                heappush(rest, point)
            else:
                insort(best, first)
            last = best.pop() if first is not None and not grows else None
            if last is not None:
                heappush(rest, last)
            entered.append(-1 if first is None else first[1])
            left.append(-1 if last is None else last[1])
        self.n += 1
        self._change(entered, Agreement.GOOD - Agreement.BAD)
        self._change(left, Agreement.BAD - Agreement.GOOD)
        if sum(after) < n + 1:
            self._change([point for _, point in self._worst], -Agreement.BAD)

    def _change(self, points: list[int], by: int) -> None:
        numbers = np.array(points)
        rows = np.flatnonzero(numbers >= 0)
        self._agree.change(self._data[:, rows, numbers[rows]], rows, by)

    def model(self, least: float) -> tuple[Floats, Answer]:
        """See `Observations.model`."""
        split = self._split(self.n)
        kernels = self._agree.kernels(split, least)
        tables = [part.table(0, len(self._data)) for part in kernels]

        def at(choices: Choices) -> tuple[Floats, Floats]:
            with np.errstate(invalid="ignore", over="ignore"):
                counts = self._agree.patterns(choices)
                sums = [np.where(c > 0, c * t, 0.0) for c, t in zip(counts, tables, strict=True)]
                good, bad = (np.add.reduce(part, axis=2) / n for part, n in zip(sums, split, strict=True))
            return good, bad

        return kernels[0].h, at

    def point(self, share: Floats) -> Choices:
        """The good one at ``share [runs]``, in [0, 1), of them in order: ``[positions, runs]``."""
        place = (share * self._split(self.n)[0]).astype(np.intp).tolist()
        return self._data[:, self._rows, [good[at][1] for good, at in zip(self._good, place, strict=True)]]


def cells(sizes: NDArray[np.int64]) -> int:
    """Counters that `Agreement` keeps a run."""
    return int(np.prod([float(size) + 1 for size in sizes]))
