"""Two processes on gloo: the same run as one, and what happens when one of them is lost."""

from __future__ import annotations

import json
import socket
import time

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

from nasharness.cli import retrain as retrain_cli  # noqa: E402
from nasharness.errors import UsageError  # noqa: E402
from nasharness.nets import imagenet  # noqa: E402
from nasharness.runs import checkpoint, log  # noqa: E402
from nasharness.training.sync_batch_norm import SyncBatchNorm2d  # noqa: E402
from tests.retrain_fixtures import pictures, process, tiny  # noqa: E402

#: Relative difference of losses in float64: sums over images are made in another order. In float32 the same rounding
#: begins at 1e-7 and grows with every step, as fast as the network is ill-conditioned.
TOLERANCE = 1e-6


def words(data, out, *more):
    return [
        "retrain", "--network", "tiny", "--task", "imagenet", "--data", data, "--out", out, "--size", 24, "--batch", 6,
        "--workers", 0, "--device", "cpu", "--recipe", "shrinkcnn", "--precision", "fp64", "--batch-norm", "sync",
        *more,
    ]  # fmt: skip


def pair(*arguments):
    """Start two processes as torchrun would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    return [process(*arguments, **common, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]


def losses(out):
    return [value for row in log.read(out) for key, value in sorted(row.items()) if key.endswith("loss")]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_processes_lose_one_and_are_still_the_run_of_one(tmp_path, monkeypatch):
    """Losses of one process = those of two; kill one, the other stops in one line, and a resume ends the run."""
    data = pictures(tmp_path / "data", classes=5, train=6, val=5)
    monkeypatch.setattr(imagenet, "build", tiny)
    alone = words(data, tmp_path / "one", "--epochs", 8)[1:]
    retrain_cli.command.main([str(word) for word in alone], standalone_mode=False)
    often = ["--epochs", 8, "--checkpoint-minutes", 0.00001, "--timeout", 60]
    first, second = pair(*words(data, tmp_path / "two", *often))
    end = time.monotonic() + 600
    while not list((tmp_path / "two" / "checkpoints").glob("step-*.pt")):
        assert time.monotonic() < end
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.01)
    second.kill()
    second.communicate()
    time.sleep(0.5)
    first.terminate()  # as torchrun does when one of its processes has gone
    _, said = first.communicate(timeout=600)
    assert first.returncode == 1
    assert "process 0 of 2 stops: another process of the run was lost" in said
    assert "--resume" in said
    assert "Traceback" not in said
    reached = checkpoint.Keeper(tmp_path / "two" / "checkpoints").steps()[-1].name
    assert reached < "step-000000040.pt", "the run was over before the process was killed"
    for process_ in pair(*words(data, tmp_path / "two", *often, "--resume")):
        _, said = process_.communicate(timeout=600)
        assert process_.returncode == 0, said
    assert [row["step"] for row in log.read(tmp_path / "two")] == [row["step"] for row in log.read(tmp_path / "one")]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=TOLERANCE)
    one, two = (json.loads((tmp_path / name / "retrained.json").read_text()) for name in ("one", "two"))
    assert two["processes"] == 2
    assert two["images"] == one["images"]
    assert two["last"]["raw"]["images"] == 25  # not a multiple of two: none is counted twice


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_processes_with_their_own_statistics_are_one_with_two_parts(tmp_path, monkeypatch):
    """Where one process ends a run that two have begun, nothing tells; in parts of another size it is refused."""
    data = pictures(tmp_path / "data", classes=5, train=6, val=5)
    monkeypatch.setattr(imagenet, "build", tiny)

    def alone(out, *more):
        given = words(data, out, "--epochs", 4, "--batch-norm", "local", "--mixup", 0.2, *more)[1:]
        retrain_cli.command.main([str(word) for word in given], standalone_mode=False)

    alone(tmp_path / "one", "--accumulate", 2)
    begun = words(data, tmp_path / "two", "--epochs", 4, "--batch-norm", "local", "--mixup", 0.2, "--keep", 99)
    for process_ in pair(*begun):
        _, said = process_.communicate(timeout=600)
        assert process_.returncode == 0, said
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=TOLERANCE)
    for step in checkpoint.Keeper(tmp_path / "two" / "checkpoints").steps()[2:]:
        step.unlink()
    with pytest.raises(UsageError, match=r"another run; different: norm_images \(checkpoint: 3, now: 6\)"):
        alone(tmp_path / "two", "--resume")
    alone(tmp_path / "two", "--resume", "--accumulate", 2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=TOLERANCE)


def test_synchronised_batch_norm_in_one_process_is_batch_norm(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        theirs = torch.nn.BatchNorm2d(3, eps=1e-3, momentum=0.3)
        ours = SyncBatchNorm2d(3, eps=1e-3, momentum=0.3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(3):
            x = torch.randn(4, 3, 5, 5, generator=generator)
            weight = torch.randn(4, 3, 5, 5, generator=generator)
            grads = []
            for layer in (theirs, ours):
                layer.zero_grad()
                inputs = x.clone().requires_grad_()
                out = layer(inputs)
                (out * weight).sum().backward()
                grads += [(out.detach(), inputs.grad, layer.weight.grad, layer.bias.grad)]
            torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(theirs.state_dict(), ours.state_dict())
    finally:
        torch.distributed.destroy_process_group()
