"""Search spaces: the sets of architectures that searches run on.

>>> from nasharness import spaces
>>> tss = spaces.get("tss")
>>> tss.string(1462)
'|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|'
"""

from __future__ import annotations

from functools import cache

from nasharness.errors import UsageError, unknown
from nasharness.spaces.base import Choices, Indices, Space
from nasharness.spaces.shrink import CNN, RNN, GraphSpace
from nasharness.spaces.sss import SizeSpace
from nasharness.spaces.tss import TopologySpace

__all__ = ["Choices", "GraphSpace", "Indices", "Space", "get", "graph_names", "graphs", "names"]

_SPACES: dict[str, type[Space]] = {"tss": TopologySpace, "sss": SizeSpace}
_GRAPHS: dict[str, GraphSpace] = {space.name: space for space in (CNN, RNN)}


def names() -> list[str]:
    """Return the names of all spaces whose architectures are numbered, so that tables can measure them."""
    return list(_SPACES)


def graph_names() -> list[str]:
    """Return the names of the spaces of graphs, too large to be numbered: see ``graphs``."""
    return list(_GRAPHS)


def get(name: str) -> Space:
    """Return the space called ``name``, always the same object; raises `UsageError` for an unknown name.

    A space of graphs is refused, with what it needs: it has no indices and no table.
    """
    if isinstance(name, str) and name in _GRAPHS:
        space = _GRAPHS[name]
        raise UsageError(
            f"space {name!r} is too large for a table, its networks are trained as the search goes: "
            f"nasharness run --algo {'|'.join(space.algorithms)} --space {name} {space.needs} --out DIR"
        )
    if not isinstance(name, str) or name not in _SPACES:
        raise unknown("space", name, [*_SPACES, *_GRAPHS], "nasharness list spaces")
    return _build(name)


def graphs(name: str) -> GraphSpace:
    """Return the space of graphs called ``name``; raises `UsageError` for an unknown name."""
    if not isinstance(name, str) or name not in _GRAPHS:
        raise unknown("space of graphs", name, _GRAPHS, "nasharness list spaces")
    return _GRAPHS[name]


@cache
def _build(name: str) -> Space:
    return _SPACES[name]()
