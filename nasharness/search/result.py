"""The outcome of a run or a batch of runs, scored."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness import storage
from nasharness.search import caveats
from nasharness.search.caveats import Caveat
from nasharness.search.front import Fronts, fronts_of
from nasharness.search.interval import summarise
from nasharness.search.loop import scores
from nasharness.search.problem import Problem
from nasharness.search.registry import Record
from nasharness.search.trajectories import Digest, Trajectories
from nasharness.search.winner import Candidate, candidates
from nasharness.spaces.base import Floats, Indices
from nasharness.tables import Table

#: Signals closer than this are equal.
LEAST = 1e-9


@dataclass(repr=False)
class Result:
    """What ``nasharness.run`` returns. Arrays have one entry a run.

    ``incumbent``: best architecture by the search signal; ``final``: its final metric, NaN where a run found nothing
    that keeps the limits. ``recommended``: the algorithm's own answer; ``recommended_final``: that one's. ``regret``:
    how far ``final`` is from the table's optimum. ``evaluations``: charged evaluations; ``refused``: proposals known to
    break a limit, which cost nothing; ``seconds``: simulated ones, NaN without times. ``overhead_seconds``: real time
    of all runs together. ``candidates``: what they offer, see winner.py; ``winner``: the architecture of the first.
    ``trajectories``: every evaluation; of no steps where that was asked (``keep=False``).
    ``nasharness.studies.write(result, folder)`` keeps all of it.
    """

    algorithm: str
    settings: dict[str, Any]
    changed: dict[str, Any]
    problem: Problem
    seeds: NDArray[np.int64]
    trajectories: Trajectories
    digest: Digest
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

    @cached_property
    def signal_regret(self) -> Floats | None:
        """How far the incumbents' expected signal is from the best there is, ``[runs]``; None for a function."""
        return self._of_signal(self.incumbent)

    @cached_property
    def recommended_signal_regret(self) -> Floats | None:
        """The same of the algorithm's own answers."""
        return self._of_signal(self.recommended)

    def _of_signal(self, ids: Indices) -> Floats | None:
        regret = self.problem.signal_regret
        return None if regret is None else np.where(ids < 0, np.nan, regret[np.maximum(ids, 0)])

    @cached_property
    def signal(self) -> Floats:
        """The search signal of the incumbents, in its own direction, ``[runs]``; NaN where a run has none."""
        best = self.digest.signal
        return np.asarray(np.where(best > -np.inf, self.problem.sign * best, np.nan))

    @cached_property
    def candidates(self) -> list[Candidate]:
        """What the runs offer, labelled; the first is the winner.

        With environments that is what was recommended: the best by signal is the best in the first of them alone.
        """
        problem = self.problem
        return candidates(
            problem.space,
            self.seeds,
            self.incumbent,
            self.signal,
            self.recommended,
            lambda arch: float(problem.truth().score(np.asarray(arch))),
            problem.sign,
            answers_first=bool(problem.environments),
        )

    @property
    def winner(self) -> Any:
        """The architecture of the first candidate, the best by signal over all runs; None where none was found."""
        return self.candidates[0].arch

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
            "winner": self.candidates[0].as_dict(problem.space),
            "candidates": [one.as_dict(problem.space) for one in self.candidates],
            "final": summarise(self.final) | {"values": numbers(self.final)},
            "recommended": summarise(self.recommended_final) | {"values": numbers(self.recommended_final)},
            "regret": {"mean": regret["mean"], "ci95": regret["ci95"]},
            "signal_regret": of_signal(self.signal_regret),
            "recommended_signal_regret": of_signal(self.recommended_signal_regret),
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
        truth, digest = self.problem.truth(), self.digest
        seen = digest.shown
        found = caveats.after(
            self.problem.describe(),
            final=self.final,
            optimum=self.optimum,
            seconds=self.seconds,
            first=scores(truth, self.problem.space, digest.first, digest.shown_first),
            seen_all=0.0 if seen is None else float(truth.all_shown(np.maximum(self.incumbent, 0), seen).mean()),
            votes=None if self.runs < 2 else max(one.votes for one in self.candidates) / self.runs,
        )
        return caveats.before(self.problem, self.record, self.settings) + caveats.said({self.algorithm: found})

    def __str__(self) -> str:
        from nasharness.search.text import header, render

        return f"{header(self.problem, self.record, self.settings)}\n\n{render(self)}"

    def __repr__(self) -> str:
        problem = self.problem
        return f"<Result of {self.algorithm} on {problem.space.name} {problem.dataset}, {self.runs:,} runs>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self), quote=False)}</pre>"

    def provenance(self) -> dict[str, Any]:
        """Versions, git revision, table and command: what it takes to make this result again."""
        table = self.problem.table
        return provenance(table if isinstance(table, Table) else None, self.seeds)


def of_signal(regret: Floats | None) -> dict[str, Any] | None:
    """Mean signal regret with its interval, and the share of runs at the signal's maximum; None where unknown."""
    if regret is None:
        return None
    found = summarise(regret)
    return {"mean": found["mean"], "ci95": found["ci95"], "at_maximum": float((regret <= LEAST).mean())}


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
