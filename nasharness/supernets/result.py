"""The outcome of one-shot runs, judged by the table, and written so that it explains itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.search.interval import summarise
from nasharness.search.result import provenance
from nasharness.spaces.base import Indices
from nasharness.storage import atomically, write_json, writing
from nasharness.supernets.judge import Judge, Standing
from nasharness.supernets.request import Request
from nasharness.supernets.session import Epoch
from nasharness.tables import Table

#: what the signal of a one-shot run is
SIGNAL = "accuracy of the derived architecture with the shared weights, on images that train no weights"


@dataclass(frozen=True)
class Trained:
    """One run that is complete.

    ``device``: where it ran. ``peak_memory``: bytes, of tensors on a GPU, else of the process. ``resumed_elsewhere``:
    the kind of device of an earlier part of the run where it was another one, else empty.
    """

    seed: int
    epochs: list[Epoch]
    device: str
    peak_memory: int
    images_per_second: float
    resumed_elsewhere: str = ""

    @property
    def arch(self) -> int:
        """The algorithm's answer: what it derived after the last epoch."""
        arch = self.epochs[-1].arch
        if arch is None:
            raise ValueError("the last epoch derived no architecture")
        return arch

    @property
    def seconds(self) -> float:
        """Real seconds of the whole run, those before it was resumed included."""
        return self.epochs[-1].seconds


#: A distribution over options with more than this share of the greatest entropy has not decided.
UNDECIDED = 0.95


