"""The registry of spaces, and those that imported tables define.

A package offers its own under the entry-point group ``nasharness.spaces``; a class is registered by ``@register``, an
object by ``register(space)``. A table whose architectures fit no registered space brings its own (see ``stored.py``).
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from nasharness.errors import UsageError, unknown
from nasharness.plugins import Registry
from nasharness.spaces import stored
from nasharness.spaces.base import Space

if TYPE_CHECKING:
    from nasharness.spaces.shrink import GraphSpace

GROUP = "nasharness.spaces"
COMMAND = "nasharness list spaces"
Registered = TypeVar("Registered", bound=Any)


def _origin(space: Any) -> tuple[str, str]:
    cls = space if isinstance(space, type) else type(space)
    try:
        return inspect.getfile(cls), f"{cls.__qualname__} {getattr(space, 'name', '')}"
    except (TypeError, OSError):  # typed in, not imported
        return cls.__module__, f"{cls.__qualname__} {getattr(space, 'name', '')}"


_registry: Registry[Any] = Registry("space", GROUP, COMMAND, _origin)


def register(space: Registered) -> Registered:
    """Register a `Space` (a class that needs no arguments, or an object) or a `GraphSpace` under its ``name``.

    Raises UsageError for a name that is taken, or for something that is no space.
    """
    from nasharness.spaces.shrink import GraphSpace

    wanted = (Space, GraphSpace)
    if not (isinstance(space, wanted) or (isinstance(space, type) and issubclass(space, wanted))):
        raise UsageError(f"{space!r} is no space: expected a subclass of nasharness.spaces.Space, or an object of one")
    named: Any = space
    _registry.add(named.name, space)
    _build.cache_clear()
    return space


def names() -> list[str]:
    """Names of all spaces that tables can measure: the registered ones, sorted, then those that tables here define."""
    registered = [name for name in _registry.names() if not _is_graphs(name)]
    return registered + [name for name in stored.names() if name not in _registry.records]


def registered(name: str) -> bool:
    """Whether a registered space is called ``name``, not one that a table defines."""
    return _registry.find(name) is not None


def graph_names() -> list[str]:
    """Names of the spaces of graphs whose networks are trained as the search goes: see ``graphs``."""
    return [name for name in _registry.names() if _is_graphs(name)]


def is_graphs(name: str) -> bool:
    """Whether ``name`` is a space of graphs; imports no other space."""
    return _registry.find(name) is not None and _is_graphs(name)


def broken() -> dict[str, str]:
    """Entry points that cannot be imported, with the reason."""
    return _registry.broken()


def get(name: str) -> Space:
    """Return the space called ``name``, always the same object; raises `UsageError` for an unknown name.

    A space of graphs is refused, with what it needs: it has no table.
    """
    found = _registry.find(name) if isinstance(name, str) else None
    if found is None:
        own = stored.find(name) if isinstance(name, str) else None
        if own is not None:
            return own
        if name in stored.PUBLISHED:
            raise UsageError(
                f"space {name!r} comes with its table, which is not here; get it with: {stored.PUBLISHED[name]}"
            )
        raise unknown("space", name, [*names(), *graph_names()], COMMAND)
    if _is_graphs(name):
        raise UsageError(
            f"space {name!r} is too large for a table, its networks are trained as the search goes: "
            f"nasharness run --algo {'|'.join(found.algorithms)} --space {name} {found.needs} --out DIR"
        )
    return _build(name)


def graphs(name: str) -> GraphSpace:
    """Return the space of graphs called ``name``; raises `UsageError` for an unknown name."""
    if not (isinstance(name, str) and is_graphs(name)):
        raise unknown("space of graphs", name, graph_names(), COMMAND)
    made: GraphSpace = _registry.records[name]
    return made


def _is_graphs(name: str) -> bool:
    space = _registry.records[name]
    return not (isinstance(space, Space) or (isinstance(space, type) and issubclass(space, Space)))


@cache
def _build(name: str) -> Space:
    space = _registry.records[name]
    built: Space = space() if isinstance(space, type) else space
    return built
