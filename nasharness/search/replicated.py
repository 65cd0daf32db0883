"""One algorithm on several realisations of a signal's noise, crossed with seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasharness.runs.job import Progress
from nasharness.search.interval import crossed
from nasharness.search.problem import Problem
from nasharness.search.result import LEAST, Result
from nasharness.search.run import run


@dataclass(frozen=True)
class Replicated:
    """What `replicate` returns: a Result for each realisation, all with the same seeds."""

    results: tuple[Result, ...]

    def summary(self) -> dict[str, Any]:
        """The outcome as plain values: what ``nasharness run --realisations --json`` prints.

        Means over all runs, intervals over seeds and realisations (`nasharness.search.interval.crossed`).
        """
        first = self.results[0].summary()
        kept = ("algorithm", "settings", "space", "dataset", "table", "runs", "seed")
        problem = self.results[0].problem
        of_signal = {
            name: crossed(np.stack(parts)) | {"at_maximum": float((np.stack(parts) <= LEAST).mean())}
            for name in ("signal_regret", "recommended_signal_regret")
            if (parts := [np.asarray(getattr(result, name)) for result in self.results])
        }
        return {
            **{key: first[key] for key in kept},
            "protocol": problem.describe() | {"signal": [str(one.problem.signal) for one in self.results]},
            "final": crossed(np.stack([result.final for result in self.results])),
            "recommended": crossed(np.stack([result.recommended_final for result in self.results])),
            "regret": crossed(np.stack([result.regret for result in self.results])),
            **of_signal,
            "caveats": [each.as_dict() for each in self.caveats],
            "realisations": [
                {
                    "signal": str(result.problem.signal),
                    "winner": result.candidates[0].as_dict(problem.space),
                    **{
                        key: value
                        for key, value in result.summary().items()
                        if key in ("final", "recommended", "regret", "signal_regret", "recommended_signal_regret")
                    },
                }
                for result in self.results
            ],
        }

    @property
    def caveats(self) -> list[Any]:
        """Those of all realisations, each sentence once; that seeds are no replicates is what realisations answer."""
        found = {each.text: each for result in self.results for each in result.caveats if each.code != "one-answer"}
        return list(found.values())

    def __str__(self) -> str:
        from nasharness.search.text import render_replicated

        return render_replicated(self)


def replicate(
    algorithm: str,
    problem: Problem,
    realisations: str | int,
    *,
    runs: int = 1,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Replicated:
    """Search with ``algorithm`` on each of ``problem.realised(realisations)``, ``runs`` times with the same seeds.

    Raises as `run` does.
    """
    problems = problem.realised(realisations)
    found = []
    for number, one in enumerate(problems):

        def told(done: int, total: int, *text: str, before: int = number * runs, **more: str) -> None:
            if progress is not None:
                progress(before + done, runs * len(problems), *text, **more)

        found.append(run(algorithm, one, runs=runs, seed=seed, settings=settings, progress=told))
    return Replicated(tuple(found))
