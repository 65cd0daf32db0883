"""The registry of algorithms, under the entry-point group ``nasharness.algorithms``: see ``nasharness.plugins``."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import numpy as np

from nasharness.errors import UsageError, unknown
from nasharness.plugins import Registry, offers
from nasharness.search.algorithm import Algorithm, ScalarAlgorithm, ScalarBatch
from nasharness.search.one_shot import OneShot, OneShotTask
from nasharness.search.task import Task
from nasharness.spaces.base import OFFERS, Space

GROUP = "nasharness.algorithms"
#: What an algorithm may need beyond evaluations at full fidelity: of a problem, and of a space. "outside": another
#: package's search, so that it runs where it is named and not where all algorithms are asked for.
NEEDS = ("fidelities", "whole-signal", "objectives", "environments", "domains", "outside", *OFFERS)
#: How an algorithm searches: it asks a table about architectures, or trains a supernet on images.
MULTI_TRIAL, ONE_SHOT = "multi-trial", "one-shot"
KINDS = (MULTI_TRIAL, ONE_SHOT)

#: what to do with an algorithm of a kind where another is wanted
_INSTEAD = {
    ONE_SHOT: "is a one-shot algorithm: it trains a supernet on images and asks no table; run it with "
    "nasharness run --images NAME|PATH (to try it out: --images digits)",
    MULTI_TRIAL: "is a multi-trial algorithm: it asks a table and trains nothing; run it without --images",
}

#: what a space without it is told
_OFFERS = {
    "index": "a space that can be enumerated",
    "neighbours": "a space whose architectures have neighbours",
    "product": "a product space, in which any option may stand at any position",
    "graph": "a space whose architectures are graphs",
    "ladder": "a space that says how an option is made weaker (ordered options, or a ladder of operations)",
    "nested": "a space whose options are parts of one another (ordered options, or decisions that lead to each)",
}

Class = type[Algorithm] | type[ScalarAlgorithm] | type[OneShot]
Registered = TypeVar("Registered", bound=Class)


@dataclass(frozen=True)
class Record:
    """What is known of an algorithm without running it.

    ``kind``: of KINDS. ``spaces``: names it works on, or ``("*",)`` for every space that offers what it needs.
    ``needs``: of NEEDS. ``citation``: the paper. ``defaults``: settings and their default values. ``summary``: one
    line. ``control``: others are held against it, as against random search. ``learns_after``: the setting that says how
    many evaluations go by before the algorithm learns from any, or empty. ``meanings``: of the settings, with range and
    source. ``no_start``: why it cannot begin with given architectures (`Task.start`); empty where it can.
    ``published``: whether the harness, too, trains and scores as the publication did, in what it decides and no
    algorithm.
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
    learns_after: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)
    no_start: str = ""
    published: bool = False

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

    def check_space(self, space: Space) -> None:
        """Raise UsageError, with the reason, unless the algorithm works on ``space``."""
        reason = self.unfit(space)
        if reason:
            raise UsageError(f"{self.name} {reason}")

    def unfit(self, space: Space) -> str:
        """Say why the algorithm does not work on ``space``; empty where it does."""
        if self.spaces != ("*",) and space.name not in self.spaces:
            return f"works on {', '.join(self.spaces)}, not on space {space.name!r}"
        offered = space.offers | ({"graph"} if space.has_graph else set())
        missing = [need for need in self.needs if need in OFFERS and need not in offered]
        return f"needs {_OFFERS[missing[0]]}; {space.name!r} is none" if missing else ""

    def build(self, task: Task, settings: Mapping[str, Any]) -> Algorithm:
        """Make the multi-trial algorithm for one batch of runs. Raises UsageError for one of another kind or space."""
        self.require(MULTI_TRIAL)
        self.check_space(task.space)
        if issubclass(self.cls, ScalarAlgorithm):
            return ScalarBatch(task, cls=self.cls, **settings)
        return cast("type[Algorithm]", self.cls)(task, **settings)

    def build_one_shot(self, task: OneShotTask, settings: Mapping[str, Any]) -> OneShot:
        """Make the one-shot algorithm for one run. Raises UsageError for one of another kind or space."""
        self.require(ONE_SHOT)
        self.check_space(task.space)
        return cast("type[OneShot]", self.cls)(task, **settings)


def file_of(cls: type) -> str:
    """The file that ``cls`` is written in; of a class that was typed in (a notebook, ``-c``) its module."""
    try:
        return inspect.getfile(cls)
    except (TypeError, OSError):
        return cls.__module__


def _origin(record: Record) -> tuple[str, str]:
    return file_of(record.cls), f"{record.cls.__module__}.{record.cls.__qualname__}"


def foreign(record: Record) -> bool:
    """Whether an algorithm comes from a package of somebody else, whose mistakes may end a process."""
    module = record.cls.__module__
    return not module.startswith("nasharness.") and module in {entry.module for entry in offers(GROUP)}


_registry: Registry[Record] = Registry("algorithm", GROUP, "nasharness list algos", _origin)
_records = _registry.records


def register(
    name: str,
    *,
    citation: str,
    kind: str = MULTI_TRIAL,
    spaces: tuple[str, ...] = ("*",),
    needs: Sequence[str] = (),
    variants: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
    control: bool = False,
    learns_after: str = "",
    meanings: Mapping[str, str] | None = None,
    no_start: str = "",
    published: Sequence[str] = (),
) -> Callable[[Registered], Registered]:
    """Register the decorated class under ``name``; its settings are the keyword-only arguments of its ``__init__``.

    ``variants``: tag -> (one line, changed defaults), each registered as ``name.tag``. ``control``, ``learns_after``,
    ``no_start``: see `Record`. The first line of the class's docstring is its summary. ``meanings``: setting -> "what
    it means; its range; its source". ``published``: tags of the variants that the harness trains and scores as
    published (`Record.published`). A name that is taken raises UsageError.
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
        for key in meanings or {}:
            if key not in defaults:
                raise unknown(f"setting of {name!r}, of which a meaning is told", key, defaults)
        for tag in published:
            if tag not in (variants or {}):
                raise unknown(f"variant of {name!r}, which is said to be as published", tag, variants or {})
        summary = (inspect.getdoc(cls) or "").partition("\n")[0]
        record = Record(
            name,
            cls,
            kind,
            tuple(spaces),
            tuple(needs),
            citation,
            summary,
            defaults,
            control,
            learns_after,
            meanings or {},
            no_start,
        )
        _registry.add(record.name, record)
        for tag, (line, changes) in (variants or {}).items():
            variant = replace(
                record,
                name=f"{name}.{tag}",
                summary=line,
                defaults=record.settings(changes),
                published=tag in published,
            )
            _registry.add(variant.name, variant)
        return cls

    return decorate


def get(name: str) -> Record:
    """Return the record of ``name``, importing only the module that holds it. Raises UsageError for an unknown name."""
    return _registry.get(name)


def names(kind: str | None = None) -> list[str]:
    """Every registered name, sorted, or those of one of KINDS; imports every algorithm."""
    return [name for name in _registry.names() if kind in (None, _registry.records[name].kind)]


def broken() -> dict[str, str]:
    """Entry points that cannot be imported, with the reason."""
    return _registry.broken()


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
