"""NAS-OoD on images: its generator and losses, the domain that is held out, and runs from the command to the winner."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from nasharness.cli.run import command
from nasharness.errors import UsageError
from nasharness.images import leave_out
from nasharness.runs.signals import Stopped
from nasharness.search import registry
from nasharness.search.testing import reachable
from nasharness.spaces import get

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from nasharness.nets.editor import Editor, check_side  # noqa: E402
from nasharness.supernets.adversary import Weights, reversed_gradient, sinkhorn  # noqa: E402
from nasharness.supernets.base import evaluating  # noqa: E402
from nasharness.supernets.held_out import HeldOut, Statistics  # noqa: E402
from nasharness.supernets.request import OneShotRequest  # noqa: E402
from nasharness.supernets.tss import TssSupernet  # noqa: E402
from tests.one_shot_fixtures import TINY, few_digits, few_turned, run  # noqa: E402
from tests.test_one_shot_run import Watch, assert_equal, kept  # noqa: E402

#: an epoch of each part: warm-up, search, the cell alone
PARTS = {"warmup": 0.34, "search": 0.34, "width": 4}


def session(epochs=3, **settings):
    asked = TINY | {"epochs": epochs}
    request = OneShotRequest.create("nas-ood", images=few_turned(), device="cpu", settings=PARTS | settings, **asked)
    return request.session(0, "cpu")


def features(*shape, seed):
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return functional.normalize(drawn)


def test_sinkhorn_is_the_iteration_on_kernels():
    """Against Cuturi's multiplications in plain numbers, which share nothing with potentials in logarithms."""
    x, y = features(5, 4, seed=0), features(7, 4, seed=1)
    cost = ((x.numpy()[:, None] - y.numpy()[None]) ** 2).sum(-1)
    for epsilon in (1.0, 0.2):
        kernel = np.exp(-cost / epsilon)
        right = np.ones(7)
        for _ in range(2000):
            left = (1 / 5) / (kernel @ right)
            right = (1 / 7) / (kernel.T @ left)
        plan = left[:, None] * kernel * right
        got = sinkhorn(x, y, epsilon=epsilon, iterations=2000, tolerance=1e-14)
        assert float(got) == pytest.approx(float((plan * cost).sum()), rel=1e-8)


def test_without_entropy_sinkhorn_is_the_cheapest_transport():
    optimize = pytest.importorskip("scipy.optimize")
    x, y = features(6, 3, seed=2), features(6, 3, seed=3)
    cost = ((x.numpy()[:, None] - y.numpy()[None]) ** 2).sum(-1)
    rows, columns = optimize.linear_sum_assignment(cost)  # of equal weights an assignment is best
    got = sinkhorn(x, y, epsilon=2e-3, iterations=20_000, tolerance=1e-12)
    assert float(got) == pytest.approx(cost[rows, columns].mean(), rel=1e-3)


def test_the_gradient_of_transport_is_that_of_finite_differences():
    x, y = features(3, 2, seed=4).requires_grad_(), features(4, 2, seed=5)
    assert torch.autograd.gradcheck(lambda x: sinkhorn(x, y, iterations=3, tolerance=0), x)


def test_a_reversed_gradient_has_the_other_sign():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    out = reversed_gradient(x, 0.5)
    assert torch.equal(out, x)
    (3 * out).sum().backward()
    assert x.grad.tolist() == [-1.5, -1.5]


def test_an_editor_keeps_shape_and_range_and_listens_to_codes():
    editor = Editor(3, width=4, generator=torch.Generator().manual_seed(0))
    images = 2 * torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1)) - 1
    own, novel = torch.tensor([0, 1, 0, 1]), torch.full((4,), 2)
    edited = editor(images, own, novel)
    assert edited.shape == images.shape
    assert float(edited.detach().abs().max()) <= 2
    assert not torch.equal(edited, editor(images, novel, own))
    for side in (4, 10, 15):
        with pytest.raises(UsageError, match=f"images of {side} x {side} pixels"):
            check_side(side)


