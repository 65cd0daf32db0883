"""The network of a NATS-Bench architecture, by the name of its space."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.nets.skeleton import Network
from nasharness.nets.sss import SssNet
from nasharness.nets.tss import TssNet

#: the largest network that is made: a hundred times the published depth and width, which no machine trains by accident
MOST = {"cells": 1_000, "channels": 4_096}
#: cells in each of three stages, as published; the spaces whose networks are built here
CELLS = {"tss": 5, "sss": 1}
#: channels of the first stage, as published; the spaces whose architectures leave them open
CHANNELS = 16
_WIDTHS_OPEN = ("tss",)
_NETS: Mapping[str, Callable[..., Network]] = {"tss": TssNet, "sss": SssNet}


def network(
    space: str,
    arch: int | str,
    classes: int,
    *,
    channels: int = CHANNELS,
    cells: int | None = None,
    generator: torch.Generator,
) -> Network:
    """Build the network of ``arch`` for so many classes, weights drawn from ``generator``; on the CPU, in training.

    ``channels``: of the first stage of tss. ``cells``: in each stage, None for the published number. Raises UsageError
    for a space without such networks, an architecture that does not exist, and widths that sss has of its own.
    """
    check_space(space)
    deep = CELLS[space] if cells is None else cells
    if channels < 1 or deep < 1:
        raise UsageError(f"channels {channels}, cells {deep}: expected 1 or more")
    if channels != CHANNELS:
        check_widths(space, channels)
    given = {"channels": channels} if space in _WIDTHS_OPEN else {}
    return _NETS[space](spaces.get(space).parse(arch), classes, cells=deep, generator=generator, **given)


def check_space(space: str) -> None:
    """Raise UsageError for a space whose networks are not built here."""
    if space not in CELLS:
        raise UsageError(f"space {space!r} has no network here; spaces that have: {', '.join(CELLS)}")


def check_widths(space: str, channels: int) -> None:
    """Raise UsageError where the architectures of ``space`` say how wide their networks are."""
    if space not in _WIDTHS_OPEN:
        raise UsageError(f"--channels {channels}: the widths of an architecture of {space} are its own")