@dataclass
class OneShotResult:
    """What ``run_one_shot`` returns: the runs, in the order of their seeds, and the judge of what they derived."""

    request: Request
    judge: Judge
    runs: list[Trained]

    @property
    def derived(self) -> Indices:
        """What each run derived at its end, int32 ``[runs]``."""
        return np.array([run.arch for run in self.runs], dtype=np.int32)

    @property
    def final(self) -> NDArray[np.float64] | None:
        """The table's final metric of each derived architecture, percent ``[runs]``; None without a table."""
        return None if self.judge.truth is None else self.judge.truth.score(self.derived)

    @property
    def winner(self) -> int:
        """The architecture that most runs derived; of equals, the one of the earliest run."""
        ids, first, votes = np.unique(self.derived, return_index=True, return_counts=True)
        return int(ids[np.lexsort((first, -votes))[0]])

    @property
    def standings(self) -> list[Standing]:
        """Where each derived architecture stands; empty without a table."""
        return [standing for run in self.runs if (standing := self.judge.standing(run.arch)) is not None]

    @property
    def notes(self) -> list[str]:
        """What to know when reading the numbers."""
        notes = list(self.request.notes)
        notes += [
            f"seed {run.seed} began on {run.resumed_elsewhere} and went on on {run.device}: not bit for bit what one "
            "device would have given"
            for run in self.runs
            if run.resumed_elsewhere
        ]
        most = float(np.mean(np.log(spaces.get(self.request.space).sizes)))
        for run in self.runs:
            left = run.epochs[-1].entropy
            if left is not None and left > UNDECIDED * most:
                notes.append(
                    f"seed {run.seed}: entropy {left:.2f} of at most {most:.2f}: the search has hardly decided, and "
                    "what was derived says little; train longer (--epochs) or let it learn faster (--set lr=RATE)"
                )
        return notes + ([] if self.judge.problem is not None else [f"no table can judge: {self.judge.why}"])

    def summary(self) -> dict[str, Any]:
        """The outcome as plain values: the object that ``nasharness run --json`` prints."""
        request = self.request
        space = spaces.get(request.space)
        final, standings = self.final, self.standings
        scored = None if final is None else summarise(final) | {"values": final.tolist()}
        regret = None if final is None else summarise(self.judge.optimum - final)
        return {
            "algorithm": request.algorithm,
            "kind": request.record.kind,
            "settings": request.settings,
            "space": request.space,
            "dataset": request.dataset,
            "images": {
                "name": request.images.name,
                "source": request.images.source,
                "checksum": request.images.checksum,
                "split": request.split.note,
            },
            "protocol": {
                "signal": SIGNAL,
                "final": None if self.judge.problem is None else str(self.judge.problem.final),
                **request.recipe.as_dict(),
                "precision": request.precision,
            },
            "table": self.judge.describe(),
            "runs": len(self.runs),
            "seed": request.seeds[0],
            "seconds": {"mean": float(np.mean([run.seconds for run in self.runs]))},
            "images_per_second": {"mean": float(np.mean([run.images_per_second for run in self.runs]))},
            "peak_memory_bytes": max(run.peak_memory for run in self.runs),
            "device": self.runs[0].device,
            "winner": {"index": self.winner, "arch": space.string(self.winner)},
            "derived": [{"seed": run.seed, "index": run.arch, "arch": space.string(run.arch)} for run in self.runs],
            "final": scored,
            "recommended": scored,
            "regret": None if regret is None else {"mean": regret["mean"], "ci95": regret["ci95"]},
            "beats": None if not standings else {"values": [standing.beats for standing in standings]},
            "median": None if not standings else standings[0].median,
            "notes": self.notes,
        }

    def __str__(self) -> str:
        from nasharness.supernets.text import render

        return render(self)

    def write(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Write ``trajectories.parquet``, ``winner.json`` and ``result.json`` into ``out`` (default: the request's).

        Each file is whole or not there, ``result.json`` comes last. Raises UsageError where that cannot be.
        """
        folder = Path(out) if out is not None else self.request.out
        if folder is None:
            raise UsageError("write: a folder is missing; none was given when the run was asked for")
        summary, origin = self.summary(), self.provenance()
        kept = ("space", "winner", "dataset", "algorithm", "settings", "table", "protocol", "images")
        winner = {key: summary[key] for key in kept}
        metric = self.judge.final(self.winner)
        winner |= {} if metric is None else {"final_metric_percent": metric}
        with writing(f"results to {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").unlink(missing_ok=True)  # of an earlier run: it would vouch for files of this one
            atomically(folder / "trajectories.parquet", lambda path: self._write_parquet(path, summary, origin))
            write_json(folder / "winner.json", winner | {"provenance": origin})
            write_json(folder / "result.json", summary | {"provenance": origin})
        return folder

    def _write_parquet(self, path: Path, summary: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = []
        for number, run in enumerate(self.runs):
            derived = [epoch for epoch in run.epochs if epoch.arch is not None]
            for step, epoch in enumerate(derived):
                arch = int(epoch.arch or 0)
                rows.append(
                    {
                        "run": number,
                        "seed": run.seed,
                        "step": step + 1,
                        "index": arch,
                        "epochs": epoch.epoch,
                        "signal": epoch.signal,
                        "real_seconds": epoch.seconds,
                        "loss": epoch.loss,
                        "entropy": epoch.entropy,
                        "final": self.judge.final(arch),
                    }
                )
        plain = {key: value for key, value in summary.items() if key not in ("final", "recommended", "regret", "beats")}
        table = pa.Table.from_pylist(rows, schema=_schema()).replace_schema_metadata(
            {"nasharness": json.dumps({"summary": plain, "provenance": dict(origin)})}
        )
        pq.write_table(table, path, compression="zstd")

    def provenance(self) -> dict[str, Any]:
        """Versions, git revision, images, table and command: what it takes to make this result again."""
        import torch

        problem = self.judge.problem
        table = problem.table if problem is not None and isinstance(problem.table, Table) else None
        return provenance(table, self.request.seeds) | {
            "torch": torch.__version__,
            "images_checksum": self.request.images.checksum,
        }


def _schema() -> Any:
    import pyarrow as pa

    whole, real = pa.int32(), pa.float64()
    return pa.schema(
        {
            "run": whole,
            "seed": pa.int64(),
            "step": whole,
            "index": whole,
            "epochs": whole,
            "signal": real,
            "real_seconds": real,
            "loss": real,
            "entropy": real,
            "final": real,
        }
    )
