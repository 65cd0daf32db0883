"""Run an algorithm on a problem, many seeds at once."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import AlgorithmFailedError, DataError, NasharnessError, UsageError, unknown, where, whole
from nasharness.runs.job import Progress
from nasharness.search import registry
from nasharness.search.evaluator import Evaluator
from nasharness.search.loop import Searched, expected_steps, scores, search
from nasharness.search.problem import Problem
from nasharness.search.registry import Record, file_of
from nasharness.search.result import Result
from nasharness.search.task import Task
from nasharness.search.trajectories import Digest, Trajectories
from nasharness.storage.memory import memory

#: Runs that advance together at most. Larger batches save little Python and lose the processor's cache.
BATCH = 1_000
#: Where there are more runs than that, a batch is made to take about this long, so that Ctrl-C loses little.
BATCH_SECONDS = 2.0
#: Bytes that a run takes beside its trajectory: answers, scores, what is printed of them.
RUN_BYTES = 500
#: Share of the machine's memory that trajectories may take.
MEMORY_SHARE = 0.5


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of a run. ``result`` holds the runs that were complete, or None if there were none."""

    def __init__(self, result: Result | None, runs: int) -> None:
        super().__init__()
        self.result = result
        self.runs = runs


def run(
    algorithm: str,
    problem: Problem | None = None,
    *,
    runs: int = 1,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    batch: int = BATCH,
    keep: bool = True,
    progress: Progress | None = None,
    **kwargs: Any,
) -> Result:
    """Search with ``algorithm``, ``runs`` times, with the seeds ``seed``, ``seed + 1``, ...

    ``problem``: a Problem, or leave it out and give the arguments of ``Problem.create`` (``space="tss"``,
    ``dataset=``, ``evaluations=``, ...). ``settings``: changed settings of the algorithm. ``batch``: runs that advance
    together; results do not depend on it. ``keep``: whether the result holds every evaluation;
    without, a run takes some hundred bytes, but where there are several objectives all is kept. ``progress(done,
    total)`` is called with runs, as they are completed or nearly so.

    Raises UsageError for what cannot be asked, DataError for data that are not here, Interrupted on Ctrl-C.
    """
    if not isinstance(algorithm, str):
        raise UsageError(f"algorithm {algorithm!r}: expected a name, as in 'rea'")
    if problem is None:
        accepted = list(inspect.signature(Problem.create).parameters)
        for key in kwargs:
            if key not in accepted:
                raise unknown(
                    "argument of run", key, [*accepted, "runs", "seed", "settings", "batch", "keep", "progress"]
                )
        problem = Problem.create(**kwargs)
    elif not isinstance(problem, Problem):
        raise UsageError(f"problem {problem!r}: expected a Problem; a space is given by name, as in space='tss'")
    elif kwargs:
        raise UsageError(f"run: {', '.join(kwargs)} belong into Problem.create, since a problem was given")
    record = registry.get(algorithm)
    if settings is not None and not isinstance(settings, Mapping):
        raise UsageError(f"settings {settings!r}: expected a mapping, as in {{'population': 20}}")
    chosen = record.settings(settings or {})
    batch = whole("batch", batch, 1)
    evaluator = problem.evaluator()
    keep = keep or len(problem.objectives) > 1
    runs, seed = check_size(record, problem, evaluator, runs, seed, keep=keep)

    parts: list[tuple[Searched, Digest]] = []
    started = time.perf_counter()
    done = 0
    try:
        size = batch if runs <= batch else min(batch, 100)
        while done < runs:
            began = time.perf_counter()
            seeds = np.arange(seed + done, seed + min(done + size, runs), dtype=np.int64)
            found = _search_batch(
                record, chosen, problem, evaluator, seeds, _report(progress, done, runs, problem, evaluator)
            )
            parts.append((found, Digest.of(found.trajectories, found.incumbent, found.recommended)))
            if not keep:
                found.trajectories = found.trajectories.resized(0)
            done += len(seeds)
            size = _next_size(len(seeds), time.perf_counter() - began, batch)
            if progress is not None:
                progress(done, runs)
    except KeyboardInterrupt:
        overhead = time.perf_counter() - started
        partial = _score(record, chosen, problem, np.arange(seed, seed + done), parts, overhead) if parts else None
        raise Interrupted(partial, runs) from None
    overhead = time.perf_counter() - started
    return _score(record, chosen, problem, np.arange(seed, seed + runs), parts, overhead)


