"""The outcome of a run or a batch of runs, scored, and written so that it explains itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import storage
from nasharness.search.interval import summarise
from nasharness.search.loop import Trajectories
from nasharness.search.problem import Problem
from nasharness.spaces.base import Floats, Indices
from nasharness.storage import atomically, write_json, writing
from nasharness.tables import Table


@dataclass
class Result:
    """What ``nasharness.run`` returns. Arrays have one entry a run.

    ``incumbent``: best architecture by the search signal; ``final``: its final metric, percent. ``recommended``: the
    algorithm's own answer; ``recommended_final``: that one's. ``regret``: the table's optimum minus ``final``.
    ``evaluations``: charged evaluations; ``seconds``: simulated ones. ``overhead_seconds``: real time of all runs
    together. ``winner``: the architecture most runs recommend, the earliest run's of equals.
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
    optimum: float
    overhead_seconds: float
    needs: tuple[str, ...] = ()

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len(self.seeds)

    @property
    def regret(self) -> Floats:
        """Optimum of the table's final metric minus the incumbent's, percentage points ``[runs]``."""
        return self.optimum - self.final

    @property
    def winner(self) -> int:
        """Index of the architecture that most runs recommend; of equals, the one that the earliest run recommends."""
        ids, first, votes = np.unique(self.recommended, return_index=True, return_counts=True)
        return int(ids[np.lexsort((first, -votes))[0]])

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
            "cost_seconds": {"mean": float(self.seconds.mean())},
            "overhead_seconds": self.overhead_seconds,
            "winner": {"index": self.winner, "arch": problem.space.string(self.winner)},
            "final": summarise(self.final) | {"values": self.final.tolist()},
            "recommended": summarise(self.recommended_final) | {"values": self.recommended_final.tolist()},
            "regret": {"mean": regret["mean"], "ci95": regret["ci95"]},
            "reads_whole_table": "whole-signal" in self.needs,
            "notes": list(problem.notes),
        }

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
        return provenance(self.problem.table, self.seeds)


def provenance(table: Table | None, seeds: Sequence[int] | NDArray[np.int64]) -> dict[str, Any]:
    """Versions, git revision, command, seeds and, where there is one, the table that a result comes from."""
    judged = {} if table is None else {
        "table_source": table.meta["source"],
        "table_licence": table.meta["licence"],
        "table_checksum": table.checksum,
    }  # fmt: skip
    return storage.provenance(numpy=np.__version__, **judged, seeds=[int(seeds[0]), int(seeds[-1])])
