"""Studies that are interrupted: resume, kill -9, a full disk, Ctrl-C, lost workers."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from nasharness.cli import cli
from nasharness.errors import DataError, NasharnessError, UsageError
from nasharness.runs.pool import WorkerError
from nasharness.storage.sealed import seal
from nasharness.studies import Plan, load, run_study
from nasharness.studies.run import StudyStoppedError
from tests import study_fixtures
from tests.study_fixtures import same


@pytest.fixture(autouse=True)
def _no_tables(data_home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def plan():
    return study_fixtures.plan()


@pytest.fixture
def whole(plan, tmp_path):
    """An uninterrupted study."""
    return run_study(plan, tmp_path / "whole")


class StopError(Exception):
    pass


def stop_after(shards):
    calls = iter(range(10_000))

    def progress(done, total):
        if next(calls) == shards - 1:
            raise StopError

    return progress


@pytest.mark.parametrize("jobs", [1, 2])
def test_resume_computes_only_what_is_missing(plan, whole, tmp_path, jobs):
    out = tmp_path / "broken"
    with pytest.raises(StopError):
        run_study(plan, out, jobs=jobs, progress=stop_after(7))
    before = {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    assert len(before) == 7
    with pytest.raises(DataError, match=r"incomplete: 11 of 18 shards are missing.*study --resume --out"):
        load(out)
    assert set(load(out, partial=True).frame["cell"]) <= {f"c{n:03d}" for n in range(6)}
    totals = []
    run_study(plan, out, jobs=jobs, resume=True, progress=lambda done, total: totals.append((done, total)))
    assert totals[-1][0] == totals[-1][1]
    assert len(totals) == 11
    after = {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    assert {name: after[name] for name in before} == before
    assert same(whole, out)
    run_study(plan, out, resume=True)  # nothing left to do
    assert {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == after


@pytest.mark.parametrize("moment", [11, 12])  # a file, its folder
def test_full_disk_loses_nothing(plan, whole, tmp_path, monkeypatch, moment):
    out, real = tmp_path / "full", os.fsync
    calls = iter(range(1000))

    def full(descriptor):
        if next(calls) == moment:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)

    monkeypatch.setattr("nasharness.studies.folder.os.fsync", full)
    with pytest.raises(StudyStoppedError, match=r"No space left.*of 18 shards.*--resume") as caught:
        run_study(plan, out)
    assert caught.value.exit_code == 1
    assert not list(out.glob(".*"))
    kept = list((out / "shards").iterdir())
    assert all(pq.read_table(path).num_rows for path in kept)
    assert 0 < len(kept) < 18
    run_study(plan, out, resume=True)
    assert same(whole, out)


def test_damaged_shards_are_never_read_and_made_again(plan, whole, tmp_path):
    out = run_study(plan, tmp_path / "study")
    shard = out / "shards" / "c001-00001.parquet"
    data = shard.read_bytes()
    for content in (data[: len(data) // 2], data[:-1], b"", b"PAR1"):
        shard.write_bytes(content)
        with pytest.raises(DataError, match=r"c001-00001\.parquet is truncated or damaged"):
            load(out)
        (out / ".c000-00000.parquet.partial").write_bytes(data[:99])
        run_study(plan, out, resume=True)
        assert same(whole, out)
    other = out / "shards" / "c000-00000.parquet"
    shard.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="belongs to another study"):
        load(out)
    run_study(plan, out, resume=True)
    assert same(whole, out)


@pytest.mark.parametrize("begin", [200, 2000])
def test_damage_in_the_middle_of_a_shard_is_made_again(plan, whole, tmp_path, begin):
    out = run_study(plan, tmp_path / "study")
    shard = out / "shards" / "c000-00000.parquet"
    data = shard.read_bytes()
    flipped = data[:begin] + bytes([data[begin] ^ 4]) + data[begin + 1 :]
    for content in (data[:begin] + bytes(1000) + data[begin + 1000 :], flipped):
        shard.write_bytes(content)
        with pytest.raises(DataError, match=r"c000-00000\.parquet is truncated or damaged.*--resume"):
            load(out)
        run_study(plan, out, resume=True)
        assert same(whole, out)


def test_a_shard_with_other_columns_is_made_again(plan, whole, tmp_path):
    out = run_study(plan, tmp_path / "study")
    shard = out / "shards" / "c000-00000.parquet"
    table = pq.read_table(shard)
    index = table.schema.get_field_index("final")
    for other in (
        table.drop_columns(["final"]),
        table.set_column(index, "final", table["final"].cast("string")),
    ):
        pq.write_table(other, shard)
        run_study(plan, out, resume=True)
        assert same(whole, out)


def test_cells_that_are_not_the_study_s_are_mended(plan, whole, tmp_path):
    out = run_study(plan, tmp_path / "study")
    file = out / "study.json"
    meta = json.loads(file.read_text())
    for cells in ([], meta["cells"][:2], [meta["cells"][0] | {"runs": 7}, *meta["cells"][1:]]):
        for edited in (meta | {"cells": cells}, seal(meta | {"cells": cells})):
            file.write_text(json.dumps(edited))
            with pytest.raises(DataError, match=r"study\.json .*damaged|its checksum differs"):
                load(out)
            run_study(plan, out, resume=True)  # its shards say whose it is
            assert json.loads(file.read_text())["cells"] == meta["cells"]
    shutil.rmtree(out / "shards")
    file.write_text(json.dumps(meta | {"cells": []}))
    with pytest.raises(DataError, match="its checksum differs"):
        run_study(plan, out, resume=True)


@pytest.mark.parametrize("key", ["table", "protocol", "shards", "id", "optimum"])
def test_study_json_that_lacks_keys(tmp_path, key):
    out = study_fixtures.write_study(tmp_path / "made")
    file = out / "study.json"
    meta = json.loads(file.read_text())
    del meta["cells"][1][key]
    file.write_text(json.dumps(meta))
    with pytest.raises(DataError, match=rf"study\.json is damaged: .*`{key}` - at `\$\.cells\[1\]`"):
        load(out)
    file.write_text(json.dumps(meta | {"cells": [5]}))
    with pytest.raises(DataError, match=r"Expected `object`, got `int` - at `\$\.cells\[0\]`"):
        load(out)
    file.write_text(json.dumps(meta | {"plan": []}))
    with pytest.raises(DataError, match=r"got `array` - at `\$\.plan`"):
        load(out)


def test_killed_before_study_json(plan, whole, tmp_path):
    out = tmp_path / "killed"
    (out / "shards").mkdir(parents=True)
    (out / ".study.json.partial").write_text("{")
    done = CliRunner().invoke(cli, ["study", "--resume", "--out", str(out)])
    assert isinstance(done.exception, DataError)
    assert "no study in" in str(done.exception)
    assert "nasharness study PLAN.toml --resume --out" in str(done.exception)
    assert same(whole, run_study(plan, out, resume=True))


CLUMSY = """\
from nasharness.search import ScalarAlgorithm, register
@register('clumsy', citation='none')
class Clumsy(ScalarAlgorithm):
    'It does.'
    def ask(self):
        raise ValueError('one\\n\\ntwo')
