"""The leaderboard: ratings, cells, and one command that goes on where it was stopped."""

import csv
import io

import numpy as np
import pytest

from nasharness.analysis.leaderboard import Entry, elo, standings


def entry(algorithm, wins, budget=25, **more):
    told = dict.fromkeys(("mean", "low", "high", "regret", "first", "optimum", "evaluations"), 1.0)
    told |= {"rank": 1.0, "rivals": 1, "runs": 4, "realisations": 2, "wins": wins, "algorithm": algorithm}
    return Entry(space="tss", dataset="cifar10", table="t", budget=budget, start="own", **(told | more))


def test_elo_is_the_odds_of_winning():
    many = [entry(name, share, budget) for budget in range(300) for name, share in (("random", 0.25), ("good", 0.75))]
    ratings = elo(many)
    assert ratings["random"] == pytest.approx(1000)
    assert ratings["good"] == pytest.approx(1000 + 400 * np.log10(3), abs=2)  # a prior of one lost and one won
    rng = np.random.default_rng(0)
    strength = dict(zip("abcd", (1.0, 2.0, 4.0, 8.0), strict=True))
    cells = []
    for budget in range(200):
        names = [name for name in strength if rng.random() < 0.8] or ["a"]
        for name in names:
            odds = [strength[name] / (strength[name] + strength[other]) for other in names if other != name]
            cells.append(entry(name, float(np.mean(odds)) if odds else 0.5, budget))
    found = elo(cells, anchor="a")
    assert [round(found[name] - found["a"]) for name in "bcd"] == pytest.approx([120, 241, 361], abs=6)


def test_one_command_makes_it_and_goes_on(cli, tmp_path):
    words = ("leaderboard", "--algo", "random,rea,rea(population=5),dense-then-random", "--space", "tss",
             "--evaluations", "20,30", "--runs", 3, "--realisations", 2, "--jobs", 1,
             "--out", tmp_path / "b")  # fmt: skip
    assert cli(*words)[0] == 0
    page = (tmp_path / "b" / "README.md").read_text()
    assert page.index("Equal starts: random:10") < page.index("Own starts")
    assert "rea(population=5)" in page
    rows = list(csv.DictReader(io.StringIO((tmp_path / "b" / "leaderboard.csv").read_text())))
    assert len(rows) == 2 * 2 * 3 * 4
    for row in rows:
        assert int(row["runs"]) == 6
        assert float(row["low"]) <= float(row["mean"]) <= float(row["high"])
    by_cell = {}
    for row in rows:
        by_cell.setdefault((row["dataset"], row["budget"], row["start"]), []).append(row)
    for cell in by_cell.values():
        assert sum(float(row["first"]) for row in cell) == pytest.approx(1, abs=1e-3)
        assert np.mean([float(row["rank"]) for row in cell]) == pytest.approx(2.5, abs=1e-3)
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "b" / "studies").rglob("*.parquet")}
    assert cli(*words)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    assert (tmp_path / "b" / "README.md").read_text() == page


def test_equal_starts_make_what_begins_densely_equal_to_random(cli, tmp_path):
    words = ("leaderboard", "--algo", "random,dense-then-random", "--space", "tss", "--evaluations", 30, "--runs", 3,
             "--realisations", 2, "--jobs", 1, "--start", "random:10", "--out", tmp_path / "b")  # fmt: skip
    assert cli(*words)[0] == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "b" / "leaderboard.csv").read_text())))
    assert {row["rank"] for row in rows} == {"1.5"}
    assert standings([entry("random", 0.5)], "own")[0].elo == 1000
    assert cli("leaderboard", "--space", "fbnet", "--out", tmp_path / "c")[0] == 2
