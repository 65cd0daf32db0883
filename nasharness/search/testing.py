"""The conformance kit: what every algorithm must pass, ours and anybody's.

In a plug-in's tests::

    import pytest
    from nasharness.search.testing import CHECKS

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_search(check):
        check("my-search")

A check takes a registered name and raises AssertionError saying what is wrong. The checks run on a synthetic table of
the space's true shape, so they need no data.
"""

from __future__ import annotations

import atexit
import functools
import gc
import random
import shutil
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nasharness import spaces
from nasharness.errors import AlgorithmFailedError, UsageError
from nasharness.search import registry
from nasharness.search.algorithm import Algorithm
from nasharness.search.evaluator import Evaluator, Truth
from nasharness.search.problem import Problem
from nasharness.search.result import Result
from nasharness.search.run import make_task, run
from nasharness.spaces.base import Floats, Indices
from nasharness.tables import Table, TableWriter

#: Seeds the checks compare; a run in the middle of a batch must not notice its neighbours.
SEEDS = 6
#: Spaces that the checks run on, where the algorithm works on them.
SPACES = ("tss", "sss")


def synthetic_table(space: str, folder: str | Path, *, name: str = "synthetic", seed: int = 0) -> Table:
    """Write a table of the space's true shape with made-up numbers: curves of 12 epochs in two trials, and tests.

    Accuracies are additive in the choices, plus noise that is smaller for the longer runs, so that searching pays.
    """
    rng = np.random.default_rng(seed)
    shape = spaces.get(space)
    choices = shape.choices(np.arange(shape.size))
    full = int(shape.protocol.signal[-1].partition("@")[2])
    with TableWriter(
        Path(folder), space=space, name=name, version="made up", size=shape.size,
        source="nasharness.search.testing", licence="none: no measurements", citation="none",
    ) as writer:  # fmt: skip
        for dataset in ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120"):
            worth = [rng.normal(0, 3, size) for size in shape.sizes]
            quality = 60 + sum(table[choices[:, position]] for position, table in enumerate(worth))
            if dataset != "cifar10":
                curve = quality + 4 * np.log(np.arange(1, 13) / 12)[:, None, None]
                curve = curve + rng.normal(0, 1, (12, 2, shape.size))
                writer.add(
                    dataset, "val_acc", curve, unit="percent", dtype="float64",
                    schedule=12, epochs=range(1, 13), seeds=("111", "777"),
                )  # fmt: skip
            if dataset != "cifar10-valid":
                writer.add(
                    dataset, "test_acc", quality + rng.normal(0, 0.3, shape.size), unit="percent", dtype="float64",
                    schedule=full, epochs=(full,), seeds=("777",),
                )  # fmt: skip
            flops = shape.flops(np.arange(shape.size), dataset.removesuffix("-valid"))
            writer.add(dataset, "train_s", 2 + flops / 50, unit="s", dtype="float64")
            writer.add(dataset, "val_s", 0.2 + flops / 500, unit="s", dtype="float64")
    return Table.open(folder)


