"""The fused recurrent cell against the plain one, in float64, gradients too."""

import numpy as np
import pytest
import torch

from nasharness.nets.fused_rnn import FusedCell
from nasharness.nets.shrinkrnn import PUBLISHED, Recurrence, RecurrentCell

ACTIVATIONS = ("relu", "sigmoid", "tanh", "identity")


def random_recurrence(seed: int, nodes: int = 6) -> Recurrence:
    """Every node reads at least one earlier one; outputs are the nodes that nobody reads."""
    rng = np.random.default_rng(seed)
    edges = []
    for target in range(1, nodes):
        sources = set(np.flatnonzero(rng.random(target) < 0.5).tolist()) | {int(rng.integers(target))}
        edges += [(source, target) for source in sorted(sources)]
    read = {source for source, _ in edges}
    outputs = tuple(node for node in range(nodes) if node not in read)
    return Recurrence(tuple(rng.choice(ACTIVATIONS, nodes - 1).tolist()), tuple(sorted(edges)), outputs)


#: DARTS's shape: one edge into each node, all of them outputs, some of which are read too
TREE = Recurrence(("sigmoid", "relu", "relu", "identity"), ((0, 1), (1, 2), (1, 3), (2, 4)), (1, 2, 3, 4))
LONE = Recurrence((), (), (0,))
#: a node that nobody reads and that is no output
DEAD_END = Recurrence(("tanh", "relu", "relu"), ((0, 1), (0, 2), (0, 3), (1, 3)), (0, 3))


def outcome(cell: RecurrentCell, masks: bool) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    x, state = normal(5, 3, cell.inputs).requires_grad_(), normal(3, cell.hidden).requires_grad_()
    kept = [
        torch.bernoulli(torch.full((3, n), 0.7, dtype=torch.float64), generator=draw) / 0.7
        for n in (cell.inputs, cell.hidden)
    ]
    outputs, last = cell(x, state, *(kept if masks else ()))
    weights = [cell.input_weight, *([cell.edge_weights] if cell.edge_weights.numel() else [])]
    loss = (outputs * normal(*outputs.shape)).sum() + (last * normal(*last.shape)).sum()
    return [outputs, last, *torch.autograd.grad(loss, [x, state, *weights])]


@pytest.mark.parametrize("graph", [PUBLISHED, TREE, LONE, DEAD_END, *(random_recurrence(seed) for seed in range(6))])
@pytest.mark.parametrize("masks", [True, False])
def test_equal_to_the_plain_cell(graph, masks):
    plain = RecurrentCell(graph, 7, inputs=5, bound=0.8).double()
    fused = FusedCell(graph, 7, inputs=5, bound=0.8).double()
    fused.load_state_dict(plain.state_dict())
    for expected, found in zip(outcome(plain, masks), outcome(fused, masks), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_same_weights_of_the_same_seed():
    plain, fused = (
        kind(PUBLISHED, 8, generator=torch.Generator().manual_seed(3)) for kind in (RecurrentCell, FusedCell)
    )
    for name, value in plain.state_dict().items():
        assert torch.equal(fused.state_dict()[name], value)


def test_bf16_products_stay_near():
    cell = FusedCell(PUBLISHED, 32, generator=torch.Generator().manual_seed(0))
    x, state = torch.randn(6, 4, 32, generator=torch.Generator().manual_seed(1)), torch.zeros(4, 32)
    exact, _ = cell(x, state)
    cell.dtype = torch.bfloat16
    near, _ = cell(x, state)
    near.sum().backward()
    assert near.dtype == torch.float32
    assert 0 < (near - exact).abs().max() < 0.01
    assert cell.edge_weights.grad is not None
    assert cell.edge_weights.grad.dtype == torch.float32


def test_masks_are_shared_over_time_and_nodes():
    """A unit that both masks cut never reaches a product: its rows of the weights get no gradient at any time."""
    cell = FusedCell(PUBLISHED, 6, bound=0.5).double()
    x = torch.randn(4, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 6, dtype=torch.float64)
    mask[:, 2] = 0
    outputs, _ = cell(x, torch.ones(2, 6, dtype=torch.float64), mask, mask)
    outputs.square().sum().backward()
    assert cell.input_weight.grad is not None
    assert cell.edge_weights.grad is not None
    for cut in (cell.input_weight.grad[2], cell.input_weight.grad[8], cell.edge_weights.grad[:, 2]):
        assert torch.count_nonzero(cut) == 0
    assert torch.count_nonzero(cell.edge_weights.grad[:, 3]) > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_compiled_and_recorded_on_a_gpu():
    """Several lengths in turn, so that a graph meets what another has left; gradients too."""
    plain, fused = (kind(PUBLISHED, 64, bound=0.2).cuda() for kind in (RecurrentCell, FusedCell))
    fused.load_state_dict(plain.state_dict())
    fused.compiled = True
    draw = torch.Generator("cuda").manual_seed(0)
    states = [torch.zeros(8, 64, device="cuda") for _ in range(2)]
    for length in (5, 9, 5, 9):
        x = torch.randn(length, 8, 64, device="cuda", generator=draw)
        mask = torch.bernoulli(torch.full((8, 64), 0.7, device="cuda"), generator=draw) / 0.7
        found = []
        for place, cell in enumerate((plain, fused)):
            cell.zero_grad(set_to_none=True)
            inputs = x.clone().requires_grad_()
            outputs, last = cell(inputs, states[place], mask, mask)
            outputs.square().sum().backward()
            states[place] = last.detach().clone()
            found.append([outputs.detach().clone(), inputs.grad, cell.input_weight.grad, cell.edge_weights.grad])
        for expected, had in zip(*found, strict=True):
            torch.testing.assert_close(had, expected, rtol=2e-3, atol=2e-3)
    assert fused.graphs.works


def test_compiled_on_a_cpu(monkeypatch):
    """With the compiler left out: what is tested is that both paths compute the same step."""
    from nasharness.nets import fused_rnn

    called = []

    def traced(function):
        called.append(function.__name__)
        return function

    monkeypatch.setattr(fused_rnn, "_compiled", traced)
    cell = FusedCell(PUBLISHED, 8, bound=0.5).double()
    expected = outcome(cell, masks=True)
    assert not called
    cell.compiled = True
    for a, b in zip(outcome(cell, masks=True), expected, strict=True):
        assert torch.equal(a, b)
    assert called == ["_step", "_step_backward"]