"""


def test_a_plug_in_that_fails_is_one_line(tmp_path):
    info = tmp_path / "clumsy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clumsy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nasharness.algorithms]\nclumsy = clumsy\n")
    (tmp_path / "clumsy.py").write_text(CLUMSY)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    line = f"clumsy failed in {tmp_path / 'clumsy.py'}, line 6 (ask): ValueError: one two"
    words = [sys.executable, "-m", "nasharness", "study", "--algo", "clumsy", "--out", str(tmp_path / "probe")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(line)
    assert "Traceback" not in done.stderr
    script = (
        "import sys\nfrom nasharness.studies import Plan, run_study\nfrom nasharness.errors import NasharnessError\n"
        "if __name__ == '__main__':\n"
        "    for jobs in (1, 2):\n"
        "        try:\n"
        "            run_study(Plan.create(algorithms=['clumsy']), f'{sys.argv[1]}/{jobs}', jobs=jobs)\n"
        "        except NasharnessError as error:\n"
        "            print(error)\n"
    )
    (tmp_path / "script.py").write_text(script)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.splitlines() == [line, line], done.stderr


def test_lost_worker_is_replaced(plan, whole, tmp_path):
    killed = []

    def kill(done, total):
        for child in multiprocessing.active_children():
            if len(killed) < 2 and child.pid not in killed:
                os.kill(child.pid, signal.SIGKILL)
                killed.append(child.pid)
                return

    assert same(whole, run_study(plan, tmp_path / "killed", jobs=2, progress=kill))
    assert len(killed) == 2


def test_worker_that_always_dies_ends_the_study(plan, tmp_path, monkeypatch):
    given = []

    def doom(worker, place, shards):
        worker.at = place
        given.append(shards[place].name)
        worker.process.kill()

    monkeypatch.setattr("nasharness.runs.pool._Worker.give", doom)
    with pytest.raises(WorkerError, match=r"shard c00\d-\d+ \(.*lost its process 3 times \(exit code -9\)"):
        run_study(plan, tmp_path / "doomed", jobs=2)
    assert len(given) >= 3


def test_error_of_an_algorithm_crosses_the_pipe(tmp_path):
    plan = Plan.create(algorithms=["bohb(num_samples=0)"], runs=3, evaluations=9)
    messages = set()
    for jobs in (1, 2):
        with pytest.raises(NasharnessError) as caught:
            run_study(plan, tmp_path / f"{jobs}", jobs=jobs)
        messages.add(str(caught.value))
    assert len(messages) == 1


def command(out, *more, runs=1000):
    return [
        sys.executable, "-m", "nasharness", "study", "--algo", "bohb,rea", "--dataset", "cifar10,cifar100",
        "--runs", str(runs), "--evaluations", "80", "--jobs", "2", "--out", str(out), *more,
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_keeps_what_is_finished(tmp_path, jobs):
    reference = tmp_path / "whole"
    subprocess.run(command(reference), check=True, capture_output=True)
    out = tmp_path / "interrupted"
    process = subprocess.Popen(
        command(out, "--jobs", str(jobs)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 240
    while not list((out / "shards").glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "shards are complete; go on with: nasharness study --resume --out" in error
    assert len(list((out / "shards").glob("*.parquet"))) < 16
    done = subprocess.run(
        [sys.executable, "-m", "nasharness", "study", "--resume", "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "of 16 shards are complete" in done.stdout
    assert same(reference, out)


def test_ray_that_is_not_installed(plan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install .*\[ray\]'"):
        run_study(plan, tmp_path / "study", ray="")


def test_one_writer_at_a_time(plan, tmp_path):
    held = "import sys; from nasharness.studies.folder import Folder\n"
    held += "with Folder(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", held, tmp_path / "study"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another process is writing"):
            run_study(plan, tmp_path / "study")
    finally:
        other.communicate()
    run_study(plan, tmp_path / "study")
