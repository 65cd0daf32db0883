"""A shard: some consecutive seeds of one cell, computed as one batch and written as one Parquet file.

A shard is a function of its cell and its number alone: no time, no host, no process. Whoever computes it, and whenever,
makes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nasharness.search import Problem, registry
from nasharness.search.front import along, fronts_of, shown
from nasharness.search.loop import Searched, scores, search
from nasharness.search.run import make_task, named
from nasharness.spaces import Space

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
        ("hypervolume", pa.float64()),
        ("igd_plus", pa.float64()),
        ("signal_regret", pa.float64()),
        ("recommended_signal_regret", pa.float64()),
        ("all_shown", pa.float64()),
    ]
)
#: Further columns where there are several objectives; of a run's last row alone. ``front``: the architectures of the
#: front that the run found; ``front_signals``: what it was told of them in the first objective; ``front_values``: their
#: final values in every objective, one architecture after the other. ``front_steps``, ``front_hypervolumes``: the
#: evaluations after which the hypervolume changed, and what it was from then on.
FRONTS = tuple(
    pa.field(name, pa.list_(kind))
    for name, kind in (
        ("front", pa.int32()),
        ("front_signals", pa.float64()),
        ("front_values", pa.float64()),
        ("front_steps", pa.int32()),
        ("front_hypervolumes", pa.float64()),
    )
)
#: How far the expected signal of the incumbent, and of the answer, is from the best there is.
OF_SIGNAL = ("signal_regret", "recommended_signal_regret")
#: Columns that earlier studies did not keep. ``all_shown``: 1 where the run was shown every trial of its incumbent, so
#: that no unseen one scores it, else 0.
LATER = (*OF_SIGNAL, "all_shown")
#: Columns that hold architectures.
ARCHS = ("incumbent", "recommended")
NAMES = ("cell", "space", "dataset", "table", "algorithm")


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
    problem: int  # which of the study's problems

    def __str__(self) -> str:
        return f"{self.name} ({self.labels[4]} on {self.labels[2]}, seeds {self.first} to {self.first + self.runs - 1})"

    def compute(self, problem: Problem) -> bytes:
        """Search, score, and return the Parquet file. Raises AlgorithmFailedError for what the algorithm raises."""
        seeds = np.arange(self.first, self.first + self.runs, dtype=np.int64)
        record = registry.get(self.algorithm)
        with named(record):
            algorithm = record.build(make_task(record, problem, problem.evaluator(), seeds), self.settings)
            searched = search(algorithm, problem, problem.evaluator(), seeds)
        return self.written(searched, seeds, problem)

    def written(self, searched: Searched, seeds: NDArray[np.int64], problem: Problem) -> bytes:
        """The Parquet file of finished searches."""
        return encoded(rows(searched, seeds, problem), self.labels, problem.space, self.study, self.name, self.runs)


def encoded(
    columns: Mapping[str, NDArray[Any]], labels: Sequence[str], space: Space, study: str, name: str, runs: int
) -> bytes:
    """The Parquet file of a shard. ``columns``: all but NAMES of a schema of shards; ``labels``: values of NAMES."""
    size, schema = len(columns["seed"]), _with_fronts(schema_of(space), FRONTS[0].name in columns)
    arrays = [pa.DictionaryArray.from_arrays(np.zeros(size, dtype=np.int32), pa.array([label])) for label in labels] + [
        array(columns[column], schema.field(column).type) for column in schema.names[len(NAMES) :]
    ]
    return file_of(pa.table(arrays, schema=schema), study, name, runs)


#: what stands before the SHA-256 of a file's bytes, those of the SHA-256 itself taken as zeros
_MARK, _NONE = b'"sha256": "', b"0" * 64


def file_of(table: pa.Table, study: str, name: str, runs: int) -> bytes:
    """The Parquet file of a shard, with a note of whose it is and the SHA-256 of its bytes."""
    note = {"study": study, "shard": name, "runs": runs, "sha256": _NONE.decode()}
    sink = pa.BufferOutputStream()
    noted = table.replace_schema_metadata({"nasharness": json.dumps(note)})
    pq.write_table(noted, sink, compression="zstd", write_page_checksum=True)
    data = bytes(sink.getvalue())
    place = data.rindex(_MARK + _NONE) + len(_MARK)
    return data[:place] + hashlib.sha256(data).hexdigest().encode() + data[place + len(_NONE) :]


def intact(data: bytes) -> bool:
    """Whether these are the bytes that ``file_of`` gave; asked before a library that trusts them parses them."""
    place = data.rfind(_MARK) + len(_MARK)
    end = place + len(_NONE)
    return data[place:end] == hashlib.sha256(data[:place] + _NONE + data[end:]).hexdigest().encode()


def schema_of(space: Space) -> pa.Schema:
    """SCHEMA, with architectures as vectors of choices where the space has no indices."""
    return SCHEMA if not space.arch_shape else _with_archs(pa.list_(pa.int8(), space.arch_shape[0]))


def schema_like(found: pa.Schema) -> pa.Schema:
    """SCHEMA, with architectures as vectors of choices and with FRONTS where ``found``, a file's, has them so."""
    place = found.get_field_index(ARCHS[0])
    kind = found.field(place).type if place >= 0 else None
    vectors = kind is not None and pa.types.is_fixed_size_list(kind) and kind.value_type == pa.int8()
    return _with_fronts(_with_archs(kind) if vectors else SCHEMA, FRONTS[0].name in found.names)


