"""Is NEW better than OLD? Both run with the same seeds on the same problems, until the answer is clear or runs end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis import layout
from nasharness.analysis.statistics.sequential import ALPHA, BETTER, SAME, WORSE, Hypothesis, judge, looks
from nasharness.errors import UsageError, unknown
from nasharness.search import Problem
from nasharness.search import run as search
from nasharness.studies.plan import Choice

Floats = NDArray[np.float64]
HYPERVOLUME = "hypervolume"
#: What runs are scored by; the last where there are several objectives.
SCORES = ("recommended", "final", HYPERVOLUME)
#: Paired differences below this are none, where scores are percent (of others, this share of a hundredth of the
#: largest). An image more or less is 0.003 points or more even in a mean over three seeds; what is smaller is the
#: arithmetic of another machine or a baseline's rounding, which, being constant, would look significant.
NOTHING = 1e-5


class Side(Protocol):
    """One of the two: gives the scores of runs on demand."""

    label: str

    def scores(self, problem: int, first: int, last: int) -> dict[str, Floats]:
        """Scores (keys of SCORES) of the runs ``first`` up to ``last`` on a problem: each ``[last - first]``.

        A score that the problem has not is no key.
        """
        ...


class Live:
    """An algorithm that is run when its scores are asked for; what was run is kept."""

    def __init__(self, choice: Choice, problems: Sequence[Problem], seed: int) -> None:
        self.label = str(choice)
        self.choice = choice
        self.problems = problems
        self.seed = seed
        self._kept: dict[int, dict[str, Floats]] = {}
        #: called with the number of runs made by every piece of work
        self.made: Callable[[int], None] | None = None

    def scores(self, problem: int, first: int, last: int) -> dict[str, Floats]:
        kept = self._kept.get(problem, {})
        have = len(kept["final"]) if kept else 0
        if last > have:
            result = search(
                self.choice.name,
                self.problems[problem],
                runs=last - have,
                seed=self.seed + have,
                settings=self.choice.changed,
            )
            fresh = {"final": result.final, "recommended": result.recommended_final}
            if result.front is not None and not result.front.note:
                fresh[HYPERVOLUME] = 100.0 * result.front.hypervolume
            kept = {name: np.concatenate([kept[name], values]) for name, values in fresh.items()} if kept else fresh
            self._kept[problem] = kept
            if self.made is not None:
                self.made(last - have)
        return {name: values[first:last] for name, values in kept.items()}


@dataclass(frozen=True)
class Answer:
    """The answer on one data set at one budget.

    ``effect``: mean of NEW minus OLD, in the unit of the score (percentage points); of a score that is minimised, OLD
    minus NEW, so that more is better; ``interval``: repeated confidence interval at ``level``.
    ``detectable``: the smallest mean difference that would have been found with 80 % power. ``equal``: share of pairs
    without any difference (less than NOTHING).
    """

    space: str
    dataset: str
    budget: str
    runs: int
    planned: int
    new_mean: float
    old_mean: float
    effect: float
    interval: tuple[float, float]
    level: float
    verdict: str
    detectable: float
    equal: float


@dataclass(frozen=True)
class Validation:
    """All answers, and the one over all: worse if any is worse, better if any is better and none is worse."""

    new: str
    old: str
    score: str
    alpha: float
    answers: tuple[Answer, ...]

    @property
    def verdict(self) -> str:
        found = {answer.verdict for answer in self.answers}
        return WORSE if WORSE in found else BETTER if BETTER in found else SAME


def validate(
    new: Side,
    old: Side,
    problems: Sequence[Problem],
    *,
    runs: int = 500,
    score: str = "recommended",
    alpha: float = ALPHA,
    progress: Callable[[int, int], None] | None = None,
) -> Validation:
    """Compare ``new`` with ``old`` on every problem, at most ``runs`` runs each.

    ``score``: ``recommended`` is the final metric of the algorithm's own answer, ``final`` the incumbent's,
    ``hypervolume`` that of a run's front, in percent of the exact front's. ``alpha``: the chance of any wrong "better"
    or "worse", over all problems and looks together. A problem whose answer is clear is not run any further.
    """
    if score not in SCORES:
        raise unknown("score", score, SCORES)
    if not 0 < alpha < 1:
        raise UsageError(f"alpha {alpha}: expected a number between 0 and 1, as in 0.05")
    if not problems:
        raise UsageError("no problem to compare on; name at least one data set")
    at = looks(runs)
    hypotheses = [Hypothesis(at, np.empty(0)) for _ in problems]
    sides: list[list[Floats]] = [[np.empty(0), np.empty(0)] for _ in problems]
    total, done = runs * len(problems), 0
    while not all(h.over for h in hypotheses):
        for number, hypothesis in enumerate(hypotheses):
            if hypothesis.over:
                continue
            first, last = hypothesis.runs, at[hypothesis.seen]
            pair = [_scores(side, number, first, last, score) for side in (new, old)]
            sides[number] = [np.concatenate([a, b]) for a, b in zip(sides[number], pair, strict=True)]
            differences = sides[number][0] - sides[number][1]
            if score != HYPERVOLUME:
                differences *= problems[number].sign
            scale = 1.0 if _percent(problems[number], score) else float(np.abs(sides[number]).max()) / 100
            hypothesis.differences = np.where(np.abs(differences) <= NOTHING * scale, 0.0, differences)
            hypothesis.seen += 1
            done += last - first
            if progress is not None:
                progress(done, total)
        judge(hypotheses, alpha)
    answers = tuple(
        _answer(problem, hypothesis, mine, theirs)
        for problem, hypothesis, (mine, theirs) in zip(problems, hypotheses, sides, strict=True)
    )
    return Validation(new.label, old.label, score, alpha, answers)


def _percent(problem: Problem, score: str) -> bool:
    return score == HYPERVOLUME or problem.objectives[0].unit == "percent"


def _scores(side: Side, problem: int, first: int, last: int, score: str) -> Floats:
    found = side.scores(problem, first, last)
    if score not in found:
        raise UsageError(
            f"score {score!r}: {side.label} has none here. The hypervolume takes two objectives (--objective params); "
            "where three have none, nasharness run says what is missing"
        )
    return found[score]


def _answer(problem: Problem, hypothesis: Hypothesis, new: Floats, old: Floats) -> Answer:
    return Answer(
        space=problem.space.name,
        dataset=problem.dataset,
        budget=layout.budget(problem.describe()),
        runs=hypothesis.runs,
        planned=hypothesis.at[-1],
        new_mean=float(new.mean()),
        old_mean=float(old.mean()),
        effect=float(hypothesis.differences.mean()),
        interval=hypothesis.interval(),
        level=hypothesis.level,
        verdict=hypothesis.verdict or SAME,
        detectable=hypothesis.detectable(),
        equal=float((hypothesis.differences == 0).mean()),
    )


def render(validation: Validation, problems: Sequence[Problem], seeds: str) -> str:
    """The answers as text."""
    score = {
        "recommended": "final metric of the algorithm's own answer (--score final: the incumbent's)",
        "final": "final metric of the incumbent (--score recommended: the algorithm's own answer)",
        HYPERVOLUME: "hypervolume of a run's front, of the exact front's",
    }[validation.score]
    if all(_percent(problem, validation.score) for problem in problems):
        score += ", percent"
    if validation.score != HYPERVOLUME and problems[0].sign < 0:
        score += ", lower is better, effects are improvements"
    asked = problems[0].describe()
    sought = [
        f"{key:10} {', '.join(values)}"
        for key, values in (
            ("objectives", [each.name for each in problems[0].objectives] if "objectives" in asked else []),
            ("limits", asked.get("limits", [])),
        )
        if values
    ]
    tables = dict.fromkeys(
        f"{p.table.name}, checksum {p.table.checksum[:12]}; {p.dataset}: {p.signal} -> {p.final}, repeats {p.repeats}"
        + ("" if p.start.own else f", start {p.start}")
        for p in problems
    )
    rows = []
    for answer in validation.answers:
        low, high = answer.interval
        rows.append(
            [
                answer.dataset,
                answer.budget,
                f"{answer.runs:,} of {answer.planned:,}",
                f"{answer.new_mean:.2f}",
                f"{answer.old_mean:.2f}",
                f"{answer.effect:+.3f} [{low:+.3f}, {high:+.3f}]",
                _verdict(answer),
            ]
        )
    count, level = len(validation.answers), 100 * (1 - validation.alpha)
    lines = [
        f"new        {validation.new}",
        f"old        {validation.old}",
        *(f"table      {line}" for line in tables),
        *sought,
        f"score      {score}; seeds {seeds}",
        f"errors     any false better or worse: at most {100 * validation.alpha:g} % (paired mean, group-sequential"
        + (f", Holm over {count} comparisons)" if count > 1 else ")"),
        "",
        layout.plain(["data set", "budget", "runs", "new", "old", f"effect [at least {level:g} %]", "verdict"], rows),
        "",
        f"verdict    {validation.verdict}",
    ]
    return "\n".join(lines)


def _verdict(answer: Answer) -> str:
    if answer.verdict != SAME:
        return answer.verdict
    if answer.equal == 1.0:
        return f"{SAME}: every run is equal"
    return f"{SAME} ({answer.detectable:.3f} would have been, 80 % power)"


def as_dict(validation: Validation) -> dict[str, Any]:
    """The answers as plain values, for JSON."""
    plain: dict[str, Any] = layout.json_ready(validation)
    return plain | {"verdict": validation.verdict, "cells": plain.pop("answers")}
