"""What a verdict holds for, and what speaks against believing it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis.statistics.hierarchical import least_realisations
from nasharness.errors import UsageError
from nasharness.search import Problem, caveats
from nasharness.search.caveats import ALIKE, Caveat

Floats = NDArray[np.float64]


def generalises(problem: Problem, runs: int, realisations: int) -> str:
    """Over what a verdict generalises, in words."""
    if realisations > 1:
        return f"over seeds x realisations of the noise: {runs:,} seeds on each of {realisations}"
    if problem.signal.seed == "random":
        return "over seeds and the trials that evaluations draw, of this table"
    if problem.signal.seed == "mean":
        try:
            problem.realised(2)
        except UsageError:
            return f"over seeds alone, on the one realisation of {problem.signal} that the table has"
    return f"over seeds alone, on one realisation of the signal ({problem.signal}); --realisations 10 varies it"


def warned(problems: Sequence[Problem], new: Floats, old: Floats, alpha: float, score: str) -> tuple[Caveat, ...]:
    """What speaks against the numbers of one answer. ``new``, ``old``: scores ``[realisations, runs]``."""
    found = [
        Caveat(one.code, f"{one.text}, by {problem.signal}") if len(problems) > 1 else one
        for problem in problems
        for one in caveats.about(problem)
        if one.code == "signal-tied"
    ]
    best = 100.0 if score == "hypervolume" else problems[0].truth().optimum
    if len(problems) == 1 and all((np.abs(side - best) <= 1e-9).all() for side in (new, old)):
        found.append(Caveat("saturated", "every run of both ends at the optimum: this budget tells them not apart"))
    elif len(problems) == 1 and new.shape[1] > 1:
        for name, side in (("new", new), ("old", old)):
            values, counts = np.unique(np.round(side, 9), return_counts=True)
            share = counts.max() / side.size
            if share >= ALIKE:
                found.append(
                    Caveat(
                        "one-answer",
                        f"{share:.0%} of the runs of {name} end at {values[counts.argmax()]:.2f} "
                        f"(std {side.std():.3f}): their seeds are no replicates, whatever their number",
                    )
                )
    if 1 < len(problems) < least_realisations(alpha):
        found.append(
            Caveat(
                "few-realisations",
                f"{len(problems)} realisations cannot decide at {100 * alpha:g} %, which takes "
                f"{least_realisations(alpha)}: --realisations 10 draws a trial of each architecture ten times",
            )
        )
    return tuple(dict.fromkeys(found))
