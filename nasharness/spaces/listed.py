"""Listed spaces: architectures are the rows of a table, and no product structure is promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError, nearest
from nasharness.spaces.base import Choices, Indices, Space, frozen
from nasharness.spaces.product import ProductSpace
from nasharness.storage.memory import check_memory

#: Comparisons of rows without a neighbour with all others, at most.
_COMPARED = 200_000_000
#: Bytes that a pair of neighbours takes while they are listed, as measured.
_PAIR = 52


class _Rows(Space):
    """What spaces of rows share: the published strings of all architectures, in the order of the rows.

    ``strings``: bytes (UTF-8) ``[n]``; ``features``: whole numbers ``[n, positions]``, which option of each position a
    row has, or None; ``options``, ``positions``: their names.
    """

    #: what ``space.json`` calls this class (see stored.py)
    kind: str

    def __init__(
        self,
        name: str,
        strings: NDArray[np.bytes_],
        *,
        features: NDArray[Any] | None = None,
        options: Sequence[Sequence[str]] = (),
        positions: Sequence[str] = (),
        ordinal: bool = False,
        summary: str = "",
    ) -> None:
        self.name, self.summary, self.ordinal = name, summary, ordinal
        self.positions = tuple(positions)
        self.options = tuple(tuple(names) for names in options)
        self.features = features
        self.string_form = f"one of its {len(strings):,} strings, as in {bytes(strings[0]).decode()}"
        self._bytes = strings

    def definition(self) -> dict[str, Any]:
        """What it takes to make this space again: the arguments of its class."""
        return {
            "name": self.name,
            "strings": self._bytes,
            "features": self.features,
            "options": self.options,
            "positions": self.positions,
            "ordinal": self.ordinal,
            "summary": self.summary,
            **self.more(),
        }

    def more(self) -> dict[str, Any]:
        """Arguments of its own that a subclass needs to be made again, as plain values."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        # by content: another machine may not have the table that defines it
        plain = {
            key: np.asarray(value) if isinstance(value, np.ndarray) else value
            for key, value in self.definition().items()
        }
        return _again, (type(self), plain)

    @cached_property
    def _strings(self) -> list[str]:
        return [bytes(text).decode() for text in self._bytes]

    def strings(self) -> list[str]:
        """See `Space.strings`."""
        return self._strings

    def string(self, arch: int) -> str:
        """See `Space.string`; one row is read, not all."""
        return bytes(self._bytes[self._one(arch)]).decode()

    @cached_property
    def _index_of_string(self) -> Mapping[str, int]:
        return {text: row for row, text in enumerate(self._strings)}

    def parse(self, value: Any) -> int:
        """See `Space.parse`; digits are a published string before they are an index."""
        if isinstance(value, str) and value.strip().isdigit() and value.strip() in self._index_of_string:
            return self._index_of_string[value.strip()]
        return int(super().parse(value))

    def from_string(self, text: str) -> int:
        """See `Space.from_string`."""
        row = self._index_of_string.get(text.strip())
        if row is None:
            close = ", ".join(nearest(text.strip(), self._strings[:20_000]))
            raise self._malformed(text, f"no row has it (nearest: {close})")
        return row


def _again(cls: type[_Rows], definition: dict[str, Any]) -> _Rows:
    return cls(**definition)


class FilledSpace(_Rows, ProductSpace):
    """A product space that the rows of a table fill: any choices are an architecture, and an index is a row."""

    kind = "product"

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """Ordered options are a ladder."""
        return ProductSpace.offers | ({"ladder", "nested"} if self.ordinal else set())

    def _order(self) -> Indices:
        if self.features is None:
            raise AssertionError("a product has features")
        return np.asarray(np.asarray(self.features, dtype=np.float64) @ self._places, dtype=np.int32)


