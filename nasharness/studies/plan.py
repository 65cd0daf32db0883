"""A plan: what a study computes. Read from a TOML file or from the options of the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nasharness import spaces
from nasharness.errors import UsageError, unknown, whole
from nasharness.search import registry
from nasharness.search.problem import REPEATS, datasets, default_dataset
from nasharness.search.start import Start
from nasharness.spaces import Space
from nasharness.storage.toml import Lines, read_toml
from nasharness.tables import candidates, open_table

KEYS = (
    "algorithms", "space", "datasets", "runs", "seed", "evaluations", "seconds", "budget",
    "signal", "final", "repeats", "table", "objectives", "limits", "start", "realisations",
    "stages", "environments", "target", "settings",
)  # fmt: skip
ALL = "all"


@dataclass(frozen=True)
class Choice:
    """An algorithm and its settings that differ from the defaults. As text: ``rea`` or ``rea(population=20)``."""

    name: str
    changed: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        pairs = ", ".join(f"{key}={value}" for key, value in self.changed.items())
        return f"{self.name}({pairs})" if pairs else self.name

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Read ``NAME`` or ``NAME(KEY=VALUE, ...)``. Raises UsageError for an unknown name, key or value."""
        match = re.fullmatch(r"\s*([^()\s]+)\s*(?:\((.*)\))?\s*", text)
        if match is None:
            raise UsageError(f"algorithm {text!r}: expected NAME or NAME(KEY=VALUE, ...), as in rea(population=20)")
        pairs = {}
        for part in filter(None, (part.strip() for part in (match[2] or "").split(","))):
            key, separator, value = part.partition("=")
            if not separator:
                raise UsageError(f"algorithm {text!r}: {part!r} is no KEY=VALUE")
            pairs[key.strip()] = value.strip()
        return cls(match[1], {}).with_settings(pairs)

    def with_settings(self, changes: Mapping[str, Any]) -> Choice:
        """The same with further settings changed; a value that is the default is left out."""
        record = registry.get(self.name)
        record.require(registry.MULTI_TRIAL)
        return Choice(self.name, record.changed(record.settings({**self.changed, **changes})))


