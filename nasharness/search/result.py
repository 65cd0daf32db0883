"""The outcome of a run or a batch of runs, scored, and written so that it explains itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import storage
from nasharness.search import caveats
from nasharness.search.caveats import Caveat
from nasharness.search.front import Fronts, fronts_of
from nasharness.search.interval import summarise
from nasharness.search.loop import Trajectories, scores
from nasharness.search.problem import Problem
from nasharness.search.registry import Record
from nasharness.spaces.base import Floats, Indices, Space
from nasharness.storage import atomically, write_json, writing
from nasharness.tables import Table


@dataclass
class Result:
    """What ``nasharness.run`` returns. Arrays have one entry a run.

    ``incumbent``: best architecture by the search signal; ``final``: its final metric, NaN where a run found nothing
    that keeps the limits. ``recommended``: the algorithm's own answer; ``recommended_final``: that one's. ``regret``:
    how far ``final`` is from the table's optimum. ``evaluations``: charged evaluations; ``refused``: proposals known to
    break a limit, which cost nothing; ``seconds``: simulated ones, NaN without times. ``overhead_seconds``: real time
    of all runs together. ``winner``: the architecture most runs recommend, the earliest run's of equals.
    """

    algorithm: str
    settings: dict[str, Any]
    changed: dict[str, Any]
    problem: Problem
    seeds: NDArray[np.int64]
    trajectories: Trajectories
    incumbent: Indices
    recommended: Indices
    evaluations: NDArray[np.int64]
    seconds: Floats
    final: Floats
    recommended_final: Floats
    refused: NDArray[np.int64]
    optimum: float
    overhead_seconds: float
    record: Record

    @property
    def needs(self) -> tuple[str, ...]:
        """What the algorithm needs beyond evaluations."""
        return self.record.needs

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len(self.seeds)

    @property
    def regret(self) -> Floats:
        """How far the incumbent's final metric is from the table's optimum, in its unit, ``[runs]``: 0 is best."""
        return self.problem.sign * (self.optimum - self.final)

    @cached_property
    def front(self) -> Fronts | None:
        """What each run found of several objectives; None where there is one."""
        return fronts_of(self.problem, self.trajectories)

    @property
    def winner(self) -> Any:
        """The architecture that most runs recommend; of equals, the one that the earliest run recommends."""
        ids, first, votes = np.unique(self.recommended, return_index=True, return_counts=True, axis=0)
        best = ids[np.lexsort((first, -votes))[0]]
        return best if self.problem.space.arch_shape else int(best)

    def summary(self) -> dict[str, Any]:
        """The outcome as plain values: the object that ``nasharness run --json`` prints."""
        problem = self.problem
        regret = summarise(self.regret)
        return {
            "algorithm": self.algorithm,
            "settings": self.settings,
            "space": problem.space.name,
            "dataset": problem.dataset,
            "protocol": problem.describe(),
            "table": {
                "source": problem.table.name,
                "version": problem.table.version,
                "checksum": problem.table.checksum,
            },
            "runs": self.runs,
            "seed": int(self.seeds[0]),
            "evaluations": {"mean": float(self.evaluations.mean())},
            "cost_seconds": {"mean": number(self.seconds.mean())},
            "overhead_seconds": self.overhead_seconds,
            "winner": named(problem.space, self.winner),
            "final": summarise(self.final) | {"values": numbers(self.final)},
            "recommended": summarise(self.recommended_final) | {"values": numbers(self.recommended_final)},
            "regret": {"mean": regret["mean"], "ci95": regret["ci95"]},
            "reads_whole_table": "whole-signal" in self.needs,
            "notes": list(problem.notes),
            "caveats": [caveat.as_dict() for caveat in self.caveats],
            **({"front": self.front.summary()} if self.front is not None else {}),
            **({"refused": {"mean": float(self.refused.mean())}} if problem.limits else {}),
            **({"feasible": float(np.isfinite(self.final).mean())} if problem.limits else {}),
        }

    @cached_property
    def caveats(self) -> list[Caveat]:
        """What a reader must know before believing the numbers."""
        truth, trajectories = self.problem.truth(), self.trajectories
        rows = np.arange(self.runs)
        seen = trajectories.shown(rows, self.incumbent)
        first = trajectories.ids[:, 0]
        return caveats.before(self.problem, self.record, self.settings) + caveats.after(
            self.problem,
            final=self.final,
            recommended=self.recommended_final,
            optimum=self.optimum,
            seconds=self.seconds,
            first=scores(
                truth, self.problem.space, first, trajectories.shown(rows, first, np.ones(self.runs, dtype=np.int64))
            ),
            seen_all=0.0 if seen is None else float(truth.all_shown(np.maximum(self.incumbent, 0), seen).mean()),
            votes=None
            if self.runs < 2
            else float((self.recommended == self.winner).reshape(self.runs, -1).all(axis=1).mean()),
        )

    def __str__(self) -> str:
        from nasharness.search.text import render

        return render(self)

    def write(self, out: str | os.PathLike[str]) -> Path:
        """Write ``trajectories.parquet``, ``result.json`` and ``winner.json`` into the folder ``out``, made if need be.

        Each file is written under a temporary name and renamed, ``result.json`` last: where it is, all is. Raises
        UsageError where the folder cannot be written.
        """
        folder = Path(out)
        provenance = self.provenance()
        summary = self.summary()
        winner = {
            "space": summary["space"],
            "winner": summary["winner"],
            "dataset": summary["dataset"],
            "algorithm": self.algorithm,
            "settings": self.settings,
            "table": summary["table"],
            "protocol": summary["protocol"],
            "final_metric_percent": float(self.problem.truth().score(np.int32(self.winner))),
            "provenance": provenance,
        }
        with writing(f"results to {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").unlink(missing_ok=True)  # of an earlier run: it would vouch for files of this one
            atomically(folder / "trajectories.parquet", lambda path: self._write_parquet(path, summary, provenance))
            write_json(folder / "winner.json", winner)
            write_json(folder / "result.json", summary | {"provenance": provenance})
        return folder

    def _write_parquet(self, path: Path, summary: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        import pyarrow as pa  # a tenth of a second that a run without --out need not spend
        import pyarrow.parquet as pq

        trajectories = self.trajectories
        kept = np.arange(trajectories.steps) < trajectories.count[:, None]
        run, step = np.nonzero(kept)
        incumbents = trajectories.incumbents()[kept]
        plain = {key: value for key, value in summary.items() if key not in ("final", "recommended", "regret")}
        columns = {
            "run": run.astype(np.int32),
            "seed": self.seeds[run],
            "step": (step + 1).astype(np.int32),
            "index": trajectories.ids[kept],
            "epochs": trajectories.epochs[kept],
            "signal": trajectories.signal[kept],
            "simulated_seconds": trajectories.clock[kept],
            "incumbent": incumbents,
            "incumbent_final": self.problem.truth().score(incumbents),
        }
        table = pa.table(columns).replace_schema_metadata(
            {"nasharness": json.dumps({"summary": plain, "provenance": dict(provenance)})}
        )
        pq.write_table(table, path, compression="zstd")

    def provenance(self) -> dict[str, Any]:
        """Versions, git revision, table and command: what it takes to make this result again."""
        table = self.problem.table
        return provenance(table if isinstance(table, Table) else None, self.seeds)


def named(space: Space, arch: Any) -> dict[str, Any]:
    """An architecture as plain values: ``arch``, its string, and ``index`` where it has one."""
    if not (arch[0] if space.arch_shape else arch) >= 0:
        return {"index": None, "arch": None}
    return {"index": None if space.arch_shape else int(arch), "arch": space.string(arch)}


def number(value: Any) -> float | None:
    """A number that JSON can hold; None for NaN."""
    return None if np.isnan(value) else float(value)


def numbers(values: Floats) -> list[float | None]:
    """The same for many."""
    return [number(value) for value in values]


def provenance(table: Table | None, seeds: Sequence[int] | NDArray[np.int64]) -> dict[str, Any]:
    """Versions, git revision, command, seeds and, where there is one, the table that a result comes from."""
    judged = {} if table is None else {
        "table_source": table.meta["source"],
        "table_licence": table.meta["licence"],
        "table_checksum": table.checksum,
    }  # fmt: skip
    return storage.provenance(numpy=np.__version__, **judged, seeds=[int(seeds[0]), int(seeds[-1])])
