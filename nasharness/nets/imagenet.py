"""Networks for full training on images, by name or from the record of a search's winner.

``build("shrinkcnn-a", 1000)``; ``build(json.load(open("winner.json")), 1000)``. What becomes of a winner:

- ``shrink-cnn``: its graph in the macro skeleton of ShrinkCNN-A and -B
  (docs/reproduction/autoshrink.md#published-networks).
- ``tss``: three convolutions 3x3 of stride 2 (3 -> 32 -> 64 -> 64, each with batch norm, ReLU between), so that a side
  of 224 arrives as 28; then the skeleton of NATS-Bench four times as wide: 5 cells of 64 channels, a residual block of
  stride 2, 5 cells of 128, a residual block, 5 cells of 256, batch norm, ReLU, average, linear classifier.
- ``sss``: the same stem, ending with 4 * c0 channels, and the table's own network with every width times 4.
- ``darts-cnn``: a genotype in the ImageNet network of the DARTS paper, 48 channels and 14 cells.
- ``mobile``, ``fbnet``: the published network, as it is for ImageNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nasharness import spaces
from nasharness.errors import UsageError, unknown
from nasharness.nets import mbconv
from nasharness.nets.blocks import Norm, convolution
from nasharness.nets.genotypes import PUBLISHED, DartsNet, Genotype
from nasharness.nets.initialise import seeded
from nasharness.nets.shrinkcnn import ShrinkCNN
from nasharness.nets.skeleton import Network
from nasharness.nets.sss import OFFERED
from nasharness.nets.tss import one_hot
from nasharness.spaces import named, shrink
from nasharness.spaces.shrink_macro import imagenet_macro
from nasharness.spaces.sss import WIDTHS

#: Widths of tss and sss networks are those of the table times this.
WIDER = 4
#: Cells in each stage of a tss network, and its narrowest width, on ImageNet.
TSS_CELLS, TSS_CHANNELS = 5, 16 * WIDER
DARTS_CELLS, DARTS_CHANNELS = 14, 48

Builder = Callable[[Mapping[str, Any], int, int, torch.Generator], nn.Module]


def names() -> list[str]:
    """Networks that ``build`` knows by name."""
    return [*_ACTIVATIONS, *PUBLISHED, *_named()]


def build(
    winner: Mapping[str, Any] | str, classes: int, *, size: int = 224, generator: torch.Generator | None = None
) -> nn.Module:
    """Return the network for images of ``size`` pixels: float ``[batch, 3, size, size]`` to ``[batch, classes]``.

    ``winner``: one of ``names()``, or the content of a ``winner.json``: ``{"space": ..., "winner": {...}}``, where the
    inner record has ``arch`` (the architecture's string), ``index`` (tss, sss), ``mask`` and ``operations``
    (shrink-cnn) or ``normal``, ``reduce``, ... (darts-cnn). ``generator``: of the weights, on the CPU; none is seed 0.
    Raises UsageError for an unknown name or space, an incomplete record, a side that the network cannot halve.
    """
    if classes < 1:
        raise UsageError(f"classes = {classes}: expected at least 1")
    if size < 1:
        raise UsageError(f"size = {size}: expected the side of an image in pixels")
    draw = seeded(generator)
    if isinstance(winner, str):
        if winner in _ACTIVATIONS:
            macro = imagenet_macro(activation=_ACTIVATIONS[winner], side=size)
            return ShrinkCNN(shrink.SHRINKCNN, macro, classes, generator=draw)
        if winner in PUBLISHED:
            return _darts(PUBLISHED[winner].record(), classes, size, draw)
        if winner in _named():
            return _BUILDERS[_named()[winner]]({"arch": winner}, classes, size, draw)
        raise unknown("network", winner, names())
    space, chosen = winner.get("space"), winner.get("winner")
    if space not in _BUILDERS:
        raise unknown("space of a winner", space, _BUILDERS)
    if not isinstance(chosen, Mapping):
        raise UsageError(f"winner of space {space}: expected an object under the key 'winner', got {chosen!r:.80}")
    return _BUILDERS[space](chosen, classes, size, draw)


class StridedStem(nn.Module):
    """Three 3x3 convolutions of stride 2 with batch norm, ReLU between: an eighth of the side."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        half = max(1, channels // 2)
        layers: list[nn.Module] = []
        for c_in, c_out in ((3, half), (half, channels), (channels, channels)):
            layers += [convolution(c_in, c_out, 3, generator, stride=2), nn.BatchNorm2d(c_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, images: Tensor) -> Tensor:
        """``[batch, 3, side, side]`` to ``[batch, channels, side / 8, side / 8]``."""
        features: Tensor = self.layers(images)
        return features


def _strided(network: Network, channels: int, generator: torch.Generator) -> nn.Module:
    network.stem = StridedStem(channels, generator)  # type: ignore[assignment]
    return network


def _index(space: str, chosen: Mapping[str, Any]) -> int:
    for key in ("arch", "index"):
        if isinstance(chosen.get(key), str | int):
            return int(spaces.get(space).parse(chosen[key]))
    raise UsageError(f"winner of space {space} {dict(chosen)!r:.120}: expected the key arch or index")


def _tss(chosen: Mapping[str, Any], classes: int, size: int, generator: torch.Generator) -> nn.Module:
    _check_side(size, "tss")
    offered = one_hot(spaces.get("tss").choices(_index("tss", chosen)))
    c = TSS_CHANNELS
    network = Network(
        (c, 2 * c, 2 * c, 4 * c, 4 * c),
        classes, TSS_CELLS, offered, norm=Norm(), cell_norm=Norm(), generator=generator,
    )  # fmt: skip
    return _strided(network, c, generator)


def _sss(chosen: Mapping[str, Any], classes: int, size: int, generator: torch.Generator) -> nn.Module:
    _check_side(size, "sss")
    choices = spaces.get("sss").choices(_index("sss", chosen))
    c0, c1, c2, c3, c4 = (WIDER * WIDTHS[int(choice)] for choice in choices)
    network = Network((c0, c1, c2, c3, c4), classes, 1, OFFERED, norm=Norm(), cell_norm=Norm(), generator=generator)
    return _strided(network, c0, generator)


def _shrink_cnn(chosen: Mapping[str, Any], classes: int, size: int, generator: torch.Generator) -> nn.Module:
    return ShrinkCNN(shrink.CNN.read(chosen), imagenet_macro(side=size), classes, generator=generator)


def _darts(chosen: Mapping[str, Any], classes: int, size: int, generator: torch.Generator) -> nn.Module:
    _check_side(size, "darts-cnn")
    genotype = Genotype.read(chosen["arch"] if isinstance(chosen.get("arch"), str) else chosen)
    return DartsNet(genotype, classes, stem="imagenet", channels=DARTS_CHANNELS, cells=DARTS_CELLS, generator=generator)


def _chain(space: str) -> Builder:
    def build(chosen: Mapping[str, Any], classes: int, size: int, generator: torch.Generator) -> nn.Module:
        if not isinstance(chosen.get("arch"), str):
            raise UsageError(f"winner of space {space} {dict(chosen)!r:.120}: expected the key arch")
        return mbconv.network(space, chosen["arch"], classes, generator=generator)

    return build


def _named() -> dict[str, str]:
    """Published networks of the spaces above, and the space of each."""
    return {name: space.name for name, space in named.every().items() if space.name in _BUILDERS}


def _check_side(size: int, space: str) -> None:
    if size % 32:
        near = max(32, 32 * round(size / 32))
        raise UsageError(
            f"size = {size}: networks of {space} halve the side five times; use a multiple of 32, as {near}"
        )


_ACTIVATIONS = {"shrinkcnn-a": "relu", "shrinkcnn-b": "swish"}
_BUILDERS: dict[Any, Builder] = {
    "tss": _tss,
    "sss": _sss,
    "shrink-cnn": _shrink_cnn,
    "darts-cnn": _darts,
    "mobile": _chain("mobile"),
    "fbnet": _chain("fbnet"),
}
