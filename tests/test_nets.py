"""Networks of the NATS-Bench spaces: what they cost, what they compute, how they are initialised."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.nets.counts import macs, params
from nasharness.nets.sss import SssNet
from nasharness.nets.tss import TssNet
from nasharness.spaces.nats import DATASETS
from nasharness.spaces.tss import EDGES

TSS, SSS = spaces.get("tss"), spaces.get("sss")
NETS = {"tss": TssNet, "sss": SssNet}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def classes_of_cells():
    """One cell for each pair of numbers of 3x3 and 1x1 convolutions: nothing else decides the cost."""
    choices = TSS.choices(np.arange(TSS.size))
    pairs = np.stack([(choices == 3).sum(axis=1), (choices == 2).sum(axis=1)], axis=1)
    return np.unique(pairs, axis=0, return_index=True)[1].tolist()


def check_costs(space, arch, dataset):
    classes, side = DATASETS[dataset]
    net = NETS[space.name](arch, classes, generator=seeded())
    assert params(net) == round(1e6 * float(space.params(arch, dataset)))
    assert macs(net, (1, 3, side, side)) == round(1e6 * float(space.flops(arch, dataset)))


def test_every_class_of_cells_costs_what_the_closed_form_says():
    archs = classes_of_cells()
    assert len(archs) == 28
    for number, arch in enumerate(archs):
        check_costs(TSS, arch, ("cifar10", "cifar100", "ImageNet16-120")[number % 3])


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "ImageNet16-120"])
def test_the_extreme_cells_on_every_data_set(dataset):
    for arch in (1462, int(TSS.index([0] * 6))):
        check_costs(TSS, arch, dataset)


def test_size_space_networks_cost_what_the_closed_form_says():
    sample = np.random.default_rng(0).integers(0, SSS.size, 18).tolist()
    equal_widths = [int(SSS.index([2, 4, 4, 1, 1])), int(SSS.index([2, 4, 4, 1, 3])), int(SSS.index([2, 4, 3, 1, 1]))]
    for number, arch in enumerate([0, 12, SSS.size - 1, *equal_widths, *sample]):
        check_costs(SSS, arch, ("cifar10", "cifar100", "ImageNet16-120")[number % 3])


def test_published_counts():
    """Cell 1462 and the network 64:64:64:64:64."""
    assert params(TssNet(1462, 10, generator=seeded())) == 1_531_546
    assert macs(TssNet(1462, 10, generator=seeded()), (1, 3, 32, 32)) == 220_119_690
    assert macs(SssNet(32_767, 10, generator=seeded()), (1, 3, 32, 32)) == 274_399_882


def test_macs_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 25, 7))
    assert macs(net, (2, 3, 5, 5)) == 2 * (25 * 4 * 27 + 100 * 7 + 7)
    assert macs(net, (6, 3, 5, 5)) == 3 * macs(net, (2, 3, 5, 5))
    assert net[0].weight.device.type == "cpu"
    assert net.training


def plain(cell, x):
    """A cell the plain way: edge by edge, each with its own slice of weights and normalisation."""

    def convolve(stack, edge, value, rectify=True):
        place, width = stack.edges.index(edge), cell.c_out
        rows = slice(place * width, (place + 1) * width)
        weight = stack.weight[rows]
        y = functional.conv2d(functional.relu(value) if rectify else value, weight, padding=weight.shape[-1] // 2)
        norm = stack.norm
        if cell.training or norm.running_mean is None:
            mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
        else:
            mean, variance = norm.running_mean[rows], norm.running_var[rows]
        y = (y - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
        if norm.affine:
            y = y * norm.weight[rows][:, None, None] + norm.bias[rows][:, None, None]
        return y

    nodes = [x]
    for node in (1, 2, 3):
        total = torch.zeros(x.shape[0], cell.c_out, *x.shape[2:], dtype=x.dtype)
        for edge, (source, target) in enumerate(EDGES):
            if target != node:
                continue
            op = int(np.flatnonzero(cell.offered[edge])[0])
            value = nodes[source]
            if op == 1 and value.shape[1] != cell.c_out:
                total = total + convolve(cell.projection, edge, value, rectify=False)
            elif op == 1:
                total = total + value
            elif op in (2, 3):
                total = total + convolve((cell.small if op == 2 else cell.large)[str(source)], edge, value)
            elif op == 4:
                total = total + functional.avg_pool2d(value, 3, 1, 1, count_include_pad=False)
        nodes.append(total)
    return nodes[3]


def plain_network(net, images):
    x = net.stem.norm(net.stem.conv(images))
    for stage, cells in enumerate(net.stages):
        if stage:
            block = net.residuals[stage - 1]
            y = block.first_norm(block.first(functional.relu(x)))
            y = block.second_norm(block.second(functional.relu(y)))
            x = y + block.shortcut(functional.avg_pool2d(x, 2, 2))
        for cell in cells:
            x = plain(cell, x)
    x = functional.relu(net.head.norm(x))
    return net.head.classifier(x.mean((2, 3)))


def disturbed(net):
    """Give normalisations something to do, and the network double precision."""
    generator = seeded(9)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean):
                if tensor is not None:
                    tensor.data.normal_(generator=generator)
            if layer.running_var is not None:
                layer.running_var.uniform_(0.5, 2, generator=generator)
    return net.double()


@pytest.mark.parametrize("flags", [(True, True), (False, False), (True, False), (False, True)])
@pytest.mark.parametrize("training", [True, False])
def test_networks_compute_what_a_plain_loop_computes(flags, training):
    """In double precision; among the cells some with nodes that are zero or lead nowhere."""
    affine, running_stats = flags
    images = torch.randn(4, 3, 8, 8, generator=seeded(1), dtype=torch.float64)
    cells = [[3, 2, 1, 4, 0, 2], [0, 3, 3, 1, 2, 4], [3, 2, 0, 0, 0, 0], [0, 0, 3, 1, 3, 3], [3, 3, 3, 3, 3, 3]]
    made = [TssNet(int(TSS.index(c)), 5, channels=4, cells=2, affine=affine, running_stats=running_stats,
                   generator=seeded()) for c in cells]  # fmt: skip
    made += [SssNet(arch, 5, affine=affine, running_stats=running_stats, generator=seeded()) for arch in (0, 11, 284)]
    for net in made:
        disturbed(net).train(training)
        with torch.no_grad():
            expected = plain_network(net, images)
            torch.testing.assert_close(net(images), expected, rtol=1e-10, atol=1e-10)


def test_initialisation_takes_all_randomness_from_the_generator():
    before = torch.get_rng_state()
    nets = [TssNet(1462, 10, cells=1, generator=seeded(seed)) for seed in (3, 3, 4)]
    assert torch.equal(before, torch.get_rng_state())
    first, again, other = (torch.cat([p.flatten() for p in net.parameters()]) for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_initial_weights_are_spread_as_pytorch_spreads_them():
    """A stack of convolutions has the fan-in of one of them."""
    net = TssNet(1462, 10, channels=32, cells=1, generator=seeded())
    weight = net.stages[0][0].large["0"].weight
    assert weight.shape == (96, 32, 3, 3)
    assert weight.abs().max() <= 1 / np.sqrt(32 * 9)
    assert float(weight.detach().std()) == pytest.approx(1 / np.sqrt(3 * 32 * 9), rel=0.02)


def test_gradients_reach_every_parameter():
    for net in (TssNet(1462, 10, channels=4, cells=2, generator=seeded()), SssNet(284, 10, generator=seeded())):
        net(torch.randn(4, 3, 16, 16, generator=seeded())).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.parametrize(("made", "arch"), [(TssNet, 15_625), (TssNet, -1), (SssNet, 32_768), (SssNet, "8:8:8")])
def test_an_architecture_that_does_not_exist(made, arch):
    with pytest.raises(UsageError, match="space"):
        made(arch, 10, generator=seeded())
