"""Every one-shot algorithm's own step against a small independent reference, in float64."""

import contextlib
import types

import numpy as np
import pytest

pytest.importorskip("torch")

import torch  # noqa: E402
from nasharness.algorithms.autoshrink_supernet import AutoShrinkSupernet, levels  # noqa: E402
from nasharness.algorithms.darts import Darts  # noqa: E402
from nasharness.algorithms.enas import Enas  # noqa: E402
from nasharness.algorithms.fbnet_v2 import FbnetV2  # noqa: E402
from nasharness.algorithms.gdas import Gdas  # noqa: E402
from nasharness.algorithms.policy_search import FINAL, best_scored  # noqa: E402
from nasharness.algorithms.random_supernet import RandomSupernet  # noqa: E402
from nasharness.algorithms.rsps import Rsps  # noqa: E402
from nasharness.algorithms.setn import Setn  # noqa: E402
from nasharness.algorithms.tas import Tas  # noqa: E402
from nasharness.algorithms.tunas import Tunas  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from nasharness import spaces  # noqa: E402
from nasharness.errors import UsageError  # noqa: E402
from nasharness.search.one_shot import OneShotTask, Step  # noqa: E402
from nasharness.supernets import unrolled  # noqa: E402
from nasharness.supernets.sss import GATED, SssSupernet  # noqa: E402
from nasharness.supernets.tss import TssSupernet  # noqa: E402
from nasharness.supernets.unrolled import unrolled_gradient  # noqa: E402

TSS, SSS = spaces.get("tss"), spaces.get("sss")


def make_task(space="tss", *, epochs=5, seed=0, score=None, net=None):
    if net is None:
        generator = torch.Generator().manual_seed(seed)
        kinds = {"tss": lambda: TssSupernet(3, channels=2, cells=1, generator=generator)}
        kinds["sss"] = lambda: SssSupernet(3, cells=1, generator=generator)
        net = kinds[space]().double().train()
    return OneShotTask(
        space=spaces.get(space), dataset="cifar10", seed=seed, epochs=epochs, net=net, device=torch.device("cpu"),
        rng=np.random.default_rng(seed), generator=torch.Generator().manual_seed(seed),
        autocast=contextlib.nullcontext, score=score or (lambda archs, fresh: np.zeros(len(archs))),
        classes=("a", "b", "c"), difficulty=lambda epochs: np.array([0.2, 0.9, 0.5]),
    )  # fmt: skip


