"""Architectures with a name: networks of a space that somebody published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nasharness.spaces.base import Space


@dataclass(frozen=True)
class Named:
    """A published network. ``arch``: its string. ``published``: (quantity, value, source). ``note``: what to know."""

    arch: str
    published: tuple[tuple[str, str, str], ...] = ()
    note: str = ""


def every() -> dict[str, Space]:
    """The name of every named architecture, and the space that it is of."""
    from nasharness import spaces

    return {name: space for one in spaces.names() for space in [spaces.get(one)] for name in space.named}
