"""Studies: plans, shards, executors, interruptions, and reading back."""

import errno
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import nasharness
from nasharness.cli import cli
from nasharness.errors import DataError, NasharnessError, UsageError
from nasharness.studies import Plan, Study, cells, load, read_plan, run_study
from nasharness.studies.folder import Folder
from nasharness.studies.local import WorkerError, in_process
from nasharness.studies.run import StudyStoppedError
from nasharness.studies.shard import NAMES
from tests import study_fixtures

ALGORITHMS = ["random", "rea(population=20)", "bohb"]


@pytest.fixture(autouse=True)
def _no_tables(data_home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def plan():
    # 3 shards a cell: 250, 250 and 20 runs
    return Plan.create(algorithms=ALGORITHMS, datasets=["cifar10", "cifar100"], runs=520, evaluations=30)


@pytest.fixture
def whole(plan, tmp_path):
    """An uninterrupted study."""
    return run_study(plan, tmp_path / "whole")


def same(one: Path, other: Path) -> bool:
    """Whether two studies hold the same files with the same bytes, and nothing else."""

    def content(folder):
        files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        found = {name: path.read_bytes() for name, path in files.items() if name != Path("study.json")}
        meta = json.loads((folder / "study.json").read_text())
        meta.pop("provenance")
        return found, meta

    return content(one) == content(other)


# ---- plans

TOML = """\
# a study
algorithms = ["random", "rea",
              "autoshrink.pooled"]
space = "tss"
datasets = ["cifar10", "cifar100"]
runs = 500
seed = 7
budget = "nats"

[settings]
sample = 5

[settings.rea]
population = 20
"""


def test_plan_from_toml_equals_plan_from_options(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(TOML)
    options = Plan.create(
        algorithms="random,rea(population=20, sample=5),autoshrink.pooled",
        datasets="cifar10,cifar100",
        runs=500,
        seed=7,
        budget="nats",
    )
    assert read_plan(file) == options
    assert Study.of(read_plan(file)).identity == Study.of(options).identity
    assert Plan.create(**{k: v for k, v in options.as_dict().items() if v is not None}) == options
    assert read_plan(file, runs=3).runs == 3
    assert read_plan(file, evaluations=9).budget is None


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("datasets =", "dataets =", 5, "unknown key of a plan 'dataets'; nearest: datasets"),
        ('"autoshrink.pooled"', '"autoshrink.poled"', 3, "nearest: autoshrink.pooled"),
        ('"tss"', '"tsss"', 4, "unknown space 'tsss'; nearest: tss"),
        ('"cifar100"', '"cifar1000"', 5, "nearest: cifar100"),
        ("runs = 500", "runs = 0", 6, "runs = 0"),
        ("runs = 500", 'runs = "many"', 6, "whole number"),
        ("runs = 500", "runs = true", 6, "whole number"),
        ('"nats"', '"nat"', 8, "unknown budget 'nat'; nearest: nats"),
        ("sample = 5", "smaple = 5", 11, "'smaple'; nearest: sample"),
        ("population = 20", "popluation = 20", 14, "'popluation'; nearest: population"),
        ("population = 20", 'population = "big"', 14, "population"),
        ("[settings.rea]", "[settings.reah]", 13, "unknown algorithm of this plan 'reah'; nearest: rea"),
        ("runs = 500", "runs = = 5", 6, "not TOML"),
        ("seed = 7", "runs = 7", 7, "not TOML"),
        ("seed = 7", 'signal = "val@13"', 7, "no val accuracy of a 13-epoch run"),
        ("seed = 7", 'table = "lihgt"', 7, "unknown table of space 'tss' 'lihgt'"),
        ("seed = 7", "evaluations = 0.5", 7, "evaluations"),
        ('"random", ', '"rea", ', 2, "asked for twice"),
    ],
)
def test_typo_in_a_plan_names_line_and_nearest(tmp_path, old, new, line, words):
    file = tmp_path / "plan.toml"
    assert old in TOML
    file.write_text(TOML.replace(old, new))
    with pytest.raises(NasharnessError) as caught:
        Study.of(read_plan(file))
    assert f"plan.toml, line {line}: " in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "runs = 5\n", "algorithms = []\n", "algorithms = 5\n", "algorithms = [5]\n"])
def test_plan_without_algorithms(tmp_path, text):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(UsageError, match=r"plan\.toml.*algorithms"):
        read_plan(tmp_path / "plan.toml")


