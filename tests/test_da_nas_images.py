"""DA-NAS on images: classes that come, candidates that go, what it costs, and that a killed run goes on bit for bit."""

import contextlib
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nasharness import spaces
from nasharness.cli.run import command
from nasharness.errors import DataError, NasharnessError
from nasharness.images import split
from nasharness.images.base import build
from nasharness.runs.signals import Stopped

torch = pytest.importorskip("torch")

from nasharness.algorithms.staging import ends, quotas_of, shares  # noqa: E402

from nasharness.supernets.build import build as supernet  # noqa: E402
from nasharness.supernets.difficulty import difficulty  # noqa: E402
from nasharness.supernets.lessons import Lessons  # noqa: E402
from nasharness.supernets.testing import synthetic_images  # noqa: E402
from nasharness.training.batches import DeviceImages  # noqa: E402
from tests.one_shot_fixtures import few_digits, made_up, run  # noqa: E402
from tests.test_one_shot_run import assert_equal, kept  # noqa: E402

TSS = spaces.get("tss")
FAST = {"samples": 10, "candidates": 4, "reference": 1}


def held(part, images):
    return DeviceImages(*part, images.mean, images.std, flip=images.mirrored)


@pytest.fixture(scope="module")
def lessons():
    images = few_digits()
    parts = split(images, scheme="validation", fraction=0.2)
    return Lessons(
        held(parts.weights, images), held(parts.arch, images), images.class_names, size=16, judging_size=32
    )  # fmt: skip


