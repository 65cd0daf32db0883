"""The proof script runs from end to end at toy size, on a CPU, and goes on where it was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch")

ROOT = Path(__file__).resolve().parents[1]


def proof(*words):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_proof.py"), "--device", "cpu", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_stage_runs_at_toy_size_and_is_not_run_again(tmp_path):
    out = tmp_path / "proof.json"
    first = proof("--out", out)
    assert first.returncode == 0, first.stdout + first.stderr
    kept = json.loads(out.read_text())
    assert all(stage["scale"] == "toy" for stage in kept.values())
    assert [name for name, stage in kept.items() if "skipped" in stage] == ["syncs"]
    assert kept["rnn"]["largest_relative_difference"] < 1e-4
    assert kept["resume"]["sigterm"]["exit"] == 75
    assert all(kept["resume"][how]["same_bits"] for how in ("sigterm", "kill"))
    assert proof("--out", out).returncode == 0
    assert json.loads(out.read_text()) == kept


@pytest.mark.slow
def test_a_stage_that_does_not_exist_is_named():
    told = proof("--only", "rnn,speed")
    assert told.returncode == 2
    assert "no stage speed" in told.stderr
