"""Starts: which architectures a search begins with. A factor of a comparison, never hidden in an algorithm.

``own``: what the algorithm begins with by itself. ``dense``: the full network and all that one removal makes of it, in
random order, AutoShrink's prior. ``random[:N]``: distinct ones drawn uniformly. ``space-filling[:N]``: spread out, each
the farthest of some candidates from those before it (Mitchell, Spectrally Optimal Sampling for Distribution Ray
Tracing, SIGGRAPH 1991). ``scores:FILE[@COLUMN][:N]``: those with the best scores in a file (`nasharness score`), the
best first, equals in random order. A file: an architecture a line, in its order.

What is drawn comes from a stream of its own for each run, so that all algorithms with one seed begin with the same
architectures, and what they draw themselves stays as it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.search.streams import START, Streams
from nasharness.spaces.base import Floats, Indices, Space
from nasharness.storage import file_sha256
from nasharness.storage.sealed import read_bytes

Excess = Callable[[Indices], Floats]

KINDS = ("own", "dense", "random", "space-filling", "scores")
#: How many are drawn where neither the start nor the algorithm says.
SOME = 10
#: Candidates for each place of a space-filling start.
_CANDIDATES = 64
#: Times that what was drawn twice, or breaks a limit, is drawn again, before the rest is enumerated.
_ROUNDS = 100


@dataclass(frozen=True)
class Start:
    """``text``: how it is written and recorded. ``kind``: of KINDS, or ``file``. ``count``: how many, where it is said.
    ``listed``: those of a file, ``[n, *arch_shape]``. ``scores``: what ``listed`` have, float64 ``[n]``, higher is
    better. ``asked``: what `parse` was given, so that it can be read again.
    """  # noqa: D205 - fields

    text: str
    kind: str
    count: int | None = None
    listed: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    scores: Floats | None = field(default=None, compare=False, repr=False)
    asked: str = field(default="own", compare=False, repr=False)

    @classmethod
    def parse(cls, text: str | Start, space: Space, dataset: str | None = None) -> Start:
        """Read ``own``, ``dense``, ``random[:N]``, ``space-filling[:N]``, ``scores:FILE[@COLUMN][:N]`` or a file.

        ``dataset``: whose rows and columns count in a file of scores; None for the space's first.

        Raises UsageError for what cannot be or does not fit the space, DataError for a file that cannot be read.
        """
        if isinstance(text, Start):
            return text
        if not isinstance(text, str):
            raise UsageError(f"start {text!r}: expected a text, as in 'random:10'")
        kind, colon, number = text.strip().partition(":")
        if kind not in KINDS:
            if not Path(text).exists() and not re.search(r"[/\\.]", text):
                known = (*KINDS, "random:10", "space-filling:10", "scores:FILE")
                raise unknown("start", text, known, "a file is named with its path")
            archs, digest = read_archs(Path(text), space, "start")
            told = f"{Path(text).name} ({len(archs)} architectures, SHA-256 {digest})"
            return cls(told, "file", len(archs), archs, asked=text)
        if kind == "scores":
            return cls._of_scores(text, number, space, dataset)
        if colon and kind in ("own", "dense"):
            raise UsageError(f"start {text!r}: {kind} has a number of its own; write {kind}")
        if colon and not (number.isascii() and number.isdigit() and int(number) >= 1):
            raise UsageError(f"start {text!r}: expected a whole number of at least 1, as in {kind}:10")
        count = int(number) if colon else None
        if count is not None and count > space.size:
            raise UsageError(f"start {text!r}: space {space.name!r} has {space.size:,} architectures")
        if kind == "dense" and "ladder" not in space.offers:
            raise UsageError(
                f"start dense: space {space.name!r} does not say how an option is made weaker, so it has no full "
                "network; use random:N or a file"
            )
        if kind == "space-filling" and not space.positions:
            raise UsageError(f"start {text!r}: space {space.name!r} has no features, so nothing is near or far")
        written = kind if count is None else f"{kind}:{count}"
        return cls(written, kind, count, asked=written)

    @classmethod
    def _of_scores(cls, text: str, words: str, space: Space, dataset: str | None) -> Start:
        from nasharness.search.scores import read_scores

        name, _, number = words.rpartition(":")
        count = int(number) if name and number.isascii() and number.isdigit() and not Path(words).exists() else None
        name = words if count is None else name
        path, _, column = name.rpartition("@")
        if not path or Path(name).exists():
            path, column = name, ""
        if not path or count == 0:
            raise UsageError(f"start {text!r}: expected scores:FILE, scores:FILE@COLUMN or scores:FILE:10")
        if "index" not in space.offers:
            raise UsageError(f"start {text!r}: files of scores have indices; space {space.name!r} cannot be enumerated")
        chosen = dataset or next(iter(space.datasets), "")
        index, found, _ = read_scores(path, space.size, chosen, [column] if column else [])
        if len(found) > 1:
            raise UsageError(
                f"start {text!r}: the file has several scores, {', '.join(found)[:200]}; name one, as in "
                f"scores:{path}@{next(iter(found))}"
            )
        column, scores = next(iter(found.items()))
        scored = ~np.isnan(scores)
        index, scores = index[scored], scores[scored]
        if not len(index):
            raise DataError(f"start {text!r}: no architecture has a score in column {column!r}")
        if count is not None and count > len(index):
            raise UsageError(f"start {text!r}: {len(index):,} architectures have a score in it")
        digest = file_sha256(Path(path))[:12]
        told = f"scores:{Path(path).name}@{column}" + (f":{count}" if count else "")
        listed = index.astype(space.arch_dtype)
        return cls(f"{told} ({len(index):,} scores, SHA-256 {digest})", "scores", count, listed, scores, asked=text)

    def __str__(self) -> str:
        return self.text

    @property
    def own(self) -> bool:
        """Whether it is left to the algorithm."""
        return self.kind == "own"

    def draw(self, space: Space, seeds: NDArray[np.int64], count: int, excess: Excess) -> Indices:
        """The first architectures of runs with ``seeds``: ``[runs, n, *arch_shape]``.

        ``count``: how many where it is not said. ``excess``: how far architectures are known to break limits; what
        breaks them is not drawn, where it can be avoided.
        """
        if self.listed is not None and self.scores is not None:
            return _best(self.listed, self.scores, seeds, self.count or count or SOME, excess)
        if self.listed is not None:
            return np.broadcast_to(self.listed, (len(seeds), *self.listed.shape)).copy()
        if self.kind == "dense":
            full = dense(space)
            kept = full[excess(full) == 0]
            if not len(kept):
                raise UsageError("start dense: the full network and all its removals break the limits; use random:N")
            order = np.argsort(Streams(seeds, START).uniform(len(kept)), axis=1, kind="stable")
            first = np.asarray(kept[order])
            if len(kept) == len(full):  # the full network stays the first
                place = (order == 0).argmax(axis=1)
                rows = np.arange(len(seeds))
                first[rows, place] = first[:, 0]
                first[:, 0] = full[0]
            return first
        wanted = min(self.count or count or SOME, space.size)
        if self.kind == "random":
            return _distinct(space, seeds, wanted, excess)
        return _spread(space, seeds, wanted, excess)


def read_archs(path: Path, space: Space, what: str) -> tuple[NDArray[Any], str]:
    """Read a file with an architecture a line, an index or a string: ``[n, *arch_shape]``, and a digest of the file.

    ``what``: what it is read for, for messages. Raises DataError for a file that cannot be read, UsageError for a line
    that is no architecture, for one that is there twice, and where there is none.
    """
    try:
        content = read_bytes(path)
        lines = content.decode().splitlines()
    except (DataError, UnicodeDecodeError) as error:
        raise DataError(f"{what} {path}: {error}; expected a text file with an architecture a line") from None
    found: list[Any] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        try:
            found.append(space.parse(words))
        except UsageError as error:
            raise UsageError(f"{what} {path}, line {number}: {error}") from None
    if not found:
        raise UsageError(f"{what} {path}: no architecture in it; expected one a line: an index or a string")
    archs = np.asarray(found, dtype=space.arch_dtype).reshape(len(found), *space.arch_shape)
    if len(np.unique(archs, axis=0)) < len(archs):
        raise UsageError(f"{what} {path}: an architecture is there twice; expected each once")
    return archs, hashlib.sha256(content).hexdigest()[:12]


#: What the algorithm begins with by itself.
OWN = Start("own", "own")


def dense(space: Space) -> NDArray[Any]:
    """The full network, and what one removal makes of it that still connects input and output: ``[n, *arch_shape]``."""
    product: Any = space
    full = np.array(product.fullest())
    found = [full]
    for position in range(len(full)):
        for option in product.weaker(position)[full[position]]:
            if option >= 0:
                removed = full.copy()
                removed[position] = option
                found.append(removed)
    choices = np.array(found) if space.skeleton is None else space.skeleton.pruned(np.array(found))
    ids = np.asarray(product.index(choices))
    _, first = np.unique(ids, axis=0, return_index=True)
    ids = ids[np.sort(first)]
    return np.asarray(ids[~space.is_constant(ids)])


def _best(listed: Indices, scores: Floats, seeds: NDArray[np.int64], count: int, excess: Excess) -> Indices:
    """The best of ``listed [n]`` by their ``scores [n]``, the best first, equals in random order: ``[runs, count]``."""
    allowed = excess(listed) == 0
    if not allowed.any():
        raise UsageError("start scores: every architecture with a score breaks the limits; use random:N")
    listed, scores = listed[allowed], scores[allowed]
    last = np.sort(scores)[-min(count, len(scores))]
    listed, scores = listed[scores >= last], scores[scores >= last]  # those that may be among them
    u = Streams(seeds, START).uniform(len(listed))
    order = np.lexsort((u, np.broadcast_to(-scores, u.shape)), axis=1)[:, :count]
    return np.asarray(listed[order])


def _sampled(space: Space, streams: Streams, count: int) -> Indices:
    each = space.uniforms_per_sample
    drawn: Indices = np.asarray(space.sample(streams.uniform(count * each).reshape(streams.runs, count, each)))
    return drawn


def _repeated(ids: Indices) -> NDArray[np.bool_]:
    """Which of ``ids [runs, k, *arch_shape]`` were there before in their run: bool ``[runs, k]``."""
    runs, k = ids.shape[:2]
    flat = ids.reshape(runs, k, -1)
    if k > 512:  # by sorting, not by comparing all pairs
        keys = np.unique(flat.reshape(runs * k, -1), axis=0, return_inverse=True)[1].reshape(runs, k)
        order = np.argsort(keys, axis=1, kind="stable")
        ranked = np.take_along_axis(keys, order, axis=1)
        again = np.zeros((runs, k), dtype=bool)
        np.put_along_axis(again, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
        return again
    again = np.zeros((runs, k), dtype=bool)
    for slot in range(1, k):
        again[:, slot] = (flat[:, :slot] == flat[:, slot, None]).all(axis=2).any(axis=1)
    return again


def _distinct(space: Space, seeds: NDArray[np.int64], count: int, excess: Excess) -> Indices:
    """Distinct uniform architectures ``[runs, count]``.

    What has to be drawn again is drawn again by all runs, so that a run is the same alone.
    """
    streams = Streams(seeds, START)
    ids = _sampled(space, streams, count)
    for _ in range(_ROUNDS if 2 * count <= space.size else 0):
        bad = _repeated(ids) | (excess(ids) > 0)
        if not bad.any():
            return ids
        ids[bad] = _sampled(space, streams, count)[bad]
    return _filled(space, seeds, ids, excess)


def _spread(space: Space, seeds: NDArray[np.int64], count: int, excess: Excess) -> Indices:
    """Architectures far from each other ``[runs, count]``: of some candidates the one farthest from those before it."""
    streams = Streams(seeds, START)
    steps = np.maximum(np.array(space.sizes, dtype=np.float32) - 1, 1)  # from one end of ordered options to the other
    rows = np.arange(len(seeds))
    chosen: list[Indices] = []
    for _ in range(count):
        ids = _sampled(space, streams, _CANDIDATES)
        choices = space.choices(ids).astype(np.float32)
        nearest = np.full(ids.shape[:2], np.inf)
        for other in chosen:
            apart = np.abs(choices - space.choices(other)[:, None])
            nearest = np.minimum(nearest, (apart / steps if space.ordinal else apart > 0).sum(axis=2))
        nearest[excess(ids) > 0] = -1
        chosen.append(ids[rows, nearest.argmax(axis=1)])
    return _filled(space, seeds, np.stack(chosen, axis=1), excess)


def _filled(space: Space, seeds: NDArray[np.int64], ids: Indices, excess: Excess) -> Indices:
    """The same, with others in random order where an architecture is there twice or breaks a limit.

    Where the space cannot be enumerated they stay; where it has no others, the row gets shorter, for all runs alike.
    """
    bad = _repeated(ids) | (excess(ids) > 0)
    if not bad.any() or "index" not in space.offers:
        return ids
    everything = np.arange(space.size, dtype=np.int32)
    allowed = everything[excess(everything) == 0]
    if not len(allowed):
        return ids
    rows = np.flatnonzero(bad.any(axis=1))
    u = Streams(seeds[rows], START).uniform(len(allowed))
    for row, order in zip(rows, np.argsort(u, axis=1, kind="stable"), strict=True):
        kept = ids[row, ~bad[row]]
        more = allowed[order]
        others = more[~np.isin(more, kept)][: bad[row].sum()]
        ids[row, : len(kept) + len(others)] = np.concatenate([kept, others])
    return ids[:, : min(ids.shape[1], len(allowed))]