def make_task(record: Record, problem: Problem, evaluator: Evaluator, seeds: NDArray[np.int64]) -> Task:
    """The Task of one batch of runs."""
    return Task(
        space=problem.space,
        dataset=problem.dataset,
        seeds=seeds,
        epochs=evaluator.epochs[evaluator.stages :],
        stages=evaluator.epochs[: evaluator.stages],
        evaluations=problem.evaluations,
        seconds=problem.seconds,
        free_repeats=problem.repeats == "free",
        costs=evaluator.cost_column if isinstance(evaluator, Evaluator) and evaluator.clocked else None,
        whole_signal=evaluator.expected_signal if "whole-signal" in record.needs else None,
        objectives=problem.objectives,
        several="objectives" in record.needs and len(problem.objectives) > 1,
        known=problem.known(),
        start=problem.start,
        exact=evaluator.counts is None,
    )


def _search_batch(
    record: Record,
    settings: Mapping[str, Any],
    problem: Problem,
    evaluator: Evaluator,
    seeds: NDArray[np.int64],
    progress: Callable[[int], None] | None,
) -> Searched:
    with named(record):
        algorithm = record.build(make_task(record, problem, evaluator, seeds), settings)
        return search(algorithm, problem, evaluator, seeds, progress)


@contextlib.contextmanager
def named(record: Record) -> Iterator[None]:
    """Turn whatever a stranger's algorithm raises into one line that says where; refuse draws that no seed decides.

    Raises AlgorithmFailedError.
    """
    before = _global_streams()
    try:
        with _no_exit(record.name):
            yield
    except (AlgorithmFailedError, DataError, MemoryError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit, which would end all quietly, and whatever else a stranger raises
        files = files_of(record)
        own = [frame.name for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
        if isinstance(error, NasharnessError) and own[:1] in ([], ["__init__"]):  # settings that cannot be, say
            raise
        raise AlgorithmFailedError(f"{record.name} failed in {where(error, files)}") from error
    moved = [name for name, state in _global_streams().items() if state != before[name]]
    if moved:
        raise AlgorithmFailedError(
            f"{record.name} ({file_of(record.cls)}) draws from the global random generator of {' and '.join(moved)}: "
            "the same seed would not give the same run again. Draw from self.rng (ScalarAlgorithm), self.streams "
            "(Algorithm) or self.task.rng (OneShot)"
        )


@contextlib.contextmanager
def _no_exit(name: str) -> Iterator[None]:
    """Raise AlgorithmFailedError in place of ``os._exit``, after which nobody would know why nothing was written."""
    process, leave = os.getpid(), os._exit

    def refused(status: int) -> None:
        if os.getpid() != process:  # a process that was forked here ends so
            leave(status)
        raise AlgorithmFailedError(f"{name} calls os._exit({status}), which would end the whole process")

    os._exit = refused  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave


def files_of(record: Record) -> set[str]:
    """Files that the algorithm is written in: where the methods of its class and of the bases beside it are."""
    return {
        function.__code__.co_filename
        for cls in record.cls.__mro__
        if not cls.__module__.startswith(("nasharness.search.", "builtins"))
        for function in vars(cls).values()
        if inspect.isfunction(function)
    }


def _global_streams() -> dict[str, Any]:
    """How far the global generators have come, to tell whether somebody drew from them."""
    numpy: Any = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return {"numpy": (numpy["key"].tobytes(), numpy["pos"]), "Python's random": random.getstate()}


def _next_size(size: int, seconds: float, batch: int) -> int:
    """Runs of the next batch, by how long the last one took; results do not depend on it."""
    return max(1, min(batch, 4 * size, int(size * BATCH_SECONDS / max(seconds, 1e-6))))


def _score(
    record: Record,
    settings: dict[str, Any],
    problem: Problem,
    seeds: NDArray[np.int64],
    parts: list[tuple[Searched, Digest]],
    overhead: float,
) -> Result:
    """Score finished searches. Only here, after the last evaluation, is the final metric opened."""
    truth = problem.truth()
    incumbent, recommended, evaluations, seconds, refused = (
        np.concatenate([getattr(part, name) for part, _ in parts])
        for name in ("incumbent", "recommended", "evaluations", "seconds", "refused")
    )
    digest = Digest.concatenate([part for _, part in parts])
    final = scores(truth, problem.space, incumbent, digest.shown)
    same = np.array_equal(recommended, incumbent)  # as most algorithms answer
    recommended_final = final if same else scores(truth, problem.space, recommended, digest.shown_recommended)
    return Result(
        algorithm=record.name,
        settings=settings,
        changed=record.changed(settings),
        problem=problem,
        seeds=seeds.astype(np.int64),
        trajectories=Trajectories.concatenate([part.trajectories for part, _ in parts]),
        digest=digest,
        incumbent=incumbent,
        recommended=recommended,
        evaluations=evaluations,
        seconds=seconds,
        final=final,
        recommended_final=recommended_final,
        refused=refused,
        optimum=truth.optimum,
        overhead_seconds=overhead,
        record=record,
    )


def _report(
    progress: Progress | None, done: int, runs: int, problem: Problem, evaluator: Evaluator
) -> Callable[[int], None] | None:
    """Turn evaluations made in a batch into runs completed or nearly so."""
    if progress is None:
        return None
    steps = expected_steps(problem, evaluator)
    return lambda made: progress(min(runs, done + made // steps), runs)


def memory_needed(runs: int, problem: Problem, evaluator: Evaluator, *, keep: bool = True) -> int:
    """Bytes that ``runs`` runs take: index, signal, clock and epochs of every evaluation, or of a batch's."""
    arch = np.dtype(problem.space.arch_dtype).itemsize * int(np.prod(problem.space.arch_shape))
    bytes_per_step = arch + 8 + 8 + 2 + (9 if evaluator.counts is not None else 0)
    # twice: what is asked of trajectories makes arrays as large, and one column at a time is stacked at the end
    kept = 2 * (runs if keep else min(runs, BATCH)) * expected_steps(problem, evaluator) * bytes_per_step
    return kept + RUN_BYTES * runs


def check_request(
    record: Record,
    settings: Mapping[str, Any],
    problem: Problem,
    evaluator: Evaluator,
    runs: int,
    seed: int,
    *,
    keep: bool = True,
) -> tuple[int, int]:
    """Return runs and seed as plain integers.

    Raises UsageError for settings, a space or a number of runs that cannot be, before anything is said or searched.
    """
    runs, seed = check_size(record, problem, evaluator, runs, seed, keep=keep)
    with named(record):
        record.build(make_task(record, problem, evaluator, np.zeros(1, dtype=np.int64)), settings)
    return runs, seed


def check_size(
    record: Record, problem: Problem, evaluator: Evaluator, runs: int, seed: int, *, keep: bool = True
) -> tuple[int, int]:
    """Return runs and seed as plain integers. Raises UsageError as `check_request`, but for settings.

    Those are refused where the algorithm is built, which is what a search begins with.
    """
    runs, seed = whole("runs", runs, 1), whole("seed", seed, 0)
    check_fit(record, problem, evaluator)
    needed = memory_needed(runs, problem, evaluator, keep=keep or len(problem.objectives) > 1)
    have = memory()
    if needed > MEMORY_SHARE * have:
        fits = int(runs * MEMORY_SHARE * have / needed)
        if fits == 0:
            raise UsageError(
                f"a run of {_many(expected_steps(problem, evaluator))} evaluations would take {_size(needed / runs)} "
                f"of memory; this machine has {_size(have)}. Ask for a smaller budget; the space has "
                f"{problem.space.size:,} architectures"
            )
        raise UsageError(
            f"{runs:,} runs of {expected_steps(problem, evaluator):,} evaluations would take {_size(needed)} of memory;"
            f" this machine has {_size(have)}. Ask for at most {fits:,} runs at a time (--runs {fits} --seed ...)"
        )
    return runs, seed


def unfit(record: Record, problem: Problem, evaluator: Evaluator) -> str:
    """Say why the algorithm cannot be asked this: the table tells no fidelities apart, the start is not its own."""
    if "environments" in record.needs and not problem.environments:
        return "needs environments in which the same architecture does differently: --environments a,b --target c"
    if "fidelities" in record.needs and evaluator.epochs[evaluator.stages :] == (0,):
        return (
            f"needs fidelities; table {problem.table.name!r} has {problem.signal} without epochs, so "
            "there are none to choose from (nasharness list algos shows what each algorithm needs)"
        )
    if record.no_start and not problem.start.own:
        return f"cannot begin with start {problem.start}: {record.no_start}"
    return ""


def check_fit(record: Record, problem: Problem, evaluator: Evaluator) -> None:
    """Raise UsageError, with the reason, where the algorithm cannot be asked what ``problem`` asks."""
    reason = unfit(record, problem, evaluator)
    if reason:
        raise UsageError(f"{record.name} {reason}")


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"{float(count):.3g}"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB" if count < 1e6 else f"{count:.3g} TiB"
