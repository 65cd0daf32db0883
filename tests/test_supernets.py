"""Supernets against an independent plain one, against standalone networks, and ranked in batches against one by one."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.eager_supernet import EagerSupernet
from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.nets.sss import SssNet
from nasharness.nets.tss import TssNet
from nasharness.supernets.ranking import rank
from nasharness.supernets.sss import Interpolated, Prefix, SssSupernet
from nasharness.supernets.tss import EdgeGates, TssSupernet

TSS, SSS = spaces.get("tss"), spaces.get("sss")
WIDTHS = np.arange(8, 65, 8)
#: an edge out of a zero node, into a node that leads nowhere, nothing at all, and ordinary cells
ODD_CELLS = [
    [0, 3, 3, 1, 2, 4],
    [3, 2, 0, 4, 0, 0],
    [2, 0, 3, 0, 0, 3],
    [0] * 6,
    [3, 3, 3, 0, 0, 0],
    [0, 0, 0, 1, 3, 2],
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(cells=2, channels=4):
    """A supernet whose residual blocks have seen images, and the plain one with its weights, in double precision."""
    net = TssSupernet(10, channels=channels, cells=cells, generator=seeded()).double()
    net(batch(3), net.gates_of(1462))
    return net, EagerSupernet(10, channels, cells).double().copy_from(net)


def batch(seed=1, count=6, dtype=torch.float64):
    return torch.randn(count, 3, 8, 8, generator=seeded(seed), dtype=dtype)


def soft_weights(seed=2):
    return torch.softmax(torch.randn(6, 5, generator=seeded(seed), dtype=torch.float64), 1).requires_grad_()


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


def check_same_gradients(net, eager):
    """Compare the gradients of all shared weights; a weight that was not used may have none or zero."""

    def gradient(parameter):
        return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad

    close(gradient(net.stem.conv.weight), gradient(eager.stem[0].weight))
    close(gradient(net.head.classifier.weight), gradient(eager.classifier.weight))
    eager_cells = [layer for layer in eager.layers if hasattr(layer, "edges")]
    cells = [cell for stage in net.stages for cell in stage]
    for cell, plain in zip(cells, eager_cells, strict=True):
        for stacks, op in ((cell.small, 2), (cell.large, 3)):
            for stack in stacks.values():
                parts = gradient(stack.weight).chunk(len(stack.edges))
                for edge, part in zip(stack.edges, parts, strict=True):
                    close(part, gradient(plain.edges[edge][op][1].weight))


def test_mixture_and_its_gradients_equal_the_plain_supernet():
    """The plain one has biases in its cells, as published: the normalisation behind them takes them away."""
    net, eager = pair()
    mine, theirs = soft_weights(), soft_weights()
    close(net(batch(), EdgeGates.mixture(mine)), eager.mixture(batch(), theirs))
    labels = torch.arange(6)
    functional.cross_entropy(net(batch(), EdgeGates.mixture(mine)), labels).backward()
    functional.cross_entropy(eager.mixture(batch(), theirs), labels).backward()
    close(mine.grad, theirs.grad)
    check_same_gradients(net, eager)


@pytest.mark.parametrize("training", [True, False])
def test_single_operations_equal_the_plain_supernet(training):
    net, eager = pair()
    rng = np.random.default_rng(0)
    for choices in [*ODD_CELLS, *rng.integers(0, 5, (12, 6)).tolist()]:
        net.train(training).zero_grad()
        eager.train(training).zero_grad()
        mine, theirs = net(batch(), EdgeGates.single(choices)), eager.single(batch(), choices)
        close(mine, theirs)
        functional.cross_entropy(mine, torch.arange(6)).backward()
        functional.cross_entropy(theirs, torch.arange(6)).backward()
        check_same_gradients(net, eager)


@pytest.mark.parametrize("choices", [[3, 1, 2, 4, 0, 3], [0, 3, 0, 1, 1, 2], [0, 0, 0, 0, 0, 0]])
def test_straight_through_as_published_equals_its_definition(choices):
    """GDAS's code adds the weights of what was not drawn to the features: value, and gradients of all weights."""
    net, eager = pair()
    one_hot = torch.eye(5, dtype=torch.float64)[torch.tensor(choices)]
    grads = []
    for mine in (True, False):
        soft = soft_weights()
        w = one_hot - soft.detach() + soft
        if mine:
            logits = net(batch(), EdgeGates.straight_through(choices, w, undrawn=True))
            close(logits, net(batch(), EdgeGates.single(choices)))
        else:
            logits = eager.run(
                batch(),
                lambda e, ops, x, w=w: sum(w[e, o] * ops[o](x) if o == choices[e] else w[e, o] for o in range(5)),
            )
        functional.cross_entropy(logits, torch.arange(6)).backward()
        grads.append(soft.grad)
    close(grads[0], grads[1])
    if any(choices):  # where all is zero, so is every slope: what follows is rectified
        assert grads[0][~one_hot.bool()].abs().max() > 0


