"""Caveats: coded sentences that a result carries wherever it is shown, each about why its numbers may mislead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

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
    "few-realisations": "too few realisations of the noise to decide anything",
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
ALIKE = 0.9


@dataclass(frozen=True)
class Caveat:
    """``code``: one of CODES. ``text``: a sentence with this result's own numbers."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.text} ({self.code})"

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


class Found(NamedTuple):
    """A caveat of finished runs, before it is worded: the sentence begins with ``amount`` and ends with ``rest``."""

    code: str
    amount: str
    rest: str


def after(
    protocol: Mapping[str, Any],
    *,
    final: Floats,
    optimum: float,
    seconds: Floats,
    first: Floats | None = None,
    seen_all: float = 0.0,
    votes: float | None = None,
) -> list[Found]:
    """What can be said of finished runs, from values ``[runs]``; ``said`` makes sentences of it.

    ``protocol``: as `Problem.describe` has it. ``first``: final metric of the first evaluation. ``seen_all``: share of
    runs that were shown every trial of their incumbent. ``votes``: share of runs that recommend what most do.
    """
    found = []
    runs = len(final)
    at_best = np.abs(final - optimum) <= 1e-9
    if protocol["final"].endswith(":others") and seen_all > 0:
        rest = "of the runs were shown every trial of their incumbent; the mean over all stands for unseen ones there"
        found.append(Found("final-contains-signal", f"{seen_all:.0%}" if seen_all >= 0.005 else "under 1%", rest))
    if first is not None and runs > 1:
        sign = -1 if protocol.get("direction") == "min" else 1
        share = float((sign * (optimum - first) <= 1e-9).mean())
        if share >= 0.5:
            found.append(Found("start-at-target", f"{share:.0%}", "of the runs evaluate the optimum first"))
    if votes is not None and votes < _FEW:
        rest = f"of the {runs:,} runs, no more, recommend the same architecture"
        found.append(Found("winner-by-few-runs", f"{votes:.1%}", rest))
    if votes is not None and votes >= ALIKE and not at_best.all():
        rest = (
            f"of the {runs:,} runs recommend one architecture: their deviation says nothing of how certain the score "
            "is; vary the noise instead (--realisations)"
        )
        found.append(Found("one-answer", f"{votes:.1%}", rest))
    if runs > 1 and at_best.all():
        rest = "runs end at the optimum: this budget tells no algorithms apart"
        found.append(Found("saturated", f"all {runs:,}", rest))
    if protocol.get("seconds") is not None:
        over = float(np.nanmean(seconds)) / protocol["seconds"] - 1
        if over > _OVER:
            rest = f"more than the budget of {protocol['seconds']:,.0f} s is spent on average"
            found.append(Found("budget-overshoot", f"{over:.0%}", rest))
    missing = int(np.isnan(final).sum())
    if protocol.get("limits") and missing:
        rest = f"runs found nothing that keeps {' and '.join(protocol['limits'])}"
        found.append(Found("nothing-feasible", f"{missing:,} of {runs:,}", rest))
    return found


def said(found: Mapping[str, Sequence[Found]]) -> list[Caveat]:
    """Sentences: one a code, with the amount of each algorithm, named if there are several."""
    amounts: dict[tuple[str, str], list[str]] = {}
    for algorithm, each in found.items():
        for one in each:
            amount = f"{one.amount} ({algorithm})" if len(found) > 1 else one.amount
            amounts.setdefault((one.code, one.rest), []).append(amount)
    return [Caveat(code, f"{', '.join(several)} {rest}") for (code, rest), several in amounts.items()]


def _evaluations(problem: Problem) -> float | None:
    """Evaluations that the budget buys on average."""
    counts = [] if problem.evaluations is None else [float(problem.evaluations)]
    if problem.seconds is not None:
        counts.append(problem.seconds / problem.evaluator().mean_cost)
    return min(counts, default=None)
