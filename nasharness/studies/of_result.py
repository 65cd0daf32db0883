"""A run as a study of one cell: what ``nasharness.run`` returned, written with the folder and the bytes of a study."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nasharness.errors import UsageError
from nasharness.search import Problem, Record, Result
from nasharness.search import winner as winners
from nasharness.search.loop import Searched
from nasharness.search.trajectories import Trajectories
from nasharness.storage import atomically, write_json, writing
from nasharness.studies.cells import Study
from nasharness.studies.folder import Folder
from nasharness.studies.plan import Choice, Plan
from nasharness.studies.run import begin
from nasharness.studies.shard import Shard, array

#: Every evaluation of a run, beside the shards, which hold the improvements alone.
EVALUATIONS = "evaluations.parquet"
#: rows of it that are made at a time
ROWS = 1 << 20


def study_of(record: Record, settings: Mapping[str, Any], problem: Problem, runs: int, seed: int) -> Study:
    """The study that a run is: one algorithm, one problem."""
    plan = Plan(
        algorithms=(Choice(record.name, record.changed(settings)),),
        space=problem.space.name,
        datasets=(problem.dataset,),
        runs=runs,
        seed=seed,
        evaluations=problem.evaluations,
        seconds=problem.seconds,
        budget=None,
        signal=str(problem.signal),
        final=str(problem.final),
        repeats=problem.repeats,
        table=problem.table.name,
        objectives=tuple(objective.name for objective in problem.objectives) if len(problem.objectives) > 1 else (),
        limits=tuple(str(limit) for limit in problem.limits),
        start=problem.start.asked,
    )
    return Study.of(plan, problems=(problem,))


def write(result: Result, out: str | os.PathLike[str], *, resume: bool = False) -> Path:
    """Write ``study.json``, ``shards/``, ``evaluations.parquet`` and ``winner.json`` into the folder ``out``.

    The shards are those that `run_study` makes of the same plan, byte for byte, so everything that reads studies reads
    runs. ``evaluations.parquet``: a row an evaluation, in order: seed, step, arch, epochs, signal, simulated_seconds
    and, where the final metric depends on it, the trial that was shown. ``resume``: complete a folder that holds this
    run.

    Raises UsageError where the folder holds another result, or this one and ``resume`` was not asked for, or where it
    cannot be written.
    """
    if result.trajectories.steps == 0:
        raise UsageError("this result keeps no evaluations (keep=False), so there is nothing to write")
    study = study_of(result.record, result.settings, result.problem, result.runs, int(result.seeds[0]))
    shards = {shard.name: shard for shard in study.shards()}
    summary = result.summary()
    winner = winners.content(summary, summary["candidates"], provenance=result.provenance())

    with Folder(out) as folder, writing(f"results to {folder.path}"):
        begin(folder, study, resume)
        atomically(folder.path / EVALUATIONS, lambda path: _write_evaluations(result, path))
        for name in sorted(shards.keys() - folder.finished(shards, study.identity)):
            folder.write(name, _shard(result, shards[name]))
        write_json(folder.path / winners.NAME, winner)
    return folder.path


def _shard(result: Result, shard: Shard) -> bytes:
    start = shard.first - int(result.seeds[0])
    part = slice(start, start + shard.runs)
    whole = result.trajectories
    searched = Searched(
        Trajectories(
            whole.ids[part],
            whole.signal[part],
            whole.clock[part],
            whole.epochs[part],
            None if whole.trials is None else whole.trials[part],
            whole.count[part],
            None if whole.seeds is None else whole.seeds[part],
        ),
        result.incumbent[part],
        result.recommended[part],
        result.refused[part],
        result.evaluations[part],
        result.seconds[part],
    )
    return shard.written(searched, result.seeds[part], result.problem)


def _write_evaluations(result: Result, path: Path) -> None:
    trajectories, writer = result.trajectories, None
    some = max(1, ROWS // max(trajectories.steps, 1))
    with path.open("wb") as file:  # of a name, pyarrow makes its own sense: ~, say
        for at in range(0, result.runs, some):  # a few MB at a time
            part = slice(at, at + some)
            made = np.arange(trajectories.steps) < trajectories.count[part, None]
            run, step = np.nonzero(made)
            columns = {
                "seed": array(result.seeds[part][run]),
                "step": array((step + 1).astype(np.int32)),
                "arch": array(trajectories.ids[part][made]),
                "epochs": array(trajectories.epochs[part][made]),
                "signal": array(result.problem.sign * trajectories.signal[part][made]),
                "simulated_seconds": array(trajectories.clock[part][made]),
            }
            if trajectories.trials is not None:
                columns["trial"] = array(trajectories.trials[part][made])
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
