"""AutoShrink's convolutional networks: a cell given as a graph, in the search's or the ImageNet macro skeleton.

A node concatenates what it reads, in the order of node numbers, and applies its operation; all leaves, concatenated,
are the output, to which the cell's input is added through a projection where channels or resolution differ. Leaves
have no activation after their last batch norm (docs/reproduction/autoshrink.md#from-graph-to-network).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nasharness.nets.initialise import conv, glorot_normal, he_normal_fan_out, linear, seeded
from nasharness.spaces.shrink import SEPARABLE, Graph
from nasharness.spaces.shrink_macro import Macro, cell_channels


def activation(name: str) -> nn.Module:
    """``relu``, ``swish`` or ``linear``."""
    if name == "linear":
        return nn.Identity()
    return nn.ReLU(inplace=True) if name == "relu" else nn.SiLU(inplace=True)


def normalised(channels: int, macro: Macro, act: str) -> list[nn.Module]:
    """Batch norm and an activation."""
    return [nn.BatchNorm2d(channels, eps=macro.eps, momentum=macro.momentum), activation(act)]


class SameConv(nn.Module):
    """A 3x3 convolution whose padding is TensorFlow's SAME: at stride 2 an even side is padded right and below only."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = conv(inputs, outputs, 3, stride, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        sides = []
        for side in (x.shape[-1], x.shape[-2]):
            total = max((-(-side // self.stride) - 1) * self.stride + 3 - side, 0)
            sides += [total // 2, total - total // 2]
        return self.conv(functional.pad(x, sides))  # type: ignore[no-any-return]


class Node(nn.Sequential):
    """One operation. ``linear``: whether it is a leaf, without activation behind its last batch norm."""

    def __init__(self, operation: str, inputs: int, channels: int, macro: Macro, *, linear: bool) -> None:
        act = "linear" if linear else macro.activation
        layers: list[nn.Module] = []
        if operation == SEPARABLE:
            between = macro.activation
            if linear and macro.leaf_depthwise != "same":
                between = macro.leaf_depthwise
            layers += [conv(inputs, inputs, 3, groups=inputs), *normalised(inputs, macro, between)]
        layers += [conv(inputs, channels), *normalised(channels, macro, act)]
        super().__init__(*layers)


class Cell(nn.Module):
    """``[batch, inputs, side, side]`` -> ``[batch, outputs, side / pool, side / pool]``.

    ``channels``: of a node. ``outputs``: of the cell. ``pool``: kernel and stride of node 0's max pooling, 1 for none.
    """

    def __init__(self, graph: Graph, inputs: int, channels: int, pool: int, macro: Macro) -> None:
        super().__init__()
        self.outputs = cell_channels(graph, inputs, channels)
        self.leaves = graph.leaves
        self.reads = {node: graph.inputs(node) for node in range(1, graph.nodes) if graph.reached[node]}
        self.pool = nn.MaxPool2d(pool, pool, ceil_mode=True) if pool > 1 else nn.Identity()
        self.nodes = nn.ModuleDict()
        for node, sources in self.reads.items():
            width = sum(channels if source else inputs for source in sources)
            operation = graph.operations[node - 1]
            self.nodes[str(node)] = Node(operation, width, channels, macro, linear=node in self.leaves)
        self.projection: nn.Module = nn.Identity()
        if pool > 1 or self.outputs != inputs:
            self.projection = nn.Sequential(
                conv(inputs, self.outputs, 1, pool), *normalised(self.outputs, macro, "linear")
            )

    def forward(self, x: Tensor) -> Tensor:
        states = {0: self.pool(x)}
        for node, sources in self.reads.items():
            states[node] = self.nodes[str(node)](_joined([states[source] for source in sources]))
        return self.projection(x) + _joined([states[leaf] for leaf in self.leaves])  # type: ignore[no-any-return]


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class ShrinkCNN(nn.Module):
    """The network of one graph: ``[batch, 3, side, side]`` -> logits ``[batch, classes]``.

    Weights: with a head (ImageNet) variance scaling by fan-out and a classifier of deviation 0.01, projections Glorot
    (docs/reproduction/training.md#imagenet); without (search) Glorot normal throughout
    (docs/reproduction/autoshrink.md#proxy-training). ``generator``: on the CPU; none means seed 0.
    """

    def __init__(self, graph: Graph, macro: Macro, classes: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            SameConv(3, macro.stem, macro.stem_stride), *normalised(macro.stem, macro, macro.activation)
        )
        cells: list[nn.Module] = []
        channels = macro.stem
        for stage in macro.stages:
            for number in range(stage.cells):
                cell = Cell(graph, channels, stage.width, stage.pool if number == 0 else 1, macro)
                cells.append(cell)
                channels = cell.outputs
        self.cells = nn.Sequential(*cells)
        self.head = nn.Sequential()
        if macro.head:
            self.head = nn.Sequential(conv(channels, macro.head), *normalised(macro.head, macro, macro.activation))
            channels = macro.head
        self.classifier = linear(channels, classes)
        self._initialise(seeded(generator), imagenet=macro.head > 0)

    def _initialise(self, generator: torch.Generator, *, imagenet: bool) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                glorot = not imagenet or ".projection." in name
                (glorot_normal if glorot else he_normal_fan_out)(module.weight, generator)
        with torch.no_grad():
            if imagenet:
                self.classifier.weight.normal_(0.0, 0.01, generator=generator)
            else:
                glorot_normal(self.classifier.weight, generator)
            self.classifier.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(self.cells(self.stem(x)))
        return self.classifier(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]
