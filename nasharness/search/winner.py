"""Winners: the labelled candidates that a finished search offers, and the file they travel in, ``winner.json``.

Every kind of search writes one schema: ``space``, ``dataset``, ``algorithm``, ``settings``, ``table``, ``protocol``
where known, and ``candidates``, a list of objects. A candidate has its ``label``, what that means in words (``about``),
the architecture (``arch``, its string, and ``index``, null where the space has none), its ``signal`` and ``final``
metric (null where unknown) and how many runs recommend it (``votes``). Readers take the first unless told otherwise. A
file written by hand may say no more of a candidate than its architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from nasharness.errors import DataError, UsageError, unknown
from nasharness.spaces.base import Floats, Indices, Space
from nasharness.storage.sealed import SEAL, read_sealed, seal

FORMAT = "nasharness-winner/1"
NAME = "winner.json"
#: label -> what it means, in the order of the file
LABELS = {
    "best-signal": "best by signal over all runs",
    "most-recommended": "most often recommended",
    "first-run": "best of the first run",
}


class _Winner(msgspec.Struct):
    """What a ``winner.json`` must hold, written by hand too."""

    space: str
    candidates: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=10_000)]


@dataclass(frozen=True)
class Candidate:
    """An architecture that a search offers. ``arch``: index or vector; None where no run found any.

    ``about``: what the label means for this search. ``signal``, ``final``: NaN where unknown. ``votes``: runs that
    recommend it.
    """

    label: str
    about: str
    arch: Any
    signal: float
    final: float
    votes: int

    def as_dict(self, space: Space) -> dict[str, Any]:
        """Plain values."""
        return {
            "label": self.label,
            "about": self.about,
            **named(space, self.arch),
            "signal": _number(self.signal),
            "final": _number(self.final),
            "votes": self.votes,
        }


def candidates(
    space: Space,
    seeds: Sequence[int] | NDArray[np.int64],
    incumbent: Indices,
    signal: Floats,
    recommended: Indices,
    score: Callable[[Any], float],
    sign: int = 1,
    *,
    answers_first: bool = False,
) -> list[Candidate]:
    """What runs offer, one of each of LABELS; ``answers_first``: what was recommended before the best by signal.

    ``incumbent``, ``recommended``: ``[runs, *arch_shape]``, -1 where a run has none. ``signal``: of the incumbents, in
    their own direction, ``[runs]``. ``score``: final metric of an architecture, its mean over trials. ``sign``: -1
    where the signal is minimised.
    """
    flat = incumbent.reshape(len(seeds), -1)
    adjusted = np.where(np.isnan(signal) | (flat[:, 0] < 0), -np.inf, sign * signal)
    best = int(adjusted.argmax())
    votes = recommended.reshape(len(seeds), -1)
    ids, first, counts = np.unique(votes, return_index=True, return_counts=True, axis=0)
    counts = np.where(ids[:, 0] < 0, 0, counts)
    popular = int(first[np.lexsort((first, -counts))[0]])
    several = len(seeds) > 1
    found = []
    for label, arch, about in (
        ("best-signal", incumbent[best], f"best by signal over all {len(seeds):,} runs (seed {int(seeds[best])})"),
        ("most-recommended", recommended[popular], "most often recommended"),
        ("first-run", incumbent[0], f"best by signal of the run of seed {int(seeds[0])}"),
    ):
        if not several and label != "first-run":
            about = {"best-signal": "best by signal", "most-recommended": "recommended by the algorithm"}[label]
        if np.ravel(arch)[0] < 0:
            found.append(Candidate(label, about, None, np.nan, np.nan, 0))
            continue
        own = adjusted[(flat == np.ravel(arch)).all(axis=1)]
        known = sign * float(own.max()) if len(own) and own.max() > -np.inf else np.nan
        number = int((votes == np.ravel(arch)).all(axis=1).sum())
        found.append(
            Candidate(label, about, arch if space.arch_shape else int(arch), known, float(score(arch)), number)
        )
    return sorted(found, key=lambda one: one.label != "most-recommended") if answers_first else found


def named(space: Space, arch: Any) -> dict[str, Any]:
    """An architecture as plain values: ``arch``, its string, and ``index`` where it has one; None for none."""
    if arch is None or not np.ravel(arch)[0] >= 0:
        return {"index": None, "arch": None}
    return {"index": None if space.arch_shape else int(arch), "arch": space.string(arch)}


def lines(found: Sequence[Candidate], space: Space, runs: int, unit: str = "", final: str = "final") -> list[str]:
    """What a person reads below the drawing of the first: the other candidates, where they are others."""
    first = found[0].as_dict(space)["arch"]
    told = []
    for one in found[1:]:
        known = one.as_dict(space)
        if known["arch"] is None or known["arch"] == first:
            continue
        which = known["arch"] if known["index"] is None else f"index {known['index']}"
        told.append(f"{one.label}: {which}, {words(one, runs, unit, final)}")
    return [f"{'also' if not number else '':<10} {text}" for number, text in enumerate(told)]


def words(one: Candidate, runs: int, unit: str = "", final: str = "final") -> str:
    """What is known of a candidate, and why it is one. ``final``: what its final metric is called."""
    parts = [one.about]
    if runs > 1:
        parts.append(f"recommended by {one.votes:,} of {runs:,} runs")
    if not np.isnan(one.final):
        parts.append(f"{final} {one.final:.2f}{unit}")
    return ", ".join(parts)


def content(told: Mapping[str, Any], found: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """The content of a ``winner.json``: what is known of the search, and its candidates as plain values."""
    kept = ("space", "dataset", "algorithm", "settings", "table", "protocol", "images", "runs", "seed")
    known = {key: told[key] for key in kept if key in told}
    return seal({"format": FORMAT, **known, "candidates": [dict(one) for one in found], **more})


def read_winner(path: Path, candidate: str | None = None) -> dict[str, Any]:
    """Read one candidate of a ``winner.json``; a folder stands for the one in it.

    ``candidate``: a label or a number from 1; None for the first. Returns what the file knows of the search, and the
    candidate under ``winner``. Raises DataError where there is none or it is not one, UsageError for a candidate that
    is not in it.
    """
    file = path / NAME if path.is_dir() else path
    absent = DataError(f"{file}: no such file; nasharness run --out DIR writes DIR/{NAME}")
    advice = f"nasharness run --out DIR writes DIR/{NAME} (delete its {SEAL} where you changed it)"
    try:
        read = read_sealed(file, _Winner, advice, sealed=False, missing=absent)
    except DataError as error:
        raise DataError(f"--winner {error}") from error
    found = read["candidates"]
    chosen = _chosen(found, candidate, file)
    if "arch" in chosen and chosen["arch"] is None and chosen.get("index") is None:
        raise DataError(f"--winner {file}: no run found an architecture ({chosen.get('about', 'candidate')})")
    rest = {key: value for key, value in read.items() if key not in ("format", "candidates", SEAL)}
    return {**rest, "winner": chosen}


def _chosen(found: Sequence[dict[str, Any]], candidate: str | None, file: Path) -> dict[str, Any]:
    if candidate is None:
        return found[0]
    labels = [str(one.get("label", "")) for one in found]
    if candidate in labels:
        return found[labels.index(candidate)]
    if candidate.isascii() and candidate.isdigit():
        if 1 <= int(candidate) <= len(found):
            return found[int(candidate) - 1]
        raise UsageError(f"--candidate {candidate}: {file} holds {len(found)}, counted from 1")
    raise unknown("candidate", candidate, [label for label in labels if label], str(file))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
