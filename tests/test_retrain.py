"""From a folder of JPEG files to an exported network; and everything that may happen on the way."""

from __future__ import annotations

import colorsys
import copy
import hashlib
import json
import signal
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

from nasharness.cli import export as export_cli  # noqa: E402
from nasharness.cli import figures as figures_cli  # noqa: E402
from nasharness.cli import predict as predict_cli  # noqa: E402
from nasharness.cli import retrain as retrain_cli  # noqa: E402
from nasharness.errors import DataError, NasharnessError, UsageError  # noqa: E402
from nasharness.nets import imagenet  # noqa: E402
from nasharness.runs import checkpoint, log  # noqa: E402
from nasharness.training import schedules  # noqa: E402
from nasharness.training.imagenet import augment, loader, recipes, sources  # noqa: E402
from nasharness.training.imagenet.decode import central, decode  # noqa: E402
from tests.retrain_fixtures import pictures, process, shards, tiny  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr(imagenet, "build", tiny)


def arguments(data, out, *more):
    return [str(word) for word in (
        "--network", "tiny", "--task", "imagenet", "--data", data, "--out", out, "--size", 24, "--batch", 10,
        "--epochs", 4, "--workers", 0, "--device", "cpu", *more,
    )]  # fmt: skip


def retrain(data, out, *more):
    return retrain_cli.command.main(arguments(data, out, *more), standalone_mode=False)


def final(out):
    """Everything the last checkpoint holds but the time it took."""
    _, state = checkpoint.Keeper(out / "checkpoints").last(kind="retrain")
    del state["seconds"]
    return state


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def without_times(rows):
    return [{key: row[key] for key in row if key not in ("images_per_s", "memory_gib")} for row in rows]


@pytest.mark.timeout(900)
def test_from_folder_to_prediction(folder, tmp_path, capsys):
    winner = {"space": "tss", "dataset": "cifar10", "algorithm": "rea", "table": {"source": "t"}, "protocol": {}}
    chosen = {"label": "most-recommended", "index": 5, "arch": "|x|", "signal": 90.0, "final": 94.1, "votes": 3}
    other = {"label": "best-signal", "index": 6, "arch": "|y|", "signal": 91.0, "final": 93.0, "votes": 1}
    (tmp_path / "winner.json").write_text(json.dumps(winner | {"candidates": [other, chosen]}))
    out = tmp_path / "run"
    words = arguments(folder, out, "--recipe", "nats", "--epochs", 15, "--ema", 0.9, "--workers", 1, "--lr", 1.0)[2:]
    retrain_cli.command.main(["--winner", str(tmp_path), "--candidate", "2", *words], standalone_mode=False)
    said = capsys.readouterr().out
    pytest.importorskip("matplotlib")
    assert said.startswith("rea on tss cifar10 -> table 94.10 % (t) -> tss |x|, imagenet 15 epochs (nats): top-1 ")
    record = json.loads((out / "retrained.json").read_text())
    assert record["winner"] == winner | {"winner": chosen}
    assert record["table"]["final"] == 94.1
    assert record["images"] == {"train": 60, "val": 30, "unreadable": 0}
    assert record["best"]["top1"] > 50
    assert len((out / "log.csv").read_text().splitlines()) == 1 + 15 + 1  # header, epochs, the row of step 50
    figures_cli.command.main([str(out)], standalone_mode=False)
    drawn = (out / "figures" / "training.csv").read_text().splitlines()
    assert drawn[0] == "step,loss,val_loss,ema_loss,val_top1,ema_top1,lr"
    assert len(drawn) == 17
    assert {path.suffix for path in (out / "figures").iterdir()} == {".csv", ".png", ".pdf"}
    capsys.readouterr()
    image = folder / "val" / "class03" / "000.jpg"
    answers = []
    for model in ("run", "net.pt2", "net.onnx"):
        if model == "net.onnx":
            pytest.importorskip("onnxscript")
        if model != "run":
            export_cli.command.main([str(out), "-o", str(tmp_path / model)], standalone_mode=False)
            written = capsys.readouterr()
            assert "largest difference" in written.out
            assert "torchvision" not in written.err  # what torch's exporter does without is not the user's business
        trust = ["--trust"] if model == "net.pt2" else []
        words = [str(out if model == "run" else tmp_path / model), str(image), "--top", "3", "--json", *trust]
        predict_cli.command.main(words, standalone_mode=False)
        answers.append(json.loads(capsys.readouterr().out)["classes"])
    assert [item["class"] for item in answers[0]][0].startswith("class")
    for answer in answers[1:]:
        assert [item["class"] for item in answer] == [item["class"] for item in answers[0]]
        for one, other in zip(answer, answers[0], strict=True):
            assert one["probability"] == pytest.approx(other["probability"], rel=1e-3)
    card = (tmp_path / "net.pt2.md").read_text()
    assert hashlib.sha256((tmp_path / "net.pt2").read_bytes()).hexdigest() in card
    for fact in (f"top-1 {record['headline']['top1']:.2f} %", "| epochs | 15 |", "| seed | 0 |", "rea on tss cifar10"):
        assert fact in card
    assert str(tmp_path) not in card
    held_by = pytest.importorskip("safetensors")
    export_cli.command.main([str(out), "-o", str(tmp_path / "net.safetensors")], standalone_mode=False)
    with held_by.safe_open(str(tmp_path / "net.safetensors"), "pt") as file:
        names = json.loads(file.metadata()["nasharness.json"])["class_names"]
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    network = tiny(None, len(names))
    network.load_state_dict(weights)
    averaged = final(out)["trainer"]["ema"]["average"]["0.weight"]  # the headline's weights are what is taken out
    assert torch.equal(network[0].weight.detach(), averaged)
    assert "No code is in it" in (tmp_path / "net.safetensors.md").read_text()
    with pytest.raises(UsageError, match="--trust"):
        predict_cli.command.main([str(tmp_path / "net.pt2"), str(image)], standalone_mode=False)
    (tmp_path / "torn.jpg").write_bytes(image.read_bytes()[:500])
    with pytest.raises(DataError, match=r"cannot read 1 of 2 images; .*torn.jpg"):
        predict_cli.command.main([str(out), str(tmp_path / "torn.jpg"), str(image)], standalone_mode=False)


