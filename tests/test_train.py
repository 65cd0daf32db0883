"""``nasharness train``: against a plain loop, killed and resumed, diverging, out of memory, beside the table."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nasharness.cli.train import command
from nasharness.errors import DataError, NasharnessError, UsageError
from nasharness.images import split
from nasharness.images.base import build
from nasharness.nets.tss import TssNet
from nasharness.runs.checkpoint import Keeper
from nasharness.runs.signals import Stopped
from nasharness.storage.sealed import seal
from nasharness.tables import open_table
from nasharness.training import nats, schedules
from nasharness.training.batches import DeviceImages
from nasharness.training.nats import NatsRecipe, Training
from nasharness.training.nats_run import TrainRequest, beside, train
from nasharness.training.watch import Diverged

ARCH = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|nor_conv_3x3~2|"
TINY = NatsRecipe(epochs=3, batch=128, channels=2, cells=1)
CPU = torch.device("cpu")


def request(**options):
    return TrainRequest(**{"space": "tss", "arch": ARCH, "images": "digits", "recipe": TINY, "device": "cpu"} | options)


def made_up(name="mine", side=8, count=60, classes=10, published=False):
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 256, (count + 20, 3, side, side), dtype=np.uint8), np.arange(count + 20) % classes
    parts = (x[:count], y[:count]), (x[count:], y[count:])
    return build(name, *parts, source="made up", classes=classes, published=published)


def training(images=None, scheme="full", recipe=TINY, **options):
    images = images or made_up()
    return Training("tss", ARCH, images, split(images, scheme=scheme), recipe, device=CPU, **options)


def without_seconds(columns):
    return {name: values for name, values in columns.items() if name != "train_s"}


def last_state(out):
    return Keeper(out / "checkpoints").last(kind=Training.kind)[1]


def same(one, two):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one if not str(key).endswith("_s"))
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupts, and its folder."""
    out = tmp_path_factory.mktemp("whole")
    return train(request(out=out / "run", split="validation")), out / "run"


def test_it_learns_and_says_what_it_did(whole):
    made, out = whole
    columns = made["epochs"]
    assert columns["train_loss"][0] > columns["train_loss"][-1]
    assert columns["test_acc"][-1] > 20
    assert {len(values) for values in columns.values()} == {3}
    assert made["test_acc"] == columns["test_acc"][-1]
    assert (made["arch"], made["dataset"], made["schedule"], made["seed"]) == (ARCH, "digits (validation)", 3, 0)
    assert made["train_s"] == pytest.approx(np.mean(columns["train_s"]))
    assert made["images"]["val"] == 287
    assert json.loads((out / "result.json").read_text()) == seal(json.loads(json.dumps(made)))
    log = (out / "log.csv").read_text().splitlines()
    assert log[0].startswith("epoch,lr,train_loss,train_acc,val_loss,val_acc,test_loss,test_acc")
    assert len(log) == 4


def test_an_epoch_is_the_plain_loop_of_the_recipe():
    images = made_up(count=70)
    run = training(images, recipe=replace(TINY, epochs=2, batch=32), seed=4)
    net = TssNet(run.arch, 10, channels=2, cells=1, generator=nats._stream(4, 0, "cpu"))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    batches = DeviceImages(images.train_x, images.train_y, images.mean, images.std)
    for epoch, lr in ((1, 0.1), (2, 0.05)):  # half a cosine over two epochs
        optimiser.param_groups[0]["lr"] = lr
        sizes = []
        for x, y in batches.batches(32, nats._stream(4, epoch, "cpu")):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(x), y).backward()
            optimiser.step()
            sizes.append(len(y))
        assert sizes == [32, 32, 6]
    rows = list(run.epochs())
    for name, weights in net.state_dict().items():
        torch.testing.assert_close(run.net.state_dict()[name], weights, rtol=0, atol=1e-6)
    assert [row.lr for row in rows] == pytest.approx([0.1, 0.05])
    net.eval()
    plain = (torch.tensor(images.test_x) / 255 - torch.tensor(images.mean).view(3, 1, 1)) / torch.tensor(
        images.std
    ).view(3, 1, 1)
    right = (net(plain.float()).argmax(1) == torch.tensor(images.test_y)).float().mean()
    assert rows[-1].test_acc == pytest.approx(100 * float(right))


KILLED = """
import os, signal, sys
from pathlib import Path
from nasharness.training.nats import NatsRecipe
from nasharness.training.nats_run import TrainRequest, train

def step(done, total, label, detail, line):
    if done == total // 2 + 1:
        os.kill(os.getpid(), signal.SIGKILL)

recipe = NatsRecipe(epochs=3, batch=128, channels=2, cells=1)
train(TrainRequest("tss", sys.argv[2], "digits", recipe, device="cpu", out=Path(sys.argv[1]), split="validation"),
      step)
"""


def test_compiled_it_is_the_same_training(monkeypatch):
    seen, whole_compile = [], torch.compile

    def compiled(net):
        seen.append(net)
        return whole_compile(net, backend="eager")  # a graph of the network, and no need of a C++ compiler

    monkeypatch.setattr(torch, "compile", compiled)
    images = made_up(count=64)
    plain, fast = (training(images, recipe=replace(TINY, epochs=2, batch=32), compile=on) for on in (False, True))
    assert seen == [fast.net]
    for one, other in zip(plain.epochs(), fast.epochs(), strict=True):
        assert (one.train_loss, one.test_loss) == pytest.approx((other.train_loss, other.test_loss), rel=1e-5)
    assert fast.state()["network"].keys() == plain.state()["network"].keys()  # one resumes the other


