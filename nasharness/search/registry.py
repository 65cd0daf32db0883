"""The registry of algorithms: one decorator, one record, one place where a name is looked up.

The harness imports no algorithm. Packages offer theirs under the entry-point group ``nasharness.algorithms``: the
entry ``rea = some.module`` says that importing ``some.module`` registers ``rea`` and its variants ``rea.TAG``. Only the
module that a name needs is imported.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar, cast

import numpy as np

from nasharness.errors import UsageError, unknown
from nasharness.search.algorithm import Algorithm, ScalarAlgorithm, ScalarBatch
from nasharness.search.one_shot import OneShot, OneShotTask
from nasharness.search.task import Task

GROUP = "nasharness.algorithms"
#: What an algorithm may need beyond evaluations at full fidelity.
NEEDS = ("fidelities", "whole-signal")
#: How an algorithm searches: it asks a table about architectures, or trains a supernet on images.
MULTI_TRIAL, ONE_SHOT = "multi-trial", "one-shot"
KINDS = (MULTI_TRIAL, ONE_SHOT)

#: what to do with an algorithm of a kind where another is wanted
_INSTEAD = {
    ONE_SHOT: "is a one-shot algorithm: it trains a supernet on images and asks no table; run it with "
    "nasharness run --images NAME|PATH (to try it out: --images digits)",
    MULTI_TRIAL: "is a multi-trial algorithm: it asks a table and trains nothing; run it without --images",
}

_records: dict[str, Record] = {}
Class = type[Algorithm] | type[ScalarAlgorithm] | type[OneShot]
Registered = TypeVar("Registered", bound=Class)


@dataclass(frozen=True)
class Record:
    """What is known of an algorithm without running it.

    ``kind``: of KINDS. ``spaces``: names it works on, or ``("*",)`` for every product space. ``needs``: of
    NEEDS. ``citation``: the paper. ``defaults``: settings and their default values. ``summary``: one line.
    ``control``: others are held against it, as against random search.
    """

    name: str
    cls: Class
    kind: str
    spaces: tuple[str, ...]
    needs: tuple[str, ...]
    citation: str
    summary: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    control: bool = False

    def settings(self, changed: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings with ``changed`` applied; strings are read as the type of the default.

        Raises UsageError for an unknown key or a value of another type.
        """
        settings = dict(self.defaults)
        for key, value in changed.items():
            if key not in settings:
                if not settings:
                    raise UsageError(f"{self.name} has no settings, so not {key!r} either")
                raise unknown(f"setting of {self.name}", key, settings, "nasharness list algos")
            settings[key] = _read(value, settings[key], f"{self.name}: {key}")
        return settings

    def changed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that differ from the defaults."""
        return {key: value for key, value in settings.items() if value != self.defaults[key]}

    def require(self, kind: str) -> None:
        """Raise UsageError unless the algorithm is of ``kind``."""
        if self.kind != kind:
            raise UsageError(f"{self.name} {_INSTEAD[self.kind]}")

    def check_space(self, space: str) -> None:
        """Raise UsageError unless the algorithm works on the space of that name."""
        if self.spaces != ("*",) and space not in self.spaces:
            raise UsageError(f"{self.name} works on {', '.join(self.spaces)}, not on space {space!r}")

    def build(self, task: Task, settings: Mapping[str, Any]) -> Algorithm:
        """Make the multi-trial algorithm for one batch of runs. Raises UsageError for one of another kind or space."""
        self.require(MULTI_TRIAL)
        self.check_space(task.space.name)
        if issubclass(self.cls, ScalarAlgorithm):
            return ScalarBatch(task, cls=self.cls, **settings)
        return cast("type[Algorithm]", self.cls)(task, **settings)

    def build_one_shot(self, task: OneShotTask, settings: Mapping[str, Any]) -> OneShot:
        """Make the one-shot algorithm for one run. Raises UsageError for one of another kind or space."""
        self.require(ONE_SHOT)
        self.check_space(task.space.name)
        return cast("type[OneShot]", self.cls)(task, **settings)


def register(
    name: str,
    *,
    citation: str,
    kind: str = MULTI_TRIAL,
    spaces: tuple[str, ...] = ("*",),
    needs: tuple[str, ...] = (),
    variants: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
    control: bool = False,
) -> Callable[[Registered], Registered]:
    """Register the decorated class under ``name``; its settings are the keyword-only arguments of its ``__init__``.

    ``variants``: tag -> (one line, changed defaults), each registered as ``name.tag``. ``control``: see `Record`. The
    first line of the class's docstring is its summary. A name that is taken raises UsageError.
    """

    def decorate(cls: Registered) -> Registered:
        for need in needs:
            if need not in NEEDS:
                raise unknown(f"need of algorithm {name!r}", need, NEEDS)
        if kind not in KINDS:
            raise unknown(f"kind of algorithm {name!r}", kind, KINDS)
        if issubclass(cls, OneShot) != (kind == ONE_SHOT):
            bases = "OneShot" if kind == ONE_SHOT else "Algorithm or ScalarAlgorithm"
            raise UsageError(
                f"algorithm {name!r}: {cls.__name__} is registered as {kind}, but is no subclass of {bases}"
            )
        parameters = inspect.signature(cls.__init__).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        missing = [key for key, default in defaults.items() if default is inspect.Parameter.empty]
        if missing:
            raise UsageError(f"algorithm {name!r}: setting {missing[0]!r} needs a default value")
        summary = (inspect.getdoc(cls) or "").partition("\n")[0]
        record = Record(name, cls, kind, tuple(spaces), tuple(needs), citation, summary, defaults, control)
        _add(record)
        for tag, (line, changes) in (variants or {}).items():
            _add(replace(record, name=f"{name}.{tag}", summary=line, defaults=record.settings(changes)))
        return cls

    return decorate


def _add(record: Record) -> None:
    other = _records.get(record.name)
    if other is not None:
        # the same file imported again under another module name is no collision
        same = (
            inspect.getfile(other.cls) == inspect.getfile(record.cls)
            and other.cls.__qualname__ == record.cls.__qualname__
        )
        if not same:
            raise UsageError(
                f"two algorithms are called {record.name!r}: {other.cls.__module__}.{other.cls.__qualname__} and "
                f"{record.cls.__module__}.{record.cls.__qualname__}; rename one, or uninstall its package"
            )
    _records[record.name] = record


def get(name: str) -> Record:
    """Return the record of ``name``, importing only the module that holds it. Raises UsageError for an unknown name."""
    entries = _entries().get(_family(name), []) if name not in _records else []
    for entry in sorted(entries, key=lambda entry: entry.name != name):  # the modules of just this name first
        if name in _records and entry.name != name:
            break
        try:
            _load(entry)
        except UsageError:
            if entry.name in (name, _family(name)):
                raise
    if name not in _records:
        known = names()
        if name in known:
            return _records[name]
        raise unknown("algorithm", name, known, "nasharness list algos")
    return _records[name]


def names(kind: str | None = None) -> list[str]:
    """Every registered name, sorted, or those of one of KINDS; imports every algorithm.

    A package that cannot be imported is left out.
    """
    for entries in _entries().values():
        for entry in entries:
            try:
                _load(entry)
            except UsageError:
                continue  # `broken` tells what is wrong with it; one bad plug-in must not hide the others
    return sorted(name for name, record in _records.items() if kind in (None, record.kind))


def broken() -> dict[str, str]:
    """Entry points that cannot be imported, with the reason."""
    reasons = {}
    for family, entries in _entries().items():
        for entry in entries:
            try:
                _load(entry)
            except UsageError as error:
                reasons[family] = str(error)
    return reasons


def _family(name: str) -> str:
    return name.partition(".")[0]


def _entries() -> dict[str, list[EntryPoint]]:
    """Entry points by family. A plug-in may offer ``name`` or ``name.tag``; both belong to the family ``name``."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        entries = found.setdefault(_family(entry.name), [])
        if entry.value not in [other.value for other in entries]:
            entries.append(entry)
    return found


def _load(entry: EntryPoint) -> None:
    try:
        importlib.import_module(entry.value.partition(":")[0])
    except UsageError:
        raise
    except Exception as error:
        package = entry.dist.name if entry.dist is not None else "its package"
        raise UsageError(
            f"algorithm {entry.name!r} cannot be imported from {entry.value} ({package}): "
            f"{type(error).__name__}: {error}"
        ) from error


def _read(value: Any, default: Any, what: str) -> Any:
    """Read ``value`` as the type of ``default``; a string comes from the command line."""
    kind = type(default)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and kind is not str:
        text = value.strip().lower()
        if text in ("none", "null") and default is None:
            return None
        if kind is bool and text in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            return text in ("true", "yes", "on", "1")
        for read in (int, float) if kind is not bool else ():
            try:
                value = read(text)
                break
            except ValueError:
                continue
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{what} = {value}: expected a finite number")
    if (default is None or isinstance(value, kind)) and not (kind is int and isinstance(value, bool)):
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    raise UsageError(f"{what} = {value!r}: expected {names.get(kind, kind.__name__)}, as in the default {default!r}")