def test_without_transport_and_adversary_the_generator_tends_to_change_nothing():
    search = session(generator_lr=5e-3).algorithm
    novel = search._novel
    novel.weights = Weights(10.0, 0.0, 0.0)
    images = 2 * torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(1)) - 1
    labels, domains = torch.zeros(16, dtype=torch.int64), torch.arange(16) % 2
    told = [novel.descend(images, labels, domains) for _ in range(60)]
    assert told[-1]["cycle"] < 0.5 * told[0]["cycle"]
    assert told[-1]["edit"] < 0.5 * told[0]["edit"]


def test_the_loss_rises_with_a_step_of_the_generator_and_falls_with_one_of_the_weights():
    made = session(adv_weight=50.0, lambda_cycle=0.0, lambda_ot=0.0, lambda_ce=0.0, stage1_ratio=1.0, generator_lr=1e-3)
    search, net = made.algorithm, made.net
    images, joined = next(made._weights.batches(64, made.task.generator, augment=False))
    labels, domains = joined[:, 0], joined[:, 1]
    gates = net.gates_of(5000)

    def loss():
        return functional.cross_entropy(net(reversed_gradient(search._novel.edit(images, domains)), gates), labels)

    before = loss()
    search._novel._adam.zero_grad()
    before.backward()
    search._novel.step()
    with torch.no_grad():
        after = loss()
        assert after > before
        for weight in net.parameters():
            weight -= 1e-2 * weight.grad
        assert loss() < after


def test_the_judges_do_not_change_once_the_generator_plays():
    made = session()
    rows = iter(made.train())
    next(rows)
    novel = made.algorithm._novel
    before = {name: value.clone() for name, value in novel.classes.state_dict().items()}
    editor = {name: value.clone() for name, value in novel.editor.state_dict().items()}
    second, third = rows
    for name, value in novel.classes.state_dict().items():
        assert torch.equal(value, before[name])
    assert any(not torch.equal(value, editor[name]) for name, value in novel.editor.state_dict().items())
    assert {"cycle", "transport", "edit", "edited_class_accuracy"} <= set(second.numbers)
    assert "still of their class" in second.remark
    assert not third.numbers
    assert get("tss").choices(third.arch).min() > 0  # the paper's space has no none


@pytest.mark.parametrize("generator", ["none", "random", "augment"])
def test_controls_share_everything_but_the_generator(generator):
    made, learned = session(generator=generator), session()
    first, second = (next(iter(one.train())) for one in (made, learned))
    assert first.loss == second.loss  # the first part is the same
    rest = list(made.train())
    assert len(rest) == 2
    assert all(np.isfinite(row.loss) for row in rest)