class ListedSpace(_Rows):
    """Architectures that a table lists, with no promise that any others exist.

    Neighbours are the rows that differ in one feature; where a row has none, those that differ in the fewest. Sampling
    is uniform over rows. ``near``: neighbours known already, as ``(starts [n + 1], rows)``: those of row i are
    ``rows[starts[i]:starts[i + 1]]``.
    """

    kind = "listed"

    def __init__(
        self,
        name: str,
        strings: NDArray[np.bytes_],
        *,
        near: tuple[NDArray[Any], NDArray[Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, strings, **options)
        self.size = len(strings)
        self._given = near
        self.offers = frozenset({"index"} if self.features is None and near is None else {"index", "neighbours"})

    def definition(self) -> dict[str, Any]:
        """See `_Rows.definition`."""
        return super().definition() | {"near": self._given}

    def choices(self, ids: ArrayLike) -> Choices:
        """The features of rows ``[...]``: ``[..., positions]``."""
        if self.features is None:
            return np.zeros((*self._checked(ids).shape, 0), dtype=np.int8)
        taken: Choices = np.asarray(self.features[self._checked(ids)])
        return taken

    # -- drawing at random, and moving -----------------------------------------------------------------------------

    def sample(self, u: ArrayLike) -> Indices:
        """Return int32 ``[...]``: a uniform row for each of uniforms ``[..., 1]``."""
        return self._outcomes(self._last_axis(u, 1, "sampling")[..., 0], self.size)

    @cached_property
    def _near(self) -> tuple[NDArray[np.int64], Indices]:
        starts, rows = self._given if self._given is not None else near(self._needed())
        return frozen(np.asarray(starts, dtype=np.int64)), frozen(np.asarray(rows, dtype=np.int32))

    def _needed(self) -> NDArray[Any]:
        if self.features is None:
            raise UsageError(f"space {self.name}: its architectures have no features, so no neighbours")
        return self.features

    def mutate(self, ids: ArrayLike, u: ArrayLike) -> Indices:
        """Draw one of the neighbours uniformly, with one uniform; a row without any stays as it is."""
        parents = self._checked(ids)
        starts, rows = self._near
        first = starts.take(parents)
        count = starts.take(parents + 1) - first
        uniforms = self._unit(self._last_axis(u, 1, "mutation"))[..., 0]
        drawn = rows.take(np.minimum(first + (uniforms * count).astype(np.int64), len(rows) - 1))
        return np.asarray(np.where(count > 0, drawn, parents), dtype=np.int32)

    def neighbours(self, ids: ArrayLike) -> Indices:
        """See `Space.neighbours`; ascending rows."""
        checked = self._checked(ids)
        starts, rows = self._near
        first = starts.take(checked)[..., None]
        count = starts.take(checked + 1)[..., None] - first
        slots = np.arange(max(1, int(count.max(initial=0))))
        found = rows.take(np.minimum(first + slots, len(rows) - 1))
        return np.asarray(np.where(slots < count, found, -1), dtype=np.int32)


def near(features: NDArray[Any]) -> tuple[NDArray[np.int64], Indices]:
    """Neighbours of every row of ``features [n, positions]``: ``(starts [n + 1], rows)``, ascending within a row.

    Rows that differ in just one feature; for a row that has none, those that differ in the fewest, or, where too many
    rows have none for all to be compared, the two beside it in the order of the features.
    """
    n, positions = features.shape
    # A row's key is a sum of one random word a feature, so that a key without one feature is a subtraction. Two rows
    # share a key by chance once in 2^64; the comparison below drops such a pair.
    words = np.random.Generator(np.random.PCG64(0)).integers(
        0, 2**64, (positions, 1 + int(features.max(initial=0))), np.uint64
    )
    each = [words[position][features[:, position]] for position in range(positions)]
    key = np.sum(each, axis=0, dtype=np.uint64) if positions else np.zeros(n, dtype=np.uint64)
    left, right = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    pairs = 0
    for position in range(positions):
        rest = key - each[position]
        order = np.argsort(rest, kind="stable")
        ends = np.flatnonzero(np.diff(rest[order])) + 1
        counts = np.diff(np.concatenate([[0], ends, [n]]))
        pairs += int((counts * (counts - 1)).sum())
        check_memory(
            f"the neighbours of {n:,} architectures, {pairs:,} and more,", pairs * _PAIR, "Import a part of them"
        )
        one, other = _within(order, counts)
        differ = features[one, position] != features[other, position]
        left.append(one[differ])
        right.append(other[differ])
    near_left, near_right = np.concatenate(left), np.concatenate(right)
    true = np.zeros(len(near_left), dtype=bool)
    for at in range(0, len(true), 1 << 20):
        part = slice(at, at + (1 << 20))
        true[part] = np.count_nonzero(features[near_left[part]] != features[near_right[part]], axis=1) == 1
    near_left, near_right = near_left[true], near_right[true]
    alone = np.flatnonzero(np.bincount(near_left, minlength=n) == 0)
    if len(alone) and n > 1:
        if len(alone) * n <= _COMPARED:
            far = np.array([(row, other) for row in alone.tolist() for other in _closest(features, row)]).T
        else:
            far = _beside(features, alone)
        near_left, near_right = np.concatenate([near_left, far[0]]), np.concatenate([near_right, far[1]])
    order = np.argsort(near_left * n + near_right)
    starts = np.concatenate([[0], np.cumsum(np.bincount(near_left, minlength=n))])
    return starts, near_right[order].astype(np.int32)


def _within(order: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """All ordered pairs of different members of each group: ``[2, pairs]``; members of a group stand together."""
    counts = counts[counts > 0]
    ends = np.cumsum(counts)
    size = np.repeat(counts, counts)  # of the group of each member
    begin = np.repeat(ends - counts, counts)
    left = np.repeat(order, size - 1)
    place = np.repeat(np.arange(len(order)) - begin, size - 1)  # of the left one in its group
    total = int((size - 1).sum())
    first = np.cumsum(size - 1) - (size - 1)
    slot = np.arange(total) - np.repeat(first, size - 1)
    right = order[np.repeat(begin, size - 1) + slot + (slot >= place)]
    return np.stack([left, right])


def _beside(features: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows before and after each of ``rows`` in the order of the features: pairs ``[2, 2 * rows]``."""
    n = len(features)
    order = np.lexsort(features.T[::-1])
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    return np.stack([np.repeat(rows, 2), order[(place[rows][:, None] + [-1, 1]) % n].ravel()])


def _closest(features: NDArray[Any], row: int) -> list[int]:
    """The other rows that differ from ``row`` in the fewest features."""
    distance = np.count_nonzero(features != features[row], axis=1)
    distance[row] = features.shape[1] + 1
    return [int(other) for other in np.flatnonzero(distance == distance.min())]
