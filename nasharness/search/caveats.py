"""Caveats: coded sentences that a result carries wherever it is shown, each about why its numbers may mislead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nasharness.spaces.base import Floats
from nasharness.tables import Table

if TYPE_CHECKING:
    from nasharness.search.problem import Problem
    from nasharness.search.registry import Record

#: code -> what it is about; the codes are stable, the sentences are not
CODES = {
    "budget-below-population": "the budget ends before the algorithm has learnt anything",
    "final-contains-signal": "the score holds measurements that the search was shown",
    "start-at-target": "the first evaluation reaches the optimum already",
    "winner-by-few-runs": "few runs agree on what they recommend",
    "fidelities-missing": "the algorithm wants cheaper evaluations than the table has",
    "saturated": "every run ends at the optimum, which tells nothing apart",
    "one-answer": "nearly all runs end with one architecture, so that seeds are no replicates",
    "signal-tied": "several architectures share the signal's maximum, and chance decides between them",
    "budget-overshoot": "the last evaluation went well beyond the budget",
    "no-test": "the score is no test measurement",
    "transfer": "the search saw another data set",
    "reads-whole-table": "the algorithm read the signal of the whole table",
    "nothing-feasible": "some runs found nothing that keeps the limits",
}
#: Share of runs that must recommend the same; share of seconds that a run may overshoot.
_FEW, _OVER = 0.05, 0.05
#: Share of runs that must end alike for them to be one observation.
_ALIKE = 0.9


@dataclass(frozen=True)
class Caveat:
    """``code``: one of CODES. ``text``: a sentence with this result's own numbers."""

    code: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """Plain values."""
        return {"code": self.code, "text": self.text}


def before(problem: Problem, record: Record, settings: Mapping[str, Any]) -> list[Caveat]:
    """What can be said before anything is searched."""
    found = []
    learns = settings.get(record.learns_after) if record.learns_after else None
    budget = _evaluations(problem)
    if learns is not None and budget is not None and budget <= learns:
        found.append(
            Caveat(
                "budget-below-population",
                f"{record.name}: {budget:,.0f} evaluations, {record.learns_after} {learns:,}: this is random search",
            )
        )
    if "fidelities" in record.needs and len(problem.evaluator().epochs) - problem.evaluator().stages == 1:
        found.append(
            Caveat(
                "fidelities-missing",
                f"{record.name} wants several fidelities; table {problem.table.name!r} has {problem.signal} alone, so "
                "every evaluation is at full fidelity",
            )
        )
    if "whole-signal" in record.needs:
        found.append(
            Caveat(
                "reads-whole-table",
                f"{record.name} reads the search signal of the whole table: it is a diagnostic, not a search",
            )
        )
    return found + about(problem)


def about(problem: Problem) -> list[Caveat]:
    """What can be said of a problem, whoever searches."""
    found = []
    signal, final = problem.signal, problem.final
    same = (signal.metric, signal.stored, signal.schedule, signal.epoch) == (
        final.metric, final.stored, final.schedule, final.epoch,
    )  # fmt: skip
    flattered = final.seed == "mean" or signal.seed in ("mean", final.seed)
    if same and isinstance(problem.table, Table) and flattered:
        if signal.seed == final.seed:
            why = f"the final metric {final} is the search signal itself"
        elif signal.seed == "mean":
            why = f"the search is shown the mean over all trials, so that {final} has no unseen ones"
        else:
            why = f"the final metric {final} averages the trials that the search is shown"
        found.append(Caveat("final-contains-signal", f"{why}: scores flatter every algorithm"))
    if (
        isinstance(problem.table, Table)
        and not final.is_test
        and any(column.metric.startswith("test") for column in problem.table.columns.values())
    ):
        found.append(Caveat("no-test", f"results are scored by {final}, though the table has test measurements"))
    elif isinstance(problem.table, Table) and problem.space.datasets and not final.is_test:
        found.append(
            Caveat("no-test", f"table {problem.table.name!r} has no test accuracy: results are scored by {final}")
        )
    tied = np.empty(0, dtype=np.intp) if problem.signal_regret is None else np.flatnonzero(problem.signal_regret == 0)
    if len(tied) > 1:
        scored = problem.truth().score(tied.astype(np.int32))
        found.append(
            Caveat(
                "signal-tied",
                f"{len(tied):,} architectures share the signal's maximum, and their final metrics span "
                f"{scored.max() - scored.min():.2f}: chance, the same for all algorithms, decides between them",
            )
        )
    if signal.source is not None:
        found.append(
            Caveat("transfer", f"the search saw {signal.source}, and is scored on {problem.dataset}: a transfer")
        )
    return found


def after(
    problem: Problem,
    *,
    final: Floats,
    recommended: Floats,
    optimum: float,
    seconds: Floats,
    first: Floats | None = None,
    seen_all: float = 0.0,
    votes: float | None = None,
) -> list[Caveat]:
    """What can be said of finished runs, from values ``[runs]``.

    ``first``: final metric of the first evaluation. ``seen_all``: share of runs that were shown every trial of their
    incumbent. ``votes``: share of runs that recommend what most do.
    """
    found = []
    runs = len(final)
    at_best = np.abs(final - optimum) <= 1e-9
    if problem.final.seed == "others" and seen_all > 0:
        found.append(
            Caveat(
                "final-contains-signal",
                f"{seen_all:.0%} of the runs were shown every trial of their incumbent; the mean over all trials "
                "stands for the unseen ones there",
            )
        )
    if first is not None and runs > 1:
        share = float((problem.sign * (optimum - first) <= 1e-9).mean())
        if share >= 0.5:
            found.append(Caveat("start-at-target", f"{share:.0%} of the runs evaluate the optimum first"))
    if votes is not None and votes < _FEW:
        found.append(Caveat("winner-by-few-runs", f"what is recommended most is so by {votes:.1%} of {runs:,} runs"))
    if votes is not None and votes >= _ALIKE and not at_best.all():
        found.append(
            Caveat(
                "one-answer",
                f"{votes:.1%} of the {runs:,} runs recommend one architecture: their deviation says nothing of how "
                "certain the score is; vary the noise instead (--realisations)",
            )
        )
    if runs > 1 and at_best.all():
        found.append(
            Caveat("saturated", f"all {runs:,} runs end at the optimum: this budget tells no algorithms apart")
        )
    if problem.seconds is not None:
        over = float(np.nanmean(seconds)) / problem.seconds - 1
        if over > _OVER:
            found.append(
                Caveat("budget-overshoot", f"runs spend {over:.0%} more than {problem.seconds:,.0f} s on average")
            )
    missing = int(np.isnan(final).sum())
    if problem.limits and missing:
        limits = " and ".join(map(str, problem.limits))
        found.append(Caveat("nothing-feasible", f"{missing:,} of {runs:,} runs found nothing that keeps {limits}"))
    return found


def _evaluations(problem: Problem) -> float | None:
    """Evaluations that the budget buys on average."""
    counts = [] if problem.evaluations is None else [float(problem.evaluations)]
    if problem.seconds is not None:
        counts.append(problem.seconds / problem.evaluator().mean_cost)
    return min(counts, default=None)