def test_every_cell_can_have_operations_of_its_own():
    net, eager = pair()
    choices = np.random.default_rng(1).integers(0, 5, (6, 6))
    numbers = {}
    for number, cell in enumerate(layer for layer in eager.layers if hasattr(layer, "edges")):
        numbers.update({id(operations): number for operations in cell.edges})
    expected = eager.run(batch(), lambda e, ops, x: ops[choices[numbers[id(ops)], e]](x))
    close(net(batch(), EdgeGates.single(choices)), expected)
    weights = torch.rand(6, 6, 5, generator=seeded(), dtype=torch.float64)
    expected = eager.run(batch(), lambda e, ops, x: sum(weights[numbers[id(ops)], e, o] * ops[o](x) for o in range(5)))
    close(net(batch(), EdgeGates.mixture(weights)), expected)


def test_straight_through_equals_its_definition():
    """Value: the chosen architecture. Gradient of a chosen weight: that of the mixture of all, at the one-hot point."""
    net, _ = pair()
    choices = np.array([3, 1, 2, 4, 0, 3])
    soft = soft_weights()
    one_hot = torch.eye(5, dtype=torch.float64)[torch.from_numpy(choices)]
    through = one_hot - soft.detach() + soft
    logits = net(batch(), EdgeGates.straight_through(choices, through))
    close(logits, net(batch(), EdgeGates.single(choices)))
    labels = torch.arange(6)
    functional.cross_entropy(logits, labels).backward()
    weights = one_hot.clone().requires_grad_()
    functional.cross_entropy(net(batch(), EdgeGates.mixture(weights)), labels).backward()
    close(soft.grad, weights.grad * one_hot * torch.tensor(choices != 0)[:, None])
    assert soft.grad.abs().max() > 0


def test_gradients_of_weights_agree_with_finite_differences():
    net, _ = pair(cells=1)
    weights = soft_weights()
    labels = torch.arange(6)

    def loss(w):
        return functional.cross_entropy(net.eval()(batch(), EdgeGates.mixture(w)), labels)

    loss(weights).backward()
    for entry in ((0, 1), (2, 3), (4, 2), (5, 4)):
        step = torch.zeros(6, 5, dtype=torch.float64)
        step[entry] = 1e-5
        with torch.no_grad():
            slope = (loss(weights + step) - loss(weights - step)) / 2e-5
        assert float(weights.grad[entry]) == pytest.approx(float(slope), rel=1e-5)


def flops(net, gates):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(batch(), gates)
    return counter.get_total_flops()


def test_what_cannot_matter_is_not_computed():
    net, eager = pair()
    nothing = flops(net, EdgeGates.single([0] * 6))
    assert flops(net, EdgeGates.single([3, 3, 3, 0, 0, 0])) == nothing  # nodes 1 and 2 lead nowhere
    assert flops(net, EdgeGates.single([0, 0, 3, 0, 3, 3])) == nothing  # nodes 1 and 2 are zero
    one = flops(net, EdgeGates.single([0, 0, 0, 3, 0, 0]))
    assert flops(net, EdgeGates.single([3, 3, 0, 3, 0, 0])) == one > nothing
    weights = torch.zeros(6, 5, dtype=torch.float64)
    assert flops(net, EdgeGates.straight_through([0, 0, 0, 3, 0, 0], weights)) == one
    for choices in ODD_CELLS:
        close(net(batch(), EdgeGates.single(choices)), eager.single(batch(), choices))


def into_network(network, net):
    """Copy shared weights into a standalone network."""
    network.stem = net.stem  # whose normalisation is the supernet's: that of sss learns nothing
    for target, source in ((network.residuals, net.residuals), (network.head, net.head)):
        target.load_state_dict(source.state_dict())
    for stage, shared_stage in zip(network.stages, net.stages, strict=True):
        for cell, shared in zip(stage, shared_stage, strict=True):
            for stacks, shared_stacks in ((cell.small, shared.small), (cell.large, shared.large)):
                for node, stack in stacks.items():
                    blocks = dict(
                        zip(shared_stacks[node].edges, shared_stacks[node].weight.split(cell.c_out), strict=True)
                    )
                    stack.weight.data.copy_(torch.cat([blocks[edge] for edge in stack.edges]))
    return network.eval()


