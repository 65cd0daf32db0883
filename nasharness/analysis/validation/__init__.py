"""Is NEW better than OLD? Both run with the same seeds on the same problems, until the answer is clear or runs end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nasharness.analysis import layout
from nasharness.analysis.statistics.hierarchical import Crossed
from nasharness.analysis.statistics.sequential import ALPHA, BETTER, SAME, WORSE, Hypothesis, judge, looks
from nasharness.analysis.validation.scope import generalises, warned
from nasharness.errors import UsageError, unknown
from nasharness.runs.job import Progress
from nasharness.search import Problem
from nasharness.search import run as search
from nasharness.search.caveats import Caveat
from nasharness.search.result import LEAST
from nasharness.studies.plan import Choice

Floats = NDArray[np.float64]
HYPERVOLUME = "hypervolume"
#: What runs are scored by; the last where there are several objectives.
SCORES = ("recommended", "final", HYPERVOLUME)
#: Scores -> how far the same architectures are from the best of the expected signal; of what is run here alone.
OF_SIGNAL = {"recommended": "recommended_signal_regret", "final": "signal_regret"}
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
            for name, regret in (("final", result.signal_regret), ("recommended", result.recommended_signal_regret)):
                if regret is not None:
                    fresh[OF_SIGNAL[name]] = regret
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
    without any difference (less than NOTHING). ``realisations``: how many of the signal, each with ``runs`` seeds;
    ``effects``: the mean difference on each. ``generalises``: over what the verdict holds. ``caveats``: what speaks
    against it. ``new_signal``, ``old_signal``: mean regret of the expected signal and the share of runs at its maximum.
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
    realisations: int = 1
    effects: tuple[float, ...] = ()
    generalises: str = ""
    caveats: tuple[Caveat, ...] = ()
    new_signal: tuple[float, float] | None = None
    old_signal: tuple[float, float] | None = None


@dataclass(frozen=True)
class Validation:
    """All answers, and the one over all: worse if any is worse, better if any is better and none is worse.

    ``problems``, ``seeds``: what was asked, for the text.
    """

    new: str
    old: str
    score: str
    alpha: float
    answers: tuple[Answer, ...]
    problems: tuple[Problem, ...] = ()
    seeds: str = ""

    @property
    def verdict(self) -> str:
        found = {answer.verdict for answer in self.answers}
        return WORSE if WORSE in found else BETTER if BETTER in found else SAME

    def __str__(self) -> str:
        from nasharness.analysis.validation.text import render

        return render(self, self.problems, self.seeds)


def validate(
    new: Side,
    old: Side,
    problems: Sequence[Problem],
    *,
    runs: int = 500,
    score: str = "recommended",
    alpha: float = ALPHA,
    progress: Progress | None = None,
    realisations: int = 1,
) -> Validation:
    """Compare ``new`` with ``old`` on every problem, at most ``runs`` runs each.

    ``realisations``: so many consecutive problems are one question on several realisations of its signal
    (`Problem.realised`); all of their runs are made, and the answer is over seeds and realisations.

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
    if realisations > 1:
        return _crossed(new, old, problems, runs, score, alpha, progress, realisations)
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
            mine, theirs = sides[number]
            hypothesis.differences = _differences(problems[number], mine, theirs, score)
            hypothesis.seen += 1
            done += last - first
            if progress is not None:
                progress(done, total)
        judge(hypotheses, alpha)
    answers = tuple(
        _answer(
            (problem,),
            hypothesis,
            mine[None],
            theirs[None],
            alpha,
            score,
            tuple(_signal(side, (number,), hypothesis.runs, score) for side in (new, old)),
        )
        for number, (problem, hypothesis, (mine, theirs)) in enumerate(zip(problems, hypotheses, sides, strict=True))
    )
    return Validation(new.label, old.label, score, alpha, answers, tuple(problems))