def test_plan_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="cannot read the plan"):
        read_plan(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_plan(tmp_path / "binary.toml")


def test_nested_names_of_variants(tmp_path):
    (tmp_path / "plan.toml").write_text('algorithms = ["rea.paper"]\n[settings.rea.paper]\nsample = 2\n')
    assert [str(c) for c in read_plan(tmp_path / "plan.toml").algorithms] == ["rea.paper(sample=2)"]


def test_identity_depends_on_every_field(plan):
    identities = {Study.of(plan).identity}
    changes = [
        {"runs": 500},
        {"seed": 1},
        {"evaluations": 31},
        {"repeats": "free"},
        {"signal": "val@200:mean"},
        {"algorithms": ["random"]},
        {"datasets": ["cifar10"]},
        {"algorithms": [*ALGORITHMS[:2], "rea"]},
    ]
    for change in changes:
        given = {key: value for key, value in (plan.as_dict() | change).items() if value is not None}
        identities.add(Study.of(Plan.create(**given)).identity)
    assert len(identities) == 9
    assert Study.of(plan).identity in identities


def test_long_searches_get_small_shards():
    short = Study.of(Plan.create(algorithms=["random"], runs=100_000, evaluations=100))
    long = Study.of(Plan.create(algorithms=["random"], runs=100_000, evaluations=1_000_000))
    assert [study.cells[0]["shard_runs"] for study in (short, long)] == [1000, 2]
    assert sum(shard.runs for shard in short.shards()) == 100_000


# ---- shards


@pytest.mark.parametrize("algorithm", ["random", "bohb", "local-search", "successive-halving", "autoshrink.pooled"])
@pytest.mark.parametrize(
    "options", [{"evaluations": 40}, {"seconds": 30_000.0}, {"evaluations": 25, "repeats": "free"}]
)
def test_rows_equal_a_plain_walk_over_trajectories(algorithm, options, tmp_path):
    plan = Plan.create(algorithms=[algorithm], runs=9, seed=3, **options)
    frame = load(run_study(plan, tmp_path / "study")).frame
    result = nasharness.run(algorithm, space="tss", runs=9, seed=3, **options)
    truth = result.problem.truth()
    expected = []
    for run, seed in enumerate(result.seeds):
        best, incumbent = -np.inf, -1
        count = int(result.trajectories.count[run])
        for step in range(count):
            signal_ = result.trajectories.signal[run, step]
            if signal_ > best:
                best, incumbent = signal_, int(result.trajectories.ids[run, step])
                clock = result.trajectories.clock[run, step]
                expected.append((seed, step + 1, clock, best, incumbent, truth.values[incumbent], False, -1, -1))
        expected.append((seed, count, result.seconds[run], best, int(result.incumbent[run]), result.final[run], True,
                         int(result.recommended[run]), int(result.evaluations[run])))  # fmt: skip
        assert incumbent == result.incumbent[run]
    columns = [
        "seed",
        "step",
        "simulated_seconds",
        "signal",
        "incumbent",
        "final",
        "last",
        "recommended",
        "evaluations",
    ]
    assert list(frame[columns].itertuples(index=False, name=None)) == expected
    last = frame[frame["last"]]
    np.testing.assert_array_equal(last["recommended_final"], result.recommended_final)
    assert frame["recommended_final"][~frame["last"]].isna().all()
    assert frame["algorithm"].unique().tolist() == [algorithm]


def test_shards_are_plain_parquet(whole):
    frame = pd.read_parquet(whole / "shards")
    pd.testing.assert_frame_equal(
        frame.astype(dict.fromkeys(NAMES, str)),
        load(whole).frame.drop(columns="study").astype(dict.fromkeys(NAMES, str)),
    )


def test_same_bits_in_processes_and_in_any_order(plan, whole, tmp_path, monkeypatch):
    assert same(whole, run_study(plan, tmp_path / "jobs", jobs=2))
    monkeypatch.setattr(
        "nasharness.studies.run.in_process", lambda shards, questions: in_process(list(reversed(shards)), questions)
    )
    assert same(whole, run_study(plan, tmp_path / "reversed"))
    assert len(list((whole / "shards").iterdir())) == 18


def test_blas_threads_change_no_bit(tmp_path):
    script = (
        "import sys; from nasharness.studies import *\n"
        "run_study(Plan.create(algorithms=['autoshrink.pooled', 'darts.table'], runs=30, evaluations=60), sys.argv[1])"
    )
    for threads in ("1", "4"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / threads)], env=environment, check=True)
    assert same(tmp_path / "1", tmp_path / "4")


