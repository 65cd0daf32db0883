"""A table of one's own: one command, any measurements, and every way in which the data may be wrong."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

import nasharness
from nasharness import spaces, tables
from nasharness.errors import DataError, NasharnessError, UsageError
from nasharness.search import Problem, registry
from nasharness.spaces.listed import FilledSpace, ListedSpace, near
from nasharness.tables.own_files import read_card
from nasharness.tables.strings import space_of

RUNS = {"run0": "acc:0", "run1": "acc:1"}


def frame(rows=81, positions=4, seed=0, separator=""):
    """The first rows of a product space of three options, with two noisy trials of an additive quality."""
    rng = np.random.default_rng(seed)
    codes = list(itertools.product("123", repeat=positions))[:rows]
    quality = np.array([sum(int(option) * (place + 1) for place, option in enumerate(code)) for code in codes])
    return {
        "code": np.array([separator.join(code) for code in codes], dtype=object),
        "run0": 50.0 + quality + rng.normal(0, 0.3, rows),
        "run1": 50.0 + quality + rng.normal(0, 0.3, rows),
        "params": 1.0 + quality,
        "seconds": 10.0 + quality,
        "v4": 20.0 + quality,
        "v12": 40.0 + quality,
    }


def csv(path, columns):
    names = list(columns)
    lines = [",".join(names)] + [
        ",".join(str(columns[name][row]) for name in names) for row in range(len(columns["code"]))
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_one_command_and_every_algorithm_that_fits_runs(cli, tmp_path):
    file = csv(tmp_path / "mine.csv", frame())
    code, out, err = cli("data", "import", file, "--name", "mine", "--arch", "code", "--metric", "run0=acc:0",
                         "--metric", "run1=acc:1", "--known", "params")  # fmt: skip
    assert code == 0, err
    assert out.startswith("mine/mine: 81 rows")
    space = spaces.get("mine")
    assert isinstance(space, FilledSpace)
    assert space.sizes == (3, 3, 3, 3)
    assert space.parse("2131") == space.strings().index("2131")
    fitting = [name for name in registry.names(kind="multi-trial") if not registry.get(name).unfit(space)]
    assert {"random", "rea", "local-search", "reinforce", "nsga2", "autoshrink.set"} <= set(fitting)
    for name in fitting:
        if {"fidelities", "environments"} & set(registry.get(name).needs):
            code, _, err = cli("run", "--algo", name, "--space", "mine")
            assert code == 2
            assert "needs fidelities" in err or "needs environments" in err
            continue
        code, out, err = cli("run", "--algo", name, "--space", "mine", "--signal", "acc:random", "--final", "acc:mean",
                             "--evaluations", "30", "--runs", "3", "--json")  # fmt: skip
        assert code == 0, (name, err)
        result = json.loads(out)
        assert result["dataset"] == "mine"
        assert result["cost_seconds"]["mean"] is None, "a table without times has no clock"
        assert all(value <= 0 for value in [-abs(result["regret"]["mean"])])


def test_a_listed_space_has_neighbours_and_says_who_cannot_search_it(data_home):
    tables.from_frame(frame(rows=60), name="part", arch="code", metrics=RUNS)
    space = spaces.get("part")
    assert type(space) is ListedSpace
    result = nasharness.run("rea", space="part", runs=20, evaluations=40)
    assert np.isfinite(result.final).all()
    for name, words in (
        ("autoshrink.set", "product space"),
        ("autoshrink", "product space"),
        ("bohb", "fidelities|product"),
    ):
        with pytest.raises(UsageError, match=words):
            nasharness.run(name, space="part", evaluations=10)


def test_a_study_of_all_leaves_out_who_needs_fidelities_and_a_named_one_is_refused(cli, tmp_path, data_home):
    tables.from_frame(frame(), name="mine", arch="code", metrics=RUNS)
    shape = ("--space", "mine", "--runs", 2, "--evaluations", 10)
    code, out, err = cli("study", "--algo", "all", *shape, "--out", tmp_path / "study")
    assert code == 0, err
    assert "rea" in out
    assert "successive-halving" not in out
    code, _, err = cli("study", "--algo", "random,successive-halving", *shape, "--out", tmp_path / "other")
    assert code == 2
    assert "successive-halving needs fidelities; table 'mine'" in err
    assert not (tmp_path / "other").exists()


def test_neighbours_of_listed_rows_are_those_one_feature_away():
    rng = np.random.default_rng(3)
    features = rng.integers(0, 3, (40, 5)).astype(np.int8)
    features = np.unique(features, axis=0)
    starts, rows = near(features)
    for row in range(len(features)):
        distance = (features != features[row]).sum(axis=1)
        distance[row] = 99
        expected = np.flatnonzero(distance == distance.min()) if distance.min() > 1 else np.flatnonzero(distance == 1)
        assert rows[starts[row] : starts[row + 1]].tolist() == expected.tolist()


def test_mutation_of_a_listed_space_is_uniform_over_neighbours(data_home):
    tables.from_frame(frame(rows=60), name="part", arch="code", metrics=RUNS)
    space = spaces.get("part")
    beside = space.neighbours(7)
    drawn = space.mutate(np.full(6_000, 7), np.random.default_rng(0).random((6_000, 1)))
    counts = np.array([(drawn == other).sum() for other in beside[beside >= 0]])
    assert counts.sum() == 6_000
    assert np.abs(counts / 6_000 - 1 / len(counts)).max() < 0.03


@pytest.mark.parametrize(
    ("texts", "positions", "filled"),
    [
        (["111", "112", "121", "122", "211", "212", "221", "222"], 3, True),
        (["(0, 1)", "(0, 2)", "(1, 1)", "(1, 2)"], 2, True),
        (["8:16", "8:32", "64:16", "64:32"], 2, True),
        (["a-x_b", "a-y_b", "c-x_b", "c-y_b"], 2, True),
        (["|op~0|+|a~0|", "|op~0|+|b~0|", "|no~0|+|a~0|", "|no~0|+|b~0|"], 2, True),
        (["ab", "abc", "b"], 3, False),
    ],
)
def test_positions_are_found_in_strings(texts, positions, filled):
    space = space_of("s", ["arch"], [np.array(texts, dtype=object)], False)
    assert len(space.positions) == positions
    assert isinstance(space, FilledSpace) == filled
    assert [space.string(row) for row in range(len(texts))] == texts
    assert [space.from_string(text) for text in texts] == list(range(len(texts)))
    if filled:
        assert space.index(space.choices(np.arange(space.size))).tolist() == list(range(space.size))


def test_several_columns_are_the_positions(data_home):
    grid = np.array(list(itertools.product([8, 16, 32], [1, 2])))
    table = tables.from_frame(
        {"width": grid[:, 0], "depth": grid[:, 1], "acc": grid.sum(axis=1) * 1.0},
        name="grid", arch=["width", "depth"], metrics={"acc": "acc"}, ordered=True,
    )  # fmt: skip
    space = spaces.get("grid")
    assert space.positions == ("width", "depth")
    assert space.options == (("8", "16", "32"), ("1", "2"))
    assert space.string(3) == "16,2"
    assert "ladder" in space.offers
    assert nasharness.run("autoshrink", space="grid", table=table, evaluations=6).optimum == 34.0


def test_a_card_is_the_same_as_the_options(cli, tmp_path, data_home):
    file = csv(tmp_path / "mine.csv", frame())
    card = tmp_path / "card.toml"
    card.write_text(
        'files = "mine.csv"\nname = "mine"\narch = "code"\nknown = ["params"]\ncost = "seconds"\n'
        '[metrics]\nrun0 = "acc:0"\nrun1 = "acc:1"\n'
    )
    assert cli("data", "import", "--card", card)[0] == 0
    one = tables.open_table("mine", "mine").checksum
    assert cli("data", "import", file, "--name", "again", "--arch", "code", "--metric", "run0=mine/acc:0", "--metric",
               "run1=mine/acc:1", "--known", "params", "--cost", "seconds")[0] == 0  # fmt: skip
    assert tables.open_table("again", "again").checksum == one
    card.write_text(card.read_text().replace("arch =", "arhc ="))
    with pytest.raises(UsageError, match=r"card.toml, line 3: unknown key of a card 'arhc'; nearest: arch"):
        read_card(card)
    card.write_text("name = 3\n")
    with pytest.raises(UsageError, match=r"line 1: name = 3: expected a str"):
        read_card(card)


def test_times_make_a_clock_and_epochs_fidelities(data_home):
    data = frame()
    tables.from_frame(data, name="timed", arch="code", metrics=RUNS, cost="seconds")
    result = nasharness.run("rea", space="timed", seconds=500.0, runs=4)
    ids = result.trajectories.ids[0, : result.trajectories.count[0]]
    assert result.trajectories.clock[0, : len(ids)] == pytest.approx(np.cumsum(data["seconds"][ids]))
    tables.from_frame(data, name="curves", arch="code", metrics={"v4": "val@4", "v12": "val@12"}, cost="seconds")
    problem = Problem.create("curves", evaluations=40)
    assert problem.evaluator().epochs == (4, 12)
    assert str(problem.signal) == "val@12:mean"
    result = nasharness.run("successive-halving", problem, runs=2)
    assert set(np.unique(result.trajectories.epochs[0])) == {4, 12}
    assert str(Problem.create("curves", signal="val@4", final="val@12").signal) == "val@4/12:mean"


def test_what_is_minimised_is_searched_downwards(data_home):
    data = frame() | {"loss": 9.0 - 0.1 * frame()["params"]}
    tables.from_frame(data, name="losses", arch="code", metrics={"loss": "loss"}, minimise=["loss"])
    result = nasharness.run("local-search", space="losses", evaluations=60, runs=3)
    assert result.optimum == data["loss"].min()
    assert (result.regret >= 0).all()
    assert result.regret.max() < 0.5


def test_rows_of_a_registered_space(data_home):
    tss = spaces.get("tss")
    data = {"arch": np.array(tss.strings(), dtype=object)[::-1], "acc": np.linspace(1, 90, tss.size)}
    table = tables.from_frame(data, name="robust", space="tss", arch="arch", metrics={"acc": "cifar10/robust"})
    assert table.values("cifar10", "robust", seed="0")[0] == data["acc"][-1]
    result = nasharness.run("rea", space="tss", table=table, signal="robust", final="robust", evaluations=20)
    assert result.problem.table.name == "robust"
    short = {"arch": data["arch"][:10], "acc": data["acc"][:10]}
    with pytest.raises(DataError, match="10 of the 15,625 architectures"):
        tables.from_frame(short, name="few", space="tss", arch="arch", metrics={"acc": "cifar10/robust"})


def test_another_data_set_may_be_the_signal_but_never_the_same_test(data_home):
    data = frame()
    metrics = {"run0": "one/test@90", "run1": "two/test@90"}
    tables.from_frame(data, name="shift", arch="code", metrics=metrics)
    for text in ("one/test@90", "one:test@90"):
        problem = Problem.create("shift", "two", signal=text, final="test@90")
        assert problem.signal.source == "one"
    result = nasharness.run("rea", problem, runs=2)
    assert "transfer" in {caveat.code for caveat in result.caveats}
    for text in ("test@90", "two/test@90", "two:test@90"):
        with pytest.raises(UsageError, match="never a search signal"):
            Problem.create("shift", "two", signal=text, final="test@90")


def broken(**changes):
    return frame() | {key: np.asarray(value) for key, value in changes.items()}


def hole(column, row=5):
    values = frame()[column].copy()
    values[row] = np.nan
    return values


def twice():
    codes = frame()["code"].copy()
    codes[9] = codes[4]
    return codes


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (frame(), {"metrics": {}}, "no column to score by.*--metric"),
        (frame(), {"metrics": {"run9": "acc"}}, "unknown column of the data 'run9'; nearest: run"),
        (frame(), {"metrics": {"run0": "acc", "run1": "acc"}}, "'run0' and 'run1' both measure.*--metric run0=acc:0"),
        (frame(), {"metrics": {"run0": "a b"}}, "expected .DATASET/.METRIC"),
        (frame(), {"metrics": {"run0": "acc:mean"}}, "would mean something else"),
        (frame(), {"minimise": ["losss"]}, "metric to minimise 'losss'"),
        (broken(run0=hole("run0")), {}, "'run0' has no value in 1 of 81 rows .first: row 5.*--missing drop"),
        (broken(code=twice()), {}, "occur more than once.*rows 4 and 9"),
        (broken(run0=["x"] * 81), {}, "'run0' is not all numbers"),
        (broken(run0=[np.inf] * 81), {}, "infinite in row 0"),
        (broken(code=[""] * 81), {"repeated": "first"}, "empty in row 0"),
        (frame(), {"name": "../x"}, "letters, digits"),
        (frame(), {"missing": "fill"}, "treatment of missing values"),
        (broken(seconds=np.zeros(81)), {"cost": "seconds"}, "must be positive"),
    ],
)
def test_bad_data_are_one_clear_line_and_nothing_is_written(data, options, words, data_home):
    with pytest.raises(NasharnessError, match=words):
        tables.from_frame(data, **({"name": "bad", "arch": "code", "metrics": RUNS} | options))
    assert not list(data_home.glob("tables/*/*/table.json"))


def test_gaps_and_repeats_as_one_says(data_home):
    tables.from_frame(broken(run0=hole("run0")), name="less", arch="code", metrics=RUNS, missing="drop")
    assert spaces.get("less").size == 80
    tables.from_frame(broken(run0=hole("run0")), name="gaps", arch="code", metrics=RUNS, missing="keep")
    with pytest.raises(DataError, match="lacks acc:0 for 1 of 81"):
        Problem.create("gaps", signal="acc:0")
    kept = tables.from_frame(broken(code=twice()), name="mean", arch="code", metrics=RUNS, repeated="mean")
    assert kept.size == 80
    assert kept.values("mean", "acc", seed="0")[4] == pytest.approx(frame()["run0"][[4, 9]].mean())


def test_nothing_is_replaced_unasked_and_another_space_is_noticed(data_home):
    one = tables.from_frame(frame(), name="mine", arch="code", metrics=RUNS)
    with pytest.raises(UsageError, match="--force"):
        tables.from_frame(frame(seed=1), name="mine", arch="code", metrics=RUNS)
    other = tables.from_frame(frame(), name="second", space="mine", arch="code", metrics={"run0": "acc"})
    assert other.space == "mine"
    tables.from_frame(frame(rows=40), name="mine", arch="code", metrics=RUNS, force=True)
    assert spaces.get("mine").size == 40
    with pytest.raises(DataError, match="import the table again"):
        Problem.create("mine", table="second")
    with pytest.raises(UsageError, match="is of space 'mine', not 'tss'"):
        Problem.create("tss", table=one)


def test_ambiguity_is_asked_with_the_command_as_it_should_read(cli, tmp_path, data_home):
    file = csv(tmp_path / "mine.csv", frame())
    code, _, err = cli("data", "import", file)
    assert code == 2
    assert "--arch code --metric" in err
    tables.from_frame(frame(), name="two", arch="code", metrics={"run0": "one", "run1": "other"})
    with pytest.raises(UsageError, match="it has one, other.*--signal one"):
        Problem.create("two")
    tables.from_frame(frame(), name="sets", arch="code", metrics={"run0": "a/acc", "run1": "b/acc"})
    with pytest.raises(UsageError, match="has a, b; say which: --dataset a"):
        Problem.create("sets")
    for words in (["--arch", "cod"], ["--metric", "run0"], ["--metric", "run0=acc", "--metric", "run0=b"]):
        given = {"--name": "x", "--arch": "code", "--metric": "run0=acc"}
        given = [word for key, value in given.items() if key not in words for word in (key, value)]
        code, _, err = cli("data", "import", file, *given, *words)
        assert code == 2
        assert err.startswith("nasharness: ")


def test_a_file_too_large_for_memory_is_refused_before_it_is_read(data_home, tmp_path, monkeypatch):
    file = csv(tmp_path / "mine.csv", frame())
    monkeypatch.setattr("nasharness.storage.memory.SHARE", 0.0)
    with pytest.raises(UsageError, match="GiB of memory"):
        tables.own_files.import_own([file], name="mine", arch="code", metrics=RUNS)


def test_ten_million_rows_would_say_how_much_memory(monkeypatch, tmp_path):
    from nasharness.tables import columnar

    with pytest.raises(UsageError, match=r"10,000,000,000 rows would take about [\d,.]+ GiB"):
        columnar._check_memory(tmp_path / "big.parquet", 10_000_000_000, 3)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_large_import_says_beforehand_what_memory_it_takes(data_home, tmp_path, monkeypatch, ending):
    file = tmp_path / f"mine.{ending}"
    rows = pd.DataFrame(frame())
    rows.to_csv(file, index=False) if ending == "csv" else rows.to_parquet(file)
    said: list[str] = []

    def progress(done, total, label="", detail="", line=""):
        assert not list((data_home / "tables" / "mine").rglob("*.npy"))
        said.append(line)

    tables.own_files.import_own([file], name="small", arch="code", metrics=RUNS, progress=progress)
    assert not said
    monkeypatch.setattr("nasharness.tables.own_files._MUCH", 0)
    tables.own_files.import_own([file], name="mine", arch="code", metrics=RUNS, progress=progress)
    assert said == [f"about {len(rows):,} rows: making a table of them takes about 0.0 GiB of memory"]


def test_neighbours_that_memory_cannot_hold_are_refused_before_they_are_listed(monkeypatch, data_home):
    """Rows that fill no product have their neighbours listed: far more than the rows themselves."""
    monkeypatch.setattr("nasharness.storage.memory.memory", lambda: 100)
    with pytest.raises(UsageError, match="neighbours of 3 architectures, 2 and more, would take about .* of memory"):
        tables.from_frame({"code": ["11", "12", "21"], "acc": [1, 2, 3]}, name="x", arch="code", metrics={"acc": "acc"})
    assert not list(data_home.rglob("*.npy"))


def test_real_channel_table_as_its_users_import_it(cli, shared_data):
    trials = [word for run in range(3) for word in ("--metric", f"test_acc_run{run}=acc:{run}")]
    file = shared_data / "channelbench_resnet.parquet"
    assert cli("data", "import", file, "--name", "mychannel", "--arch", "code", *trials)[0] == 0
    asked = ["--signal", "acc:random", "--final", "acc:mean", "--runs", "200", "--evaluations", "200", "--json"]
    code, out, err = cli("run", "--algo", "rea", "--space", "mychannel", *asked)
    assert code == 0, err
    result = json.loads(out)
    assert 93.5 < result["final"]["mean"] < 93.9
