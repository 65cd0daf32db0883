"""A shard: some consecutive seeds of one cell, computed as one batch and written as one Parquet file.

A shard is a function of its cell and its number alone: no time, no host, no process. Whoever computes it, and whenever,
makes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.search import Problem, registry
from nasharness.search.loop import Searched, search
from nasharness.search.measure import Measure
from nasharness.search.problem import Evaluator, Truth
from nasharness.search.run import make_task, named
from nasharness.tables import Table

_NAME = pa.dictionary(pa.int32(), pa.string())

#: One row for each improvement of the incumbent, and one more (``last``) at the end of each run.
SCHEMA = pa.schema(
    [
        ("cell", _NAME),
        ("space", _NAME),
        ("dataset", _NAME),
        ("table", _NAME),
        ("algorithm", _NAME),
        ("seed", pa.int64()),
        ("step", pa.int32()),
        ("simulated_seconds", pa.float64()),
        ("signal", pa.float64()),
        ("incumbent", pa.int32()),
        ("final", pa.float64()),
        ("last", pa.bool_()),
        ("recommended", pa.int32()),
        ("recommended_final", pa.float64()),
        ("evaluations", pa.int32()),
    ]
)
NAMES = ("cell", "space", "dataset", "table", "algorithm")


@dataclass(frozen=True)
class Question:
    """A problem with its columns in memory: what a process on another machine needs, and no table there.

    The space travels by its name, since every process has its own.
    """

    space: str
    table: Table
    dataset: str
    signal: Measure
    final: Measure
    evaluations: int | None
    seconds: float | None
    repeats: str
    evaluator: Evaluator
    truth: Truth

    @classmethod
    def of(cls, problem: Problem) -> Question:
        """Read what ``problem`` needs out of its table."""
        return cls(
            problem.space.name,
            Table(problem.table.path, problem.table.meta),  # without what is mapped into memory
            problem.dataset,
            problem.signal,
            problem.final,
            problem.evaluations,
            problem.seconds,
            problem.repeats,
            problem.evaluator(),
            problem.truth(),
        )

    def problem(self) -> Problem:
        """The problem again."""
        return Problem(
            spaces.get(self.space),
            self.table,
            self.dataset,
            self.signal,
            self.final,
            self.evaluations,
            self.seconds,
            self.repeats,
        )


@dataclass(frozen=True)
class Shard:
    """Seeds ``first`` to ``first + runs - 1`` of a cell. ``labels``: values of the columns NAMES."""

    study: str
    name: str
    labels: tuple[str, ...]
    algorithm: str
    settings: Mapping[str, Any]
    first: int
    runs: int
    question: int  # which of the study's questions

    def __str__(self) -> str:
        return f"{self.name} ({self.labels[4]} on {self.labels[2]}, seeds {self.first} to {self.first + self.runs - 1})"

    def compute(self, question: Question) -> bytes:
        """Search, score, and return the Parquet file. Raises AlgorithmFailedError for what the algorithm raises."""
        seeds = np.arange(self.first, self.first + self.runs, dtype=np.int64)
        problem = question.problem()
        record = registry.get(self.algorithm)
        with named(record):
            algorithm = record.build(make_task(record, problem, question.evaluator, seeds), self.settings)
            searched = search(algorithm, problem, question.evaluator, seeds)
        columns = rows(searched, seeds, question.truth)
        size = len(columns["seed"])
        arrays = [
            pa.DictionaryArray.from_arrays(np.zeros(size, dtype=np.int32), pa.array([label])) for label in self.labels
        ] + [pa.array(columns[name], type=SCHEMA.field(name).type) for name in SCHEMA.names[len(NAMES) :]]
        note = {"nasharness": json.dumps({"study": self.study, "shard": self.name, "runs": self.runs})}
        sink = pa.BufferOutputStream()
        pq.write_table(
            pa.table(arrays, schema=SCHEMA.with_metadata(note)), sink, compression="zstd", write_page_checksum=True
        )
        return bytes(sink.getvalue())


def rows(searched: Searched, seeds: NDArray[np.int64], truth: Truth) -> dict[str, NDArray[Any]]:
    """The improvements of each run and its end, as columns; runs in the order of ``seeds``, the last row after all."""
    trajectories = searched.trajectories
    runs = len(seeds)
    made = np.arange(trajectories.steps) < trajectories.count[:, None]
    best = np.where(made, trajectories.signal, -np.inf)
    np.fmax.accumulate(best, axis=1, out=best)
    improved = best > -np.inf
    improved[:, 1:] &= best[:, 1:] > best[:, :-1]
    run, step = np.nonzero(improved)
    incumbent = np.concatenate([trajectories.ids[run, step], searched.incumbent]).astype(np.int32)
    evaluated = incumbent >= 0
    final = np.where(evaluated, truth.score(np.where(evaluated, incumbent, 0)), np.nan)
    answered = searched.recommended >= 0
    recommended = np.where(answered, truth.score(np.where(answered, searched.recommended, 0)), np.nan)
    before = len(run)
    columns: dict[str, NDArray[Any]] = {
        "seed": np.concatenate([seeds[run], seeds]),
        "step": np.concatenate([step + 1, trajectories.count]).astype(np.int32),
        "simulated_seconds": np.concatenate([trajectories.clock[run, step], searched.seconds]),
        "signal": np.concatenate([trajectories.signal[run, step], best[:, -1]]),
        "incumbent": incumbent,
        "final": final,
        "last": np.arange(before + runs) >= before,
        "recommended": np.concatenate([np.full(before, -1), searched.recommended]).astype(np.int32),
        "recommended_final": np.concatenate([np.full(before, np.nan), recommended]),
        "evaluations": np.concatenate([np.full(before, -1), searched.evaluations]).astype(np.int32),
    }
    order = np.argsort(np.concatenate([run, np.arange(runs)]), kind="stable")
    return {name: column[order] for name, column in columns.items()}
