"""The size space of NATS-Bench: 8^5 = 32,768 networks that differ in the widths of five layers (arXiv 2009.00437).

The cell is fixed (tss index 9930). c0: stem and first cell; c1: first residual block; c2: second cell; c3: second
residual block; c4: third cell.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from nasharness.spaces.base import Floats, Indices, frozen
from nasharness.spaces.nats import NatsSpace, protocol
from nasharness.spaces.registry import register

WIDTHS = (8, 16, 24, 32, 40, 48, 56, 64)
_NAMES = tuple(map(str, WIDTHS))


@register
class SizeSpace(NatsSpace):
    """``sss``: one of eight widths for each of five layers. Index = base-8 number, c0 most significant."""

    name = "sss"
    summary = "NATS-Bench size space: 8 widths for each of 5 layers"
    options = (_NAMES,) * 5
    positions = ("c0", "c1", "c2", "c3", "c4")
    ordinal = True
    string_form = f"c0:c1:c2:c3:c4 with each width one of {', '.join(_NAMES)}"

    offers = NatsSpace.offers | {"ladder", "nested"}
    protocol = protocol(90, nats={"cifar10": 20_000.0, "cifar100": 40_000.0, "ImageNet16-120": 60_000.0})

    def strings(self) -> list[str]:
        """See `Space.strings`."""
        return self._strings

    @cached_property
    def _strings(self) -> list[str]:
        return [":".join(widths) for widths in product(_NAMES, repeat=5)]

    def from_string(self, text: str) -> int:
        """See `Space.from_string`."""
        slots = text.strip().split(":")
        if len(slots) != 5:
            raise self._malformed(text, f"it has {len(slots)} width(s) where 5 are expected")
        index = 0
        for position, slot in enumerate(slots):
            width = slot.strip()
            if width not in _NAMES:
                raise self._malformed(text, f"width {width!r} of c{position} does not exist")
            index = index * 8 + _NAMES.index(width)
        return index

    @cached_property
    def _mutation_bits(self) -> tuple[Indices, Indices]:
        """For each of the 40 (position, width) pairs: the bits of an index to keep and the bits to set, int32 [40]."""
        shifts = 3 * (4 - np.arange(40, dtype=np.int32) // 8)
        keep = 0o77777 & ~(7 << shifts)
        put = (np.arange(40, dtype=np.int32) % 8) << shifts
        return frozen(keep.astype(np.int32)), frozen(put.astype(np.int32))

    def mutate(self, ids: ArrayLike, u: ArrayLike) -> Indices:
        """Draw one of the five positions and one of the eight widths uniformly: 1 in 8 mutants equals its parent.

        ``ids [...]``, ``u [..., 1]``: one uniform picks among the 40 equally likely outcomes.
        """
        parents = self._checked(ids)
        outcome = self._outcomes(self._last_axis(u, 1, "mutation")[..., 0], 40)
        keep, put = self._mutation_bits
        return (parents & keep.take(outcome)) | put.take(outcome)

    def _widths(self, ids: ArrayLike) -> tuple[Floats, ...]:
        widths = 8.0 * (self.choices(ids).astype(np.float64) + 1.0)
        return tuple(widths[..., position] for position in range(5))

    def params(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """See `Space.params`."""
        classes, _ = self._classes_and_side(dataset)
        a, b, c, d, e = self._widths(ids)
        first = 45 * a**2 + 39 * a  # stem and cell
        second = 18 * b * c + 27 * c**2 + 10 * c + (b != c) * (b * c + 2 * c)
        third = 18 * d * e + 27 * e**2 + 12 * e + (d != e) * (d * e + 2 * e)
        blocks = 10 * a * b + 9 * b**2 + 4 * b + 10 * c * d + 9 * d**2 + 4 * d
        return np.asarray((first + second + third + blocks + (e + 1) * classes) / 1e6)

    def flops(self, ids: ArrayLike, dataset: str = "cifar10") -> Floats:
        """See `Space.flops`."""
        classes, side = self._classes_and_side(dataset)
        a, b, c, d, e = self._widths(ids)
        full = 27 * a + 45 * a**2
        half = 10 * a * b + 9 * b**2 + 18 * b * c + 27 * c**2 + (b != c) * b * c
        quarter = 10 * c * d + 9 * d**2 + 18 * d * e + 27 * e**2 + (d != e) * d * e
        return np.asarray((side**2 * (full + half / 4 + quarter / 16) + (e + 1) * classes) / 1e6)

    def draw(self, arch: int, ascii: bool = False) -> str:  # noqa: A002
        """See `Space.draw`: a bar for each layer, as long as the layer is wide."""
        from nasharness.spaces.drawing import draw_widths

        return draw_widths([WIDTHS[choice] for choice in self._choices[self.parse(arch)].tolist()], ascii=ascii)
