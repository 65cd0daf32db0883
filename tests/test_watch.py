"""How far long work is: forecasts of studies, ``nasharness watch``, ``--quiet``, and no colour in a pipe."""

import json
from dataclasses import replace

import pytest

from nasharness.analysis.watching import look
from nasharness.cli.terminal import Progress
from nasharness.cli.watch import table
from nasharness.runs.log import Log
from nasharness.studies import Plan, run_study
from nasharness.studies.forecast import Forecast, read
from nasharness.studies.shard import Shard

#: Seconds of a run: costs of algorithms differ a thousandfold.
COSTS = {"random": 0.002, "rea": 0.01, "gp": 0.4, "bananas": 2.0}


def shards(datasets=3, parts=2, runs=30):
    return [
        Shard("s", f"c{dataset}{place}-{part}", ("c", "tss", str(dataset), "t", name), name, {}, part * runs, runs, 0)
        for dataset in range(datasets)
        for place, name in enumerate(COSTS)
        for part in range(parts)
    ]


@pytest.mark.parametrize(
    ("jobs", "probe"),
    [(1, {}), (2, {}), *((jobs, {"random": 0.004, "rea": 0.02, "gp": 0.5, "bananas": 3.0}) for jobs in (1, 2, 4))],
)
def test_the_time_left_holds_where_algorithms_differ_in_cost(jobs, probe):
    """At a quarter of the runs, and at half of them; a rate of runs would be off by a multiple."""
    now = [0.0]
    work = shards()
    forecast = Forecast(work, jobs, probe, clock=lambda: now[0])
    waiting, flying, told = list(work), [], []
    while waiting or flying:
        while waiting and len(flying) < jobs:
            shard = waiting.pop(0)
            flying.append((now[0] + shard.runs * COSTS[shard.algorithm], shard))
        flying.sort(key=lambda each: each[0])
        now[0], shard = flying.pop(0)
        forecast.finished(shard)
        told.append((len(told) + 1, now[0], forecast.left))
    end = now[0]
    assert told[-1][2] == 0
    for part in (0.5,) if not probe else (0.25, 0.5):
        _, at, left = next(each for each in told if each[0] >= part * len(work))
        assert left == pytest.approx(end - at, rel=0.25)
    _, at, _ = next(each for each in told if each[0] >= 0.25 * len(work))
    if jobs == 1:
        assert abs(at / 0.25 * 0.75 - (end - at)) > 0.2 * (end - at)  # the plain rate


def test_a_study_can_be_watched(cli, tmp_path):
    plan = Plan.create(algorithms=["random", "rea"], space="tss", datasets="cifar10,cifar100", runs=3, evaluations=20)
    out = run_study(plan, tmp_path / "s")
    assert read(out) is None  # which is for studies that run
    shard = out / "shards" / "c003-00000.parquet"
    kept = shard.read_bytes()
    shard.unlink()
    parts = {part.name: (part.done, part.total) for part in look(out)}
    assert parts == {"random": (6, 6), "rea": (3, 6), "s": (9, 12)}
    shard.write_bytes(kept)
    code, said, _ = cli("watch", out)
    assert code == 0
    assert "12 of 12 runs, done" in said
    assert "\x1b" not in said
    assert look(out)[-1].left == 0


def test_a_study_that_runs_says_what_is_left(tmp_path):
    plan = Plan.create(algorithms=["random", "rea"], space="tss", datasets="cifar10", runs=3, evaluations=20)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(plan, tmp_path / "s", progress=stop, expected={"random": 1.0, "rea": 10.0})
    told = read(tmp_path / "s")
    assert (told["done"], told["runs"]) == (3, 6)
    assert told["algorithms"]["rea"]["seconds_each"] == 10
    assert look(tmp_path / "s")[-1].left == pytest.approx(30, abs=10)
    run_study(plan, tmp_path / "s", resume=True)
    assert read(tmp_path / "s") is None


def test_a_training_can_be_watched(tmp_path, cli):
    journal = Log(tmp_path / "run", key="epoch")
    (tmp_path / "run" / "run.json").write_text(json.dumps({"recipe": {"epochs": 40}}))
    for epoch in range(1, 11):
        journal.write({"epoch": epoch, "train_loss": 1 / epoch, "seconds": 100.0 * epoch})
    journal.close()
    (part,) = look(tmp_path / "run")
    assert (part.done, part.total, part.each) == (10, 40, 100.0)
    assert part.left == pytest.approx(3000, abs=30)
    assert "train loss 0.1" in part.detail
    code, said, _ = cli("watch", tmp_path / "run")
    assert code == 0
    assert "10 of 40 epochs, 100 s each, 0:" in said
    assert cli("watch", tmp_path)[0] == 0  # seeds lie in folders of their own
    assert cli("watch", tmp_path / "nothing")[0] == 2
    (tmp_path / "empty").mkdir()
    assert "nothing to watch" in cli("watch", tmp_path / "empty")[2]


def test_colour_is_for_terminals_and_lines_fit(tmp_path):
    journal = Log(tmp_path / "run", key="epoch")
    journal.write({"epoch": 1, "epochs": 3, "loss": 2.0, "seconds": 5.0})
    parts = look(tmp_path / "run")
    (plain,) = table(parts, 60, False)
    (coloured,) = table(parts, 60, True)
    assert len(plain) < 60
    assert "\x1b[36m" in coloured
    done = [replace(parts[0], done=3)]
    assert "\x1b[32m" in table(done, 60, True)[0]


def test_quiet_says_nothing_of_progress(cli, tmp_path, monkeypatch):
    said = []
    before = Progress.update

    def update(self, *given, **more):
        said.append(self.quiet)
        before(self, *given, **more)

    monkeypatch.setattr(Progress, "__call__", update)
    words = ("study", "--algo", "random", "--runs", 2, "--evaluations", 5, "--out")
    assert cli(*words, tmp_path / "a", "--quiet")[0] == 0
    assert said == [True]
    assert cli(*words, tmp_path / "b")[0] == 0
    assert said == [True, False]
