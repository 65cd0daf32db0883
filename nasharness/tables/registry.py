"""Tables that packages bring: a function that makes one, called when it is first asked for.

A package offers its own under the entry-point group ``nasharness.tables``::

    from nasharness import tables

    @tables.register(space="toy", name="measured")
    def measured():
        return tables.from_frame(frame, name="measured", space="toy", arch="code", metrics={"acc": "acc"})
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from nasharness.errors import UsageError
from nasharness.plugins import Registry
from nasharness.tables.table import Table

GROUP = "nasharness.tables"


@dataclass(frozen=True)
class Offered:
    """``make()`` writes the table ``name`` of ``space`` where such tables lie, and returns it."""

    space: str
    name: str
    make: Callable[[], Table]


def _origin(offered: Offered) -> tuple[str, str]:
    try:
        return inspect.getfile(offered.make), offered.make.__qualname__
    except (TypeError, OSError):  # typed in, not imported
        return offered.make.__module__, offered.make.__qualname__


_registry: Registry[Offered] = Registry("table", GROUP, "nasharness list tables", _origin)
Maker = TypeVar("Maker", bound=Callable[[], Table])


def register(*, space: str, name: str) -> Callable[[Maker], Maker]:
    """Register the decorated function as what makes the table ``name`` of ``space``. A taken name raises UsageError."""

    def decorate(make: Maker) -> Maker:
        _registry.add(f"{space}/{name}", Offered(space, name, make))
        return make

    return decorate


def offered(space: str) -> dict[str, Offered]:
    """Tables of ``space`` that packages offer, by name; a package that cannot be imported is left out."""
    return {one.name: one for one in map(_registry.get, _registry.names()) if one.space == space}


def make(space: str, name: str) -> Table:
    """Make an offered table. Raises UsageError where what its function returns is no table of that name and space."""
    one = offered(space)[name]
    table = one.make()
    if not isinstance(table, Table) or (table.space, table.name) != (space, name):
        file, function = _origin(one)
        raise UsageError(f"{function} ({file}) offers table {name!r} of space {space!r}, but returned {table!r}")
    return table
