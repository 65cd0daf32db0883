"""Runs on text in processes of their own: killed at any moment, two sharing the streams, one of two lost."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nasharness.runs import checkpoint
from nasharness.runs.log import read
from nasharness.training.language.task import retrain_text
from tests.text_fixtures import assert_same, options, outcome, write_corpus

#: a machine that does ten other things at once takes minutes to start a process
pytestmark = pytest.mark.timeout(2000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("text"))


SCRIPT = """
import sys
from pathlib import Path
import torch
from nasharness.training.options import Options
from nasharness.training.language.task import retrain_text
from nasharness.errors import NasharnessError
data, out, epochs, minutes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
extra = {"width": "8", "bptt": "10", "valid_streams": "2", "drop_words": "0.1"}
try:
    retrain_text(Options("ptb", "shrinkrnn", data, out, recipe="small", epochs=epochs, batch=4, precision="fp32",
                         extra=extra, checkpoint_minutes=minutes, device="cpu", timeout=300))
except NasharnessError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def start(corpus: Path, out: Path, epochs: int, minutes: float, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(corpus), str(out), str(epochs), str(minutes)]
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(found, process: subprocess.Popen[str], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_same_bits_after_kill_9(corpus, tmp_path):
    asked = {"epochs": 20, "extra": {"drop_words": "0.1"}}
    out = tmp_path / "killed"
    process = start(corpus, out, 20, 1e-9)  # a checkpoint after every segment
    keeper = checkpoint.Keeper(out / "checkpoints")
    wait_for(lambda: len(keeper.steps()) == 3 and (out / "log.csv").exists(), process)
    process.kill()
    process.wait()
    state = keeper.last(kind="retrain-text")
    assert state is not None
    assert state[1]["trainer"]["epoch"] < 20
    short = {**asked, "resume": True}
    retrain_text(options(corpus, out, **short))
    retrain_text(options(corpus, tmp_path / "plain", **asked))
    assert_same(outcome(out), outcome(tmp_path / "plain"))


def free_port() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return str(held.getsockname()[1])


def start_two(corpus: Path, out: Path, epochs: int, minutes: float) -> list[subprocess.Popen[str]]:
    port, both = free_port(), []
    for rank in ("0", "1"):
        group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        both.append(start(corpus, out, epochs, minutes, **group))
    return both


@pytest.mark.slow
def test_one_of_two_processes_lost(corpus, tmp_path):
    """The other one says so and stops; what they had goes on with one."""
    first, second = start_two(corpus, tmp_path / "two", 20, 1e-9)
    keeper = checkpoint.Keeper(tmp_path / "two" / "checkpoints")
    wait_for(lambda: len(keeper.steps()) == 3, first)
    second.kill()
    second.wait()
    text = first.communicate(timeout=600)[0]
    assert first.returncode == 1, text
    assert "another process of the run was lost" in text
    assert "Traceback" not in text
    asked = {"epochs": 20, "extra": {"drop_words": "0.1"}}
    found = keeper.last(kind="retrain-text")
    assert found is not None
    assert found[1]["trainer"]["epoch"] < 20
    record = retrain_text(options(corpus, tmp_path / "two", resume=True, **asked))
    whole = retrain_text(options(corpus, tmp_path / "one", **asked))
    assert record["valid_perplexity"] == pytest.approx(whole["valid_perplexity"], rel=5e-3)


def test_two_processes_have_the_same_curve(corpus, tmp_path):
    """Half of the streams each: as one process, but for rounding; and its checkpoint is as good for one process."""
    for process in start_two(corpus, tmp_path / "two", 3, 30):
        text = process.communicate(timeout=600)[0]
        assert process.returncode == 0, text
    asked = {"epochs": 3, "extra": {"drop_words": "0.1"}}
    retrain_text(options(corpus, tmp_path / "one", **asked))
    for two, one in zip(read(tmp_path / "two"), read(tmp_path / "one"), strict=True):
        for key in ("train_loss", "valid_loss"):
            assert two[key] == pytest.approx(one[key], rel=2e-4)
    record = json.loads((tmp_path / "two" / "retrained.json").read_text())
    assert record["processes"] == 2
    (tmp_path / "two" / "retrained.json").unlink()
    again = retrain_text(options(corpus, tmp_path / "two", resume=True, **asked))
    assert again["test_perplexity"] == pytest.approx(record["test_perplexity"], rel=1e-6)