# ---- interruptions


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

    def doom(worker, shard):
        worker.shard = shard
        given.append(shard.name)
        worker.process.kill()

    monkeypatch.setattr("nasharness.studies.local._Worker.give", doom)
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


def command(out, *more, runs=1500):
    return [
        sys.executable, "-m", "nasharness", "study", "--algo", "bohb,rea", "--dataset", "cifar10,cifar100",
        "--runs", str(runs), "--evaluations", "100", "--jobs", "2", "--out", str(out), *more,
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_keeps_what_is_finished(tmp_path):
    reference = tmp_path / "whole"
    subprocess.run(command(reference), check=True, capture_output=True)
    out = tmp_path / "interrupted"
    process = subprocess.Popen(
        command(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list((out / "shards").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "shards are complete; go on with: nasharness study --resume --out" in error
    assert len(list((out / "shards").glob("*"))) < 24
    done = subprocess.run(
        [sys.executable, "-m", "nasharness", "study", "--resume", "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "of 24 shards are complete" in done.stdout
    assert same(reference, out)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for orphans in /proc")
def test_kill_9_at_20_random_moments(tmp_path):
    reference = tmp_path / "whole"
    started = time.monotonic()
    subprocess.run(command(reference), check=True, capture_output=True)
    took = time.monotonic() - started
    rng = random.Random(20)
    interrupted = 0
    for number in range(20):
        out = tmp_path / f"killed{number}"
        process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.1, took))
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        children = listed.read_text().split() if listed.exists() else []
        process.kill()
        process.wait()
        there = list((out / "shards").glob("*")) if out.exists() else []
        assert all(pq.read_table(path).num_rows for path in there)
        if len(there) < 24:
            interrupted += 1
            with pytest.raises(DataError, match="no study|empty|incomplete"):
                load(out)
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()], "a worker outlived its parent"
        subprocess.run(command(out, "--resume"), check=True, capture_output=True)
        assert same(reference, out), number
    assert interrupted >= 10


def test_one_writer_at_a_time(plan, tmp_path):
    with Folder(tmp_path / "study"), pytest.raises(UsageError, match="another process is writing"):
        run_study(plan, tmp_path / "study")


# ---- refusing to mix


def small(**changes):
    return Plan.create(**({"algorithms": ["random"], "runs": 5, "evaluations": 9} | changes))


def test_a_study_that_is_there_needs_resume(tmp_path):
    out = run_study(small(), tmp_path / "study")
    with pytest.raises(UsageError, match="holds this study already.*--resume"):
        run_study(small(), out)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runs": 6}, "runs: 5 there, 6 here"),
        ({"algorithms": ["rea"]}, "algorithms: random there, rea here"),
        ({"evaluations": 10}, "evaluations: 9 there, 10 here"),
        ({"datasets": ["cifar100"]}, "datasets: cifar10 there, cifar100 here"),
    ],
)
def test_changed_plan_is_refused(tmp_path, changes, words):
    out = run_study(small(), tmp_path / "study")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=f"holds another study.*{words}"):
        run_study(small(**changes), out, resume=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_changed_versions_are_refused(tmp_path, monkeypatch):
    out = run_study(small(), tmp_path / "study")
    real = cells.versions
    monkeypatch.setattr(cells, "versions", lambda records: real(records) | {"numpy": "9.9"})
    with pytest.raises(UsageError, match=r"numpy: .* there, 9\.9 here"):
        run_study(small(), out, resume=True)


def test_changed_table_is_refused(tmp_path, monkeypatch, shared_data):
    out = run_study(small(), tmp_path / "study")
    done = CliRunner().invoke(cli, ["data", "import", str(shared_data / "tss.parquet")])
    assert done.exit_code == 0
    with pytest.raises(UsageError, match=r"table of cifar10: embedded \(.*\) there, light \(.*\) here"):
        run_study(small(), out, resume=True)


def test_folder_of_something_else(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another --out"):
        run_study(small(), tmp_path / "file")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "mine.parquet").write_text("")
    with pytest.raises(UsageError, match="no study.json"):
        run_study(small(), tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(DataError, match="cannot read"):
        run_study(small(), tmp_path)


# ---- reading back


def test_load_and_at(tmp_path):
    path = study_fixtures.write_study(tmp_path / "made", study_fixtures.cells(datasets=("cifar10", "cifar100")))
    results = load(path)
    assert len(results.last) == 80
    for limit, column in ((10, "step"), (1, "step"), (99, "step"), (700.0, "simulated_seconds"), (1e9, "step")):
        given = {"evaluations": limit} if column == "step" else {"seconds": limit}
        found = results.at(**given)
        inside = results.frame[results.frame[column] <= limit]
        wanted = inside.groupby(["cell", "seed"], observed=True, sort=True).tail(1)
        assert found["final"].tolist() == wanted["final"].tolist()
        assert found["seed"].tolist() == wanted["seed"].tolist()
    assert results.at(seconds=1.0)["final"].isna().all()
    assert len(results.at(seconds=1.0)) == 80
    with pytest.raises(UsageError):
        results.at()


def test_load_several(tmp_path):
    one = study_fixtures.write_study(tmp_path / "one")
    two = study_fixtures.write_study(tmp_path / "two", study_fixtures.cells(algorithms=("rea", "bohb")))
    results = load([one, two])
    labels = ["random", "rea @ one", "rea @ two", "bohb"]
    assert [cell["algorithm"] for cell in results.cells] == labels
    assert list(dict.fromkeys(results.frame["algorithm"])) == labels
    with pytest.raises(UsageError, match="given twice"):
        load([one, one])


def test_load_refuses(tmp_path):
    with pytest.raises(DataError, match="no study in"):
        load(tmp_path / "none")
    one = study_fixtures.write_study(tmp_path / "one")
    other = study_fixtures.write_study(tmp_path / "other", study_fixtures.cells(checksum="1" * 64))
    with pytest.raises(DataError, match=r"different tables do not mix: tss/cifar10.*000000000000.*111111111111"):
        load([one, other])
    shard = one / "shards" / "c000-00000.parquet"
    table = pq.read_table(shard)
    pq.write_table(table.drop_columns(["final", "step"]), shard)
    with pytest.raises(DataError, match=r"c000-00000\.parquet lacks the columns step, final"):
        load(one)
    shard.unlink()
    with pytest.raises(DataError, match="incomplete: 1 of 2"):
        load(one)
    (one / "shards" / "c001-00000.parquet").unlink()
    with pytest.raises(DataError, match="is empty"):
        load(one, partial=True)
    meta = json.loads((other / "study.json").read_text())
    (other / "study.json").write_text(json.dumps(meta | {"format": "nasharness-study/9"}))
    with pytest.raises(DataError, match="nasharness-study/9"):
        load(other)


# ---- the command line


def invoke(*words):
    done = CliRunner().invoke(cli, ["study", *map(str, words)], catch_exceptions=True)
    if isinstance(done.exception, NasharnessError):
        return done.exception.exit_code, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def test_command(tmp_path):
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text('algorithms = ["random", "rea"]\ndatasets = "all"\nruns = 6\nevaluations = 12\n')
    code, text = invoke(file, "--dry-run", "--out", out)
    assert code == 0, text
    assert "2 algorithms x 3 data sets x 6 runs = 36 runs in 6 shards, seeds 0 to 5" in text
    assert "estimate" in text
    assert not out.exists()
    code, text = invoke(file, "--out", out, "--set", "population=5", "--jobs", 2)
    assert code == 0, text
    assert "rea(population=5)" in text
    assert len(load(out).last) == 36
    code, text = invoke(file, "--out", out, "--set", "population=5")
    assert code == 2
    assert "--resume" in text
    code, text = invoke("--resume", "--out", out)
    assert code == 0, text
    assert "6 of 6 shards are complete" in text
    code, text = invoke("--resume", "--out", out, "--runs", 9)
    assert code == 2
    code, text = invoke(file, "--out", out, "--resume", "--runs", 9)
    assert (code, "runs: 6 there, 9 here" in text) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--algo", "raa", "--out", "x"], "nearest: rea"),
        (["--algo", "rea(populaton=3)", "--out", "x"], "nearest: population"),
        (["--algo", "rea(", "--out", "x"], "expected NAME or NAME"),
        (["--algo", "rea"], "--out"),
        (["--out", "x"], "needs algorithms"),
        (["--resume", "--out", "nowhere"], "no study in nowhere"),
        (["--algo", "rea", "--jobs", "0", "--out", "x"], "--jobs 0"),
        (["--algo", "rea", "--set", "population", "--out", "x"], "KEY=VALUE"),
        (["--algo", "rea", "--set", "popolation=3", "--out", "x"], "nearest: population"),
        (["--algo", "rea", "--budget", "nats", "--seconds", "5", "--out", "x"], "give one of them"),
    ],
)
def test_usage(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, text = invoke(*words)
    assert code in (1, 2)
    assert message in text
    assert not (tmp_path / "x").exists()
