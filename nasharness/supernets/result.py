"""The outcome of one-shot runs, judged by the table, and written so that it explains itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.search.interval import summarise
from nasharness.search.result import provenance
from nasharness.search.winner import Candidate, candidates, named
from nasharness.spaces.base import Indices
from nasharness.supernets import limit as limits
from nasharness.supernets.judge import Judge, Standing
from nasharness.supernets.request import SELECTIONS, SIGNAL, OneShotRequest
from nasharness.supernets.session import Epoch
from nasharness.tables import Table


@dataclass(frozen=True)
class Trained:
    """One run that is complete.

    ``device``: where it ran. ``peak_memory``: bytes, of tensors on a GPU, else of the process. ``resumed_elsewhere``:
    the kind of device of an earlier part of the run where it was another one, else empty. ``select``: which epoch's
    architecture is the answer, of `nasharness.supernets.request.SELECTIONS`.
    """

    seed: int
    epochs: list[Epoch]
    device: str
    peak_memory: int
    images_per_second: float
    resumed_elsewhere: str = ""
    select: str = "last"

    def chosen(self, select: str) -> Epoch:
        """The epoch that a selection chooses, among those that derived; the last of equals.

        Where the held-out domain was not judged in any epoch, ``oracle`` is the last.
        """
        derived = [epoch for epoch in self.epochs if epoch.arch is not None]
        if select == "last" or not derived:
            return self.epochs[-1]
        by = "signal" if select == "source" else "held_out"
        return max(reversed(derived), key=lambda epoch: -1.0 if (known := getattr(epoch, by)) is None else known)

    @property
    def end(self) -> Epoch:
        """The epoch whose architecture is the answer."""
        return self.chosen(self.select)

    @property
    def arch(self) -> Any:
        """The answer, an index or choices: what the algorithm derived after the last epoch, or the selected one."""
        arch = self.end.arch
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

    request: OneShotRequest
    judge: Judge
    runs: list[Trained]

    @property
    def derived(self) -> Indices:
        """What each run answers with, int32 ``[runs, *arch_shape]``."""
        return np.array([run.arch for run in self.runs], dtype=np.int32)

    @property
    def final(self) -> NDArray[np.float64] | None:
        """The table's final metric of each derived architecture, percent ``[runs]``; None without a table."""
        return None if self.judge.truth is None else self.judge.truth.score(self.derived)

    @cached_property
    def candidates(self) -> list[Candidate]:
        """What the runs offer, labelled; the first is the winner."""
        signal = np.array([run.end.signal for run in self.runs], dtype=np.float64)
        final = self.judge.final
        return candidates(
            spaces.get(self.request.space),
            self.request.seeds,
            self.derived,
            signal,
            self.derived,
            lambda arch: np.nan if (known := final(arch)) is None else known,
        )

    @property
    def held_out(self) -> dict[str, list[float | None]] | None:
        """Accuracy on the held-out domain in percent, a run each, by each selection; None where none is held out."""
        if self.request.split.domains is None:
            return None
        return {select: [run.chosen(select).held_out for run in self.runs] for select in SELECTIONS}

    @property
    def winner(self) -> Any:
        """The architecture of the first candidate, an index or choices: of what was derived, the best by signal."""
        return self.candidates[0].arch

    @property
    def standings(self) -> list[Standing]:
        """Where each derived architecture stands; empty without a table."""
        return [standing for run in self.runs if (standing := self.judge.standing(run.arch)) is not None]

    @property
    def notes(self) -> list[str]:
        """What to know when reading the numbers."""
        request = self.request
        notes = list(request.notes)
        notes += [
            f"seed {run.seed} began on {run.resumed_elsewhere} and went on on {run.device}: not bit for bit what one "
            "device would have given"
            for run in self.runs
            if run.resumed_elsewhere
        ]
        if request.limit is not None:
            weight = float(request.settings["cost_weight"])
            notes += [f"seed {run.seed} {limits.verdict(request.limit, run.arch, weight)}" for run in self.runs]
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
            "images": self.images(),
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
            **self.hardware(),
            "winner": self.candidates[0].as_dict(space),
            "candidates": [one.as_dict(space) for one in self.candidates],
            **({} if self.request.split.domains is None else {"held_out": self.domains()}),
            "derived": [{"seed": run.seed, **named(space, run.arch)} for run in self.runs],
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
        """Write ``study.json``, its shard and ``winner.json`` into ``out`` (default: the request's); see study.py.

        Raises UsageError where that cannot be.
        """
        from nasharness.supernets.study import write

        folder = Path(out) if out is not None else self.request.out
        if folder is None:
            raise UsageError("write: a folder is missing; none was given when the run was asked for")
        return write(self, folder)

    def domains(self) -> dict[str, Any]:
        """The held-out domain as plain values: accuracies by each selection, and which epoch each run answers with."""
        domains, held_out = self.request.split.domains, self.held_out
        if domains is None or held_out is None:
            return {}
        accuracy: dict[str, Any] = {}
        for select, values in held_out.items():
            known = np.array([np.nan if value is None else value for value in values])
            accuracy[select] = (None if np.isnan(known).any() else summarise(known)) or {}
            accuracy[select]["values"] = values
        return {
            "target": domains.target,
            "sources": list(domains.sources),
            "selected": self.request.select,
            "epochs": [run.end.epoch for run in self.runs],
            "accuracy": accuracy,
        }

    def images(self) -> dict[str, Any]:
        """What the runs were trained on, as plain values."""
        images = self.request.images
        return {
            "name": images.name,
            "source": images.source,
            "checksum": images.checksum,
            "split": self.request.split.note,
        }

    def hardware(self) -> dict[str, Any]:
        """Where the runs were trained, how fast, and what that took: see ``Epoch.cost``."""
        return {
            "images_per_second": {"mean": float(np.mean([run.images_per_second for run in self.runs]))},
            "images_x_candidates": {"mean": float(np.mean([run.epochs[-1].cost for run in self.runs]))},
            "peak_memory_bytes": max(run.peak_memory for run in self.runs),
            "device": self.runs[0].device,
        }

    def provenance(self) -> dict[str, Any]:
        """Versions, git revision, images, table and command: what it takes to make this result again."""
        import torch

        problem = self.judge.problem
        table = problem.table if problem is not None and isinstance(problem.table, Table) else None
        return provenance(table, self.request.seeds) | {
            "torch": torch.__version__,
            "images_checksum": self.request.images.checksum,
        }
