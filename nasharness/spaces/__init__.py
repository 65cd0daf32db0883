"""Search spaces: the sets of architectures that searches run on.

>>> from nasharness import spaces
>>> tss = spaces.get("tss")
>>> tss.string(1462)
'|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|'
"""

from __future__ import annotations

from functools import cache

from nasharness.errors import unknown
from nasharness.spaces.base import Choices, Indices, Space
from nasharness.spaces.sss import SizeSpace
from nasharness.spaces.tss import TopologySpace

__all__ = ["Choices", "Indices", "Space", "get", "names"]

_SPACES: dict[str, type[Space]] = {"tss": TopologySpace, "sss": SizeSpace}


def names() -> list[str]:
    """Return the names of all spaces."""
    return list(_SPACES)


def get(name: str) -> Space:
    """Return the space called ``name``, always the same object; raises `UsageError` for an unknown name."""
    if not isinstance(name, str) or name not in _SPACES:
        raise unknown("space", name, _SPACES, "nasharness list spaces")
    return _build(name)


@cache
def _build(name: str) -> Space:
    return _SPACES[name]()