def test_one_operation_an_edge_is_the_standalone_network_bit_for_bit():
    net = TssSupernet(10, channels=8, cells=2, generator=seeded())
    net(batch(3, dtype=torch.float32), net.gates_of(1462))
    net.eval()
    images = batch(dtype=torch.float32)
    archs = [*(int(TSS.index(c)) for c in ODD_CELLS), *np.random.default_rng(0).integers(0, TSS.size, 40).tolist()]
    flags = {"affine": False, "running_stats": False}
    with torch.no_grad():
        for arch in archs:
            network = TssNet(arch, 10, channels=8, cells=2, **flags, generator=seeded(5))
            assert torch.equal(into_network(network, net)(images), net(images, net.gates_of(arch))), arch
        full = SssSupernet(10, cells=2, generator=seeded())
        full(images, full.gates_of(0))
        network = SssNet(SSS.size - 1, 10, cells=2, **flags, generator=seeded(5))
        assert torch.equal(into_network(network, full)(images), full.eval()(images, full.gates_of(SSS.size - 1)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: TssSupernet(10, channels=4, cells=1, generator=seeded()),
        lambda: TssSupernet(10, channels=4, cells=2, generator=seeded()),
        lambda: SssSupernet(10, cells=1, generator=seeded()),
        lambda: SssSupernet(10, cells=2, generator=seeded()),
    ],
)
@pytest.mark.parametrize("published", [True, False])
def test_ranking_many_equals_one_by_one(make, published):
    net = make().double()
    net.published = published
    rng = np.random.default_rng(0)
    for _ in range(3):
        net(batch(3), net.uniform_gates(rng))  # running statistics that differ from channel to channel
    count = 60 if net.space is TSS else 16
    archs = np.concatenate([rng.integers(0, net.space.size, count), [1462, 9930, 1462]])
    if net.space is TSS:
        archs = np.concatenate([archs, TSS.index(np.array(ODD_CELLS))])
    before = {key: value.clone() for key, value in net.state_dict().items()}
    together = net.logits(batch(), archs)
    assert net.training  # it was, so it is again
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    net.train(not published)
    with torch.no_grad():
        alone = torch.stack([net(batch(), net.gates_of(int(arch))) for arch in archs])
    close(together, alone)
    assert torch.equal(together.argmax(-1), alone.argmax(-1))
    labels = torch.arange(6)
    accuracy = (alone.argmax(-1) == labels).double().mean(-1)
    probability = alone.softmax(-1)[:, torch.arange(6), labels].mean(-1)
    np.testing.assert_allclose(net.score(batch(), labels, archs), accuracy if published else probability)


def test_a_whole_stretch_of_the_space_is_ranked():
    """Cells next to each other in lexicographic order share most: every reuse in the first cell is exercised."""
    net, eager = pair(cells=1)
    choices = np.array(np.unravel_index(np.arange(3 * 5**5 + 700, 3 * 5**5 + 1_000), (5,) * 6)).T
    logits = net.logits(batch(), TSS.index(choices))
    with torch.no_grad():
        for row in range(0, 300, 7):
            close(logits[row], eager.train().single(batch(), choices[row]))


def test_rank_accumulates_over_batches():
    net, _ = pair(cells=1)
    archs = np.random.default_rng(2).integers(0, TSS.size, 20)
    batches = [(batch(5, 6), torch.arange(6)), (batch(6, 3), torch.tensor([1, 1, 4]))]
    calls = []
    affinity, probability, accuracy, loss = rank(
        net, archs, batches, lambda done, total, label: calls.append((done, total)), total=2
    )
    parts = [(net.logits(images, archs), labels) for images, labels in batches]
    hits = sum((logits.argmax(-1) == labels).sum(-1) for logits, labels in parts)
    nats = sum(-logits.log_softmax(-1)[:, torch.arange(len(labels)), labels].sum(-1) for logits, labels in parts)
    chances = sum(logits.softmax(-1)[:, torch.arange(len(labels)), labels].sum(-1) for logits, labels in parts)
    roots = sum(logits.softmax(-1)[:, torch.arange(len(labels)), labels].sqrt().sum(-1) for logits, labels in parts)
    np.testing.assert_allclose(affinity, roots.numpy() / 9)
    np.testing.assert_allclose(probability, chances.numpy() / 9)
    np.testing.assert_allclose(accuracy, hits.numpy() / 9)
    np.testing.assert_allclose(loss, nats.numpy() / 9)
    assert calls[-1] == (40, 40)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert rank(net, [], batches)[0].shape == (0,)
    with pytest.raises(UsageError, match="no images"):
        rank(net, archs, [])


