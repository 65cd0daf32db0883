"""What supernets of chains of inverted residual blocks share: their macro at the size of the images, and one path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nasharness.spaces.mbconv import Block, Macro, MBConvSpace
from nasharness.supernets.base import Gates, Supernet, evaluating
from nasharness.supernets.sharing import distinct

#: sides that an image may have been halved to in front of the head
LEAST_SIDE = 2


@dataclass(frozen=True)
class Chosen(Gates):
    """One architecture, and nothing else is computed: its choices ``[layers]``."""

    choices: tuple[int, ...]


def fitted(macro: Macro, side: int) -> Macro:
    """The same for small images: the first strides are left out until LEAST_SIDE pixels are left for the head."""
    if macro.shapes(side)[1] < LEAST_SIDE and macro.stem_stride > 1:
        macro = replace(macro, stem_stride=1)
    for number, (channels, stride) in enumerate(macro.layers):
        if stride > 1 and macro.shapes(side)[1] < LEAST_SIDE:
            changed = (*macro.layers[:number], (channels, 1), *macro.layers[number + 1 :])
            macro = replace(macro, layers=changed)
    return macro


class ChainSupernet(Supernet):
    """Shared weights of a chain. ``classes``; ``channels``: of the stem, all others in proportion, as `Macro.scaled`.

    ``side``: of the images that it is made for (`fitted`).
    """

    def __init__(self, classes: int, *, channels: int, side: int) -> None:
        super().__init__()
        self.chain = cast(MBConvSpace, self.space)
        published = self.chain.setting("ImageNet").macro
        self.macro = fitted(published.scaled(channels / published.stem), side)
        self.classes, self.layers = classes, len(self.macro.layers)

    def _blocks(self, arch: ArrayLike) -> list[Block | None]:
        return self.chain.chosen(arch)

    def gates_of(self, arch: Any) -> Chosen:
        """See `Supernet.gates_of`; an architecture is its choices ``[layers]``."""
        return Chosen(tuple(self.space.choices(arch).tolist()))

    def uniform_gates(self, rng: np.random.Generator) -> Chosen:
        """See `Supernet.uniform_gates`."""
        return self.gates_of(self.space.sample(rng.random(self.layers)))

    @torch.inference_mode()
    def each(self, images: Tensor, archs: ArrayLike) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
        """See `Supernet.each`; equal architectures are computed once."""
        with evaluating(self):
            for places, row in distinct(self.space.choices(np.reshape(archs, (-1, self.layers)))):
                yield places, self(images, self.gates_of(row))
