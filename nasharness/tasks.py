"""Tasks that a network can be trained in full for. Without torch: what a task does is imported when it is done.

A package offers its own under the entry-point group ``nasharness.tasks``: the entry ``NAME = some.module`` says that
importing ``some.module`` registers the task NAME.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nasharness.errors import DataError, UsageError
from nasharness.plugins import Registry
from nasharness.storage.sealed import read_sealed
from nasharness.training.fields import Fields


@dataclass(frozen=True)
class Headline:
    """What a record says in a line: the name of the data, the outcome in words, the recipe; ``macs``: None if unknown.

    ``rows``: of an unfinished run's journal, those that end an epoch.
    """

    data: str
    quality: str
    recipe: str
    macs: int | None = None
    rows: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Answer:
    """What a trained network makes of a file: a line for people, and plain values; or only why there is nothing."""

    line: str = ""
    plain: Mapping[str, Any] | None = None
    error: str = ""


class Predict(Protocol):
    """Yields an Answer for every file; takes all options of ``nasharness predict`` and uses its own."""

    def __call__(self, model: Path, files: Sequence[Path], **options: Any) -> Iterator[Answer]:
        """``model``: a run's folder, or an exported file."""


@dataclass(frozen=True)
class Task:
    """A task. ``unit``: of its progress. ``options``: fields of `training.options.Options` that it alone reads.

    ``train(options, progress)`` returns the record that ``retrained.json`` holds; ``export(run, out, format=,
    weights=)`` returns {format, difference, bytes}, of the headline's weights where None; ``predict``: as Predict. Each
    is given as ``module:function``.
    ``reads``: what ``predict`` takes, ``images`` or ``text``. ``finished(fields)``, ``unfinished(fields, rows)``: the
    headline of ``retrained.json``, and of ``run.json`` with the rows of the journal.
    """

    name: str
    unit: str
    reads: str
    options: frozenset[str]
    train: str
    export: str
    predict: str
    finished: Callable[[Fields], Headline]
    unfinished: Callable[[Fields, Sequence[Mapping[str, Any]]], Headline]

    def function(self, what: str) -> Callable[..., Any]:
        """Import what ``train``, ``export`` or ``predict`` names."""
        module, _, name = getattr(self, what).partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function

    def check_options(self, given: Iterable[str]) -> None:
        """Raise UsageError where one of the options ``given`` is another task's alone."""
        for option in given:
            owners = [name for name in names() if option in get(name).options]
            if owners and self.name not in owners:
                raise UsageError(f"--{option.replace('_', '-')} is for --task {' or '.join(owners)}, not {self.name}")


def _origin(task: Task) -> tuple[str, str]:
    return inspect.getfile(task.finished), task.name


_registry: Registry[Task] = Registry("task", "nasharness.tasks", "nasharness retrain --help", _origin)


def register(task: Task) -> None:
    """Register a task under its name. Raises UsageError for a name that is taken."""
    _registry.add(task.name, task)


def get(name: str) -> Task:
    """The task of that name. Raises UsageError for an unknown one, with the nearest."""
    return _registry.get(name)


def names() -> list[str]:
    """Every task, sorted."""
    return _registry.names()


def of_run(folder: Path, reads: str) -> Task:
    """The task of a run; where ``folder`` holds none, the one that ``reads`` so, which says it in its own words."""
    try:
        name = read_sealed(folder / "run.json", dict, "", sealed=False).get("task")
    except DataError:
        name = None
    if name in names():
        return get(str(name))
    return next(get(name) for name in names() if get(name).reads == reads)
