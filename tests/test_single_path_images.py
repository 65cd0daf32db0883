"""Single-Path NAS on images: kernels within kernels, their relaxed latency, and runs from the command to the winner."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from nasharness import hardware, spaces
from nasharness.cli.run import command
from nasharness.errors import DataError, UsageError
from nasharness.runs.signals import Stop, Stopped
from nasharness.search import registry
from nasharness.search.winner import read_winner

torch = pytest.importorskip("torch")

from nasharness.supernets.chain import Chosen, fitted  # noqa: E402
from nasharness.supernets.limit import _short, within  # noqa: E402
from nasharness.supernets.mobile import (  # noqa: E402
    MobileSupernet,
    Relaxed,
    indicator,
    relaxed_cost,
    superkernel,
)
from nasharness.supernets.request import OneShotRequest  # noqa: E402
from tests.one_shot_fixtures import few_digits, run  # noqa: E402
from tests.test_one_shot_run import assert_equal, kept  # noqa: E402

MOBILE = spaces.get("mobile")
PUBLISHED = MOBILE.parse("spnasnet-100")
PRICES = hardware.reader(hardware.find(MOBILE, "ImageNet", "pixel1_latency"))
#: thresholds that keep everything, whatever the weights
KEEP = -1.0


@pytest.fixture(scope="module")
def net():
    made = MobileSupernet(10, channels=8, side=8, generator=torch.Generator().manual_seed(0)).double()
    rng = torch.Generator().manual_seed(1)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # else a shift that goes astray would not be seen
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=rng, dtype=torch.float64))
    return made


@pytest.fixture(scope="module")
def images():
    return torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def thresholds(ring=KEEP, kept=KEEP, second=KEEP, layers=20):
    return torch.tensor([[ring, kept, second]] * layers, dtype=torch.float64)


def test_at_full_decisions_the_supernet_is_the_network_of_5x5_e6(net, images):
    net.train()
    got = net(images, Relaxed(thresholds()))
    torch.testing.assert_close(got, net.whole.classifier(features(net.whole, images)), rtol=1e-9, atol=1e-9)


def features(net, images):
    """In front of the dropout, which draws from the global generator."""
    return net.head(net.layers(net.stem(images))).mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("refused", "option"),
    [({"ring": 1e9}, "3x3-e6"), ({"second": 1e9}, "5x5-e3"), ({"ring": 1e9, "second": 1e9}, "3x3-e3")],
)
def test_masked_kernels_compute_what_is_sliced_and_what_is_exported(net, images, refused, option):
    """Normalised by the batch; the zeroed channels add constants, which the next normalisation takes away."""
    net.train()
    arch = MOBILE.parse(",".join([option] * 20))
    masked = net(images, Relaxed(thresholds(**refused)))
    sliced = net(images, net.gates_of(arch))
    torch.testing.assert_close(masked, sliced, rtol=1e-7, atol=1e-7)
    alone = net.export(arch)
    torch.testing.assert_close(sliced, alone.classifier(features(alone, images)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_a_sliced_network_is_the_exported_one(net, images, training):
    net.train(training)
    for arch in (PUBLISHED, *MOBILE.sample(np.random.default_rng(0).random((2, 20)))):
        alone = net.export(arch)
        want = alone.classifier(features(alone, images))
        torch.testing.assert_close(net(images, net.gates_of(arch)), want, rtol=1e-9, atol=1e-9)
    net.train()


def test_without_the_ring_a_kernel_is_the_inner_3x3():
    weight = torch.randn(12, 1, 5, 5, dtype=torch.float64)
    x = torch.randn(2, 12, 9, 9, dtype=torch.float64)
    kept = superkernel(weight, torch.tensor([1e9, KEEP, KEEP], dtype=torch.float64), None, True)
    got = torch.nn.functional.conv2d(x, kept.weight, padding=2, groups=12)
    want = torch.nn.functional.conv2d(x, weight[:, :, 1:4, 1:4], padding=1, groups=12)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_indicators_are_hard_with_the_slope_of_a_sigmoid():
    x = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64, requires_grad=True)
    hard = indicator(x)
    hard.sum().backward()
    assert hard.tolist() == [0, 1, 1]
    soft = torch.sigmoid(x.detach())
    torch.testing.assert_close(x.grad, soft * (1 - soft))


def cost(decisions):
    return relaxed_cost(torch.as_tensor(decisions, dtype=torch.float64), PRICES.layers, PRICES.fixed)


def decided(arch):
    """(ring, kept, second half) of every layer of an architecture."""
    blocks = MOBILE.chosen(arch)
    return [[0, 0, 0] if block is None else [block.kernel == 5, 1, block.expansion == 6] for block in blocks]


def test_the_relaxed_latency_has_the_known_values():
    assert float(cost(np.ones((20, 3)))) == pytest.approx(131.46, abs=0.005)
    assert float(cost(decided(PUBLISHED))) == pytest.approx(80.59, abs=0.005)
    assert float(PRICES(MOBILE.decoded(np.array(decided(PUBLISHED))))) == pytest.approx(80.44, abs=0.005)


def test_the_gradient_of_the_relaxed_latency_is_that_of_finite_differences():
    at = torch.rand((20, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(cost, at)


def test_a_threshold_above_the_norm_flips_the_decision_and_takes_its_price(net):
    weight = net.searched[5].depthwise[0].weight.detach()
    rest = weight - torch.nn.functional.pad(weight[:, :, 1:4, 1:4], (1, 1, 1, 1))
    norm = float(rest.norm())
    for layer_threshold, ring in ((norm - 1e-6, 1), (norm + 1e-6, 0)):
        t = thresholds()
        t[5, 0] = layer_threshold
        decisions = net.decisions(Relaxed(t)).detach()
        assert decisions[5].tolist() == [ring, 1, 1]
        assert float(cost(np.ones((20, 3))) - cost(decisions)) == pytest.approx(
            0 if ring else PRICES.layers[5][3] - PRICES.layers[5][1]
        )


def test_the_gradient_to_a_ring_threshold_is_the_slope_times_the_price_of_the_ring(net):
    # the ring counts in the norms of both halves as well; far below their norms, thresholds there have no slope
    t = thresholds(kept=-60.0, second=-60.0).requires_grad_()
    cost_ = relaxed_cost(net.decisions(Relaxed(t)), PRICES.layers, PRICES.fixed)
    (gradient,) = torch.autograd.grad(cost_, t)
    weight = net.searched[3].depthwise[0].weight.detach()
    norm = (weight - torch.nn.functional.pad(weight[:, :, 1:4, 1:4], (1, 1, 1, 1))).norm()
    soft = torch.sigmoid(norm + 1)
    prices = PRICES.layers[3]
    direct = -soft * (1 - soft) * (1 - prices[1] / prices[3]) * prices[3]
    assert float(gradient[3, 0]) == pytest.approx(float(direct), rel=1e-6)


def test_first_layers_of_groups_are_never_left_out(net):
    decisions = net.decisions(Relaxed(thresholds(kept=1e9))).detach()
    assert decisions[:, 1].tolist() == ([1] + [0] * 3) * 5
    assert MOBILE.string(MOBILE.decoded(decisions.numpy())).count("skip") == 15


def test_strides_fit_small_images():
    published = MOBILE.setting("ImageNet").macro
    assert fitted(published, 224) == published
    for side in (8, 28, 32):
        assert fitted(published, side).shapes(side)[1] == 2


OPTIONS = {"space": "mobile", "channels": 8, "batch": 128}


def test_a_run_goes_on_bit_for_bit_and_its_winner_is_a_vector(tmp_path):
    settings = {"cost_weight": 5.0, "lr": 5.0, "warmup": 0.4}
    whole = run("single-path", **OPTIONS, epochs=3, settings=settings, out=tmp_path / "whole")

    def stop(done, total, *_):
        if done == 2 * total // 3 + 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped, match="epoch 2 is kept"):
        run("single-path", **OPTIONS, epochs=3, settings=settings, out=tmp_path / "cut", progress=stop)
    rest = run("single-path", **OPTIONS, epochs=3, settings=settings, out=tmp_path / "cut", resume=True)
    assert_equal(kept(tmp_path / "whole"), kept(tmp_path / "cut"))
    assert rest.winner.tolist() == whole.winner.tolist()
    found = read_winner(whole.write())["winner"]
    assert found["index"] is None
    assert MOBILE.parse(found["arch"]).tolist() == whole.winner.tolist()
    assert whole.summary()["derived"][0]["arch"] == found["arch"]
    last = whole.runs[0].epochs[-1]
    assert last.numbers["latency_ms"] == pytest.approx(float(PRICES(whole.winner)))
    # with such a cost what can go goes, said as it does
    assert last.numbers["latency_ms"] < 131
    assert any(" > " in epoch.remark for epoch in whole.runs[0].epochs)
    assert str(whole)


def test_a_cost_that_drops_everything_ends_the_run_at_its_last_good_state(tmp_path, monkeypatch):
    from nasharness.algorithms.single_path import SinglePathImages

    smallest = MOBILE.decoded(np.zeros((20, 3)))
    assert float(PRICES(smallest)) == pytest.approx(30.63, abs=0.005)
    answers = iter([PUBLISHED, PUBLISHED, smallest])
    monkeypatch.setattr(SinglePathImages, "derive", lambda _: next(answers))
    with pytest.raises(DataError, match=r"out that can be, 30.63 ms, after epoch 2 of 3; lower cost.*epoch 1 is kept"):
        run("single-path", **OPTIONS, epochs=3, out=tmp_path)


def asked_for(limit="pixel1_latency <= 79", **changes):
    """A request on the mobile space, and its limit."""
    options = OPTIONS | {"dataset": "ImageNet", "images": few_digits(), "device": "cpu", "limit": limit}
    request = OneShotRequest.create("single-path", **(options | changes))
    return request, request.limit


def test_a_weight_for_a_limit_is_found_once_and_used(tmp_path, monkeypatch):
    monkeypatch.setattr("nasharness.supernets.limit._short", lambda _, weight, *__: 131.46 / (1 + weight))
    asked, lines = OPTIONS | {"epochs": 1, "settings": {"lr": 1e-3}, "limit": "pixel1_latency <= 79"}, []
    found = run("single-path", **asked, out=tmp_path, progress=lambda *_, line="", **__: lines.append(line))
    weight = found.request.settings["cost_weight"]
    (note,) = [note for note in found.notes if "was found for 'pixel1_latency <= 79'" in note]
    assert note in lines
    assert f"cost_weight {weight:.4g}" in note
    tried = json.loads((tmp_path / "limit.json").read_text())["tried"]
    assert min(one["cost_weight"] for one in tried if one["latency"] <= 79) == weight
    # thresholds so slow drop nothing, whatever a made-up short run promised
    assert any("BREAKS the limit pixel1_latency <= 79: 131.46 ms" in note for note in found.notes)

    def never(*_):
        raise AssertionError("a weight that is known is not tried again")

    monkeypatch.setattr("nasharness.supernets.limit._short", never)
    again = run("single-path", **asked, out=tmp_path, resume=True)
    assert again.request.settings["cost_weight"] == weight


def test_a_short_run_is_a_run():
    request, limit = asked_for(epochs=1, settings={"lr": 3.0, "warmup": 0.0})
    whole = run("single-path", **OPTIONS, epochs=1, settings={"lr": 3.0, "warmup": 0.0, "cost_weight": 50.0})
    assert _short(request, 50.0, limit, 1, Stop(), None) == pytest.approx(float(PRICES(whole.winner)))


@pytest.mark.parametrize("bound", [10.0, 55.0, 100.0])
def test_bisection_ends_at_a_weight_that_keeps_the_limit_closely(bound, monkeypatch):
    """With a latency that falls as weights rise, whichever weight it begins with."""
    monkeypatch.setattr("nasharness.supernets.limit._short", lambda _, weight, *__: 131.46 / (1 + weight))
    for begin in (0.01, 1.0, 300.0):
        request, limit = asked_for(settings={"cost_weight": begin})
        weight = within(request, replace(limit, bound=bound), Stop(), None).settings["cost_weight"]
        assert 0.5 * bound < 131.46 / (1 + weight) <= bound


def test_a_limit_that_no_weight_keeps_is_said(monkeypatch):
    monkeypatch.setattr("nasharness.supernets.limit._short", lambda *_: 131.46)
    request, limit = asked_for()
    with pytest.raises(DataError, match="no cost_weight up to 10000 keeps it in runs of 25 epochs, .* has 131"):
        within(request, limit, Stop(), None)


def test_the_command_trains_and_keeps_a_winner(tmp_path, monkeypatch):
    monkeypatch.setattr("nasharness.images.load", lambda *_: few_digits())
    words = ["--algo", "single-path", "--space", "mobile", "--images", "digits", "--device", "cpu"]
    asked = [*words, "--device-cost", "pixel1", "--epochs", "1", "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(command, asked, catch_exceptions=False)
    assert shown.exit_code == 0
    latency = float(PRICES(MOBILE.parse(read_winner(tmp_path / "out")["winner"]["arch"])))
    assert f"latency {latency:.2f} ms" in shown.output
    assert "nasharness retrain --winner" in shown.output
    assert json.loads((tmp_path / "out" / "winner.json").read_text())["space"] == "mobile"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--limit", "pixel1_latency <= 30"], "the smallest network of space 'mobile' takes 30.63 ms"),
        (["--limit", "params <= 4"], "expected 'pixel1_latency <= NUMBER'"),
        (["--limit", "pixel1_latency <= 79 s"], "has ms, not 's'"),
        (["--limit", "pixel1_latency <= 79", "--limit", "pixel1_latency <= 80"], "one latency"),
        (["--device-cost", "pixel2"], "pixel1"),
        (["--set", "keep=0"], "keep = 0"),
        (["--set", "cost_weight=-1"], "cost_weight = -1"),
        (["--cells", "2"], "--channels"),
    ],
)
def test_bad_input_is_refused_with_what_was_expected(words, told):
    asked = ["--algo", "single-path", "--space", "mobile", "--images", "digits", "--epochs", "1", *words]
    error = CliRunner().invoke(command, asked).exception
    assert isinstance(error, UsageError)
    assert told in str(error)


def test_others_have_no_device_to_count():
    asked = ["--algo", "gdas", "--space", "tss", "--images", "digits", "--device-cost", "pixel1"]
    error = CliRunner().invoke(command, asked).exception
    assert isinstance(error, UsageError)
    assert "single-path" in str(error)
    asked = ["--algo", "gdas", "--space", "tss", "--images", "digits", "--limit", "pixel1_latency <= 79"]
    assert "counts no latency" in str(CliRunner().invoke(command, asked).exception)


def test_the_variant_of_the_paper_has_all_channels():
    record = registry.get("single-path.paper")
    request = OneShotRequest.create(record.name, "mobile", "ImageNet", images=few_digits(), device="cpu")
    assert (request.recipe.channels, request.settings["cost_weight"]) == (32, 20.0)


def test_uniform_gates_are_architectures(net):
    gates = net.uniform_gates(np.random.default_rng(0))
    assert isinstance(gates, Chosen)
    assert MOBILE.choices(gates.choices).tolist() == list(gates.choices)
