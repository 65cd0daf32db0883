"""A recorded baseline: per-seed scores of one algorithm in a small JSON file, to be compared with later."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from nasharness.analysis.layout import budget
from nasharness.analysis.validation import HYPERVOLUME, SCORES, Live
from nasharness.errors import DataError, UsageError
from nasharness.search import Problem
from nasharness.storage import as_json, atomically, writing
from nasharness.storage.sealed import read_sealed, seal
from nasharness.studies.cells import described
from nasharness.version import __version__

Floats = NDArray[np.float64]
FORMAT = "nasharness-baseline/1"


def record(path: str | os.PathLike[str], side: Live, runs: int, realisations: str | None = None) -> Path:
    """Write the scores of ``runs`` runs of ``side`` on all its problems; runs that are missing are made first.

    ``realisations``: what was asked, where the problems are realisations of fewer. Scores are
    written in full: rounded ones would differ from the same run by a constant that looks significant.
    """
    if runs < 1:
        raise UsageError(f"{runs} runs: a baseline needs at least 1")
    if not side.problems:
        raise UsageError("no problem to record; name at least one data set")
    cells = []
    for number, problem in enumerate(side.problems):
        scores = side.scores(number, 0, runs)
        cells.append(described(problem) | {name: scores[name].tolist() for name in SCORES if name in scores})
    content = {
        "format": FORMAT,
        "algorithm": side.label,
        "settings": dict(side.choice.changed),
        "seed": side.seed,
        "runs": runs,
        "realisations": realisations,
        "nasharness": __version__,
        "cells": cells,
    }
    file = Path(path)
    with writing(f"the baseline {file}", "choose another --record"):
        # one line a list of numbers: small, and a changed run shows as one changed line
        atomically(file, _joined(as_json(seal(content))) + "\n")
    return file


def _joined(text: str) -> str:
    out: list[str] = []
    depth = 0
    for line in text.splitlines():
        if depth:
            out[-1] += line.strip() + (" " if line.endswith(",") else "")
            depth -= line.strip() in ("]", "],")
        else:
            out.append(line)
            depth += any(line.strip() == f'"{name}": [' for name in SCORES)
    return "\n".join(out)


class _Protocol(msgspec.Struct):
    signal: str
    final: str
    repeats: str
    evaluations: int | None
    seconds: float | None


class _Cell(msgspec.Struct):
    space: str
    dataset: str
    table: dict[str, Any]
    protocol: _Protocol


class _Baseline(msgspec.Struct):
    """What a baseline must hold, besides the scores of its cells."""

    format: Literal["nasharness-baseline/1"]
    algorithm: str
    seed: int
    runs: int
    cells: list[_Cell]


class Recorded:
    """Scores read from a baseline file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        absent = UsageError(
            f"no baseline {self.path}; make one with: nasharness validate ... --record {shlex.quote(str(self.path))}"
        )
        content = read_sealed(self.path, _Baseline, "record it again", missing=absent)
        try:
            self.algorithm: str = content["algorithm"]
            self.seed: int = content["seed"]
            self.runs: int = content["runs"]
            self.realisations: str | None = content["realisations"]
            self.cells: list[dict[str, Any]] = content["cells"]
            self._scores = [
                {name: np.array(cell[name], dtype=np.float64) for name in SCORES if name in cell or name != HYPERVOLUME}
                for cell in self.cells
            ]
            complete = all(values.shape == (self.runs,) for scores in self._scores for values in scores.values())
            finite = all(np.isfinite(values).all() for scores in self._scores for values in scores.values())
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{self.path} is damaged ({type(error).__name__}: {error}); record it again") from error
        if not (self.cells and complete and finite):
            raise DataError(f"{self.path} is damaged (missing or non-finite scores); record it again")
        self.label = f"{self.algorithm} (recorded in {self.path})"
        self._place: list[int] = []

    @property
    def datasets(self) -> list[str]:
        """Data sets that it has."""
        return list(dict.fromkeys(cell["dataset"] for cell in self.cells))

    @property
    def evaluations(self) -> list[int]:
        """Budgets in evaluations that it has."""
        return list(dict.fromkeys(c["protocol"]["evaluations"] for c in self.cells if c["protocol"]["evaluations"]))

    def match(self, problems: Sequence[Problem]) -> None:
        """Find every problem among the cells. Raises DataError saying what differs from the nearest one."""
        self._place = []
        for problem in problems:
            wanted = described(problem)
            differing = [_differences(cell, wanted) for cell in self.cells]
            best = min(range(len(differing)), key=lambda i: len(differing[i]))
            if differing[best]:
                raise DataError(
                    f"{self.path} cannot be compared on {problem.dataset}, {budget(wanted['protocol'])}: "
                    + "; ".join(differing[best])
                )
            self._place.append(best)

    def scores(self, problem: int, first: int, last: int) -> dict[str, Floats]:
        if last > self.runs:
            raise UsageError(f"{self.path} has {self.runs:,} runs; ask for at most that many (--runs {self.runs})")
        return {name: values[first:last] for name, values in self._scores[self._place[problem]].items()}


def _differences(recorded: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(wanted, dict):
        had = recorded if isinstance(recorded, dict) else {}
        return [
            line
            for key, value in wanted.items()
            if not (name == "table" and key in ("source", "version"))  # the checksum says whether data are the same
            for line in _differences(had.get(key), value, f"{name}.{key}".lstrip(".") if name else key)
        ]
    if recorded == wanted:
        return []
    return [f"{name} was {str(recorded)[:60]}, is {str(wanted)[:60]}"]