@pytest.mark.timeout(1500)
def test_killed_preempted_resumed_is_the_same_run(folder, tmp_path):
    """kill -9, then SIGTERM, then a resume: every bit as if nothing had happened."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    more = ["--batch", 2, "--epochs", 6, "--mixup", 0.2, "--accumulate", 2, "--batch", 4]
    retrain(folder, whole, *more)
    often = ["--checkpoint-minutes", 0.00001]
    words = ["retrain", *arguments(folder, broken, *more, *often, "--workers", 1)]
    first = process(*words)
    wait_for(first, broken / "checkpoints", 1)
    first.kill()
    first.communicate()
    reached = checkpoint.Keeper(broken / "checkpoints").steps()[-1]
    second = process(*words, "--resume")
    wait_for(second, broken / "checkpoints", 1, after=reached)
    second.send_signal(signal.SIGTERM)
    _, said = second.communicate(timeout=600)
    assert second.returncode == 75, said
    assert "stopped at step" in said
    assert "--resume goes on" in said
    assert "Traceback" not in said
    retrain(folder, broken, *more, "--resume")
    assert same(final(whole), final(broken))
    assert without_times(log.read(whole)) == without_times(log.read(broken))


def wait_for(running, checkpoints, count, after=None):
    """Wait until a process has written checkpoints newer than ``after``."""
    end = time.monotonic() + 600
    while time.monotonic() < end:
        found = [path for path in checkpoints.glob("step-*.pt") if after is None or path.name > after.name]
        if len(found) >= count:
            return
        if running.poll() is not None:
            pytest.fail(f"the process has ended too early: {running.communicate()[1]}")
        time.sleep(0.01)
    pytest.fail("no checkpoint came")


def test_resume_in_the_middle_of_an_epoch(folder, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    more = ["--batch", 3, "--epochs", 2, "--recipe", "darts"]
    retrain(folder, whole, *more)
    real = retrain_cli.Progress

    class Ending(real):
        def __call__(self, done, total, label="", detail="", line=""):
            if done == 33:
                signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(retrain_cli, "Progress", Ending)
        with pytest.raises(NasharnessError, match="stopped at step 11 of 40") as caught:
            retrain(folder, broken, *more)
        assert caught.value.exit_code == 75
    retrain(folder, broken, *more, "--resume")
    assert same(final(whole), final(broken))


def test_what_cannot_be_resumed_is_said(folder, tmp_path):
    retrain(folder, tmp_path / "run", "--epochs", 1)
    with pytest.raises(UsageError, match="holds a run: add --resume"):
        retrain(folder, tmp_path / "run", "--epochs", 1)
    with pytest.raises(UsageError, match=r"different: epochs \(checkpoint: 1, now: 2\)"):
        retrain(folder, tmp_path / "run", "--epochs", 2, "--resume")
    before = (tmp_path / "run" / "log.csv").read_bytes()
    retrain(folder, tmp_path / "run", "--epochs", 1, "--resume")  # finished: the record is written again
    assert (tmp_path / "run" / "log.csv").read_bytes() == before


def test_unreadable_images(tmp_path):
    data = pictures(tmp_path / "data", classes=3, train=4, val=2)
    torn = data / "train" / "class01" / "002.jpg"
    torn.write_bytes(torn.read_bytes()[:-200])
    (data / "val" / "class00" / "000.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"class01/002.jpg cannot be read: .*truncated.*--bad-images skip"):
        retrain(data, tmp_path / "fail", "--batch", 4, "--epochs", 1, "--bad-images", "fail")
    with pytest.raises(DataError, match="2 images cannot be read, more than --bad-limit 1 allows"):
        retrain(data, tmp_path / "limit", "--batch", 4, "--epochs", 1, "--bad-limit", 1)
    retrain(data, tmp_path / "skip", "--batch", 4, "--epochs", 2, "--workers", 1)
    record = json.loads((tmp_path / "skip" / "retrained.json").read_text())
    assert record["images"] == {"train": 12, "val": 5, "unreadable": 2}
    assert len((tmp_path / "skip" / "bad_images.txt").read_text().splitlines()) == 2


def test_wrong_folders_and_classes(tmp_path, folder):
    data = pictures(tmp_path / "data", classes=3, train=2, val=1)
    for text, change in (
        ("has 3 classes: leave --classes out, or give 3", lambda: retrain(data, tmp_path / "o", "--classes", 7)),
        ("there is no such folder", lambda: retrain(tmp_path / "absent", tmp_path / "o")),
        ("--batch 10 cannot be shared evenly", lambda: retrain(data, tmp_path / "o", "--accumulate", 3)),
        ("expected a number above 0", lambda: retrain(data, tmp_path / "o", "--lr", 0)),
        ("--bad-images never: expected skip or fail", lambda: retrain(data, tmp_path / "o", "--bad-images", "never")),
        ("unknown device", lambda: retrain(data, tmp_path / "o", "--device", "gpu")),
    ):
        with pytest.raises(NasharnessError, match=text):
            change()
    for path in (data / "val" / "class02").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"class folder .*class02 has no image"):
        retrain(data, tmp_path / "o")
    (data / "val" / "class02").rmdir()
    with pytest.raises(DataError, match="2 classes and the training images 3; missing: class02"):
        retrain(data, tmp_path / "o")
    for path in sorted((data / "val").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(DataError, match="has no class folders"):
        retrain(data, tmp_path / "o")
    assert not (tmp_path / "o").exists()
    retrain(folder, tmp_path / "background", "--classes", 11, "--epochs", 1)
    assert json.loads((tmp_path / "background" / "run.json").read_text())["class_names"][:2] == [
        "background",
        "class00",
    ]


def test_shards_are_the_folder(folder, tmp_path):
    packed = shards(folder, tmp_path / "tar")
    retrain(folder, tmp_path / "a", "--epochs", 2)
    retrain(packed, tmp_path / "b", "--epochs", 2)
    assert same(final(tmp_path / "a"), final(tmp_path / "b"))


def test_shards_at_a_url_are_those_of_a_folder(folder, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    packed = shards(folder, tmp_path / "tar")
    store = fsspec.filesystem("memory")
    store.put(str(packed), "/bucket/images", recursive=True)
    try:
        for url in ("memory://bucket/images", f"file://{packed}"):
            for split in ("train", "val"):
                here, there = sources.open_split(packed, split), sources.open_split(url, split)
                assert (here.checksum, here.classes) == (there.checksum, there.classes)
                assert all(here.read(index) == there.read(index) for index in range(len(here)))
                assert copy.deepcopy(there).read(3) == here.read(3)  # as a process that decodes does
                assert there.name(0).startswith(f"{url}/{split}/00000.tar:")
        retrain("memory://bucket/images", tmp_path / "run", "--epochs", 1, "--workers", 1)
        retrain(packed, tmp_path / "run", "--epochs", 1, "--resume")  # the same images: the same run
        assert json.loads((tmp_path / "run" / "run.json").read_text())["data"] == "memory://bucket/images"
        for url, said in (
            ("memory://nowhere", "there is nothing at this URL"),
            ("memory://bucket", "there is no folder train"),
            ("nosuch://x", "nosuch.*expected a URL that fsspec knows"),
        ):
            with pytest.raises((DataError, UsageError), match=said):
                sources.open_split(url, "train")
        store.rm("/bucket/images/train", recursive=True)
        store.pipe("/bucket/images/train/class00/0.jpg", b"x")
        with pytest.raises(DataError, match="at a URL, images come in tar shards"):
            sources.open_split("memory://bucket/images", "train")
    finally:
        store.rm("/bucket", recursive=True)


def test_damaged_shards(folder, tmp_path):
    packed = shards(folder, tmp_path / "tar", each=30)
    shard = packed / "train" / "00000.tar"
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="00000.tar"):
        sources.open_split(packed, "train")
    shard.write_bytes(data.replace(b"000003.json", b"000003.text"))
    with pytest.raises(DataError, match="00000.tar"):
        sources.open_split(packed, "train")


def test_divergence_stops_and_keeps_what_was_good(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(schedules, "make", lambda *a, **k: lambda epoch: 0.01 if epoch == 1 else 1e30)
    with pytest.raises(
        NasharnessError, match=r"(loss is not a number|has diverged).* at step \d+ \(epoch 2, learning rate 1e\+30"
    ):
        retrain(folder, tmp_path / "run")
    path, state = checkpoint.Keeper(tmp_path / "run" / "checkpoints").last(kind="retrain")
    assert path.name == "step-000000006.pt"
    assert all(torch.isfinite(weight).all() for weight in state["trainer"]["network"].values())


def test_a_run_that_gets_no_better_is_ended_and_can_go_on(folder, tmp_path, capsys):
    out = tmp_path / "run"
    still = ["--lr", 1e-12, "--recipe", "nats", "--epochs", 12, "--cutmix", 1.0, "--rand-augment", "2,9"]
    retrain(folder, out, *still, "--stop-after", 2)
    record = json.loads((out / "retrained.json").read_text())
    assert record["epochs"] == record["best"]["epoch"] + 2 < 12
    assert "no better epoch in 2" in capsys.readouterr().err
    (out / "retrained.json").unlink()
    retrain(folder, out, *still, "--resume", "--stop-after", 2)  # ended is ended
    assert json.loads((out / "retrained.json").read_text())["epochs"] == record["epochs"]
    retrain(folder, out, *still, "--resume")
    assert json.loads((out / "retrained.json").read_text())["epochs"] == 12


def test_batches_do_not_depend_on_workers_or_processes(folder):
    recipe, source = recipes.get("shrinkcnn"), sources.open_split(folder, "train")
    images = loader.Images(source, recipe, size=16, seed=3, training=True)
    order = loader.Order(len(source), 8, seed=3)
    assert order.steps == 8  # 60 images: the last step is filled up

    def parts(first, rank=0, size=1, workers=0, accumulate=1):
        steps = loader.Steps(order, first, 12, rank=rank, size=size, accumulate=accumulate)
        return list(loader.training_batches(images, steps, workers=workers, pin=False))

    alone = parts(0)
    for others in (parts(0, workers=2), parts(0)[:5] + parts(5)):
        assert all(torch.equal(a.pixels, b.pixels) and torch.equal(a.numbers, b.numbers)
                   for a, b in zip(alone, others, strict=True))  # fmt: skip
    for whole, *shares in zip(alone, parts(0, 0, 2), parts(0, 1, 2), strict=True):
        for rank, share in enumerate(shares):
            assert torch.equal(whole.pixels[rank::2], share.pixels)
            assert torch.equal(whole.labels[rank::2], share.labels)
    four = parts(0, accumulate=4)  # the same four parts, however many processes have them
    for step in range(len(alone)):
        for rank, process_ in enumerate((parts(0, 0, 2, accumulate=2), parts(0, 1, 2, accumulate=2))):
            for part in range(2):
                assert torch.equal(process_[2 * step + part].pixels, four[4 * step + 2 * rank + part].pixels)
    counted = [
        raw.labels[raw.weights > 0]
        for rank in range(3)
        for raw in loader.validation_batches(images, batch=7, rank=rank, size=3, workers=0, pin=False)
    ]
    assert np.array_equal(np.sort(torch.cat(counted).numpy()), np.sort(source.labels))


def test_what_is_drawn_is_in_range():
    drawn = [augment.draw(recipes.get("shrinkcnn").augment, 224, 0, 1, index) for index in range(3000)]
    numbers = np.array([one.numbers for one in drawn])
    high, wide = numbers[:, 8], numbers[:, 9]
    erased = high > 0
    assert 0.45 < erased.mean() < 0.55
    assert (high[erased].min(), high[erased].max()) == (17, 223)
    assert abs(np.corrcoef(high[erased], wide[erased])[0, 1]) < 0.1  # independently
    assert 0.26 < (high * wide)[erased].mean() / 224**2 < 0.32  # docs/reproduction/training.md#imagenet: about 29 %
    assert ((numbers[:, 6] + high) <= 224).all()
    assert ((numbers[:, 7] + wide) <= 224).all()
    boxes = np.array([one.crop(500, 375) for one in drawn])
    sides = boxes[:, 2:] - boxes[:, :2]
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 500).all()
    assert (boxes[:, 3] <= 375).all()
    assert (sides.prod(1) / (500 * 375) > 0.7499).all()
    assert {one.resizer for one in drawn} == {"bilinear", "nearest", "bicubic", "area"}


def test_colours_against_the_standard_library():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 5, 5, generator=generator).double()
    turn, factor = torch.tensor([0.1, -0.1, 0.03, 0.0]).double(), torch.tensor([0.6, 1.4, 1.0, 1.2]).double()
    made = augment._hsv(images, turn.view(-1, 1, 1, 1), factor.view(-1, 1, 1, 1))
    for image, result, t, f in zip(images, made, turn, factor, strict=True):
        for pixel, got in zip(image.flatten(1).T.tolist(), result.flatten(1).T.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            expected = colorsys.hsv_to_rgb((hue + float(t)) % 1, min(1.0, saturation * float(f)), value)
            np.testing.assert_allclose(got, expected, atol=1e-12)
    neutral = torch.tensor([0.0, 1.0, 0.0, 1.0]).double().expand(4, 4)
    for blend in (True, False):
        torch.testing.assert_close(augment.jitter(images, torch.arange(4), neutral, blend=blend), images)
    brighter = neutral.clone()
    brighter[:, 0] = 0.4
    added = augment.jitter(images, torch.zeros(4), brighter, blend=False)
    torch.testing.assert_close(added, (images + 0.4).clamp(0, 1))


def test_erasing_fills_the_rectangle_and_nothing_else():
    recipe = recipes.get("nats")
    maker = augment.Augmenter(
        recipes.Augment(flip=0, erase=1.0), (0.0,) * 3, (1.0,) * 3, size=12, seed=0, device=torch.device("cpu")
    )
    numbers = torch.zeros(2, augment.COLUMNS)
    numbers[0, 6:] = torch.tensor([2.0, 3, 4, 5, 1, 7])
    pixels = torch.full((2, 12, 12, 3), 255, dtype=torch.uint8)
    made = maker(pixels, numbers)
    changed = (made[0] != 1).all(0)
    assert changed[2:6, 3:8].all()
    assert changed.sum() == 20
    assert (made[1] == 1).all()
    assert made[0, :, 2:6, 3:8].std() > 0.2
    assert recipe.augment.erase == 0


def test_evaluation_sees_the_centre(folder):
    data = (folder / "val" / "class04" / "000.jpg").read_bytes()
    assert central(0.875, square=False)(400, 200) == (25, 12.5, 375, 187.5)
    assert central(0.875, square=True)(400, 200) == (112.5, 12.5, 287.5, 187.5)
    assert decode(data, central(0.875, square=True), 24, "bicubic").shape == (24, 24, 3)
