"""Device choice, checkpoints and journals: what a week-long run relies on when something breaks."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import sys
import types
import warnings

import pytest

torch = pytest.importorskip("torch")

from nasharness.errors import DataError, UsageError  # noqa: E402
from nasharness.runs import boards, checkpoint, log  # noqa: E402
from nasharness.training import device  # noqa: E402

KIND, IDENTITY = {"kind": "test"}, {"identity": {"network": "tiny", "widths": (1, 2)}}


class Evil:
    def __reduce__(self):
        return os.mkdir, ("/nonexistent/never",)


def full_disk(monkeypatch, after=40):
    """Files opened for writing take ``after`` bytes and then report a full disk."""
    real = pathlib.Path.open

    def opened(self, mode="r", *args, **kwargs):
        file = real(self, mode, *args, **kwargs)
        if "r" in mode:
            return file
        return _Full(file, after)

    monkeypatch.setattr(pathlib.Path, "open", opened)


class _Full:
    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        part = data[: self.room]
        self.room -= len(part)
        self.file.write(part)
        self.file.flush()
        if len(part) < len(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(part)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()


def test_devices():
    assert device.choose("cpu") == torch.device("cpu")
    assert device.choose(None).type in ("cpu", "cuda", "mps")
    with pytest.raises(UsageError, match="cuda"):
        device.choose("cuda:99")
    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        device.choose("gpu")
    with pytest.raises(UsageError, match="unknown precision 'fp8'"):
        device.autocast(torch.device("cpu"), "fp8")


def test_autocast_computes_in_the_precision_asked_for():
    a = torch.ones(2, 2)
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32), ("auto", torch.float32)):
        with device.autocast(torch.device("cpu"), precision):
            assert (a @ a).dtype == dtype


def test_too_little_memory_is_one_line():
    with pytest.raises(DataError, match="lower --batch"), device.guarded("--batch"):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_checkpoint_comes_back(tmp_path):
    state = {"weights": {"w": torch.arange(3.0)}, "step": 7, "rng": torch.Generator().get_state(), "best": None}
    checkpoint.save(tmp_path / "new" / "a.pt", state, **KIND, **IDENTITY)
    back = checkpoint.load(tmp_path / "new" / "a.pt", **KIND, **IDENTITY)
    assert torch.equal(back["weights"]["w"], state["weights"]["w"])
    assert back["step"] == 7
    assert back["best"] is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.pt"]
    assert checkpoint.identity_of(tmp_path / "new" / "a.pt", **KIND) == {"network": "tiny", "widths": [1, 2]}


def test_another_number_of_threads_is_said_by_whoever_goes_on(tmp_path):
    path = checkpoint.save(tmp_path / "a.pt", {"w": torch.ones(2)}, kind="test", identity={})
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.warns(UserWarning, match=rf"written with {before} threads .* {before + 1}: .*bits"):
            checkpoint.load(path, kind="test", identity={})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            checkpoint.load(path, kind="test")  # to export it, say
    finally:
        torch.set_num_threads(before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checkpoint.load(path, kind="test", identity={})


def test_another_identity_is_named(tmp_path):
    path = checkpoint.save(tmp_path / "a.pt", {}, **KIND, **IDENTITY)
    with pytest.raises(UsageError, match=r"network \(checkpoint: 'tiny', now: 'big'\)"):
        checkpoint.load(path, **KIND, identity={"network": "big", "widths": [1, 2]})
    with pytest.raises(DataError, match="kind 'test', not 'other'"):
        checkpoint.load(path, kind="other")


@pytest.mark.parametrize("size", [0, 10, 300, -1])
def test_damage_is_one_line(tmp_path, size):
    path = checkpoint.save(tmp_path / "a.pt", {"w": torch.ones(50)}, **KIND, **IDENTITY)
    path.write_bytes(path.read_bytes()[:size] if size >= 0 else b"x" * 500)
    with pytest.raises(DataError, match="damaged|not a checkpoint"):
        checkpoint.load(path, **KIND)


def test_a_hostile_checkpoint_is_not_run(tmp_path):
    torch.save({"format": 1, "kind": "test", "identity": "{}", "state": Evil()}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="not a checkpoint of nasharness"):
        checkpoint.load(tmp_path / "a.pt", **KIND)
    torch.save([1], tmp_path / "b.pt")
    with pytest.raises(DataError, match="not a checkpoint of nasharness"):
        checkpoint.load(tmp_path / "b.pt", **KIND)
    with pytest.raises(DataError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "c.pt", **KIND)


@pytest.mark.parametrize("room", [0, 40, 2000])
def test_a_full_disk_leaves_the_last_good_one(tmp_path, monkeypatch, room):
    keeper = checkpoint.Keeper(tmp_path, keep=1)
    keeper.save(1, {"w": torch.zeros(1000)}, **KIND, **IDENTITY)
    checkpoint.save(keeper.best, {"w": torch.zeros(1000)}, **KIND, **IDENTITY)
    with monkeypatch.context() as patch:
        full_disk(patch, room)
        with pytest.raises(DataError, match="No space left on device"):
            keeper.save(2, {"w": torch.ones(1000)}, **KIND, **IDENTITY)
        with pytest.raises(DataError, match="the one written before it is whole"):
            checkpoint.save(keeper.best, {"w": torch.ones(1000)}, **KIND, **IDENTITY)
    path, state = keeper.last(**KIND, **IDENTITY)
    assert path.name == "step-000000001.pt"
    assert state["w"].sum() == 0
    assert checkpoint.load(keeper.best, **KIND)["w"].sum() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "step-000000001.pt"]


def test_the_keeper_keeps_the_last(tmp_path):
    keeper = checkpoint.Keeper(tmp_path, keep=2)
    assert keeper.last(**KIND) is None
    checkpoint.save(keeper.best, {"step": 1}, **KIND, **IDENTITY)
    for step in range(5):
        keeper.save(step, {"step": step}, **KIND, **IDENTITY)
    assert checkpoint.load(keeper.best, **KIND)["step"] == 1
    assert [path.name for path in keeper.steps()] == ["step-000000003.pt", "step-000000004.pt"]
    again = checkpoint.Keeper(tmp_path, keep=2)
    keeper.steps()[-1].write_bytes(b"torn")
    assert again.last(**KIND)[1]["step"] == 3
    (tmp_path / ".step-000000009.pt.abcdef01.partial").write_bytes(b"left by a killed process")
    again.sweep()
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(UsageError, match="--keep 0"):
        checkpoint.Keeper(tmp_path, keep=0)


def test_a_journal_survives_a_torn_last_line(tmp_path):
    journal = log.Log(tmp_path)
    for step in range(1, 5):
        journal.write({"step": step, "loss": step / 10})
    with journal.jsonl.open("a") as file:
        file.write('{"step": 5, "lo')
    assert len(log.read(tmp_path)) == 4
    again = log.Log(tmp_path)
    assert [row["step"] for row in again.rows] == [1, 2, 3, 4]
    assert again.rewind(2) == 2
    again.write({"step": 3, "loss": 0.7, "note": "a, b"})
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert (tmp_path / "log.csv").read_text() == 'step,loss,note\n1,0.1,\n2,0.2,\n3,0.7,"a, b"\n'


def test_a_journal_on_a_full_disk_keeps_whole_rows(tmp_path, monkeypatch):
    journal = log.Log(tmp_path)
    journal.write({"step": 1, "loss": 0.5})
    with monkeypatch.context() as patch:
        full_disk(patch, after=5)
        with pytest.raises(DataError, match="No space left on device"):
            journal.write({"step": 2, "loss": 0.25})
    assert [row["step"] for row in log.read(tmp_path)] == [1]
    journal.write({"step": 2, "loss": 0.25})
    assert [row["step"] for row in log.read(tmp_path)] == [1, 2]


def test_a_damaged_journal_names_the_line(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\nrubbish\n{"step": 2}\n')
    with pytest.raises(DataError, match="line 2"):
        log.Log(tmp_path)


def test_tensorboard_that_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(boards.importlib.util, "find_spec", lambda name: None)
    for name in boards.BOARDS:
        with pytest.raises(UsageError, match=f"--track {name} needs the package {name}: pip install"):
            log.Log(tmp_path / "run", boards=[name])
    with pytest.raises(UsageError, match="unknown tracker 'wandbb'.*wandb"):
        log.Log(tmp_path / "run", boards=["wandbb"])
    assert not (tmp_path / "run").exists()


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    journal = log.Log(tmp_path, boards=["tensorboard"])
    journal.write({"step": 1, "loss": 0.5, "note": "text"})
    journal.close()
    assert list((tmp_path / "tensorboard").glob("events.*"))


class FakeWandb(types.ModuleType):
    """As much of wandb as is used: runs by id, which a resumed one goes on in."""

    def __init__(self):
        super().__init__("wandb")
        self.runs = {}

    def init(self, *, project, name, id, resume, dir, config):  # noqa: A002 - theirs
        assert resume == "allow"
        run = self.runs.setdefault(id, types.SimpleNamespace(logged=[], finished=0, config=config, name=name))
        run.log = lambda numbers, step: run.logged.append((step, numbers))
        run.finish = lambda: setattr(run, "finished", run.finished + 1)
        return run


def test_wandb_shows_the_numbers_and_goes_on_in_the_same_run(tmp_path, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr(boards.importlib.util, "find_spec", lambda name: name)
    (tmp_path / "run.json").write_text('{"recipe": "darts"}')
    for step in (1, 2):
        journal = log.Log(tmp_path, boards=["wandb"])
        journal.write({"step": step, "loss": 0.5 / step, "note": "text", "done": True, "none": None})
        journal.close()
    (run,) = fake.runs.values()
    assert (run.logged, run.finished) == ([(1, {"loss": 0.5}), (2, {"loss": 0.25})], 2)
    assert (run.config, run.name) == ({"recipe": "darts"}, tmp_path.name)


def test_a_board_that_fails_does_not_end_a_training(tmp_path, monkeypatch):
    fake = FakeWandb()
    fake.init = lambda **_: types.SimpleNamespace(log=lambda *_, **__: 1 / 0, finish=lambda: None)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr(boards.importlib.util, "find_spec", lambda name: name)
    journal = log.Log(tmp_path, boards=["wandb"])
    with pytest.warns(UserWarning, match="wandb fails .ZeroDivisionError: .*; the run goes on without it"):
        journal.write({"step": 1, "loss": 0.5})
    journal.write({"step": 2, "loss": 0.25})
    journal.close()
    assert [row["step"] for row in log.read(tmp_path)] == [1, 2]


def test_mlflow_has_the_numbers(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for step in (1, 2):
        journal = log.Log(tmp_path, boards=["mlflow"])
        journal.write({"step": step, "loss": 0.5 / step})
        journal.close()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = (tmp_path / "mlflow.id").read_text().strip()
    assert [(one.step, one.value) for one in client.get_metric_history(run, "loss")] == [(1, 0.5), (2, 0.25)]