def make_step(task, *, epoch=0, images=6):
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(2, images, 3, 8, 8, dtype=torch.float64, generator=generator)
    y = torch.randint(0, 3, (2, images), generator=generator)
    optimiser = torch.optim.SGD(task.net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return Step(x[0], y[0], x[1], y[1], epoch, 0, 1, optimiser)


def spread(policy, seed=1):
    """Architecture parameters far from uniform, so that a wrong gradient shows."""
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        policy.logits.copy_(torch.randn(policy.logits.shape, dtype=torch.float64, generator=generator))


def caught_gradient(algorithm, step, monkeypatch):
    """The gradient of one architecture step, not applied."""
    found = []
    monkeypatch.setattr(algorithm.policy, "step", lambda gradient: found.append(gradient.clone()))
    algorithm.search_step(step)
    return found[0]


def rewound(task, call):
    """Call with the task's random stream where it is now, and leave it there."""
    before = task.rng.bit_generator.state
    try:
        return call()
    finally:
        task.rng.bit_generator.state = before


def differences(function, at, step=1e-6):
    """Central differences of a number by every entry of a tensor."""
    gradient = torch.empty_like(at)
    for place in np.ndindex(*at.shape):
        sides = []
        for sign in (1, -1):
            moved = at.clone()
            moved[place] += sign * step
            sides.append(float(function(moved)))
        gradient[place] = (sides[0] - sides[1]) / (2 * step)
    return gradient


# ---- architecture parameters


def test_architecture_parameters_are_small_seeded_and_trained_by_the_papers_adam():
    net = nn.Linear(1, 1).double()
    net.gated = None
    logits = [Darts(make_task(seed=seed, net=net)).policy.logits.detach() for seed in range(40)]
    assert torch.equal(logits[3], Darts(make_task(seed=3)).policy.logits)
    values = torch.stack(logits)
    assert values.shape[1:] == (6, 5)
    assert 0.9e-3 < float(values.std()) < 1.1e-3

    darts = Darts(make_task(), lr=3e-4)
    reference = nn.Parameter(darts.policy.logits.detach().clone())
    adam = torch.optim.Adam([reference], lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3, eps=1e-8)
    for turn in range(4):
        gradient = torch.full((6, 5), 0.1 * turn - 0.2, dtype=torch.float64)
        reference.grad = gradient.clone()
        adam.step()
        darts.policy.step(gradient)
    assert torch.equal(darts.policy.logits, reference)
    assert Tunas(make_task("sss")).policy._adam.param_groups[0]["weight_decay"] == 0


def test_policy_draws_from_its_distribution():
    task = make_task()
    policy = Darts(task).policy
    spread(policy)
    p = policy.probabilities()
    drawn = np.stack([policy.sample() for _ in range(4000)])
    share = np.stack([(drawn == option).mean(axis=0) for option in range(5)], axis=1)
    assert np.abs(share - p).max() < 0.04
    log_p = float(policy.log_probability(drawn[0]).detach())
    assert log_p == pytest.approx(np.log(p[np.arange(6), drawn[0]]).sum())


# ---- DARTS


def test_first_order_darts_is_the_gradient_of_the_architecture_batchs_loss(monkeypatch):
    task = make_task()
    darts = Darts(task, warmup=0.0)
    spread(darts.policy)
    step = make_step(task)

    def loss(logits):
        with torch.no_grad():
            return F.cross_entropy(task.net(step.arch_images, darts._mixture(logits)), step.arch_labels)

    expected = differences(loss, darts.policy.logits.detach())
    found = caught_gradient(darts, step, monkeypatch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
    assert float(expected.abs().max()) > 1e-3


class Smooth(nn.Module):
    """A smooth net that a mixture of three branches gates; with running statistics, which nothing may disturb."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(0.5 * torch.randn(3, 4, 4, dtype=torch.float64, generator=generator))
        self.last = nn.Parameter(0.5 * torch.randn(3, 4, dtype=torch.float64, generator=generator))
        self.norm = nn.BatchNorm1d(4, affine=False, dtype=torch.float64)

    def forward(self, x, mixture):
        x = self.norm(x)
        hidden = sum(weight * torch.tanh(x @ matrix) for weight, matrix in zip(mixture, self.first, strict=True))
        return hidden @ self.last.T


def smooth_problem():
    generator = torch.Generator().manual_seed(1)
    batches = [(torch.randn(8, 4, dtype=torch.float64, generator=generator), torch.arange(8) % 3) for _ in range(2)]
    net = Smooth()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9, weight_decay=0.05)
    for _ in range(2):  # a momentum buffer to look ahead with
        optimiser.zero_grad()
        F.cross_entropy(net(batches[0][0], torch.full((3,), 1 / 3)), batches[0][1]).backward()
        optimiser.step()
    return net, optimiser, batches


def test_second_order_darts_goes_through_the_unrolled_step():
    """Against central differences of the loss after a real step of SGD; the published radius leaves 1e-4."""
    net, optimiser, (weights, arch) = smooth_problem()
    logits = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    before = {name: value.clone() for name, value in net.state_dict().items()}

    def loss_ahead(at):
        other, other_optimiser, _ = smooth_problem()
        other.load_state_dict(before)
        other_optimiser.zero_grad()
        F.cross_entropy(other(weights[0], at.softmax(0)), weights[1]).backward()
        other_optimiser.step()
        return F.cross_entropy(other(arch[0], at.softmax(0)), arch[1]).detach()

    found, value = unrolled_gradient(net, optimiser, logits, lambda at: at.softmax(0), weights, arch)
    expected = differences(loss_ahead, logits)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert value == pytest.approx(float(loss_ahead(logits)))

    first = logits.clone().requires_grad_()
    (one,) = torch.autograd.grad(F.cross_entropy(net(arch[0], first.softmax(0)), arch[1]), first)
    assert float((one - expected).abs().max()) > 0.05 * float(expected.abs().max()), "the orders would not differ"


def test_looking_ahead_disturbs_nothing():
    net, optimiser, (weights, arch) = smooth_problem()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    buffers = [optimiser.state[p]["momentum_buffer"].clone() for p in net.parameters()]
    grads = [p.grad.clone() for p in net.parameters()]
    unrolled_gradient(net, optimiser, torch.zeros(3, dtype=torch.float64), lambda at: at.softmax(0), weights, arch)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    for p, buffer, grad in zip(net.parameters(), buffers, grads, strict=True):
        assert torch.equal(optimiser.state[p]["momentum_buffer"], buffer)
        assert torch.equal(p.grad, grad)


def test_second_order_darts_on_the_supernet_agrees_with_differentiating_twice(monkeypatch):
    """At a radius within which no ReLU has its kink, which differentiating twice does not see."""
    monkeypatch.setattr(unrolled, "_RADIUS", 1e-6)
    task = make_task()
    darts = Darts(task, order=2, warmup=0.0)
    spread(darts.policy)
    step = make_step(task)
    buffers = {name: value.clone() for name, value in task.net.named_buffers()}
    found = caught_gradient(darts, step, monkeypatch)
    assert all(torch.equal(buffers[name], value) for name, value in task.net.named_buffers())

    logits = darts.policy.logits.detach().clone().requires_grad_()
    named = dict(task.net.named_parameters())
    kept = {name: value.clone() for name, value in buffers.items()}

    def loss(parameters, images, labels):
        state = {**parameters, **{name: value.clone() for name, value in kept.items()}}
        return F.cross_entropy(torch.func.functional_call(task.net, state, (images, darts._mixture(logits))), labels)

    gradients = torch.autograd.grad(
        loss(named, step.weight_images, step.weight_labels), named.values(), create_graph=True
    )  # fmt: skip
    ahead = {n: p - 0.05 * (g + 5e-4 * p) for (n, p), g in zip(named.items(), gradients, strict=True)}
    (expected,) = torch.autograd.grad(loss(ahead, step.arch_images, step.arch_labels), logits)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


# ---- GDAS


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_gdas_passes_the_gradient_straight_through(monkeypatch, share):
    """The gradient is that of the soft weights, at the loss's slope by the weight of the operation that was drawn."""
    task = make_task(seed=1)  # in which the judged edge has an operation that counts
    gdas = Gdas(task, warmup=0.0, share=share)
    spread(gdas.policy)
    step = make_step(task, epoch=2)
    tau = 10 + (0.1 - 10) * 2 / 4
    assert gdas.tau(2) == pytest.approx(tau)
    assert gdas.tau(0) == 10
    assert gdas.tau(4) == pytest.approx(0.1)
    draw = task.rng
    noise, edge, factor = rewound(
        task, lambda: (draw.gumbel(size=(6, 5)), int(draw.integers(6)), draw.uniform(share, 1))
    )
    noise, factors, judged = torch.from_numpy(noise), torch.ones(6).double(), torch.ones(6).double()
    if share < 1:
        factors[edge], judged = factor, 6 * F.one_hot(torch.tensor(edge), 6).double()
    gates = rewound(task, lambda: gdas.relaxed(2, learn=True))
    found = caught_gradient(gdas, step, monkeypatch)

    logits = gdas.policy.logits.detach().clone().requires_grad_()
    soft = ((logits.log_softmax(1) + noise) / tau).softmax(1)
    drawn = soft.argmax(1)
    hard = F.one_hot(drawn, 5) * factors[:, None]
    torch.testing.assert_close(gates.weights[0].detach(), hard, rtol=0, atol=0)
    assert np.array_equal(gates.active[0], F.one_hot(drawn, 5).bool().numpy())

    from nasharness.supernets.tss import EdgeGates

    def loss(weights):  # of the drawn operations, one an edge
        full = F.one_hot(drawn, 5) * weights[:, None]
        return F.cross_entropy(task.net(step.arch_images, EdgeGates(gates.active, full[None])), step.arch_labels)

    with torch.no_grad():
        slope = differences(loss, factors)
    (expected,) = torch.autograd.grad(soft.gather(1, drawn[:, None])[:, 0] @ (slope * judged), logits)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
    assert float(expected.abs().max()) > 1e-6


def test_gdas_survives_a_cell_without_a_path(monkeypatch):
    task = make_task()
    gdas = Gdas(task, warmup=0.0)
    with torch.no_grad():
        gdas.policy.logits[:, 0] = 500.0  # none, everywhere
    gradient = caught_gradient(gdas, make_step(task), monkeypatch)
    assert not gradient.any()


# ---- SETN, RSPS


def test_setn_answers_with_the_best_scored_of_the_likeliest():
    asked = []

    def score(archs, fresh):
        asked.append((np.array(archs), fresh))
        return np.where(np.arange(len(archs)) % 3 == 2, 0.9, 0.1)

    setn = Setn(make_task(score=score), candidates=7, fresh=True)
    spread(setn.policy)
    p = setn.policy.probabilities()
    brute = [np.prod([p[e, op] for e, op in enumerate(TSS.choices(arch))]) for arch in range(TSS.size)]
    expected = sorted(range(TSS.size), key=lambda arch: -brute[arch])[:7]
    assert setn.derive() == expected[2]
    assert asked[0][0].tolist() == expected
    assert asked[0][1] is True


def test_setn_trains_weights_on_uniform_cells_and_its_policy_on_the_mixture(monkeypatch):
    task = make_task()
    setn, darts = Setn(task, warmup=0.0), Darts(task, warmup=0.0)
    for algorithm in (setn, darts):
        spread(algorithm.policy)
    step = make_step(task)
    one, other = caught_gradient(setn, step, monkeypatch), caught_gradient(darts, step, monkeypatch)
    torch.testing.assert_close(one, other)
    counts = np.zeros((6, 5))
    for _ in range(3000):
        gates = setn.gates(step)
        assert gates.weights is None
        counts += gates.active[0]
    assert np.abs(counts / 3000 - 0.2).max() < 0.04


def test_rsps_never_cuts_a_node_off_and_is_uniform_otherwise():
    rsps = Rsps(make_task())
    drawn = rsps.draw(20_000)
    for edges in ([0], [1, 2], [3, 4, 5]):
        among = drawn[:, edges]
        assert not (among == 0).all(axis=1).any()
        kinds, counts = np.unique(among, axis=0, return_counts=True)
        assert len(kinds) == 5 ** len(edges) - 1  # every combination but the one
        assert np.abs(counts * len(kinds) / 20_000 - 1).max() < 0.5
    step = make_step(rsps.task)
    rows = rsps.gates(step).active
    assert rows.shape == (3, 6, 5)  # a cell of its own for each of the network's
    assert len(np.unique(drawn[:3], axis=0)) == 3


def test_rsps_answers_with_the_best_scored_of_random_cells():
    seen = []
    rsps = Rsps(make_task(score=lambda archs, fresh: seen.append(archs) or np.sin(archs)), candidates=50)
    answer = rsps.derive()
    assert len(seen[0]) == 50
    assert np.sin(answer) == np.sin(seen[0]).max()


def test_the_best_quarter_is_scored_again_on_other_batches():
    """A lucky first batch does not decide; whoever is not in the best quarter is out."""
    rounds = []

    def score(archs, fresh):
        rounds.append(np.array(archs))
        return archs / 100 if len(rounds) == 1 else 1 - np.abs(archs - 6.0)

    assert best_scored(make_task(score=score), np.arange(8), fresh=False) == 6
    assert [asked.tolist() for asked in rounds] == [list(range(8)), *[[6, 7]] * FINAL]


# ---- ENAS


def enas_log_p(controller, cell):
    """The log probability of one cell, position by position, by hand."""
    total, inputs, memory, entropies = 0.0, controller.first[None, None], None, 0.0
    for option in cell:
        output, memory = controller.lstm(inputs, memory)
        logits = 2.5 * torch.tanh(controller.predict(output[0, 0]) / 5)
        p = logits.softmax(0)
        total = total + p[option].log()
        entropies = entropies - (p * p.log()).sum()
        inputs = controller.embedding.weight[option][None, None]
    return total, entropies


def test_enas_controller_is_a_distribution_that_it_draws_from():
    enas = Enas(make_task())
    assert (enas.controller.lstm.hidden_size, enas.controller.lstm.num_layers) == (32, 2)
    with torch.no_grad():
        for parameter in enas.controller.parameters():
            parameter.mul_(15)  # far from uniform
    p = enas.probabilities()
    assert np.allclose(p.sum(axis=1), 1)
    drawn = enas._draw(2000)
    share = np.stack([(drawn == option).mean(axis=0) for option in range(5)], axis=1)
    assert np.abs(share - p).max() < 0.04
    assert np.ptp(p, axis=1).max() > 0.3


def test_enas_controller_begins_as_published():
    """Within 0.1 what the code of AutoDL-Projects draws so; within 1 / sqrt(32) what it leaves to torch."""
    narrow = {"first", "embedding.weight", "predict.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0"}
    for name, parameter in Enas(make_task()).controller.named_parameters():
        most = 0.1 if name in narrow else 32**-0.5
        assert 0.6 * most < float(parameter.detach().abs().max()) <= most, name


@pytest.mark.parametrize("learn_entropy", [False, True])
@pytest.mark.parametrize("baseline", ["epoch", "others"])
def test_enas_policy_term_is_the_score_function_estimator(baseline, learn_entropy):
    """With ``learn_entropy`` as autograd has it where reward and baseline hold the entropy with its graph."""
    enas = Enas(make_task(), baseline=baseline, learn_entropy=learn_entropy)
    rng = np.random.default_rng(0)
    cells, accuracy = rng.integers(5, size=(4, 6)).astype(np.int8), rng.random(4)
    for last in (None, 0.4) if baseline == "epoch" else (None,):
        enas._epoch_baseline = last
        loss, rewards, baselines = enas.policy_loss(cells, accuracy)
        found = torch.autograd.grad(loss, list(enas.controller.parameters()), allow_unused=True)
        expected = [torch.zeros_like(p) for p in enas.controller.parameters()]
        terms = [enas_log_p(enas.controller, cell) for cell in cells]
        reward = np.array([a + 1e-4 * float(entropy.detach()) for a, (_, entropy) in zip(accuracy, terms, strict=True)])
        for i, (log_p, entropy) in enumerate(terms):
            if baseline == "others":
                against = np.mean(np.delete(reward, i))
            else:
                against = accuracy[i] if last is None else 0.99 * last + 0.01 * reward[i]
            assert baselines[i] == pytest.approx(against, rel=1e-12)
            if learn_entropy:
                whole = accuracy[i] + 1e-4 * entropy
                moved = last + 0.01 * (whole - last) if last is not None else against
                term = -log_p * (whole - moved)
            else:
                term = -log_p * (reward[i] - against)
            gradients = torch.autograd.grad(term, list(enas.controller.parameters()), allow_unused=True)
            for total, part in zip(expected, gradients, strict=True):
                if part is not None:
                    total += part / 4
        assert np.allclose(rewards, reward, rtol=1e-12)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-14)


def test_enas_takes_its_updates_after_the_epoch_and_remembers_their_baseline():
    calls = []

    def score(archs, fresh):
        calls.append((len(archs), fresh))
        return TSS.choices(archs).astype(float).mean(axis=1) / 4

    enas = Enas(make_task(score=score), updates=3, samples=6, baseline="epoch", fresh=True)
    numbers = enas.end_epoch(0)
    assert calls == [(6, True)] * 3
    assert enas.state()["baseline"] == numbers["arch_baseline"]
    first = enas.state()["baseline"]
    enas.end_epoch(1)
    assert abs(enas.state()["baseline"] - first) <= 0.01  # 1 % of the way at most


def test_enas_learns_what_scores_well():
    enas = Enas(make_task(score=lambda archs, fresh: (TSS.choices(archs) == 3).mean(axis=1)), updates=40, lr=0.03)
    enas.end_epoch(0)
    assert enas.probabilities()[:, 3].mean() > 0.4


# ---- widths: TAS, FBNetV2, TuNAS


def test_tas_interpolates_two_widths_drawn_by_gumbel_softmax():
    task = make_task("sss")
    tas = Tas(task, warmup=0.0)
    spread(tas.policy)
    noise = torch.from_numpy(rewound(task, lambda: task.rng.gumbel(size=(6, 8))))
    gates = tas.relaxed(1, learn=True)
    logits = (tas.policy.logits.detach().log_softmax(1)[list(GATED)] + noise) / tas.tau(1)
    features = torch.randn(2, 64, 3, 3, dtype=torch.float64)
    for layer in range(6):  # stem and first cell by draws of their own from one distribution
        one, other = (int(choice) for choice in gates.choices[layer])
        assert one != other
        mix = logits[layer, [one, other]].softmax(0)
        wide = 8 * (max(one, other) + 1)
        parts = [
            F.adaptive_avg_pool3d(features[:, None, : 8 * (choice + 1)], (wide, 3, 3))[:, 0] for choice in (one, other)
        ]
        expected = F.pad(mix[0] * parts[0] + mix[1] * parts[1], (0, 0, 0, 0, 0, 64 - wide))
        torch.testing.assert_close(gates.apply(layer, features), expected)
    (gradient,) = torch.autograd.grad(gates.weights[:, 0].sum(), tas.policy.logits)
    assert gradient.any()
    assert not tas.relaxed(1, learn=False).weights.requires_grad


def test_tas_draws_two_widths_without_replacement_from_the_probabilities():
    task = make_task("sss", epochs=1)
    tas = Tas(task, warmup=0.0, tau_first=1.0)
    # with Gumbel noise in the logits and again in the draw, symmetric widths are drawn equally often
    pairs = np.stack([tas.relaxed(0, learn=False).choices for _ in range(2000)]).reshape(-1, 2)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert np.abs(np.bincount(pairs.ravel(), minlength=8) / len(pairs) - 0.25).max() < 0.03


def test_fbnet_masks_are_prefixes_averaged_by_gumbel_softmax(monkeypatch):
    task = make_task("sss")
    fbnet = FbnetV2(task, warmup=0.0)
    spread(fbnet.policy)
    noise = torch.from_numpy(rewound(task, lambda: task.rng.gumbel(size=(6, 8))))
    masks = rewound(task, lambda: fbnet.relaxed(3, learn=False)).masks
    p = ((fbnet.policy.logits.detach().log_softmax(1)[list(GATED)] + noise) / fbnet.tau(3)).softmax(1)
    for layer in range(6):
        for channel in range(64):  # a channel is there with the probability of all widths that reach it
            assert float(masks[layer, channel]) == pytest.approx(float(p[layer, channel // 8 :].sum()), rel=1e-9)

    step = make_step(task, epoch=3, images=3)
    state = task.rng.bit_generator.state
    at = fbnet.policy.logits.detach().clone()

    def loss(logits):
        task.rng.bit_generator.state = state
        with torch.no_grad():
            fbnet.policy.logits.copy_(logits)
            return F.cross_entropy(task.net(step.arch_images, fbnet.relaxed(3, learn=True)), step.arch_labels)

    some = differences(lambda row: loss(torch.cat([row, at[1:]])), at[:1])
    loss(at)
    task.rng.bit_generator.state = state
    torch.testing.assert_close(caught_gradient(fbnet, step, monkeypatch)[:1], some, rtol=1e-4, atol=1e-8)


def test_tunas_reward_baseline_and_policy_term(monkeypatch):
    task = make_task("sss")
    tunas = Tunas(task, warmup=0.0)
    spread(tunas.policy)
    step = make_step(task)
    top, bottom = 0.0, 0.0
    for _ in range(3):
        choices = rewound(task, tunas.policy.sample)
        with torch.no_grad():
            logits = task.net(step.arch_images, task.net.gates_drawn(choices))
        reward = 100 * float((logits.argmax(1) == step.arch_labels).double().mean())
        top, bottom = 0.95 * top + 0.05 * reward, 0.95 * bottom + 0.05
        found = caught_gradient(tunas, step, monkeypatch)
        p = torch.from_numpy(tunas.policy.probabilities())
        each = F.one_hot(torch.from_numpy(choices.astype(np.int64)), 8) - p[list(GATED)]  # of six log probabilities
        slope = torch.cat([each[:1] + each[1:2], each[2:]])
        torch.testing.assert_close(found, -(reward - top / bottom) * slope, rtol=1e-9, atol=1e-9)
    assert tunas.state()["rewards"] == pytest.approx(top)
    assert tunas.updated_baseline(50.0) == pytest.approx((0.95 * top + 2.5) / (0.95 * bottom + 0.05))


def test_tunas_learns_the_width_that_pays(monkeypatch):
    from nasharness.supernets import policy as parts

    task = make_task("sss")
    tunas = Tunas(task, warmup=0.0, lr=0.05)
    drawn = {}
    original = tunas.policy.sample
    monkeypatch.setattr(tunas.policy, "sample", lambda: drawn.setdefault("now", original()))
    monkeypatch.setattr(parts, "top1", lambda *_: 10.0 * float((drawn["now"] == 4).sum()))
    for _ in range(150):
        drawn.clear()
        tunas.learn(types.SimpleNamespace(arch_images=None, arch_labels=None))
    assert SSS.choices(tunas.derive()).tolist() == [4] * 5


@pytest.mark.parametrize("kind", [Tas, FbnetV2, Tunas])
def test_widths_warm_up_full_then_random_while_the_policy_rests(kind):
    task = make_task("sss", epochs=10)
    algorithm = kind(task, warmup=0.4)
    step = make_step(task, images=2)
    before = algorithm.policy.logits.detach().clone()

    def share_full(epoch):
        now = types.SimpleNamespace(epoch=epoch)
        widths = torch.stack([algorithm.gates(now).masks.sum(1) for _ in range(400)])
        assert set(widths.flatten().tolist()) <= {8.0 * k for k in range(1, 9)}
        return float((widths == 64).double().mean())

    for epoch in range(4):
        full = 1 - epoch / 4
        assert share_full(epoch) == pytest.approx(full + (1 - full) / 8, abs=0.05)
    assert algorithm.search_step(Step(*list(vars(step).values())[:4], 3, 0, 1, step.optimiser)) == {}
    assert torch.equal(algorithm.policy.logits, before)
    assert algorithm.search_step(Step(*list(vars(step).values())[:4], 4, 0, 1, step.optimiser))
    if kind is not Tunas:  # whose first reward is its own baseline
        assert not torch.equal(algorithm.policy.logits, before)


@pytest.mark.parametrize(
    ("kind", "space"), [(Darts, "tss"), (Gdas, "tss"), (Tas, "sss"), (FbnetV2, "sss"), (Tunas, "sss")]
)
def test_policies_answer_with_the_most_probable_options(kind, space):
    algorithm = kind(make_task(space))
    spread(algorithm.policy)
    assert np.array_equal(
        spaces.get(space).choices(algorithm.derive()), algorithm.policy.logits.detach().numpy().argmax(1)
    )


# ---- the control, AutoShrink


def test_random_answers_depend_on_the_seed_alone():
    answers = [RandomSupernet(make_task(seed=seed, net=nn.Module())).derive() for seed in range(300)]
    assert answers[5] == RandomSupernet(make_task(seed=5, epochs=99, net=nn.Module())).derive()
    assert len(set(answers)) > 280
    assert abs(np.mean(answers) / TSS.size - 0.5) < 0.06


def test_shrinkings_are_spread_between_warm_up_and_end():
    assert levels(50, 0.4, 4, 30, 12) == {25: 26, 31: 21, 37: 16, 43: 12}
    assert levels(1, 0.4, 4, 30, 12) == {0: 12}
    assert min(levels(3, 0.4, 4, 30, 12).values()) == 12


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_autoshrink_keeps_what_scores_well_and_answers_with_it(space):
    where = spaces.get(space)
    rng = np.random.default_rng(3)
    worth = [rng.permutation(size) if space == "tss" else np.arange(size) for size in where.sizes]
    choices = where.choices(np.arange(where.size))
    quality = sum(table[choices[:, position]] for position, table in enumerate(worth)) / 60
    calls = []

    def score(archs, fresh):
        calls.append(len(archs))
        return quality[archs] + rng.normal(0, 0.02, len(archs))

    search = AutoShrinkSupernet(make_task(space, epochs=20, score=score, net=nn.Module()))
    total = sum(where.sizes)
    left = [total]
    for epoch in range(20):
        search.end_epoch(epoch)
        left.append(int(search.surviving().sum()))
    assert left[8] == total  # not before the warm-up is over
    assert sorted(left, reverse=True) == left
    assert left[-1] <= 2 * len(where.sizes) + 4
    answer = search.derive()
    assert (quality > quality[answer]).mean() < 0.01
    alive = search.surviving()
    assert alive[np.arange(len(where.sizes)), where.choices(answer)].all()
    assert sum(calls) < 500


def test_autoshrink_trains_survivors_alone_and_none_without_a_path():
    drawn = []
    net = types.SimpleNamespace(gates_of=drawn.append)
    task = make_task(net=net)
    search = AutoShrinkSupernet(task)
    search._alive[:, 1:3] = False
    search._alive[3] = [True, False, False, True, False]
    for _ in range(300):
        search.gates(None)
    options = TSS.choices(np.array(drawn))
    assert set(np.unique(options[:, 3])) == {0, 3}
    assert not np.isin(options, (1, 2)).any()
    assert TSS.is_constant(np.array(drawn)).mean() < 0.01


def test_autoshrink_can_charge_for_cost():
    score = lambda archs, fresh: np.full(len(archs), 0.5)  # noqa: E731 - all alike, so that cost decides
    search = AutoShrinkSupernet(make_task("sss", epochs=4, score=score, net=nn.Module()), cost_weight=0.1)
    for epoch in range(4):
        search.end_epoch(epoch)
    flops = SSS.flops(np.arange(SSS.size))
    assert (flops < flops[search.derive()]).mean() < 0.02


# ---- settings


@pytest.mark.parametrize(
    ("kind", "space", "settings", "told"),
    [
        (Darts, "tss", {"order": 3}, "darts: order = 3"),
        (Darts, "tss", {"lr": 0.0}, "darts: lr = 0"),
        (Gdas, "tss", {"tau_last": 0.0}, "gdas: tau_last = 0"),
        (Gdas, "tss", {"share": 0.0}, "gdas: share = 0"),
        (Setn, "tss", {"candidates": 0}, "setn: candidates = 0"),
        (Setn, "tss", {"weight_decay": -1.0}, "setn: weight_decay = -1"),
        (Rsps, "tss", {"candidates": 0}, "rsps: candidates = 0"),
        (Enas, "tss", {"baseline": "other"}, "others"),
        (Enas, "tss", {"samples": 1}, "enas: samples = 1"),
        (Tas, "sss", {"warmup": 1.0}, "tas: warmup = 1"),
        (Tunas, "sss", {"momentum": 1.0}, "tunas: momentum = 1"),
        (AutoShrinkSupernet, "sss", {"noise": 0.0}, "autoshrink: noise = 0"),
        (AutoShrinkSupernet, "tss", {"events": 0}, "autoshrink: events = 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind, space, settings, told):
    with pytest.raises(UsageError, match=told):
        kind(make_task(space), **settings)


def test_paper_variants_have_the_published_settings():
    from nasharness.search import registry

    for name in ("darts", "darts.second", "gdas", "setn", "tas", "fbnet-v2", "tunas"):
        paper = registry.get(f"{name}.paper").defaults
        assert paper["lr"] == 3e-4
        assert paper["warmup"] == 0
        assert paper["weight_decay"] == (0 if name == "tunas" else 1e-3)
        if "tau_first" in paper:
            assert (paper["tau_first"], paper["tau_last"]) == (10, 0.1)
    enas = registry.get("enas.paper").defaults
    assert (enas["updates"], enas["samples"], enas["lr"], enas["baseline"]) == (50, 20, 1e-3, "epoch")
    for name in ("setn", "rsps", "enas"):
        paper = registry.get(f"{name}.paper").defaults
        assert paper["candidates"] == 100
        assert paper["fresh"] is True
    assert registry.get("tas.warm.paper").defaults["warmup"] == 0.3
    assert registry.get("darts.second.paper").defaults["order"] == 2
