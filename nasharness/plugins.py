"""Things that register by name: one decorator, one record, one place where a name is looked up.

The harness imports none of them. A package offers its own under an entry-point group: the entry ``rea = some.module``
says that importing ``some.module`` registers ``rea`` and its variants ``rea.TAG``. Only the module that a name needs is
imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions
from importlib.util import find_spec
from typing import Generic, TypeVar

from nasharness.errors import UsageError, unknown, where

Record = TypeVar("Record")


class Registry(Generic[Record]):
    """Names and their records.

    ``kind``: what they are, for messages (``algorithm``). ``group``: the entry-point group. ``command``: what lists
    them. ``origin(record)``: the file and the qualified name that it was made from: the same file imported again under
    another module name is no collision.
    """

    def __init__(self, kind: str, group: str, command: str, origin: Callable[[Record], tuple[str, str]]) -> None:
        self.kind, self.group, self.command, self._origin = kind, group, command, origin
        self.records: dict[str, Record] = {}

    def add(self, name: str, record: Record) -> None:
        """Register ``record``. Raises UsageError for a name that something else has."""
        other = self.records.get(name)
        if other is not None and self._origin(other) != self._origin(record):
            (here, mine), (there, theirs) = self._origin(record), self._origin(other)
            several = f"{self.kind[:-1]}ies" if self.kind.endswith("y") else f"{self.kind}s"
            raise UsageError(
                f"two {several} are called {name!r}: {theirs} ({there}) and {mine} ({here}); rename one, or "
                "uninstall its package"
            )
        self.records[name] = record

    def find(self, name: str) -> Record | None:
        """The record of ``name``, importing only the module that holds it; None where nothing has that name."""
        entries = self._entries().get(_family(name), []) if name not in self.records else []
        for entry in sorted(entries, key=lambda entry: entry.name != name):  # the modules of just this name first
            if name in self.records and entry.name != name:
                break
            try:
                self._load(entry)
            except UsageError:
                if entry.name in (name, _family(name)):
                    raise
        return self.records.get(name)

    def get(self, name: str) -> Record:
        """The record of ``name``. Raises UsageError for an unknown name, with the nearest."""
        record = self.find(name)
        if record is None:
            known = self.names()
            if name not in known:
                raise unknown(self.kind, name, known, self.command)
            record = self.records[name]
        return record

    def names(self) -> list[str]:
        """Every registered name, sorted; imports every module. A package that cannot be imported is left out."""
        self.broken()  # tells what is wrong with it; one bad plug-in must not hide the others
        return sorted(self.records)

    def broken(self) -> dict[str, str]:
        """Entry points that cannot be imported, with the reason."""
        reasons = {}
        for family, entries in self._entries().items():
            for entry in entries:
                try:
                    self._load(entry)
                except UsageError as error:
                    reasons[family] = str(error)
        return reasons

    def _entries(self) -> dict[str, list[EntryPoint]]:
        """Entry points by family. A plug-in may offer ``name`` or ``name.tag``; both belong to the family ``name``."""
        found: dict[str, list[EntryPoint]] = {}
        for entry in offers(self.group):
            entries = found.setdefault(_family(entry.name), [])
            if entry.value not in [other.value for other in entries]:
                entries.append(entry)
        return found

    def _load(self, entry: EntryPoint) -> None:
        try:
            importlib.import_module(entry.value.partition(":")[0])
        except UsageError:
            raise
        except (Exception, SystemExit) as error:
            package = entry.dist.name if entry.dist is not None else "its package"
            raise UsageError(
                f"{self.kind} {entry.name!r} cannot be imported from {entry.value} ({package}): {where(error)}"
            ) from error


def offers(group: str) -> Iterator[EntryPoint]:
    """Every entry point of ``group``, whatever copy of its distribution it is in.

    A build leaves ``NAME.egg-info`` in the folder of the source. Python started there finds that copy before the
    installed one, and `importlib.metadata.entry_points` would take it alone, however old it is. Here all copies count;
    what only some of them offer must also be there to be imported, for one of them is out of date.
    """
    yield from _offers(group, _stamp())


def _stamp() -> tuple[tuple[str, int], ...]:
    """What `sys.path` holds, as far as its folders say: another one once a package was put there or taken away."""
    found = []
    for folder in sys.path:
        try:
            found.append((folder, os.stat(folder or ".").st_mtime_ns))
        except OSError:
            found.append((folder, 0))
    return tuple(found)


@lru_cache(maxsize=16)
def _offers(group: str, stamp: tuple[tuple[str, int], ...]) -> list[EntryPoint]:
    """Reading the metadata of every installed package takes ten milliseconds, and every look-up of a name asks."""
    offered = []
    copies: dict[str, list[dict[str, EntryPoint]]] = {}
    for dist in distributions():
        if f"[{group}]" in (dist.read_text("entry_points.txt") or ""):
            found = {f"{entry.name}={entry.value}": entry for entry in dist.entry_points.select(group=group)}
            copies.setdefault(dist.name, []).append(found)
    for several in copies.values():
        for key, entry in {key: entry for copy in reversed(several) for key, entry in copy.items()}.items():
            if all(key in copy for copy in several) or _exists(entry.module):
                offered.append(entry)
    return offered


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a package above it is not there, or cannot be imported
        return False


def _family(name: str) -> str:
    return name.partition(".")[0]