@functools.cache
def _table(space: str) -> Table:
    folder = tempfile.mkdtemp(prefix="nasharness-kit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return synthetic_table(space, Path(folder) / space)


def synthetic_problem(space: str = "tss", **options: Any) -> Problem:
    """A problem on a synthetic table; ``options`` are those of Problem.create."""
    return Problem.create(space, table=_table(space), **options)


def asked_of(name: str, epochs: int) -> dict[str, Any]:
    """What a problem on NATS-Bench's data sets has to ask besides, at ``epochs``, for an algorithm that needs it."""
    if "environments" not in registry.get(name).needs:
        return {}
    measured = [f"{dataset}val@{epochs}:mean" for dataset in ("", "cifar100/", "ImageNet16-120/")]
    return {"environments": measured[:2], "target": measured[2]}


def _problem(name: str, space: str, **options: Any) -> Problem:
    """A synthetic problem that the algorithm can be asked."""
    return synthetic_problem(space, **options | asked_of(name, 12))


def _spaces(name: str) -> list[str]:
    record = registry.get(name)
    return [space for space in SPACES if not record.unfit(spaces.get(space))]


def _assert_same(one: Result, many: Result, rows: slice, what: str) -> None:
    for field in ("incumbent", "recommended", "evaluations", "seconds"):
        assert np.array_equal(getattr(one, field), getattr(many, field)[rows]), f"{what}: {field} differs"
    count = one.trajectories.count
    assert np.array_equal(count, many.trajectories.count[rows]), f"{what}: number of evaluations differs"
    for field in ("ids", "signal", "clock", "epochs"):
        ours, theirs = getattr(one.trajectories, field), getattr(many.trajectories, field)[rows]
        for row, steps in enumerate(count):
            same = np.array_equal(ours[row, :steps], theirs[row, :steps], equal_nan=field == "signal")
            assert same, f"{what}: {field} of the trajectory differs"


def check_record(name: str) -> None:
    """It says what it is: a summary, a citation, what its settings mean, at least one space it works on."""
    record = registry.get(name)
    assert record.summary, f"{name}: the class has no docstring to take a summary from"
    assert record.citation, f"{name}: no citation"
    dark = [key for key in record.defaults if not record.meanings.get(key)]
    assert not dark, f"{name}: setting {', '.join(dark)} has no meaning; register(..., meanings={{{dark[0]!r}: ...}})"
    known = spaces.names() if record.kind == registry.ONE_SHOT else SPACES  # a supernet needs no table to be checked
    works = any(not record.unfit(spaces.get(space)) for space in known)
    assert works, f"{name}: works on none of the spaces {', '.join(known)}"


def check_settings(name: str) -> None:
    """Unknown settings are refused with the nearest right ones."""
    try:
        run(name, _problem(name, _spaces(name)[0], evaluations=1), settings={"no_such_setting": 1})
    except UsageError:
        return
    raise AssertionError(f"{name} accepts a setting that does not exist")


def check_budget(name: str) -> None:
    """The trajectory is legal, the clock runs forward, and the answer is an architecture."""
    for space in _spaces(name):
        for budget in ({"evaluations": 1}, {"evaluations": 37}, {"seconds": 2_000.0}):
            problem = _problem(name, space, **budget)
            result = run(name, problem, runs=3)
            trajectories, size = result.trajectories, problem.space.size
            for row, count in enumerate(trajectories.count):
                assert count >= 1, f"{name} on {space} evaluates nothing with {budget}"
                ids, clock = trajectories.ids[row, :count], trajectories.clock[row, :count]
                assert ((ids >= 0) & (ids < size)).all()
                assert (np.diff(clock) > 0).all()
                assert (trajectories.ids[row, count:] == -1).all()
            if problem.evaluations is not None:
                assert (result.evaluations <= problem.evaluations).all()
            assert ((result.recommended >= 0) & (result.recommended < size)).all()
            assert np.isfinite(result.final).all()
            assert np.isfinite(result.recommended_final).all()


def check_batch(name: str) -> None:
    """A run is the same alone, in a batch, and in two halves of a batch, bit for bit."""
    for space in _spaces(name):
        for options in ({"evaluations": 60}, {"seconds": 3_000.0}, {"evaluations": 40, "repeats": "free"}):
            problem = _problem(name, space, **options)
            many = run(name, problem, runs=SEEDS, seed=5)
            halves = run(name, problem, runs=SEEDS, seed=5, batch=SEEDS // 2)
            _assert_same(halves, many, slice(None), f"{name} on {space}, {options}: two halves against one batch")
            for row in (0, SEEDS - 1):
                alone = run(name, problem, runs=1, seed=5 + row)
                _assert_same(alone, many, slice(row, row + 1), f"{name} on {space}, {options}: seed {5 + row} alone")


def check_start(name: str) -> None:
    """It begins with what the problem says, the same for all algorithms of one seed; or says why it cannot."""
    record = registry.get(name)
    for space in _spaces(name):
        for start in ("random:5", "random", "space-filling:3"):
            problem = _problem(name, space, evaluations=30, start=start)
            if record.no_start:
                try:
                    run(name, problem)
                except UsageError:
                    continue
                raise AssertionError(f"{name} is registered with no_start, and accepts start {start}")
            result = run(name, problem, runs=3)
            if problem.start.count is None:
                continue
            given = problem.start.draw(problem.space, result.seeds, 0, lambda ids: np.zeros(ids.shape))
            begun = result.trajectories.ids[:, : given.shape[1]]
            same = np.array_equal(np.sort(begun, axis=1), np.sort(given, axis=1))
            assert same, f"{name} on {space} does not begin with start {start}: {begun[0]}, expected {given[0]}"
            alone = run(name, problem, seed=2)
            _assert_same(alone, result, slice(2, 3), f"{name} on {space}, start {start}: seed 2 alone")


def check_seeds(name: str) -> None:
    """The same seed gives the same run, whatever happens to numpy's and Python's global generators."""
    problem = _problem(name, _spaces(name)[0], evaluations=50)
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - disturbing it is the point
    results = []
    try:
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            results.append(run(name, problem, runs=3))
    except AlgorithmFailedError as error:  # the harness looks whether a search moved them
        raise AssertionError(str(error)) from error
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
    _assert_same(results[0], results[1], slice(None), f"{name}: the same seeds again")


def _told(algorithm: Algorithm, evaluator: Evaluator, ids: Indices) -> Floats:
    """What ``tell`` brings for ``ids``: signals ``[runs, k]``, or ``[runs, k, objectives]`` where it brings several."""
    columns = [evaluator.expected_signal(), *(evaluator.more if algorithm.task.several else ())]
    told = np.stack([np.where(ids >= 0, column[ids], np.nan) for column in columns], axis=-1)
    return told if algorithm.task.several else told[..., 0]


def check_arguments(name: str) -> None:
    """``tell`` leaves its arguments as they are."""
    problem = _problem(name, _spaces(name)[0], evaluations=30)
    record, evaluator = registry.get(name), problem.evaluator()
    algorithm = record.build(make_task(record, problem, evaluator, np.arange(3)), record.settings({}))
    for _ in range(4):
        asked = algorithm.ask()
        ids = np.array(asked[0] if isinstance(asked, tuple) else asked)
        values = _told(algorithm, evaluator, ids)
        for array in (ids, values):
            array.flags.writeable = False
        algorithm.tell(ids, values)


def check_reach(name: str) -> None:
    """Nothing that the algorithm holds leads to the final metric, before or after a search."""
    problem = _problem(name, _spaces(name)[0], evaluations=30)
    record, evaluator, truth = registry.get(name), problem.evaluator(), problem.truth()
    algorithm = record.build(make_task(record, problem, evaluator, np.arange(2)), record.settings({}))
    for _ in range(3):
        assert_out_of_reach(algorithm, truth)
        asked = algorithm.ask()
        ids = asked[0] if isinstance(asked, tuple) else asked
        algorithm.tell(ids, _told(algorithm, evaluator, ids))
    assert_out_of_reach(algorithm, truth)


def assert_out_of_reach(algorithm: object, truth: Truth) -> None:
    """Walk every object that ``algorithm`` can reach; none may be, hold or contain the final metric."""
    for thing, path in reachable(algorithm):
        held = isinstance(thing, (Problem, Evaluator, Truth, Table, Result))
        assert not held, f"{path} is a {type(thing).__name__}, which leads to the final metric"
        if isinstance(thing, np.ndarray) and thing.dtype.kind == "f" and thing.size >= truth.values.size:
            assert not isinstance(thing, np.memmap), f"{path} is mapped from a table's file"
            rows = thing.reshape(-1, thing.shape[-1]) if thing.shape[-1] == truth.values.size else thing.reshape(1, -1)
            close = [row.size == truth.values.size and np.allclose(row, truth.values, equal_nan=True) for row in rows]
            assert not any(close), f"{path} holds the final metric"


def reachable(root: object) -> Iterator[tuple[object, str]]:
    """Every object reachable from ``root`` by attributes, items, closures, bases of arrays and frames, with its path.

    Modules and classes are not entered: an import can always open a table, and no interpreter can prevent it. What is
    checked is that nobody hands the metric over.
    """
    seen: set[int] = set()
    stack: list[tuple[object, str]] = [(root, type(root).__name__)]
    while stack:
        thing, path = stack.pop()
        if id(thing) in seen or isinstance(thing, (types.ModuleType, type, str, bytes, int, float)):
            continue
        seen.add(id(thing))
        yield thing, path
        children: list[tuple[object, str]] = []
        if isinstance(thing, dict):
            children += [(value, f"{path}[{key!r}]") for key, value in thing.items()]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            children += [(value, f"{path}[{index}]") for index, value in enumerate(thing)]
        elif isinstance(thing, np.ndarray):
            children.append((thing.base, f"{path}.base"))
            if thing.dtype.hasobject:
                children += [(value, f"{path}.flat[{index}]") for index, value in enumerate(thing.flat)]
        elif isinstance(thing, types.FunctionType):
            cells = thing.__closure__ or ()
            children += [
                (cell.cell_contents, f"{path} closes over {name}")
                for cell, name in zip(cells, thing.__code__.co_freevars, strict=True)
            ]
            children += [(thing.__defaults__, f"{path}.__defaults__"), (thing.__kwdefaults__, f"{path}.__kwdefaults__")]
        elif isinstance(thing, types.MethodType):
            children += [(thing.__self__, f"{path}.__self__"), (thing.__func__, f"{path}.__func__")]
        elif isinstance(thing, types.GeneratorType):
            children.append((dict(thing.gi_frame.f_locals) if thing.gi_frame else {}, f"{path} (locals)"))
        else:
            children += [(value, f"{path}.{key}") for key, value in getattr(thing, "__dict__", {}).items()]
            children += [(value, f"{path} (referent)") for value in gc.get_referents(thing)]
        stack += children


#: Every check; run each with the name of a registered algorithm.
CHECKS: tuple[Callable[[str], None], ...] = (
    check_record,
    check_settings,
    check_budget,
    check_batch,
    check_start,
    check_seeds,
    check_arguments,
    check_reach,
)
