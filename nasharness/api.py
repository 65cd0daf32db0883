"""What the command line does, as calls: ``nasharness.study``, ``compare``, ``validate``, ``score`` beside ``run``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasharness.errors import UsageError
from nasharness.runs.job import Progress

if TYPE_CHECKING:
    from nasharness.analysis.comparison import Comparison
    from nasharness.analysis.validation import Validation
    from nasharness.proxies.scoring import Scored
    from nasharness.studies import StudyResults


def study(
    algorithms: str | Sequence[str],
    out: str | os.PathLike[str],
    *,
    jobs: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
    **plan: Any,
) -> StudyResults:
    """Run a study in the folder ``out``, or what is missing of it, and return its results.

    ``algorithms``: names, ``NAME(KEY=VALUE)``, or ``"all"``. ``plan``: what `nasharness.studies.Plan.create` takes:
    ``space="tss"``, ``datasets="all"``, ``runs=500``, ``evaluations=200`` ... ``jobs``: processes. ``resume``: go on
    with a study that is there. ``progress(done, total)`` counts runs.

    Raises UsageError for a name or value that cannot be and where ``out`` holds another study; DataError for data that
    are not here. Finished parts are kept whatever happens.
    """
    from nasharness.studies import Plan, load, run_study

    made = Plan.create(algorithms=algorithms, **plan)
    return load(run_study(made, out, jobs=jobs, resume=resume, progress=progress))


def compare(*studies: StudyResults | str | os.PathLike[str], partial: bool = False, **options: Any) -> Comparison:
    """Compare the algorithms of one or more studies; ``print`` shows it as ``nasharness compare`` does.

    ``studies``: folders that a study or a run wrote, or results that are loaded. ``partial``: take what is finished of
    a study that is not complete. ``options``: as for `nasharness.analysis.comparison.compare`: ``score``, ``limit``,
    ``evaluations``, ``seconds``, ``reference``, ``target``.

    Raises UsageError for an unknown name, DataError for a folder that is no study or results that must not be compared.
    """
    from nasharness.analysis import comparison
    from nasharness.studies import StudyResults, load

    if not studies:
        raise UsageError("compare needs a study: a folder, or what nasharness.study returned")
    if len(studies) == 1 and isinstance(studies[0], StudyResults):
        results = studies[0]
    else:
        folders = [each.paths if isinstance(each, StudyResults) else [each] for each in studies]
        results = load([folder for some in folders for folder in some], partial=partial)
    return comparison.compare(results.frame, results.cells, **options)


def validate(
    new: str,
    old: str,
    *,
    space: str = "tss",
    datasets: str | Sequence[str] | None = None,
    runs: int = 500,
    score: str = "recommended",
    alpha: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **problem: Any,
) -> Validation:
    """Is ``new`` better than ``old``? ``print`` shows the answer as ``nasharness validate`` does.

    ``new``, ``old``: ``NAME`` or ``NAME(KEY=VALUE)``. ``datasets``: names, ``"all"``, or None for the space's first.
    ``runs``: at most so many, with the seeds ``seed``, ``seed + 1`` ... of both; fewer where the answer is clear.
    ``score``, ``alpha``: as for `nasharness.analysis.validation.validate`. ``problem``: what
    `nasharness.search.Problem.create` takes: ``evaluations=100``, ``table``, ``signal``, ``start``, ``limits`` ...

    The answer has ``verdict``: ``"better"``, ``"worse"`` or ``"no difference detectable"``, and ``answers``, one a
    data set. Raises UsageError and DataError as `Problem.create` does.
    """
    from nasharness import spaces
    from nasharness.analysis import validation
    from nasharness.analysis.statistics.sequential import ALPHA
    from nasharness.search import Problem
    from nasharness.studies.plan import Choice, measured_datasets

    chosen = spaces.get(space)
    asked = {"table": problem.get("table")} | ({} if datasets is None else {"datasets": datasets})
    problems = [Problem.create(chosen, name, **problem) for name in measured_datasets(chosen, asked)]
    mine, theirs = (validation.Live(Choice.parse(name), problems, seed) for name in (new, old))
    level = ALPHA if alpha is None else alpha
    found = validation.validate(mine, theirs, problems, runs=runs, score=score, alpha=level, progress=progress)
    return replace(found, problems=tuple(problems), seeds=f"{seed}... of both")


def score(
    proxies: str | Sequence[str],
    space: str,
    images: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    **request: Any,
) -> Scored:
    """Score untrained networks by zero-cost proxies, as ``nasharness score`` does; needs PyTorch.

    ``proxies``: names. ``images``: the name of a set, or a path. ``request``: as for
    `nasharness.proxies.scoring.Request`: ``archs=500``, ``data``, ``batch``, ``seed``, ``device``, ``out`` ...
    ``progress(done, total)`` counts scores. The answer has ``index`` and, by proxy, ``scores``.

    Raises UsageError for what cannot be asked, DataError for images that are not here and a proxy that fails.
    """
    from nasharness.images.base import require

    require("torch", "PyTorch", "a zero-cost proxy")
    from nasharness.proxies.scoring import Request
    from nasharness.proxies.scoring import score as scored

    names = [proxies] if isinstance(proxies, str) else list(proxies)
    where = images if isinstance(images, str) else Path(images)
    return scored(Request(names, space, where, **request), progress)