def _crossed(
    new: Side,
    old: Side,
    problems: Sequence[Problem],
    runs: int,
    score: str,
    alpha: float,
    progress: Progress | None,
    realisations: int,
) -> Validation:
    """The same over seeds x realisations, looked at once."""
    if len(problems) % realisations:
        raise UsageError(f"{len(problems)} problems are no multiple of {realisations} realisations")
    questions = [range(at, at + realisations) for at in range(0, len(problems), realisations)]
    found, kept = [], []
    for question in questions:
        pairs = []
        for number in question:
            pairs.append([_scores(side, number, 0, runs, score) for side in (new, old)])
            if progress is not None:
                progress((number + 1) * runs, len(problems) * runs)
        mine, theirs = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
        kept.append((mine, theirs))
        found.append(Crossed(_differences(problems[question[0]], mine, theirs, score)))
    judge(found, alpha)
    answers = tuple(
        _answer(
            [problems[number] for number in question],
            hypothesis,
            mine,
            theirs,
            alpha,
            score,
            tuple(_signal(side, question, runs, score) for side in (new, old)),
        )
        for question, hypothesis, (mine, theirs) in zip(questions, found, kept, strict=True)
    )
    return Validation(new.label, old.label, score, alpha, answers, tuple(problems))


def _differences(problem: Problem, new: Floats, old: Floats, score: str) -> Floats:
    """New minus old, higher is better; what is too small to be a difference is none."""
    differences = new - old if score == HYPERVOLUME else (new - old) * problem.sign
    scale = 1.0 if percent(problem, score) else float(np.abs([new, old]).max()) / 100
    return np.where(np.abs(differences) <= NOTHING * scale, 0.0, differences)


def _signal(side: Side, question: Sequence[int], runs: int, score: str) -> tuple[float, float] | None:
    """Mean signal regret of a side's runs, and the share of them at the signal's maximum."""
    name = OF_SIGNAL.get(score, "")
    parts = [side.scores(number, 0, runs).get(name) for number in question]
    if any(part is None for part in parts):
        return None
    regret = np.concatenate([part for part in parts if part is not None])
    return float(regret.mean()), float((regret <= LEAST).mean())


def percent(problem: Problem, score: str) -> bool:
    """Whether scores are percent."""
    return score == HYPERVOLUME or problem.objectives[0].unit == "percent"


def _scores(side: Side, problem: int, first: int, last: int, score: str) -> Floats:
    found = side.scores(problem, first, last)
    if score not in found:
        raise UsageError(
            f"score {score!r}: {side.label} has none here. The hypervolume takes two objectives (--objective params); "
            "where three have none, nasharness run says what is missing"
        )
    return found[score]


def _answer(
    problems: Sequence[Problem],
    hypothesis: Hypothesis | Crossed,
    new: Floats,
    old: Floats,
    alpha: float,
    score: str,
    signals: tuple[tuple[float, float] | None, ...],
) -> Answer:
    """``problems``: the realisations of one; ``new``, ``old``: scores ``[realisations, runs]``."""
    problem, runs = problems[0], new.shape[1]
    differences = hypothesis.differences.reshape(new.shape)
    return Answer(
        space=problem.space.name,
        dataset=problem.dataset,
        budget=layout.budget(problem.describe()),
        runs=runs,
        planned=hypothesis.at[-1] if isinstance(hypothesis, Hypothesis) else runs,
        new_mean=float(new.mean()),
        old_mean=float(old.mean()),
        effect=float(differences.mean()),
        interval=hypothesis.interval(),
        level=hypothesis.level,
        verdict=hypothesis.verdict or SAME,
        detectable=hypothesis.detectable(),
        equal=float((differences == 0).mean()),
        realisations=len(problems),
        effects=tuple(differences.mean(axis=1).tolist()),
        generalises=generalises(problem, runs, len(problems)),
        caveats=warned(problems, new, old, alpha, score),
        new_signal=signals[0],
        old_signal=signals[1],
    )
