"""The supernet of the topology space written the plain way: a module for every operation of every edge, one loop.

What ours is measured against (`bench_supernets.py`) and, in float64, tested against. It shares no code with it.
"""

from __future__ import annotations

import torch
from torch import nn

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


class Zero(nn.Module):
    def forward(self, x):
        return x.mul(0.0)


class ConvBlock(nn.Sequential):
    def __init__(self, c_in, c_out, kernel, stride=1, plain=True):
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=plain),
            nn.BatchNorm2d(c_out, affine=not plain, track_running_stats=not plain),
        )


def operations(channels):
    return nn.ModuleList(
        [
            Zero(),
            nn.Identity(),
            ConvBlock(channels, channels, 1),
            ConvBlock(channels, channels, 3),
            nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        ]
    )


class EagerCell(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.edges = nn.ModuleList(operations(channels) for _ in EDGES)

    def forward(self, x, combine):
        nodes = [x]
        for node in (1, 2, 3):
            incoming = [(e, s) for e, (s, t) in enumerate(EDGES) if t == node]
            nodes.append(sum(combine(e, self.edges[e], nodes[s]) for e, s in incoming))
        return nodes[3]


class EagerResidual(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.a = ConvBlock(c_in, c_out, 3, 2, plain=False)
        self.b = ConvBlock(c_out, c_out, 3, 1, plain=False)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(c_in, c_out, 1, bias=False))

    def forward(self, x):
        return self.b(self.a(x)) + self.shortcut(x)


class EagerSupernet(nn.Module):
    def __init__(self, classes, channels=16, cells=5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        layers = []
        for stage in range(3):
            width = channels << stage
            if stage:
                layers.append(EagerResidual(width // 2, width))
            layers += [EagerCell(width) for _ in range(cells)]
        self.layers = nn.ModuleList(layers)
        self.last = nn.Sequential(nn.BatchNorm2d(width, affine=False, track_running_stats=False), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def run(self, images, combine):
        x = self.stem(images)
        for layer in self.layers:
            x = layer(x, combine) if isinstance(layer, EagerCell) else layer(x)
        return self.classifier(self.last(x).mean((2, 3)))

    def mixture(self, images, weights):
        """Every operation of every edge, weighted with ``weights [6, 5]``."""
        return self.run(images, lambda e, ops, x: sum(w * op(x) for w, op in zip(weights[e], ops, strict=True)))

    def single(self, images, choices):
        """One operation an edge, ``choices [6]``."""
        return self.run(images, lambda e, ops, x: ops[choices[e]](x))

    def straight_through(self, images, choices, weights):
        """One operation an edge, times its weight (one-hot in value)."""
        return self.run(images, lambda e, ops, x: weights[e, choices[e]] * ops[choices[e]](x))

    @torch.no_grad()
    def copy_from(self, net):
        """Take the weights of a `TssSupernet`; the biases, which change nothing, stay random."""
        stacks = {node: [e for e, (source, _) in enumerate(EDGES) if source == node] for node in range(3)}
        self.stem[0].weight.copy_(net.stem.conv.weight)
        self.stem[1].load_state_dict(net.stem.norm.state_dict())
        self.classifier.load_state_dict(net.head.classifier.state_dict())
        theirs = [cell for stage in net.stages for cell in stage]
        for mine, cell in zip((layer for layer in self.layers if isinstance(layer, EagerCell)), theirs, strict=True):
            for node, edges in stacks.items():
                for op, stack in ((2, cell.small[str(node)]), (3, cell.large[str(node)])):
                    for e, weight in zip(edges, stack.weight.chunk(len(edges)), strict=True):
                        mine.edges[e][op][1].weight.copy_(weight)
        for mine, block in zip(
            (layer for layer in self.layers if isinstance(layer, EagerResidual)), net.residuals, strict=True
        ):
            mine.a[1].weight.copy_(block.first.weight)
            mine.a[2].load_state_dict(block.first_norm.state_dict())
            mine.b[1].weight.copy_(block.second.weight)
            mine.b[2].load_state_dict(block.second_norm.state_dict())
            mine.shortcut[1].weight.copy_(block.shortcut.weight)
        return self