def test_killed_in_mid_epoch_and_resumed_it_ends_with_the_same_bits(whole, tmp_path):
    made, out = whole
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "run"), ARCH]
    assert subprocess.run(arguments, check=False).returncode == -9
    assert len(last_state(tmp_path / "run")["rows"]) == 1  # killed in the second epoch
    with pytest.raises(UsageError, match="add --resume"):
        train(request(out=tmp_path / "run", split="validation"))
    resumed = train(request(out=tmp_path / "run", split="validation", resume=True))
    assert without_seconds(resumed["epochs"]) == without_seconds(made["epochs"])
    assert same(last_state(tmp_path / "run"), last_state(out))
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 4


def test_a_finished_run_resumed_is_as_it_was(whole):
    made, out = whole
    assert train(request(out=out, split="validation", resume=True)) == made


def test_another_run_s_checkpoint_is_refused(whole):
    _, out = whole
    for change, what in [
        ({"arch": 0}, "arch"),
        ({"seed": 1}, "seed"),
        ({"recipe": replace(TINY, epochs=4)}, "epochs"),
        ({"split": "halves"}, "split"),
    ]:
        with pytest.raises(UsageError, match=rf"belongs to another run; different: {what} \(checkpoint"):
            train(request(**{"out": out, "split": "validation", "resume": True} | change))
    path = Keeper(out / "checkpoints").steps()[-1]
    copy = out.parent / "damaged" / "checkpoints"
    copy.mkdir(parents=True)
    (copy / path.name).write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="damaged"):
        train(request(out=copy.parent, split="validation", resume=True))


def test_a_loss_that_is_no_number_stops_and_the_last_good_checkpoint_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(schedules, "cosine", lambda base, epochs: lambda epoch: 0.1 if epoch == 1 else 1e30)
    with pytest.raises(Diverged, match=r"at step 1\d .*learning rate 1e\+30"):
        train(request(out=tmp_path))
    state = last_state(tmp_path)
    assert len(state["rows"]) == 1
    assert all(torch.isfinite(values).all() for values in state["network"].values())
    assert not (tmp_path / "result.json").exists()


def test_too_little_gpu_memory_says_what_to_lower(monkeypatch):
    def fail(self, x, y):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Training, "_step", fail)
    with pytest.raises(DataError, match="too little memory.*lower --batch"):
        list(training().epochs())


def test_a_signal_stops_it_and_says_how_to_go_on(tmp_path):
    def step(done, total, label, detail, line):
        if done and done == total // 2:
            os.kill(os.getpid(), 15)

    with pytest.raises(Stopped, match="stopped in epoch 2; epoch 1 is kept in .* --resume") as stopped:
        train(request(out=tmp_path), step)
    assert stopped.value.exit_code == 75


def test_the_size_space_and_half_of_the_test_images():
    images = made_up("cifar100", classes=100, count=200, published=True)
    recipe = NatsRecipe(epochs=1, batch=50)
    run = Training("sss", 0, images, split(images), recipe, device=CPU)
    (row,) = run.epochs()
    assert row.val_acc is not None
    assert asdict(row)["test_acc"] >= 0
    with pytest.raises(UsageError, match="widths"):
        Training("sss", 0, images, split(images), replace(recipe, channels=8), device=CPU)


def test_the_table_s_number_beside(data_home):
    images = made_up("cifar10", published=True)
    halves = split(images, scheme="halves")
    run = Training("tss", 1234, images, halves, NatsRecipe(epochs=200), device=CPU)
    table = beside(run, images, halves)
    (row,) = table["rows"]
    values = open_table("tss", "embedded").array("cifar10-valid", "val_acc", 200)[-1, :, 1234]
    assert row["percent"] == pytest.approx(float(np.nanmean(values)))
    assert (row["table"], row["metric"], row["schedule"]) == ("embedded", "val_acc", 200)
    assert table["same"]
    assert table["notes"] == []
    short = Training("tss", 1234, images, halves, NatsRecipe(epochs=2, batch=64, cells=1), device=CPU)
    notes = beside(short, replace(images, published=False), halves)["notes"]
    assert [" ".join(note.split()[:3]) for note in notes] == [
        "the images are", "no table here", "the network is", "batch or learning",
    ]  # fmt: skip
    full = split(images, scheme="full")
    assert beside(run, images, full)["notes"] == ["no table here has cifar10"]


def test_the_command(tmp_path):
    def run(*arguments):
        base = ["--space", "tss", "--arch", ARCH, "--images", "digits", "--epochs", "1", "--device", "cpu"]
        return CliRunner().invoke(command, [*base, "--channels", "2", "--cells", "1", *map(str, arguments)])

    result = run("--out", tmp_path / "run")
    assert result.exception is None, result.exception
    for text in ("1,437 training images train", "epoch    1", "no table here has digits", "result.json"):
        assert text in result.output
    made = json.loads(run("--json", "--batch", 512).stdout)
    assert made["kind"] == "trained"
    for arguments, message in [
        (("--arch", "20000"), "20000"),
        (("--images", "digit"), "nearest: digits"),
        (("--epochs", "0"), "--epochs 0"),
        (("--batch", "0"), "--batch 0"),
        (("--lr", "-1"), "learning rate -1"),
        (("--lr", "nan"), "learning rate nan"),
        (("--seed", "-1"), "--seed -1"),
        (("--device", "gpu"), "unknown device"),
        (("--precision", "fp8"), "unknown precision"),
        (("--split", "half"), "unknown split"),
        (("--resume",), "give --out"),
        (("--space", "tsss"), "nearest: tss"),
        (("--images", "cifar10", "--data", tmp_path), "nasharness data fetch cifar10"),
        (("--out", tmp_path / "run"), "add --resume"),
    ]:
        error = run(*arguments).exception
        assert isinstance(error, NasharnessError), (arguments, error)
        assert message in str(error)
