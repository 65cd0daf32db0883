"""What full training on images refuses, in one line: names, archives, images, checkpoints, devices too small."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import sys
import tarfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

from nasharness.cli import retrain as retrain_cli  # noqa: E402
from nasharness.cli.terminal import use_processors  # noqa: E402
from nasharness.errors import DataError, UsageError  # noqa: E402
from nasharness.nets import imagenet  # noqa: E402
from nasharness.runs import checkpoint, log, signals  # noqa: E402
from nasharness.training import device, distributed  # noqa: E402
from nasharness.training.imagenet import augment, loader, loop, recipes, sources  # noqa: E402
from nasharness.training.imagenet.decode import BadImage, central, decode  # noqa: E402
from tests.retrain_fixtures import pictures, tiny  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("pictures"), classes=3, train=4, val=2)


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr(imagenet, "build", tiny)


def retrain(data, out, *more):
    words = (
        "--network", "tiny", "--task", "imagenet", "--data", data, "--out", out, "--size", 16, "--batch", 4,
        "--epochs", 2, "--workers", 0, "--device", "cpu", *more,
    )  # fmt: skip
    return retrain_cli.command.main([str(word) for word in words], standalone_mode=False)


def last(out):
    return checkpoint.Keeper(out / "checkpoints").last(kind="retrain")


def test_changed_options_are_named_one_by_one(folder, tmp_path):
    retrain(folder, tmp_path / "run", "--epochs", 1)
    with pytest.raises(UsageError) as caught:
        retrain(folder, tmp_path / "run", "--epochs", 1, "--resume", "--lr", 0.2, "--erase", 0.25, "--seed", 1)
    said = str(caught.value)
    assert "recipe.lr (checkpoint: 0.1, now: 0.2)" in said
    assert "recipe.augment.erase (checkpoint: 0.5, now: 0.25)" in said
    assert "seed (checkpoint: 0, now: 1)" in said
    assert "source" not in said
    assert said.count("checkpoint: ") == 3


def test_what_a_recipe_says_of_itself_is_no_setting(folder, tmp_path, monkeypatch):
    retrain(folder, tmp_path / "run", "--epochs", 1, "--recipe", "nats")
    reworded = recipes.dataclasses.replace(recipes.get("nats"), source="other words")
    monkeypatch.setitem(recipes.RECIPES, "nats", reworded)
    retrain(folder, tmp_path / "run", "--epochs", 1, "--recipe", "nats", "--resume")


@pytest.mark.parametrize("lost", ["trainer", "best", "bad", "seconds"])
def test_a_checkpoint_that_lacks_something(folder, tmp_path, lost):
    retrain(folder, tmp_path / "run", "--epochs", 1)
    path, state = last(tmp_path / "run")
    identity = checkpoint.identity_of(path, kind="retrain")
    checkpoint.save(
        path, {key: value for key, value in state.items() if key != lost}, kind="retrain", identity=identity
    )
    with pytest.raises(DataError, match="step-000000003.pt is not the checkpoint of this network and recipe"):
        retrain(folder, tmp_path / "run", "--epochs", 1, "--resume")


def test_a_checkpoint_of_other_shapes(folder, tmp_path):
    retrain(folder, tmp_path / "run", "--epochs", 1)
    path, state = last(tmp_path / "run")
    identity = checkpoint.identity_of(path, kind="retrain")
    state["trainer"]["network"]["0.weight"] = torch.zeros(4, 3, 3, 3)
    checkpoint.save(path, state, kind="retrain", identity=identity)
    with pytest.raises(DataError, match="is not the checkpoint of this network and recipe"):
        retrain(folder, tmp_path / "run", "--epochs", 1, "--resume")


@pytest.mark.parametrize(("error", "said"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "the GPU has too little memory"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "the GPU has too little memory"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "this machine has too little memory"),
])  # fmt: skip
def test_too_little_memory_in_the_middle_of_a_run(folder, tmp_path, monkeypatch, error, said):
    real, calls = loop.Trainer.advance, itertools.count()

    def advance(self, *arguments):
        if next(calls) == 4:
            raise error
        return real(self, *arguments)

    monkeypatch.setattr(loop.Trainer, "advance", advance)
    with pytest.raises(DataError, match=rf"{said}.*lower --batch, or raise --accumulate"):
        retrain(folder, tmp_path / "run")
    assert last(tmp_path / "run")[0].name == "step-000000003.pt"
    with pytest.raises(RuntimeError, match="something else"), device.guarded("--batch"):
        raise RuntimeError("something else")


def test_told_to_stop_at_the_end_of_an_epoch_it_does_not_evaluate_first(folder, tmp_path, monkeypatch):
    """The checkpoint is written before the evaluation, which the resumed run makes up for: the same rows, once."""
    retrain(folder, tmp_path / "whole")
    for place in ("before", "during"):
        out = tmp_path / place
        with monkeypatch.context() as patch:
            if place == "before":
                patch.setattr(loop.Trainer, "advance", _telling(loop.Trainer.advance, step=3))
            else:  # killed while it evaluates
                patch.setattr(loop.Loop, "_evaluate", _killed)
            with pytest.raises(signals.Stopped):
                retrain(folder, out)
        assert last(out)[0].name == "step-000000003.pt"
        assert last(out)[1]["last"] == {}
        retrain(folder, out, "--resume")
        kept = [{key: row[key] for key in row if key not in ("images_per_s", "memory_gib")} for row in log.read(out)]
        whole = log.read(tmp_path / "whole")
        assert kept == [{key: row[key] for key in kept[0]} for row in whole]
        a, b = (last(path)[1]["trainer"]["network"] for path in (out, tmp_path / "whole"))
        assert all(torch.equal(a[key], b[key]) for key in b)


def _telling(real, step):
    def advance(self, *arguments):
        if self.step + 1 == step:
            signal.raise_signal(signal.SIGTERM)
        return real(self, *arguments)

    return advance


def _killed(*_):
    raise KeyboardInterrupt


def test_unreadable_images_are_counted_over_all_processes():
    def bad(*names):
        found = loader.BadImages(limit=3)
        found.add([(name, "torn") for name in names])
        return found

    mine, other = bad("a", "b"), bad("b", "c")

    class Two(distributed.World):
        def gather(self, value):
            return [value, other.found]

    world = Two(0, 2, torch.device("cpu"))
    assert sorted(mine.share(world)) == ["a", "b", "c"]
    other.found["d"] = "torn"
    with pytest.raises(DataError, match="4 images cannot be read, more than --bad-limit 3 allows"):
        mine.share(world)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_names_that_are_no_text(folder, tmp_path):
    data = pictures(tmp_path / "data", classes=2, train=2, val=1)
    for split in ("train", "val"):
        os.rename(os.fsencode(data / split / "class01"), os.fsencode(data / split) + b"/class\xff")
    torn = os.fsencode(data / "train") + b"/class\xff/\xfe.jpg"
    with open(torn, "wb") as file:
        file.write(b"no image")
    retrain(data, tmp_path / "run", "--epochs", 1)
    assert "no image" not in (tmp_path / "run" / "bad_images.txt").read_text()
    assert json.loads((tmp_path / "run" / "retrained.json").read_text())["images"]["unreadable"] == 1


def shard(path, *members):
    """Write a shard of (name, bytes)."""
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_hostile_shards(tmp_path):
    deep = b"[" * 60_000
    shard(tmp_path / "a" / "train" / "0.tar", ("1.jpg", b"x"), ("1.json", deep))
    with pytest.raises(DataError, match="1.json holds no label"):
        sources.open_split(tmp_path / "a", "train")
    shard(tmp_path / "d" / "train" / "0.tar", ("1.jpg", b"x"), ("1.cls", b"2000000000"))
    with pytest.raises(DataError, match="1.cls holds no label; expected a number from 0 to 999999"):
        sources.open_split(tmp_path / "d", "train")
    path = shard(tmp_path / "b" / "train" / "0.tar", ("1.jpg", b"x"), ("1.cls", b"0"))
    raw = bytearray(path.read_bytes())
    raw[124:136] = b"\xff" * 10 + b"\xfe\x00"  # a negative size, in base 256
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"0.tar"):
        sources.open_split(tmp_path / "b", "train")
    shard(tmp_path / "c" / "train" / "0.tar", ("1.jpg", b"x"), ("1.cls", b"0"))
    (tmp_path / "c" / "classes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"classes.txt is not text in UTF-8"):
        sources.open_split(tmp_path / "c", "train")


def test_only_formats_of_photographs_are_opened():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(BadImage):
        decode(eps, central(1, square=False), 8, "bilinear")


def test_damaged_images_are_bad_images_and_nothing_else(folder):
    from PIL import Image

    data = [next((folder / "train" / "class00").iterdir()).read_bytes()]
    for kind in ("PNG", "GIF", "BMP"):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(data[0])).save(buffer, kind)
        data.append(buffer.getvalue())
    rng = np.random.default_rng(0)
    refused = 0
    for whole in data:
        for _ in range(150):
            broken = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            for place in rng.integers(0, len(broken), 3):
                broken[place] = rng.integers(0, 256)
            try:
                pixels = decode(bytes(broken), central(0.9, square=False), 8, "area")
            except BadImage:
                refused += 1
            else:
                assert pixels.shape == (8, 8, 3)
    assert refused > 100


def test_a_photograph_of_three_to_two_is_nearly_always_cropped():
    """One crop in ten of the recipe fits it; the operation that the recipe was trained with tries a hundred."""
    drawn = [augment.draw(recipes.get("shrinkcnn").augment, 224, 0, 1, index) for index in range(500)]
    whole = sum(tuple(one.crop(600, 400)) == (0, 0, 600, 400) for one in drawn)
    assert whole <= 2


def test_numbers_that_no_run_can_use(folder, tmp_path):
    for words in (("--seed", 2**63), ("--timeout", "inf"), ("--timeout", 0), ("--checkpoint-minutes", "nan")):
        with pytest.raises(UsageError, match=words[0]):
            retrain(folder, tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_one_numbered_gpu_for_many_processes(monkeypatch):
    for key, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(key, value)
    with (
        pytest.raises(UsageError, match="--device cuda:1 under torchrun: .* give --device cuda"),
        distributed.join("cuda:1"),
    ):
        pass


@pytest.mark.parametrize("changed", [
    {"classes": "many"}, {"classes": 0}, {"size": "x"}, {"recipe": 3}, {"recipe": {"mean": [1], "std": [1]}},
    {"network": 7}, {"network": {"space": ["tss"]}}, {"class_names": 3}, {"task": "ptb"},
])  # fmt: skip
def test_a_damaged_description_of_a_run(folder, tmp_path, changed):
    from nasharness.training.imagenet.export import load_run

    recipe = {"mean": [0.5] * 3, "std": [0.5] * 3, "eval_crop": 0.9, "eval_square": True, "eval_resizer": "area"}
    run = {
        "task": "imagenet",
        "network": "tiny",
        "classes": 3,
        "size": 16,
        "class_names": list("abc"),
        "recipe": recipe,
    }
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(DataError, match="has no checkpoint yet"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(run | changed))
    with pytest.raises(DataError, match="run.json"):
        load_run(tmp_path)


def test_a_file_where_the_folder_should_be(folder, tmp_path):
    (tmp_path / "file").write_text("precious")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UsageError, match="cannot write a training to .*choose another --out"):
            retrain(folder, out)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_winner_that_is_none(folder, tmp_path):
    empty = '{"space": "tss", "candidates": [{"index": null, "arch": null}]}'
    for text in ("[", "[]", '{"space": ["tss"], "candidates": [{}]}', '{"space": "tss", "candidates": []}', empty):
        (tmp_path / "winner.json").write_text(text)
        words = ("--winner", tmp_path, "--task", "imagenet", "--data", folder, "--out", tmp_path / "run")
        with pytest.raises(DataError, match="--winner .*winner.json"):
            retrain_cli.command.main([str(word) for word in words], standalone_mode=False)


def test_a_machine_that_cannot_compile():
    from torch._inductor.exc import CppCompileError

    said = r"torch.compile fails here \(C\+\+ compile error\); leave --compile out"
    with pytest.raises(UsageError, match=said), device.guarded("--batch"):
        raise CppCompileError(["g++"], "no such program")


def test_a_number_of_threads_that_is_none(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(UsageError, match="OMP_NUM_THREADS='many': expected a whole number"):
        use_processors()


def test_every_processor_is_used(folder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(retrain_cli, "use_processors", lambda: asked.append(True))
    retrain(folder, tmp_path / "run", "--epochs", 1)
    assert asked


def test_a_faster_decoder_is_used_and_pillow_has_the_last_word(folder, monkeypatch):
    from nasharness.training.imagenet import decode as module

    class Library:
        """``decode_jpeg`` as simplejpeg's: a grey picture at the scale asked for; damage is a ValueError."""

        @staticmethod
        def decode_jpeg(data, *, colorspace, min_width, min_height, min_factor):
            if len(data) < len(whole_file):
                raise ValueError("Premature end of JPEG file")
            assert (colorspace, min_factor) == ("RGB", 1)
            return np.full((min_height, min_width, 3), 77, dtype=np.uint8)

    data = whole_file = next((folder / "train" / "class00").iterdir()).read_bytes()
    whole = decode(data, central(1, square=False), 8, "bilinear")
    monkeypatch.setattr(module, "_simplejpeg", lambda: Library)
    assert module.decoder() == "simplejpeg"
    assert (decode(data, central(0.5, square=False), 8, "bilinear") == 77).all()
    with pytest.raises(BadImage, match="truncated"):
        decode(data[:-100], central(1, square=False), 8, "bilinear")
    monkeypatch.setattr(Library, "decode_jpeg", lambda data, **_: (_ for _ in ()).throw(RuntimeError("cannot")))
    assert np.array_equal(decode(data, central(1, square=False), 8, "bilinear"), whole)