def test_hard_prefixes_keep_the_first_channels():
    features = torch.randn(2, 64, 3, 3, generator=seeded(), dtype=torch.float64)
    gates = Prefix.of([0, 3, 7, 1, 5, 0])
    for gate, width in enumerate([8, 32, 64, 16, 48, 8]):
        narrowed = gates.apply(gate, features)
        assert torch.equal(narrowed[:, :width], features[:, :width])
        assert not narrowed[:, width:].any()


def test_soft_prefixes_are_the_mean_of_hard_ones():
    features = torch.randn(2, 64, 3, 3, generator=seeded(), dtype=torch.float64)
    probabilities = torch.softmax(torch.randn(6, 8, generator=seeded(1), dtype=torch.float64), 1).requires_grad_()
    gates = Prefix.soft(probabilities)
    for gate in range(6):
        expected = sum(p * Prefix.of([w] * 6).apply(gate, features) for w, p in enumerate(probabilities[gate]))
        close(gates.apply(gate, features), expected)
    gates.apply(2, features).sum().backward()
    close(probabilities.grad[2], torch.stack([features[:, :width].sum() for width in WIDTHS]))


def averaged(channels, width):
    """Adaptive average pooling along the first axis of ``[c, ...]`` by its definition."""
    kept = len(channels)
    return np.stack([channels[i * kept // width : -(-(i + 1) * kept // width)].mean(axis=0) for i in range(width)])


def test_interpolation_equals_its_definition():
    """Every pair of widths, either way round; gradients of the two weights are inner products."""
    features = torch.randn(1, 64, 2, 2, generator=seeded(), dtype=torch.float64)
    upstream = torch.randn(64, 2, 2, generator=seeded(1), dtype=torch.float64)
    values = features[0].numpy()
    for one in range(8):
        for other in range(8):
            weights = torch.tensor([[0.3, 0.7]] * 6, dtype=torch.float64, requires_grad=True)
            width = WIDTHS[max(one, other)]
            parts = [averaged(values[: WIDTHS[choice]], width) for choice in (one, other)]
            expected = np.zeros((64, 2, 2))
            expected[:width] = 0.3 * parts[0] + 0.7 * parts[1]
            actual = Interpolated([[0, 0]] * 3 + [[one, other], [0, 0], [0, 0]], weights).apply(3, features)[0]
            np.testing.assert_allclose(actual.detach().numpy(), expected, atol=1e-12)
            (actual * upstream).sum().backward()
            slopes = [(part * upstream.numpy()[:width]).sum() for part in parts]
            np.testing.assert_allclose(weights.grad[3].numpy(), slopes, atol=1e-11)
            assert not weights.grad[:3].any()


def test_gates_are_applied_to_every_layer():
    """The stem by gate 0, then each cell and residual block by its own; a network has one width in stem and cell."""
    net = SssSupernet(10, generator=seeded())
    seen = []

    class Spy(Prefix):
        def apply(self, gate, features):
            seen.append((gate, features.shape[1], features.shape[-1]))
            return super().apply(gate, features)

    net(batch(dtype=torch.float32), Spy(torch.ones(6, 64)))
    assert seen == [(0, 64, 8), (1, 64, 8), (2, 64, 4), (3, 64, 4), (4, 64, 2), (5, 64, 2)]
    masks = net.gates_of(int(SSS.index([3, 0, 7, 1, 5]))).masks
    assert masks.sum(dim=1).tolist() == [32, 32, 8, 64, 16, 48]
    assert torch.equal(net.gates_drawn([1, 3, 0, 7, 1, 5]).masks[1:], masks[1:])


def test_the_stem_of_the_size_space_learns_no_normalisation():
    """As in NATS-Bench's search: without affine part and running statistics, but for the residual blocks."""
    net = SssSupernet(10, generator=seeded())
    with_parts = {name for name, layer in net.named_modules() if getattr(layer, "affine", False)}
    assert with_parts
    assert all(name.startswith("residuals") for name in with_parts)
    assert {name for name, layer in net.named_modules() if getattr(layer, "track_running_stats", False)} == with_parts


def test_widths_are_learnt_after_ranking():
    """What ranking keeps for later must not be an inference tensor, through which no gradient can pass."""
    net = SssSupernet(10, generator=seeded())
    net.score(batch(dtype=torch.float32), torch.arange(6), [3])
    with torch.inference_mode():
        net(batch(dtype=torch.float32), Interpolated([[0, 1]] * 6, torch.rand(6, 2)))
    probabilities = torch.full((6, 8), 0.125, requires_grad=True)
    net(batch(dtype=torch.float32), Prefix.soft(probabilities)).sum().backward()
    weights = torch.full((6, 2), 0.5, requires_grad=True)
    net(batch(dtype=torch.float32), Interpolated([[0, 1]] * 6, weights)).sum().backward()
    assert probabilities.grad.abs().max() > 0
    assert weights.grad.abs().max() > 0


def test_half_precision_ranks_and_learns():
    """As on a GPU: convolutions in bfloat16, statistics, weights and the loss in float32."""
    images, labels = batch(dtype=torch.float32, count=32), torch.arange(32) % 10
    tss, sss = TssSupernet(10, channels=8, cells=1, generator=seeded()), SssSupernet(10, generator=seeded())
    for net, archs in ((tss, np.arange(1_000, 1_020)), (sss, np.array([0, 5_000, 32_767]))):
        *_, accuracy, loss = rank(net, archs, [(images, labels)])
        with torch.autocast("cpu", torch.bfloat16):
            *_, half_accuracy, half_loss = rank(net, archs, [(images, labels)])
        np.testing.assert_allclose(half_loss, loss, rtol=0.02)
        np.testing.assert_allclose(half_accuracy, accuracy, atol=0.15)
    weights = torch.full((6, 5), 0.2, requires_grad=True)
    widths = torch.full((6, 2), 0.5, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = tss(images, EdgeGates.mixture(weights)), sss(images, Interpolated([[0, 1]] * 6, widths))
    assert all(each.dtype == torch.bfloat16 for each in logits)
    sum(functional.cross_entropy(each.float(), labels) for each in logits).backward()
    assert weights.grad.dtype == widths.grad.dtype == torch.float32
    assert weights.grad.abs().max() > 0
    assert widths.grad.abs().max() > 0


@pytest.mark.slow
def test_compiled_mixtures_are_the_same():
    """Traced without generating code: three graphs, one for each width, whatever the number of cells."""
    net, _ = pair(cells=3)
    net.fuse()
    assert net._fused is None  # on a CPU it does not pay
    results = []
    for backend in (None, "aot_eager"):
        if backend:
            net.fuse(backend)
        weights = soft_weights()
        net.zero_grad()
        logits = net(batch(), EdgeGates.mixture(weights))
        functional.cross_entropy(logits, torch.arange(6)).backward()
        results.append([logits.detach(), weights.grad, net.stages[1][2].large["1"].weight.grad.clone()])
    for plain, compiled in zip(*results, strict=True):
        close(compiled, plain)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3


def test_freed_memory_is_kept_for_the_next_use():
    """In a process of its own, for it holds for all of it: the same pages are not faulted in again and again."""
    code = """
import resource, numpy as np
from nasharness.training.memory import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(5_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), keep_freed_memory(), faults())
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    if answer[1] == "False" or int(answer[0]) < 2_000:
        pytest.skip("not glibc, or the system does not count page faults")
    assert int(answer[2]) < int(answer[0]) / 4


def test_wrong_gates_are_refused():
    tss, sss = TssSupernet(10, channels=4, cells=2, generator=seeded()), SssSupernet(10, generator=seeded())
    images = batch(dtype=torch.float32)
    with pytest.raises(UsageError, match="EdgeGates of 1 row or 6"):
        tss(images, EdgeGates.single(np.zeros((3, 6), dtype=int)))
    with pytest.raises(UsageError, match="EdgeGates"):
        tss(images, sss.gates_of(0))
    with pytest.raises(UsageError, match="WidthGates"):
        sss(images, tss.gates_of(0))
    with pytest.raises(UsageError, match="15625"):
        tss.score(images, torch.arange(6), [15_625])


def test_supernets_start_from_their_generator_alone():
    before = torch.get_rng_state()
    for make in (
        lambda s: TssSupernet(10, channels=4, cells=1, generator=seeded(s)),
        lambda s: SssSupernet(10, generator=seeded(s)),
    ):
        first, again, other = (torch.cat([p.flatten() for p in make(seed).parameters()]) for seed in (3, 3, 4))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