def test_an_epoch_is_of_its_classes_and_goes_through_them_so_often(lessons):
    taught = np.arange(10) < 3
    chosen = lessons.teach(taught, 2)
    assert chosen.tolist() == taught.tolist()
    batches = list(lessons.batches(0, 0))
    count = int((lessons.weights.labels < 3).sum())
    assert len(batches) == lessons.steps == 2 * (count // 16)
    assert all(int(labels.max()) < 3 for batch in batches for _, labels in batch)
    assert int(lessons.to_score(torch.Generator())[1].max()) < 3
    assert lessons.teach(np.ones(10, dtype=bool), 1) is None
    assert {int(label) for (_, labels), _ in lessons.batches(0, 0) for label in labels} == set(range(10))


def test_the_classifier_grows_and_keeps_its_rows():
    """A step with three of five classes taught is a step of a classifier of three rows; the others stay."""
    net = supernet("tss", 5, channels=4, cells=1, generator=torch.Generator().manual_seed(0)).double().train()
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.tensor([0, 3, 4, 4, 0, 3])
    rows = torch.tensor([0, 3, 4])
    gates = net.gates_of(6111)
    whole = net.head.classifier
    before = whole.weight.detach().clone()
    small = torch.nn.Linear(whole.in_features, 3).double()
    with torch.no_grad():
        small.weight.copy_(whole.weight[rows])
        small.bias.copy_(whole.bias[rows])
    seen = []
    hook = whole.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    net.taught = torch.tensor([True, False, False, True, True])
    logits = net(x, gates)
    hook.remove()
    assert torch.isinf(logits[:, [1, 2]]).all()
    loss = torch.nn.functional.cross_entropy(logits, y)
    alone = torch.nn.functional.cross_entropy(small(seen[0]), torch.searchsorted(rows, y))
    torch.testing.assert_close(loss, alone)
    for module, value in ((whole, loss), (small, alone)):
        for parameter, gradient in zip(
            module.parameters(), torch.autograd.grad(value, list(module.parameters())), strict=True
        ):
            parameter.data -= 0.5 * gradient
    torch.testing.assert_close(whole.weight[rows], small.weight)
    assert torch.equal(whole.weight[[1, 2]], before[[1, 2]])
    net.taught = None  # it has grown
    torch.testing.assert_close(net(x, gates)[:, rows], small(seen[0]))


def test_difficulty_is_deterministic_and_finds_the_class_that_stands_out():
    rng = np.random.default_rng(0)

    def part(count):
        labels = np.arange(count) % 4
        pixels = rng.integers(0, 120, (count, 3, 8, 8))
        pixels[labels == 2] += 130  # bright; the others are the same noise
        return pixels.astype(np.uint8), labels

    images = build("made", part(800), part(80), source="noise", classes=4, mirrored=False)
    parts = split(images, scheme="validation", fraction=0.3)

    def found(seed):
        sets = held(parts.weights, images), held(parts.arch, images)
        return difficulty(*sets, 4, epochs=3, seed=seed, autocast=contextlib.nullcontext)

    hard = found(0)
    assert hard.shape == (4,)
    assert hard.argmin() == 2
    assert np.array_equal(hard, found(0))
    assert not np.array_equal(hard, found(1))


def settings(**changes):
    return FAST | changes


def rows(result):
    return result.runs[0].epochs


def test_stages_grow_the_classes_and_shrink_the_candidates_at_the_cost_that_is_said():
    result = run("da-nas", epochs=3, batch=16, settings=settings(), validation=0.25)
    found = rows(result)
    assert [row.numbers["classes"] for row in found] == [4, 7, 10]
    assert [row.lr for row in found] == pytest.approx([found[0].lr] * 3, abs=0.02)  # it falls in each
    assert [row.left for row in found] == [(18, 30), (12, 30), (12, 30)]
    assert "easy classes first" in found[0].remark
    images = few_digits()
    parts = split(images, scheme="validation", fraction=0.25)
    labels = parts.weights[1]
    order = [images.class_names.index(name) for name in found[0].remark.split("first: ")[1].split(";")[0].split(", ")]
    cost = len(labels) + len(parts.arch[1])  # the small network
    for count, passes in ((4, 5), (7, 3), (10, 2)):
        there = np.isin(labels, order[:count]).sum()
        cost += passes * (there // 16) * 16
    for count in (4, 7):
        cost += FAST["samples"] * min(32, np.isin(parts.arch[1], order[:count]).sum())
    assert found[-1].cost > cost  # and the contest
    most = FAST["candidates"] * 32 + 4 * 2 * 32
    assert found[-1].cost <= cost + most
    assert result.summary()["images_x_candidates"]["mean"] == found[-1].cost
    assert f"{found[-1].cost:,.0f} images x candidates" in str(result)


def test_without_stages_all_is_equal_but_the_data_and_the_dropping():
    found = rows(run("da-nas", epochs=2, settings=settings(stages="1")))
    assert [row.left for row in found] == [(30, 30)] * 2
    assert [row.numbers["classes"] for row in found] == [10, 10]
    assert found[0].remark == ""
    steps = few_digits().train_y.size * 4 // 5 // 64
    assert found[0].cost == 5 * steps * 64
    everything = rows(run("da-nas", epochs=3, settings=settings(stages="1,1,1")))
    assert [row.left for row in everything] == [(18, 30), (12, 30), (12, 30)]


def test_a_mixture_costs_every_candidate():
    (row,) = rows(run("darts", epochs=1))
    steps = few_digits().train_y.size * 4 // 5 // 64
    assert row.cost == 5 * 2 * steps * 64  # weights, and the architecture


KILLED = """
    import sys
    from tests.one_shot_fixtures import run

    def watch(done, total, label, detail, line):
        print(1 + (done - 1) // (total // 3), 1 + (done - 1) % (total // 3), flush=True)

    settings = {"samples": 10, "candidates": 4, "reference": 1}
    run("da-nas", epochs=3, settings=settings, out=sys.argv[1], progress=watch)
"""


class Stop:
    """Presses Ctrl-C in the first step of an epoch."""

    def __init__(self, epoch, epochs):
        self.epoch, self.epochs = epoch, epochs

    def __call__(self, done, total, label, detail, line):
        steps = total // self.epochs
        if not line and done == (self.epoch - 1) * steps + 1:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.slow
def test_killed_in_the_second_stage_and_resumed_is_uninterrupted(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    for line in process.stdout:
        if line.split() == ["2", "2"]:
            process.kill()
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert len(kept(tmp_path / "killed")["rows"]) == 1
    run("da-nas", out=tmp_path / "killed", resume=True, epochs=3, settings=FAST)
    run("da-nas", out=tmp_path / "whole", epochs=3, settings=FAST)
    assert_equal(kept(tmp_path / "killed"), kept(tmp_path / "whole"))


@pytest.mark.parametrize("score", ["probability", "speed"])
def test_the_evidence_of_a_stage_survives_an_interruption(tmp_path, score):
    """Within the first stage, of two epochs, and behind it."""
    options = {"epochs": 4, "settings": settings(score=score)}
    for epoch in (2, 3):
        with pytest.raises(Stopped, match=f"stopped in epoch {epoch}"):
            run("da-nas", out=tmp_path / "cut", progress=Stop(epoch, 4), resume=epoch == 3, **options)
    run("da-nas", out=tmp_path / "cut", resume=True, **options)
    run("da-nas", out=tmp_path / "whole", **options)
    assert_equal(kept(tmp_path / "cut"), kept(tmp_path / "whole"))


@pytest.fixture(scope="module")
def search():
    from nasharness.search import registry
    from nasharness.supernets import testing

    def make(**changed):
        made = testing.session("da-nas", "tss")
        record = registry.get("da-nas")
        return record.build_one_shot(made.task, record.settings({key: str(value) for key, value in changed.items()}))

    return make


def test_paths_take_turns_over_what_is_left(search):
    found = search()
    found._alive[0, 1:3] = False
    paths = found.draw(60)
    for position, alive in enumerate(found._alive):
        count = np.bincount(paths[:, position], minlength=5)
        assert count[~alive].sum() == 0
        assert np.ptp(count[alive]) <= 12 * (alive.sum() < 5)
    assert np.ptp(np.bincount(paths[:, 3], minlength=5)) == 0


def test_quotas_hold_ties_keep_the_order_and_the_unseen_stays(search):
    found = search()
    scores = np.zeros((6, 5))
    scores[0, 4] = np.inf
    assert found._drop(scores, [3] * 6) == 12
    assert found.surviving()[0].tolist() == [True, True, False, False, True]
    assert found.surviving()[1:].tolist() == [[True] * 3 + [False] * 2] * 5
    before = found.surviving()
    found._drop(np.arange(30.0).reshape(6, 5), [2] * 6)
    assert (found.surviving() & ~before).sum() == 0
    assert (found.surviving().sum(axis=1) == 2).all()


def test_networks_that_pass_nothing_on_are_not_all_that_is_left(search):
    with pytest.raises(DataError, match="raise quotas"):
        search()._drop(np.tile([1.0, 0, 0, 0, 0], (6, 1)), [1] * 6)


def test_the_marginal_score_is_the_mean_of_the_paths_with_a_candidate(search):
    found = search()
    paths = np.array([[0, 1, 2, 3, 4, 0], [0, 2, 2, 3, 4, 1]], dtype=np.int8)
    known = found._marginals(paths, np.array([0.25, 0.75]))
    assert known[0, 0] == 0.5
    assert (known[1, 1], known[1, 2]) == (0.25, 0.75)
    assert np.isinf(known[0, 1])


def test_the_policy_learns_what_is_rewarded(search, monkeypatch):
    """Reward for one operation of the first edge: it is the one that becomes probable."""
    from nasharness.supernets import policy

    found = search(score="probability", lr=0.1)
    monkeypatch.setattr(found, "_gates", lambda path: path)

    def forward(task, path, images):
        return torch.tensor([[4.0 * (path[0] == 3), 0.0]])

    monkeypatch.setattr(policy, "forward", forward)

    class Now:
        arch_images, arch_labels = None, torch.tensor([0])

    for _ in range(150):
        found._reinforce(Now)
    assert found.probabilities()[0].argmax() == 3
    assert found.probabilities()[0, 3] > 0.6


def test_speed_is_the_slope_of_the_loss(search):
    found = search(score="speed")
    for step in range(1, 11):
        for option, slope in enumerate((0.1, 0.2, 0.3, 0.0, 0.05)):
            now = np.array([step * (2 - slope * step), step, step * step])
            found._seen[:, 0, option] += now
    found._first = np.array([4.0, 2])
    np.testing.assert_allclose(found._scores()[0], [0.1, 0.2, 0.3, 0.0, 0.05], atol=1e-12)


def test_stages_lengths_and_quotas_are_what_they_say():
    assert shares("0.4,0.7,1") == [0.4, 0.7, 1]
    assert shares("1") == [1]
    assert ends(12, [2, 1, 1], 3) == [6, 9, 12]
    assert ends(1, [1, 1, 1], 3) == [0, 0, 1]
    assert quotas_of("", (9, 5, 4, 2), 3) == [[4, 3, 3, 2], [2, 2, 2, 2]]
    assert quotas_of("4,2", (9, 5, 2), 3) == [[4, 4, 2], [2, 2, 2]]
    assert quotas_of("", (5, 5), 1) == []


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("stages=0.5", "the last 1"),
        ("stages=1,0.5", "growing shares"),
        ("stages=all", "0.4,0.7,1"),
        ("quotas=3,0", "0 leaves nothing"),
        ("quotas=2,3", "falling"),
        ("quotas=3", "expected 2"),
        ("lengths=1,2", "expected 3"),
        ("score=loss", "marginal"),
        ("order=size", "easy"),
        ("reference=0", "at least 1"),
    ],
)
def test_bad_settings_are_refused_with_what_was_expected(setting, told):
    name, _, value = setting.partition("=")
    with pytest.raises(NasharnessError) as error:
        run("da-nas", settings={name: value})
    assert told in str(error.value)


def test_a_class_without_images_is_named():
    whole = made_up("made", 3, images=60)
    keep = whole.train_y != 1
    images = build(
        "digits", (whole.train_x[keep], whole.train_y[keep]), (whole.test_x, whole.test_y), source="two of three",
        classes=3, class_names=("cat", "dog", "cow"),
    )  # fmt: skip
    options = {"images": images, "epochs": 3, "batch": 8, "settings": settings()}
    with pytest.raises(DataError, match="class 'dog' has no images that train weights"):
        run("da-nas", **options)
    run("da-nas", **options | {"settings": settings(stages="1")})  # which needs no order of classes


@pytest.mark.parametrize("side", [12, 16])
def test_images_of_another_size_do(side):
    result = run("da-nas", images=_named(synthetic_images(side)), epochs=2, batch=8, settings=settings())
    assert len(rows(result)) == 2


def _named(images):
    part = (images.train_x, images.train_y), (images.test_x, images.test_y)
    return build("digits", *part, source=images.source, classes=images.classes)


def test_a_path_of_the_fbnet_supernet_is_the_exported_network():
    space = spaces.get("fbnet")
    net = supernet("fbnet", 4, channels=8, cells=1, side=8, generator=torch.Generator().manual_seed(0)).double()
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for arch in space.sample(np.random.default_rng(0).random((2, 22))):
        for training in (True, False):
            net.train(training)
            torch.testing.assert_close(net(x, net.gates_of(arch)), net.export(arch)(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("space", ["mobile", pytest.param("fbnet", marks=pytest.mark.slow)])
def test_chains_are_searched_and_their_winner_is_a_vector(tmp_path, space):
    images = _named(synthetic_images())
    asked = settings(samples=4, candidates=2, stages="0.5,1", lengths="1,1", quotas="2")
    result = run("da-nas", space, images=images, epochs=2, batch=32, channels=8, cells=None, settings=asked)
    sizes = spaces.get(space).sizes
    assert result.winner.shape == (len(sizes),)
    assert rows(result)[-1].left[0] == sum(min(size, 2) for size in sizes)
    assert (result.write(tmp_path / space) / "winner.json").exists()


def test_the_command_runs_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr("nasharness.images.load", lambda *_: few_digits())
    words = ["--algo", "da-nas", "--space", "tss", "--images", "digits", "--device", "cpu", "--epochs", "3"]
    words += [word for key, value in FAST.items() for word in ("--set", f"{key}={value}")]
    shown = CliRunner().invoke(command, [*words, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "easy classes first" in shown.output
    assert "images x candidates a run" in shown.output
    assert (tmp_path / "out" / "winner.json").exists()