def test_cells_can_be_given_or_drawn():
    fixed = session(cell="13714", generator="none")
    assert {row.arch for row in fixed.train()} == {13714}
    drawn = [session(cell="random").algorithm.derive() for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_judged_by_the_statistics_that_it_has_seen_an_image_is_judged_alone():
    net = TssSupernet(10, channels=4, cells=1, generator=torch.Generator().manual_seed(0))
    images = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    gates = net.gates_of(13714)
    with torch.inference_mode(), evaluating(net), Statistics() as statistics:
        statistics.keep()
        whole = net(images, gates)
        statistics.use()
        part = net(images[:5], gates)
    with torch.inference_mode(), evaluating(net):
        torch.testing.assert_close(whole, net(images, gates))
        assert not torch.allclose(part, net(images[:5], gates))
    torch.testing.assert_close(part, whole[:5], rtol=1e-4, atol=1e-4)
    loaded, split = leave_out(few_turned())
    judge = HeldOut(loaded, split, torch.device("cpu"))
    assert 0 <= judge.accuracy(net, 13714) <= 100


def test_no_session_reaches_what_is_held_out():
    made = session(epochs=1)
    for _ in made.train():
        pass
    held = leave_out(few_turned())[1].test[0]
    for thing, path in reachable(made.algorithm):
        if isinstance(thing, np.ndarray) and thing.dtype == np.uint8 and thing.shape == held.shape:
            assert not np.array_equal(thing, held), path


def test_a_run_goes_on_bit_for_bit_and_is_selected_on_sources(tmp_path):
    options = {"epochs": 4, "settings": PARTS | {"search": 0.25}}
    whole = run("nas-ood", **options, out=tmp_path / "whole")
    with pytest.raises(Stopped, match="epoch 2 is kept"):
        run("nas-ood", **options, out=tmp_path / "cut", progress=Watch(stop=9))
    rest = run("nas-ood", **options, out=tmp_path / "cut", resume=True)
    assert_equal(kept(tmp_path / "whole"), kept(tmp_path / "cut"))
    assert rest.held_out == whole.held_out
    (only,) = whole.runs
    best = max(epoch.signal for epoch in only.epochs)
    assert only.end.signal == best
    assert whole.held_out["oracle"][0] == max(epoch.held_out for epoch in only.epochs)
    assert whole.held_out["last"][0] == only.epochs[-1].held_out
    found = whole.summary()["held_out"]
    assert (found["target"], found["sources"], found["selected"]) == ("40", ["-40", "0"], "source")
    assert found["accuracy"]["source"]["values"] == whole.held_out["source"]
    assert "the answer is of this" in str(whole)
    meta = json.loads((whole.write() / "study.json").read_text())
    assert meta["cells"][0]["held_out"] == found
    named = run("nas-ood", **options, select="oracle")
    assert named.runs[0].end.held_out == whole.held_out["oracle"][0]


def test_the_command_holds_a_domain_out(monkeypatch, tmp_path):
    monkeypatch.setattr("nasharness.images.load_domains", lambda *_: few_turned())
    words = "--algo nas-ood --space tss --images digits --device cpu --epochs 1 --batch 64 --channels 4 --set width=4"
    asked = [*words.split(), "--target-domain", "-40", "--source-domains", "0, 40", "--out", str(tmp_path / "run")]
    shown = CliRunner().invoke(command, asked, catch_exceptions=False)
    assert shown.exit_code == 0
    assert "the domain -40 of digits, trained on 0, 40" in shown.output
    assert "which nobody can know" in shown.output
    assert json.loads((tmp_path / "run" / "winner.json").read_text())["space"] == "tss"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--target-domain", "41"], "nearest: 40"),
        (["--target-domain", "0", "--source-domains", "0,20"], "is among the sources"),
        (["--target-domain", "0", "--source-domains", "20"], "one source domain"),
        (["--side", "32"], "--side 32"),
        (["--images", "cifar10"], "have no domains"),
        (["--select", "best"], "unknown selection 'best'"),
        (["--set", "generator=gan"], "generator"),
        (["--set", "warmup=0.8"], "search = 0.4"),
        (["--set", "cell=99999"], "99999"),
        (["--set", "lambda_ot=-1"], "lambda_ot = -1"),
    ],
)
def test_bad_input_is_refused_with_what_was_expected(words, told):
    images = [] if "--images" in words else ["--images", "digits"]
    asked = ["--algo", "nas-ood", "--space", "tss", "--epochs", "1", "--device", "cpu", *images, *words]
    error = CliRunner().invoke(command, asked).exception
    assert isinstance(error, UsageError)
    assert told in str(error)


def test_others_can_be_held_out_too_and_select_needs_it():
    found = run("random.supernet", images=few_turned(), target_domain="0", epochs=1)
    assert found.summary()["held_out"]["target"] == "0"
    with pytest.raises(UsageError, match="no domain is held out; add --target-domain"):
        run("random.supernet", select="source")
    with pytest.raises(UsageError, match="say which is held out"):
        run("random.supernet", images=few_turned())
    with pytest.raises(UsageError, match="have no domains"):
        run("nas-ood", images=few_digits())


def test_the_variant_of_the_paper_has_the_weights_of_the_code():
    asked = registry.get("nas-ood.paper").defaults
    names = ("lambda_cycle", "lambda_ot", "lambda_ce", "adv_weight", "stage1_ratio", "ratio", "generator_lr", "lr")
    assert [asked[name] for name in names] == [10.0, 0.01, 0.01, 1.0, 1.0, 0.5, 1e-4, 3e-4]