def _with_fronts(schema: pa.Schema, fronts: bool) -> pa.Schema:
    return pa.schema([*schema, *FRONTS]) if fronts else schema


def _with_archs(kind: pa.DataType) -> pa.Schema:
    return pa.schema([field.with_type(kind) if field.name in ARCHS else field for field in SCHEMA])


def array(values: NDArray[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Values ``[n]`` or vectors of choices ``[n, positions]``, as a column."""
    if values.ndim == 1:
        return pa.array(values, type=kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), type=pa.int8()), values.shape[1])


def rows(searched: Searched, seeds: NDArray[np.int64], problem: Problem) -> dict[str, NDArray[Any]]:
    """The improvements of each run and its end, as columns; runs in the order of ``seeds``, the last row after all."""
    trajectories, space, truth = searched.trajectories, problem.space, problem.truth()
    runs = len(seeds)
    improved, best = trajectories.improvements()
    run, step = np.nonzero(improved)
    every = np.arange(runs)
    incumbent = np.concatenate([trajectories.ids[run, step], searched.incumbent])
    before = len(run)
    until = np.concatenate([step + 1, trajectories.count])
    seen = trajectories.shown(np.concatenate([run, every]), incumbent, until)
    final = scores(truth, space, incumbent, seen)
    answers = scores(truth, space, searched.recommended, trajectories.shown(every, searched.recommended))
    nothing = np.full((before, *space.arch_shape), -1, dtype=space.arch_dtype)
    columns: dict[str, NDArray[Any]] = {
        "seed": np.concatenate([seeds[run], seeds]),
        "step": until.astype(np.int32),
        "simulated_seconds": np.concatenate([trajectories.clock[run, step], searched.seconds]),
        "signal": problem.sign * np.concatenate([trajectories.signal[run, step], best[:, -1]]),
        "incumbent": incumbent,
        "final": final,
        "last": np.arange(before + runs) >= before,
        "recommended": np.concatenate([nothing, searched.recommended]),
        "recommended_final": np.concatenate([np.full(before, np.nan), answers]),
        "evaluations": np.concatenate([np.full(before, -1), searched.evaluations]).astype(np.int32),
        "hypervolume": np.full(before + runs, np.nan),
        "igd_plus": np.full(before + runs, np.nan),
        **{name: np.full(before + runs, np.nan) for name in LATER},
    }
    if problem.signal_regret is not None:
        answered = np.concatenate([nothing, searched.recommended])
        for name, ids in zip(OF_SIGNAL, (incumbent, answered), strict=True):
            columns[name] = np.where(ids < 0, np.nan, problem.signal_regret[np.maximum(ids, 0)])
    if seen is not None:
        columns["all_shown"][before:] = truth.all_shown(np.maximum(searched.incumbent, 0), seen[before:])
    front = fronts_of(problem, trajectories)
    if front is not None:
        columns["hypervolume"][before:], columns["igd_plus"][before:] = front.hypervolume, front.igd_plus
        run_of, done, share = along(problem, trajectories)
        starts = np.searchsorted(run_of, every[1:])
        lists: list[list[NDArray[Any]]] = [
            list(front.ids),
            list(front.signals),
            [shown(problem, points).ravel() for points in front.points],
            np.split(done, starts),
            np.split(share, starts),
        ]
        for field, values in zip(FRONTS, lists, strict=True):
            column = columns[field.name] = np.full(before + runs, None, dtype=object)
            for number, value in enumerate(values, before):
                column[number] = value
    order = np.argsort(np.concatenate([run, every]), kind="stable")
    return {name: column[order] for name, column in columns.items()}