@dataclass(frozen=True)
class Plan:
    """Every field decides results. Build one with ``Plan.create`` or ``read_plan``."""

    algorithms: tuple[Choice, ...]
    space: str
    datasets: tuple[str, ...]
    runs: int
    seed: int
    evaluations: int | None
    seconds: float | None
    budget: str | None
    signal: str | None
    final: str | None
    repeats: str
    table: str | None
    objectives: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    start: str = "own"
    stages: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    target: str | None = None
    realisations: str | None = None
    #: whether "all" algorithms were asked for, so that those the tables have too little for are left out, not refused
    all_that_fit: bool = field(default=False, compare=False, repr=False)
    #: where each key was written, for messages about what shows later
    lines: Lines | None = field(default=None, compare=False, repr=False)

    @classmethod
    def create(cls, lines: Lines | None = None, **given: Any) -> Plan:
        """Check plain values (the keys of KEYS) and put a plan together.

        ``algorithms``: names, ``NAME(KEY=VALUE)`` or ``"all"``. ``datasets``: names or ``"all"``. ``settings``:
        ``{key: value}`` for every algorithm that has the key, or ``{algorithm: {key: value}}``. Raises UsageError;
        where the plan came from a file, with the file and the line.
        """
        lines = lines or Lines(None, "")
        for key in given:
            if key not in KEYS:
                with lines.at(key):
                    raise unknown("key of a plan", key, KEYS)
        if "algorithms" not in given:
            raise UsageError(f"{lines.prefix()}a plan needs algorithms, as in --algo random,rea (algorithms = [...])")
        with lines.at("space"):
            space = spaces.get(given.get("space", "tss"))
        names = _names("algorithms", given["algorithms"], lines)
        everything = names == [ALL]
        if everything:
            names = multi_trial(space)
        choices = []
        for name in names:
            with lines.at("algorithms", name):
                choices.append(Choice.parse(name))
        choices = _settings(choices, given.get("settings", {}), lines)
        for choice in choices:
            if choices.count(choice) > 1:
                with lines.at("algorithms", choice.name):
                    raise UsageError(f"algorithm {str(choice)!r} is asked for twice")
        measured = measured_datasets(space, given, lines)
        return cls(
            algorithms=tuple(choices),
            space=space.name,
            datasets=tuple(measured),
            runs=_whole("runs", given.get("runs", 1), 1, lines),
            seed=_whole("seed", given.get("seed", 0), 0, lines),
            evaluations=_optional("evaluations", given, lines, lambda v: _whole("evaluations", v, 1, lines)),
            seconds=_optional("seconds", given, lines, lambda v: _positive("seconds", v)),
            budget=_optional("budget", given, lines, lambda v: _word("budget", v, space.protocol.budgets)),
            signal=_optional("signal", given, lines, lambda v: _word("signal", v)),
            final=_optional("final", given, lines, lambda v: _word("final", v)),
            repeats=_optional("repeats", given, lines, lambda v: _word("treatment of repeats", v, REPEATS))
            or "charged",
            table=_optional("table", given, lines, lambda v: _word("table", v)),
            objectives=tuple(_texts("objectives", given.get("objectives", ()), lines)),
            limits=tuple(_texts("limits", given.get("limits", ()), lines)),
            start=_optional("start", given, lines, lambda v: Start.parse(v, space, measured[0]).asked) or "own",
            stages=tuple(_texts("stages", given.get("stages", ()), lines)),
            environments=tuple(_names("environments", given["environments"], lines))
            if given.get("environments")
            else (),
            target=_optional("target", given, lines, lambda v: _word("target", v)),
            realisations=_optional("realisations", given, lines, _realisations),
            all_that_fit=everything,
            lines=lines,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values that ``Plan.create`` takes back; JSON can hold them."""
        return (
            {
                "algorithms": [str(choice) for choice in self.algorithms],
                "space": self.space,
                "datasets": list(self.datasets),
            }
            | {
                key: getattr(self, key)
                for key in (
                    "runs",
                    "seed",
                    "evaluations",
                    "seconds",
                    "budget",
                    "signal",
                    "final",
                    "repeats",
                    "table",
                    "start",
                )
            }
            | {
                key: list(getattr(self, key))
                for key in ("objectives", "limits", "stages", "environments")
                if getattr(self, key)
            }
            | ({"realisations": self.realisations} if self.realisations else {})
            | ({"target": self.target} if self.target else {})
        )

    @property
    def total_runs(self) -> int:
        """Runs over all algorithms and data sets."""
        return len(self.algorithms) * len(self.datasets) * self.runs


def read_plan(path: str | os.PathLike[str], **changes: Any) -> Plan:
    """Read a plan from a TOML file; ``changes`` replace keys. Raises UsageError with the line of what is wrong."""
    lines, given = read_toml(path, "plan")
    if {"evaluations", "seconds", "budget"} & changes.keys():  # a budget from the command line replaces the file's
        given = {key: value for key, value in given.items() if key not in ("evaluations", "seconds", "budget")}
    plan = Plan.create(lines, **given)
    if not changes:
        return plan
    if "settings" in changes:
        changes["settings"] = _merged(given.get("settings", {}), changes["settings"])
    return replace(Plan.create(**(given | changes)), lines=lines)


def multi_trial(space: Space) -> list[str]:
    """Names of every registered multi-trial algorithm of ours or of plug-ins that works on ``space``.

    Less those that read a whole table, and those that are another package's searches.
    """
    records = [registry.get(name) for name in registry.names(kind=registry.MULTI_TRIAL)]
    left_out = {"whole-signal", "outside"}
    return [record.name for record in records if not left_out & set(record.needs) and not record.unfit(space)]


def measured_datasets(space: Space, given: Mapping[str, Any], lines: Lines | None = None) -> list[str]:
    """The data sets that ``given["datasets"]`` asks for, all of the space's, or the one meant where none is named.

    ``given["table"]`` names the table that measures a space which has no data sets of its own. Raises UsageError.
    """
    lines = lines or Lines(None, "")
    asked = given.get("datasets")
    tables = []
    named = given.get("table")
    if not space.datasets or isinstance(named, str):  # its tables tell
        with lines.at("table"):
            tables = [open_table(space.name, named)] if isinstance(named, str) else candidates(space.name)[0]
    known = datasets(space, tables)
    names = [default_dataset(space, tables)] if asked is None else _names("datasets", asked, lines)
    if names == [ALL]:
        names = known
    for name in names:
        with lines.at("datasets", name):
            if name not in known:
                raise unknown(f"data set of space {space.name!r}", name, (*known, ALL))
            if names.count(name) > 1:
                raise UsageError(f"data set {name!r} is asked for twice")
    return names


def count(number: int, word: str) -> str:
    """``1 shard``, ``2 shards``."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def share(part: int, whole: int, word: str) -> str:
    """``0 of 1 shard is``, ``3 of 18 shards are``."""
    return f"{part:,} of {count(whole, word)} {'is' if whole == 1 else 'are'}"


def split_names(text: str) -> list[str]:
    """Split ``a,b(x=1,y=2),c`` at the commas outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def _settings(choices: list[Choice], settings: Any, lines: Lines) -> list[Choice]:
    """Apply the plan's settings: for all that have the key, or by algorithm."""
    if not isinstance(settings, Mapping):
        with lines.at("settings"):
            raise UsageError(f"settings = {settings!r}: expected a table of KEY = VALUE, or one table an algorithm")
    names = [choice.name for choice in choices]
    for key, value in settings.items():
        if isinstance(value, Mapping):
            with lines.at(key, section="settings"):
                if key not in names and not any(name.startswith(f"{key}.") for name in names):
                    raise unknown("algorithm of this plan", key, dict.fromkeys(names))
            for dotted, inner in _flat(key, value):
                with lines.at(inner[0], section=f"settings.{dotted}"):
                    if dotted not in names:
                        raise unknown("algorithm of this plan", dotted, dict.fromkeys(names))
                    choices = [c.with_settings(dict([inner])) if c.name == dotted else c for c in choices]
            continue
        having = [choice for choice in choices if key in registry.get(choice.name).defaults]
        with lines.at(key, section="settings"):
            if not having:
                every = dict.fromkeys(k for name in names for k in registry.get(name).defaults)
                raise unknown(f"setting of {', '.join(dict.fromkeys(names))}", key, every, "nasharness list algos")
            choices = [c.with_settings({key: value}) if c in having else c for c in choices]
    return choices


def _flat(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, Any]]]:
    """``[settings.autoshrink.pooled]`` is a table within a table to TOML; to us, the name has a dot."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{name}.{key}", value)
        else:
            yield name, (key, value)


def _names(key: str, value: Any, lines: Lines) -> list[str]:
    names = split_names(value) if isinstance(value, str) else value
    with lines.at(key):
        good = isinstance(names, Sequence) and len(names) > 0 and all(isinstance(n, str) and n.strip() for n in names)
        if not good:
            raise UsageError(f'{key} = {value!r}: expected a list of names, or "all"')
    return [name.strip() for name in names]


def _texts(key: str, value: Any, lines: Lines) -> list[str]:
    with lines.at(key):
        if (
            isinstance(value, str)
            or not isinstance(value, Sequence)
            or not all(isinstance(text, str) for text in value)
        ):
            raise UsageError(f"{key} = {value!r}: expected a list of texts in quotes")
    return list(value)


def _optional(key: str, given: Mapping[str, Any], lines: Lines, read: Any) -> Any:
    if given.get(key) is None:
        return None
    with lines.at(key):
        return read(given[key])


def _whole(key: str, value: Any, least: int, lines: Lines) -> int:
    with lines.at(key):
        return whole(f"{key} =", value, least)


def _positive(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise UsageError(f"{key} = {value!r}: expected a positive number of simulated seconds")
    return float(value)


def _realisations(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UsageError(f'realisations = {value!r}: expected "all", a number, or names of measures')
    return str(value)


def _word(kind: str, value: Any, known: Any = None) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{kind} = {value!r}: expected a text in quotes")
    if known is not None and value not in known:
        raise unknown(kind, value, known)
    return value
