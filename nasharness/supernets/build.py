"""The supernet of a space, by the space's name."""

from __future__ import annotations

import torch

from nasharness.errors import UsageError
from nasharness.supernets.base import Supernet


def check_space(space: str) -> None:
    """Raise UsageError for a space that has no supernet."""
    if space not in SPACES:
        raise UsageError(
            f"space {space!r} has no supernet, so no weight sharing; spaces that have: {', '.join(SPACES)}"
        )


def build(
    space: str, classes: int, *, channels: int, cells: int, generator: torch.Generator, side: int = 32
) -> Supernet:
    """Make the supernet of ``space`` for so many classes, its weights drawn from ``generator``; on the CPU.

    ``channels``, ``cells``: of the first stage, and of every stage. sss takes no ``channels``: widths are what it
    searches; mobile and fbnet take those of their stem, and no ``cells``. ``side``: of the images, which their strides
    are fitted to. Raises UsageError for a space that has none.
    """
    check_space(space)
    return _BUILDERS[space](classes, channels, cells, generator, side)


def stems_lr(space: str, batch: int) -> float:
    """Learning rate at first of the weights of such deep networks, of STEMS, for a batch of so many images."""
    rate, images = _RATES[space]
    return rate if images is None else rate / images * batch


def least_weights(space: str, *, channels: int, cells: int) -> int:
    """Fewer weights than the supernet of ``space`` has, known before it is made."""
    return cells * (500 * channels**2 if space in _BY_CHANNELS else 1)


def _topology(classes: int, channels: int, cells: int, generator: torch.Generator, side: int) -> Supernet:
    from nasharness.supernets.tss import TssSupernet

    return TssSupernet(classes, channels=channels, cells=cells, generator=generator)


def _sizes(classes: int, channels: int, cells: int, generator: torch.Generator, side: int) -> Supernet:
    from nasharness.supernets.sss import SssSupernet

    return SssSupernet(classes, cells=cells, generator=generator)


def _kernels(classes: int, channels: int, cells: int, generator: torch.Generator, side: int) -> Supernet:
    from nasharness.supernets.mobile import MobileSupernet

    return MobileSupernet(classes, channels=channels, side=side, generator=generator)


def _blocks(classes: int, channels: int, cells: int, generator: torch.Generator, side: int) -> Supernet:
    from nasharness.supernets.fbnet import FBNetSupernet

    return FBNetSupernet(classes, channels=channels, side=side, generator=generator)


_BUILDERS = {"tss": _topology, "sss": _sizes, "mobile": _kernels, "fbnet": _blocks}
#: channels of the stem of spaces whose layers are not cells: by default, and as published
STEMS = {"mobile": (8, 32), "fbnet": (8, 16)}
#: learning rate of their weights at first, and the images of a batch that it is for, None for any. Of fbnet each block
#: sees a ninth of the steps: less in proportion (Goyal et al., arXiv 1706.02677), or at small batches the loss rises
_RATES: dict[str, tuple[float, int | None]] = {"mobile": (0.05, None), "fbnet": (0.1, 256)}
#: spaces whose supernets take ``channels``
_BY_CHANNELS = ("tss",)
#: spaces that have a supernet
SPACES = tuple(_BUILDERS)
