"""Cells of DARTS (ICLR 2019, arXiv 1806.09055) as networks: its convolutional cells for CIFAR and ImageNet.

A genotype names, for every inner node of a cell, two operations and the nodes that they read: 0 and 1 are the outputs
of the two cells before, inner nodes count from 2. A node is the sum of its two operations; the cell's output is the
concatenation of the nodes ``concat``. Written as text, ``op@input,op@input`` for each node, nodes joined by ``/``, then
``=`` and the concatenated nodes; the normal cell, ``:``, the reduction cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nasharness.errors import UsageError, unknown
from nasharness.nets.initialise import conv, he_normal_fan_out, linear, seeded

#: (operation, node that it reads)
Choice = tuple[str, int]
OPERATIONS = (
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "skip_connect",
    "max_pool_3x3",
    "avg_pool_3x3",
)


@dataclass(frozen=True)
class Genotype:
    """A normal and a reduction cell. Raises UsageError for an unknown operation or a node that cannot be read."""

    normal: tuple[Choice, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Choice, ...]
    reduce_concat: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, cell, concat in (
            ("normal", self.normal, self.normal_concat),
            ("reduce", self.reduce, self.reduce_concat),
        ):
            if not cell or len(cell) % 2:
                raise UsageError(f"genotype: the {name} cell has {len(cell)} operations, expected two for each node")
            for place, (operation, source) in enumerate(cell):
                if operation not in OPERATIONS:
                    raise unknown("operation of a genotype", operation, OPERATIONS)
                if not 0 <= source < place // 2 + 2:
                    raise UsageError(
                        f"genotype: node {place // 2 + 2} of the {name} cell cannot read node {source}, only 0 to "
                        f"{place // 2 + 1}"
                    )
            if not concat or any(not 2 <= node < len(cell) // 2 + 2 for node in concat):
                raise UsageError(
                    f"genotype: {name}_concat {list(concat)}: expected inner nodes 2 to {len(cell) // 2 + 1}"
                )

    @classmethod
    def read(cls, record: Mapping[str, Any] | str) -> Genotype:
        """Return the genotype of a name (``darts-v2``), of its text, or of a JSON object as ``record()`` makes it."""
        if isinstance(record, str):
            return PUBLISHED[record] if record in PUBLISHED else _parse(record)
        try:
            cells = [tuple((str(name), int(source)) for name, source in record[key]) for key in ("normal", "reduce")]
            joins = [tuple(int(node) for node in record[f"{key}_concat"]) for key in ("normal", "reduce")]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"genotype {dict(record)!r:.120}: expected normal and reduce, lists of [operation, input], and "
                f"normal_concat and reduce_concat, lists of nodes ({type(error).__name__}: {error})"
            ) from error
        return cls(cells[0], joins[0], cells[1], joins[1])

    def record(self) -> dict[str, Any]:
        """The genotype as JSON would have it."""
        return {
            "normal": [list(choice) for choice in self.normal],
            "normal_concat": list(self.normal_concat),
            "reduce": [list(choice) for choice in self.reduce],
            "reduce_concat": list(self.reduce_concat),
        }

    def __str__(self) -> str:
        return f"{_text(self.normal, self.normal_concat)}:{_text(self.reduce, self.reduce_concat)}"


def _text(cell: Sequence[Choice], concat: Sequence[int]) -> str:
    parts = [f"{operation}@{source}" for operation, source in cell]
    return "/".join(map(",".join, zip(parts[::2], parts[1::2], strict=True))) + "=" + ",".join(map(str, concat))


def _parse(text: str) -> Genotype:
    def wrong(part: str) -> UsageError:
        return UsageError(
            f"{part!r:.120} is not (part of) a genotype: expected op@input,op@input for each node, joined by '/', then "
            f"'=' and the nodes joined; two such cells with ':' between; or one of {', '.join(PUBLISHED)}"
        )

    halves = text.strip().split(":")
    if len(halves) != 2:
        raise wrong(text)
    found: list[Any] = []
    for half in halves:
        nodes, _, concat = half.partition("=")
        try:
            cell = []
            for part in nodes.replace("/", ",").split(","):
                operation, source = part.split("@")
                cell.append((operation.strip(), int(source)))
            found += [tuple(cell), tuple(int(node) for node in concat.split(","))]
        except ValueError:
            raise wrong(half) from None
    return Genotype(*found)


#: The two genotypes that the paper published for CIFAR-10: of its first- and its second-order search.
PUBLISHED = {
    "darts-v1": Genotype(
        normal=(
            ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("skip_connect", 0), ("sep_conv_3x3", 1),
            ("skip_connect", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("skip_connect", 2),
        ),
        normal_concat=(2, 3, 4, 5),
        reduce=(
            ("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 0),
            ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("avg_pool_3x3", 0),
        ),
        reduce_concat=(2, 3, 4, 5),
    ),
    "darts-v2": Genotype(
        normal=(
            ("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
            ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2),
        ),
        normal_concat=(2, 3, 4, 5),
        reduce=(
            ("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1),
            ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1),
        ),
        reduce_concat=(2, 3, 4, 5),
    ),
}  # fmt: skip


def _relu_conv_norm(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.ReLU(), conv(inputs, outputs), nn.BatchNorm2d(outputs)]


class Halving(nn.Module):
    """Half the side without a pooling: two 1x1 convolutions of stride 2, one shifted by a pixel; even sides only."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.even = conv(inputs, outputs // 2, 1, 2)
        self.odd = conv(inputs, outputs - outputs // 2, 1, 2)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], dim=1))  # type: ignore[no-any-return]


def _separable(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    return [
        nn.ReLU(),
        conv(channels, channels, kernel, stride, groups=channels, dilation=dilation),
        conv(channels, channels),
        nn.BatchNorm2d(channels),
    ]


def _sep(kernel: int) -> Callable[[int, int], nn.Module]:
    return lambda c, stride: nn.Sequential(*_separable(c, kernel, stride), *_separable(c, kernel, 1))


def _dil(kernel: int) -> Callable[[int, int], nn.Module]:
    return lambda c, stride: nn.Sequential(*_separable(c, kernel, stride, dilation=2))


#: operation -> what makes its module from channels and stride
_MODULES: dict[str, Callable[[int, int], nn.Module]] = {
    "sep_conv_3x3": _sep(3),
    "sep_conv_5x5": _sep(5),
    "dil_conv_3x3": _dil(3),
    "dil_conv_5x5": _dil(5),
    "skip_connect": lambda c, stride: nn.Identity() if stride == 1 else Halving(c, c),
    "max_pool_3x3": lambda c, stride: nn.MaxPool2d(3, stride, 1),
    "avg_pool_3x3": lambda c, stride: nn.AvgPool2d(3, stride, 1, count_include_pad=False),
}


class Cell(nn.Module):
    """``forward(before_last, last)``: outputs of the two cells before -> ``[batch, outputs, side, side]``."""

    def __init__(
        self, genotype: Genotype, before_last: int, last: int, channels: int, *, reduction: bool, after_reduction: bool
    ) -> None:
        super().__init__()
        self.first = (
            Halving(before_last, channels)
            if after_reduction
            else nn.Sequential(*_relu_conv_norm(before_last, channels))
        )
        self.second = nn.Sequential(*_relu_conv_norm(last, channels))
        choices = genotype.reduce if reduction else genotype.normal
        self.concat = genotype.reduce_concat if reduction else genotype.normal_concat
        self.sources = [source for _, source in choices]
        self.operations = nn.ModuleList(
            _MODULES[operation](channels, 2 if reduction and source < 2 else 1) for operation, source in choices
        )
        self.outputs = channels * len(self.concat)

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        states = [self.first(before_last), self.second(last)]
        for first in range(0, len(self.sources), 2):
            left, right = (self.operations[slot](states[self.sources[slot]]) for slot in (first, first + 1))
            states.append(left + right)
        return torch.cat([states[node] for node in self.concat], dim=1)


class DartsNet(nn.Module):
    """``cells`` cells, reduction at one and two thirds: ``[batch, 3, side, side]`` to ``[batch, classes]``.

    ``stem``: ``cifar``, a 3x3 convolution to 3 * ``channels``, or ``imagenet``, three of stride 2 to ``channels``; the
    side must be a multiple of 4 or of 32. The paper's networks without auxiliary classifier and drop path: CIFAR-10
    36 channels and 20 cells (darts-v2: 3,349,342 parameters), ImageNet 48 and 14 (4,718,752). Convolutions He normal by
    fan-out, the classifier of deviation 0.01.
    """

    def __init__(
        self,
        genotype: Genotype,
        classes: int,
        *,
        stem: str = "cifar",
        channels: int = 36,
        cells: int = 20,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if stem not in ("cifar", "imagenet"):
            raise unknown("stem", stem, ("cifar", "imagenet"))
        if cells < 1 or channels < 2:
            raise UsageError(f"a network of {cells} cells and {channels} channels: expected at least 1 and 2")
        self.second: nn.Module = nn.Identity()
        if stem == "cifar":
            wide = 3 * channels
            self.first = nn.Sequential(conv(3, wide, 3), nn.BatchNorm2d(wide))
        else:
            wide, half = channels, channels // 2
            self.first = nn.Sequential(
                conv(3, half, 3, 2), nn.BatchNorm2d(half), nn.ReLU(), conv(half, wide, 3, 2), nn.BatchNorm2d(wide)
            )
            self.second = nn.Sequential(nn.ReLU(), conv(wide, wide, 3, 2), nn.BatchNorm2d(wide))
        before_last, last, after = wide, wide, stem == "imagenet"
        made = []
        for number in range(cells):
            reduction = number in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduction else 1
            cell = Cell(genotype, before_last, last, channels, reduction=reduction, after_reduction=after)
            made.append(cell)
            before_last, last, after = last, cell.outputs, reduction
        self.cells = nn.ModuleList(made)
        self.classifier = linear(last, classes)
        draw = seeded(generator)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                he_normal_fan_out(module.weight, draw)
        with torch.no_grad():
            self.classifier.weight.normal_(0.0, 0.01, generator=draw)
            self.classifier.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        before_last = self.first(images)
        last = self.second(before_last)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
        return self.classifier(last.mean(dim=(2, 3)))  # type: ignore[no-any-return]
