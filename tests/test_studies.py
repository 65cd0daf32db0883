"""Studies: shards, executors, refusing to mix, and reading back."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import nasharness
from nasharness import spaces
from nasharness.analysis import figures, report
from nasharness.analysis.comparison import compare
from nasharness.cli import cli
from nasharness.errors import DataError, UsageError
from nasharness.search import Backend, Problem
from nasharness.search.evaluator import Evaluator
from nasharness.search.streams import lots
from nasharness.search.winner import read_winner
from nasharness.spaces import ChoiceSpace, registry
from nasharness.studies import Plan, cells, load, run_study, write
from nasharness.studies.folder import shard_note
from nasharness.studies.local import in_processes
from nasharness.studies.of_result import study_of
from nasharness.studies.shard import NAMES, file_of
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


# ---- shards


@pytest.mark.parametrize("algorithm", ["random", "bohb", "local-search", "successive-halving", "autoshrink.pooled"])
@pytest.mark.parametrize(
    "options", [{"evaluations": 40}, {"seconds": 30_000.0}, {"evaluations": 25, "repeats": "free"}]
)
def test_rows_equal_a_plain_walk_over_trajectories(algorithm, options, tmp_path):
    options = options | {"final": "val@200:mean"}
    plan = Plan.create(algorithms=[algorithm], runs=9, seed=3, **options)
    frame = load(run_study(plan, tmp_path / "study")).frame
    result = nasharness.run(algorithm, space="tss", runs=9, seed=3, **options)
    truth = result.problem.truth()
    expected = []

    def lot(seed, arch):
        return lots(np.array([seed]), np.array([[arch]]))[0, 0]

    for run, seed in enumerate(result.seeds):
        best, incumbent = -np.inf, -1
        count = int(result.trajectories.count[run])
        for step in range(count):
            signal_ = result.trajectories.signal[run, step]
            arch = int(result.trajectories.ids[run, step])
            if signal_ > best or (signal_ == best and lot(seed, arch) > lot(seed, incumbent)):
                best, incumbent = signal_, arch
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
        "nasharness.studies.run.in_processes",
        lambda shards, questions, jobs, **how: in_processes(list(reversed(shards)), questions, jobs, **how),
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
    with pytest.raises(UsageError, match=r"table of cifar10: embedded \(.*\) there, light \(.*\) here") as caught:
        run_study(small(table="light"), out, resume=True)
    assert "signal: val@200:random there" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("repeats", "cost", "optimum"))  # only what differs, once
    study = json.loads((out / "study.json").read_text())
    before = (out / "shards" / "c000-00000.parquet").read_bytes()
    (out / "shards" / "c000-00000.parquet").unlink()
    run_study(small(), out, resume=True)  # goes on with the table that it was begun with
    assert (out / "shards" / "c000-00000.parquet").read_bytes() == before
    run_study(small(table="embedded"), out, resume=True)  # the same, said
    assert json.loads((out / "study.json").read_text()) == study
    done = CliRunner().invoke(cli, ["study", "--resume", "--out", str(out)])
    assert done.exit_code == 0, done.exception
    assert "table embedded" in done.output


def test_folder_of_something_else(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another --out"):
        run_study(small(), tmp_path / "file")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "mine.parquet").write_text("")
    with pytest.raises(UsageError, match="no study.json"):
        run_study(small(), tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(DataError, match=r"study\.json is damaged"):
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
    note = shard_note(table)
    shard.write_bytes(file_of(table.drop_columns(["final", "step"]), note["study"], note["shard"], note["runs"]))
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


# ---- spaces without indices


@pytest.fixture
def huge():
    """A space of 9^22 architectures, registered for a while."""
    space = ChoiceSpace("huge", tuple(tuple("abcdefghi") for _ in range(22)))
    spaces.register(space)
    yield space
    registry._registry.records.pop("huge")


def ones(archs):
    """How many positions hold the option b; the simulated cost is one more."""
    return np.asarray(archs == 1).sum(axis=-1).astype(float)


@pytest.mark.parametrize("algorithm", ["random", "rea"])
def test_runs_on_a_space_too_large_to_enumerate(huge, algorithm, tmp_path):
    backend = Backend("ones", ones, seconds=lambda archs: 1 + ones(archs), optimum=22.0)
    problem = Problem.create(huge, table=backend, evaluations=60)
    result = nasharness.run(algorithm, problem, runs=300, seed=2)
    assert result.trajectories.ids.shape == (300, 60, 22)
    results = load(write(result, tmp_path / "run"))
    last = results.last
    assert np.array_equal(np.stack(last["incumbent"]), result.incumbent)
    assert last["final"].tolist() == ones(result.incumbent).tolist()
    assert results.strings("recommended", last) == [huge.string(arch) for arch in result.recommended]
    assert results.at(evaluations=1)["final"].tolist() == ones(result.trajectories.ids[:, 0]).tolist()
    everything = pq.read_table(tmp_path / "run" / "evaluations.parquet")
    assert np.array_equal(np.stack(everything["arch"].to_numpy()), result.trajectories.ids.reshape(-1, 22))
    study = study_of(result.record, result.settings, problem, 300, 2)
    again = run_study(study, tmp_path / "again")
    for shard in study.shards():
        name = f"shards/{shard.name}.parquet"
        assert (again / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    assert run_study(study, again, resume=True) == again  # its shards are known to be whole
    winner = read_winner(tmp_path / "run")["winner"]
    assert winner["index"] is None
    assert ones(huge.from_string(winner["arch"])) == winner["signal"] == result.final.max()
    section = compare(results.frame, results.cells).sections[0]
    assert section.rows[0].mean == pytest.approx(result.final.mean())


def test_figures_of_a_space_too_large_to_enumerate(huge, tmp_path):
    pytest.importorskip("matplotlib")
    backend = Backend("ones", ones)  # no clock, no known optimum
    options = {"table": backend, "evaluations": 40}
    folders = [
        write(nasharness.run(name, space=huge, runs=8, **options), tmp_path / name) for name in ("random", "rea")
    ]
    results = load(folders)
    assert {cell["clock"] for cell in results.cells} == {None}
    drawn = figures.draw(results, tmp_path / "figures", formats=["svg"])
    assert {"incumbent-evaluations", "rank", "final-ecdf", "final-runs"} <= {path.stem for path in drawn.written}
    assert "no simulated clock" in drawn.left_out["incumbent-time"]
    assert "too large" in drawn.left_out["landscape"]
    page = report.write(results, tmp_path / "report.html").read_text()
    assert results.cells[0]["table"]["checksum"] in page
    assert len(list((tmp_path / "winners").iterdir())) == 2


def test_a_problem_reads_its_columns_once(monkeypatch, tmp_path):
    made = []
    real = Evaluator.__init__
    monkeypatch.setattr(Evaluator, "__init__", lambda self, *rest: made.append(1) or real(self, *rest))
    asked = ["--runs", "3", "--evaluations", "9"]
    for command in (["run", "--space", "tss", "--algo", "rea"], ["study", "--algo", "rea,random"]):
        made.clear()
        out = ["--out", str(tmp_path / command[0])]
        assert CliRunner().invoke(cli, [*command, *asked, *out]).exit_code == 0
        assert len(made) == 1
