"""nasharness validate: verdicts, exit codes, baselines, published tables, tables' anchors, proxies."""

import json

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from nasharness import tables
from nasharness.analysis.statistics.sequential import BETTER, SAME, WORSE
from nasharness.analysis.validation import Live, paper, proxies, published, table_check, validate
from nasharness.analysis.validation.baseline import record
from nasharness.cli import cli
from nasharness.errors import DataError, UsageError
from nasharness.search import Problem, registry
from nasharness.search import run as search
from nasharness.search.trajectories import Trajectories
from nasharness.storage.sealed import seal
from nasharness.studies.plan import Choice
from nasharness.tables import Table, TableWriter
from nasharness.tables.catalogue import table_path
from nasharness.tables.importers.nats_light.table import import_files


@pytest.fixture(autouse=True)
def no_tables(data_home):
    """The embedded table alone, unless a test brings another."""


@pytest.fixture(scope="module")
def light_folder(shared_data, tmp_path_factory):
    home = tmp_path_factory.mktemp("light")
    import_files([shared_data / "tss.parquet"], destination=home / "tables" / "tss" / "light")
    return home


@pytest.fixture
def light(light_folder, monkeypatch):
    monkeypatch.setenv("NASHARNESS_DATA", str(light_folder))
    return light_folder


def run(*arguments):
    """Output and exit code, as the command line would have them."""
    outcome = CliRunner().invoke(cli, ["validate", *map(str, arguments)], standalone_mode=False)
    if outcome.exception is not None:
        raise outcome.exception
    return outcome.stdout, outcome.return_value


SMALL = ("--dataset", "cifar100", "--evaluations", "60", "--runs", "100")


# ---- better, worse, no difference


def test_better_worse_and_their_exit_codes():
    text, code = run("--algo", "rea", "--against", "random", *SMALL[:2], "--evaluations", "200", "--runs", "200")
    assert "verdict    better" in text
    assert code == 0
    text, code = run("--algo", "random", "--against", "rea", *SMALL[:2], "--evaluations", "200", "--runs", "200")
    assert "verdict    worse" in text
    assert code == 1


def test_an_algorithm_against_itself_is_equal_run_by_run():
    text, code = run("--algo", "random", "--against", "random", *SMALL)
    assert "every run is equal" in text
    assert code == 0
    assert run("--algo", "random", "--against", "random", *SMALL, "--require", "better")[1] == 1


def test_no_difference_names_the_smallest_effect_that_would_have_shown():
    text, code = run("--algo", "random", "--against", "random", "--against-seed", 5_000, *SMALL, "--json")
    answer = json.loads(text)
    (cell,) = answer["cells"]
    assert answer["verdict"] == SAME
    assert code == 0
    assert cell["runs"] == 100
    # two independent means of 100 runs differ by about this much, seen with 80 % power at a look of 2 %
    assert 0.2 < cell["detectable"] < 1.0
    assert cell["interval"][0] < 0 < cell["interval"][1]


def test_effect_is_the_mean_difference_of_pairs():
    text, _ = run("--algo", "rea", "--against", "random", *SMALL, "--score", "final", "--json")
    (cell,) = json.loads(text)["cells"]
    problem = Problem.create("tss", "cifar100", evaluations=60)
    n = cell["runs"]
    new, old = (search(name, problem, runs=n).final for name in ("rea", "random"))
    assert cell["effect"] == pytest.approx((new - old).mean())
    assert (cell["new_mean"], cell["old_mean"]) == pytest.approx((new.mean(), old.mean()))


def test_pooled_is_found_better_than_set_within_100_runs():
    problems = [
        Problem.create("tss", dataset, evaluations=100) for dataset in ("cifar10", "cifar100", "ImageNet16-120")
    ]
    for score in ("recommended", "final"):
        new, old = (Live(Choice.parse(name), problems, 0) for name in ("autoshrink.pooled", "autoshrink.set"))
        found = validate(new, old, problems, runs=100, score=score)
        assert [cell.verdict for cell in found.answers] == [BETTER] * 3
        assert max(cell.runs for cell in found.answers) <= 100


def test_it_stops_when_the_answer_is_clear_and_runs_no_more():
    problems = [Problem.create("tss", "cifar100", evaluations=100)]
    made = []
    new, old = (Live(Choice.parse(name), problems, 0) for name in ("autoshrink.pooled", "autoshrink.set"))
    new.made = made.append
    found = validate(new, old, problems, runs=500)
    assert sum(made) == found.answers[0].runs < 500


def test_settings_and_budgets():
    text, _ = run("--algo", "rea(population=30)", "--against", "rea", "--dataset", "cifar10,cifar100",
                  "--evaluations", "40,80", "--runs", "30", "--json")  # fmt: skip
    answer = json.loads(text)
    assert answer["new"] == "rea(population=30)"
    assert [(c["dataset"], c["budget"]) for c in answer["cells"]] == [
        ("cifar10", "40 evaluations"),
        ("cifar10", "80 evaluations"),
        ("cifar100", "40 evaluations"),
        ("cifar100", "80 evaluations"),
    ]


def test_header_says_score_table_and_error_control():
    text, _ = run("--algo", "rea", "--against", "random", "--dataset", "cifar10,cifar100", "--runs", "10")
    for part in ("own answer", "embedded", "checksum", "at most 2 %", "Holm over 2", "seeds 0... of both"):
        assert part in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "rea"])
def test_itself_with_other_seeds_is_rarely_called_better_or_worse(name):
    """200 repetitions on two data sets: better or worse in at most 5 % of them."""
    problems = [Problem.create("tss", dataset, evaluations=60) for dataset in ("cifar10", "cifar100")]
    said = 0
    for repetition in range(200):
        sides = [Live(Choice.parse(name), problems, side * 10_000_000 + repetition * 1_000) for side in (0, 1)]
        said += validate(*sides, problems, runs=200).verdict in (BETTER, WORSE)
    assert said <= 10


# ---- baselines


@pytest.fixture
def baseline(tmp_path):
    path = tmp_path / "baseline.json"
    run("--algo", "random", "--record", path, "--dataset", "cifar10,cifar100", "--evaluations", "50,100", "--runs", 60)
    return path


def test_baseline_gives_what_the_algorithm_gives(baseline):
    live, _ = run("--algo", "rea", "--against", "random", "--dataset", "cifar10,cifar100", "--evaluations", "50,100",
                  "--runs", 60, "--json")  # fmt: skip
    recorded, _ = run("--algo", "rea", "--against", baseline, "--json")
    live, recorded = json.loads(live), json.loads(recorded)
    assert recorded["old"].startswith("random (recorded in")
    for mine, theirs in zip(live["cells"], recorded["cells"], strict=True):
        assert mine["verdict"] == theirs["verdict"]
        assert mine["effect"] == pytest.approx(theirs["effect"], abs=2e-6)


def test_baseline_is_small_and_holds_its_identity(baseline):
    assert baseline.stat().st_size < 20_000
    content = json.loads(baseline.read_text())
    assert len(content["cells"]) == 4
    assert content["cells"][0]["table"]["checksum"] == Problem.create("tss").table.checksum
    assert len(content["cells"][0]["final"]) == 60
    assert not list(baseline.parent.glob(".*"))


def test_new_scores_are_recorded_whole_though_the_comparison_stops_early(tmp_path):
    path = tmp_path / "new.json"
    run("--algo", "autoshrink.pooled", "--against", "autoshrink.set", *SMALL, "--record", path)
    assert len(json.loads(path.read_text())["cells"][0]["recommended"]) == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--evaluations", "70"], "protocol.evaluations was 50, is 70|protocol.evaluations was 100, is 70"),
        (["--repeats", "free", "--evaluations", "50"], "protocol.repeats was charged, is free"),
        (["--repeats", "free"], "protocol.repeats was charged, is free"),
        (["--final", "val@200:trial0", "--evaluations", "50"], "protocol.final was"),
        (["--seconds", "5000"], "protocol.evaluations was 50, is None"),
        (["--runs", "100"], "has 60 runs"),
    ],
)
def test_baseline_of_another_protocol_is_refused(baseline, arguments, message):
    with pytest.raises((DataError, UsageError), match=message):
        run("--algo", "rea", "--against", baseline, *arguments)


#: Every multi-trial algorithm; those of other packages and the heaviest models take seconds where the others take
#: milliseconds: slow tests.
MODELS = ("nas-bowl", "bananas", "npenas")
MULTI_TRIAL = [
    pytest.param(name, marks=[pytest.mark.slow] if "outside" in registry.get(name).needs or name in MODELS else [])
    for name in registry.names(kind="multi-trial")
]


@pytest.mark.parametrize("name", MULTI_TRIAL)
def test_an_algorithm_against_its_own_baseline_is_equal(tmp_path, name):
    path, problem = tmp_path / "own.json", ["--dataset", "cifar100", "--evaluations", "40"]
    if "environments" in registry.get(name).needs:
        problem += ["--environments", "cifar10/val@200,val@200:mean", "--target", "ImageNet16-120/val@200:mean"]
    run("--algo", name, "--record", path, *problem, "--runs", 50)
    for against in ([path], [name, *problem, "--runs", 50]):
        text, code = run("--algo", name, "--against", *against, "--json")
        answer = json.loads(text)
        assert (answer["verdict"], code) == (SAME, 0)
        assert [cell["equal"] for cell in answer["cells"]] == [1.0]
    # a baseline from before scores were written in full: six decimals, so a constant difference that means nothing
    content = json.loads(path.read_text())
    for cell in content["cells"]:
        cell |= {score: np.round(cell[score], 6).tolist() for score in ("final", "recommended")}
    path.write_text(json.dumps(seal(content)))
    text, code = run("--algo", name, "--against", path)
    assert "every run is equal" in text
    assert code == 0


def test_recorded_scores_are_those_of_the_search_in_full(tmp_path):
    path = tmp_path / "b.json"
    run("--algo", "autoshrink", "--record", path, *SMALL[:4], "--runs", 20)
    problem = Problem.create("tss", "cifar100", evaluations=60)
    assert json.loads(path.read_text())["cells"][0]["final"] == search("autoshrink", problem, runs=20).final.tolist()


def test_repeats_follow_the_baseline(tmp_path):
    path = tmp_path / "free.json"
    run("--algo", "random", "--record", path, *SMALL[:4], "--runs", 10, "--repeats", "free")
    for more in ([], ["--repeats", "free"], ["--evaluations", "60"]):
        assert "repeats free" in run("--algo", "random", "--against", path, *more)[0]
    with pytest.raises(DataError, match="protocol.repeats was free, is charged"):
        run("--algo", "random", "--against", path, "--repeats", "charged")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", ""], "expected a list of names"),
        (["--dataset", " , "], "expected a list of names"),
        (["--dataset", "nope"], "unknown data set"),
        (["--dataset", "ImageNet16-120"], "has no data set 'ImageNet16-120'; it has cifar10, cifar100"),
        (["--dataset", "cifar10,ImageNet16-120"], "has no data set"),
        (["--dataset", "all"], "has no data set"),
        (["--dataset", "ImageNet16-120", "--evaluations", "50"], "has no data set"),
    ],
)
def test_a_gate_on_nothing_is_refused(baseline, arguments, message):
    with pytest.raises(UsageError, match=message):
        run("--algo", "rea", "--against", baseline, *arguments)


def test_no_problems_are_refused(tmp_path):
    for against in (["--against", "rea"], ["--record", tmp_path / "b.json"]):
        with pytest.raises(UsageError, match="expected a list of names"):
            run("--algo", "random", *against, "--dataset", "")
    sides = [Live(Choice.parse(name), [], 0) for name in ("random", "rea")]
    with pytest.raises(UsageError, match="no problem to compare on"):
        validate(*sides, [], runs=10)
    with pytest.raises(UsageError, match="no problem to record"):
        record(tmp_path / "b.json", sides[0], 10)
    with pytest.raises(UsageError, match="at least 1"):
        record(tmp_path / "b.json", Live(Choice.parse("random"), [Problem.create()], 0), -5)
    assert not list(tmp_path.glob("*.json"))


def test_a_data_set_named_twice_is_refused():
    with pytest.raises(UsageError, match="data set 'cifar10' is asked for twice"):
        run("--algo", "rea", "--against", "random", "--dataset", "cifar10,cifar10", "--runs", "10")


def test_tables_of_ones_own_are_judged_in_their_own_direction(data_home):
    rows = [f"{one}{two}{three}" for one in "0123" for two in "0123" for three in "0123"]
    loss = np.array([float(code[0]) + float(code[1]) + float(code[2]) for code in rows]) + 1e-3
    for space, metrics, minimised in (("up", -loss, ()), ("down", loss, ("score",))):
        frame = {"code": np.array(rows, dtype=object), "value": metrics}
        tables.from_frame(frame, name=space, arch="code", metrics={"value": "score"}, minimise=minimised)
    verdicts = []
    for space in ("up", "down"):
        text, code = run("--algo", "local-search", "--against", "random", "--space", space, "--evaluations", "25",
                         "--runs", "200", "--json")  # fmt: skip
        (cell,) = json.loads(text)["cells"]
        assert (code, cell["dataset"], cell["verdict"]) == (0, space, "better")
        verdicts.append((cell["runs"], cell["effect"], *cell["interval"]))
    assert verdicts[0] == pytest.approx(verdicts[1])
    text, _ = run("--algo", "rea", "--against", "random", "--space", "down", "--evaluations", "25", "--runs", "20")
    assert "lower is better" in text


def test_fronts_are_compared_by_their_hypervolume(tmp_path):
    several = ("--objective", "params", "--limit", "macs <= 120", "--evaluations", "100", "--score", "hypervolume")
    path = tmp_path / "nsga2.json"
    text, code = run("--algo", "nsga2", "--against", "random", *several, "--runs", "60", "--record", path)
    assert code == 0
    assert "objectives val, params" in text
    assert "limits     macs <= 120" in text
    (cell,) = json.loads(path.read_text())["cells"]
    problem = Problem.create(evaluations=100, objectives=["params"], limits=["macs <= 120"])
    front = search("nsga2", problem, runs=60).front
    assert cell["hypervolume"] == (100.0 * front.hypervolume).tolist()
    # the baseline says what was sought
    text, code = run("--algo", "nsga2", "--against", path, "--score", "hypervolume", "--json")
    assert code == 0
    assert json.loads(text)["cells"][0]["equal"] == 1.0
    with pytest.raises(DataError, match="objectives was"):
        run("--algo", "nsga2", "--against", path, "--score", "hypervolume", "--objective", "flops")
    with pytest.raises(UsageError, match="takes two objectives"):
        run("--algo", "rea", "--against", "random", "--score", "hypervolume", "--runs", "10")


@pytest.mark.parametrize("where", ["space", "dataset", "table", "protocol", "protocol.repeats", "protocol.seconds"])
@pytest.mark.parametrize("value", [None, True, "gone"])
def test_a_baseline_that_lacks_a_key_is_damaged(baseline, where, value):
    if (where, value) == ("protocol.seconds", None):
        return  # no limit of seconds
    content = json.loads(baseline.read_text())
    *above, key = where.split(".")
    holder = content["cells"][2][above[0]] if above else content["cells"][2]
    if value == "gone":
        del holder[key]
    else:
        holder[key] = value
    baseline.write_text(json.dumps(seal(content)))
    with pytest.raises(DataError, match=f"damaged.*{key}"):
        run("--algo", "rea", "--against", baseline)


@pytest.mark.parametrize("change", [{"runs": 60.0}, {"runs": -5}, {"seed": "0"}, {"cells": [3]}, {"algorithm": None}])
def test_more_damaged_baselines(baseline, change):
    baseline.write_text(json.dumps(seal(json.loads(baseline.read_text()) | change)))
    with pytest.raises(DataError, match="damaged"):
        run("--algo", "rea", "--against", baseline)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--algo", "rea", "--against", "random", "--runs", "0"],
        ["--algo", "rea", "--record", "b.json", "--runs", "-5"],
        ["--algo", "rea", "--against", "random", "--seed", "-1"],
        ["--algo", "rea", "--against", "random", "--against-seed", "-1"],
        ["--paper", "nats-bench", "--runs", "0"],
        ["--scores", "absent.csv", "--seed", "-1"],
    ],
)
def test_numbers_out_of_range_are_blamed(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.BadParameter, match="not in the range"):
        run(*arguments)
    assert not list(tmp_path.iterdir())


def test_baseline_of_another_table_is_refused(baseline):
    content = json.loads(baseline.read_text())
    for cell in content["cells"]:
        cell["table"]["checksum"] = "0" * 64
    baseline.write_text(json.dumps(seal(content)))
    with pytest.raises(DataError, match=r"table.checksum was 000"):
        run("--algo", "rea", "--against", baseline)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "nasharness-baseline/1"}'])
def test_damaged_baselines(tmp_path, content):
    path = tmp_path / "baseline.json"
    path.write_text(content)
    with pytest.raises(DataError, match="baseline"):
        run("--algo", "rea", "--against", path)
    with pytest.raises(UsageError, match="no baseline"):
        run("--algo", "rea", "--against", tmp_path / "absent.json")


def test_cut_and_missing_scores_are_refused(baseline):
    content = json.loads(baseline.read_text())
    content["cells"][1]["final"][3] = float("nan")
    baseline.write_text(json.dumps(seal(content)))
    with pytest.raises(DataError, match="damaged"):
        run("--algo", "rea", "--against", baseline)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to validate"),
        (["--paper", "nats-bench", "--require", "better", "--k", "3"], "--require: not for --paper, but for --algo"),
        (["--algo", "rea"], "--against"),
        (["--algo", "rae", "--against", "rea"], "nearest: rea"),
        (["--algo", "rea", "--against", "rnadom"], "nearest: random"),
        (["--algo", "rea(popluation=3)", "--against", "rea"], "nearest: population"),
        (["--algo", "rea", "--against", "random", "--dataset", "cifar11"], "nearest: cifar10"),
        (["--algo", "rea", "--against", "random", "--evaluations", "50,x"], "whole numbers"),
        (["--algo", "rea", "--against", "random", "--evaluations", "0"], "at least 1"),
        (["--algo", "rea", "--against", "random", "--runs", "2"], "at least 3"),
        (["--algo", "rea", "--against", "random", "--alpha", "2"], "between 0 and 1"),
        (["--algo", "rea", "--against", "random", "--score", "test"], "unknown score"),
        (["--algo", "rea", "--against", "random", "--require", "faster"], "unknown requirement"),
        (["--algo", "rea", "--paper", "nats-bench"], "one of them"),
        (["--paper", "nb101"], "nearest: nats-bench"),
        (["--table", "offical"], "unknown table"),
        (["--scores", "absent.csv"], "no file"),
    ],
)
def test_wrong_requests(arguments, message):
    with pytest.raises(UsageError, match=message):
        run(*arguments)


# ---- published tables


def test_every_published_number_is_there_with_its_status():
    rows = published.published()
    assert len(rows) == 12 * 6 + 7 * 6 + 11 * 6 - 2
    assert {row.status for row in rows} == set(published.STATUS)
    by = {(row.source, row.method, row.dataset, row.split): row for row in rows}
    assert (by["nats-tss", "REA", "cifar10", "test"].mean, by["nats-tss", "REA", "cifar10", "test"].status) == (
        94.02,
        "ns",
    )
    assert by["nats-sss", "BOHB", "ImageNet16-120", "test"].std == 0.81
    assert by["nb201", "RANDOM", "cifar10", "test"].status == "S"
    assert by["nb201", "RANDOM", "cifar100", "test"].status == "ns"
    assert all(row.status == "S" for row in rows if row.source == "nats-sss")


def test_trajectory_is_read_at_the_budget_as_published():
    """Between the two points nearest in time, on the line through their accuracies."""
    empty = Trajectories.empty(2, 4)
    empty.ids[:] = [[5, 6, 7, 8], [5, 6, 7, 8]]
    empty.signal[:] = [[1, 2, 3, 4], [4, 3, 2, 1]]
    empty.clock[:] = [[10, 20, 30, 45], [10, 20, 30, 45]]
    empty.count[:] = [4, 3]
    first, second, share, other = paper.at_budget(empty, 40.0)
    by_arch = {int(first[0]): share[0], int(second[0]): other[0]}
    assert by_arch[8] == pytest.approx(2 / 3)
    assert by_arch[7] == pytest.approx(1 / 3)
    assert (first[1], second[1]) == (5, 5)
    assert share[1] + other[1] == pytest.approx(1)


def test_paper_on_the_embedded_table_says_what_cannot_be_computed():
    text, code = run("--paper", "nats-bench", "--space", "tss", "--runs", 20)
    assert code == 0
    assert "[ns]" in text
    assert "note 1 " in text
    notes = [line for line in text.splitlines() if line.startswith("note ")]
    assert any(line.endswith("decided by table light of tss") for line in notes)
    assert any(line.endswith("decided by table official of tss") for line in notes)
    found = paper.agreement(runs=5, space="tss")
    assert all(one.how for one in found)
    optimal = [
        o
        for o in found
        if (o.published.method, o.published.split) == ("optimal", "val") and o.published.dataset != "cifar10"
    ]
    assert [one.verdict for one in optimal] == ["agrees", "agrees"]
    # every number that is a mean of known cells is computed where the column is there
    known = [one for one in found if one.published.split == "val" and one.published.cells]
    assert all(one.verdict != paper.ABSENT for one in known)
    absent = [one for one in found if one.verdict == paper.ABSENT]
    assert all(one.needs for one in absent)
    computed = len(found) - len(absent)
    assert f"verdict    {computed} of {len(found)} numbers computed" in text
    counts = [int(line.split()[1]) for line in text.splitlines() if line.startswith("missing")]
    assert sum(counts) == len(absent)
    assert "table light of tss: nasharness data fetch" in text
    bohb = next(one for one in found if one.published.method == "BOHB")
    assert bohb.needs.startswith("table official of tss: nasharness data import")


def test_paper_on_the_light_table(light):
    found = paper.agreement(runs=100, space="tss")
    computed = {
        (o.published.source, o.published.method, o.published.dataset, o.published.split): o.verdict
        for o in found
        if o.verdict != paper.ABSENT
    }
    for method in ("REA", "RANDOM", "REINFORCE"):
        for dataset in ("cifar10", "cifar100"):
            assert computed["nats-tss", method, dataset, "test"] == paper.AGREES
    for place in (("DARTS 1st", "cifar10"), ("DARTS 2nd", "cifar10"), ("ResNet", "cifar100"), ("optimal", "cifar10")):
        assert computed["nats-tss", *place, "test"] == paper.AGREES
    assert computed["nb201", "DARTS V1, V2", "cifar100", "test"] == paper.AGREES
    assert not paper.failures(found)


def test_a_sure_number_that_differs_on_the_official_table_fails():
    row = next(r for r in published.published() if (r.source, r.method) == ("nats-sss", "REA"))
    wrong = paper.Agreement(row, 80.0, 0.1, 0.03, paper.DIFFERS, "search", "official")
    expected = next(r for r in published.published() if (r.source, r.method) == ("nats-tss", "REA"))
    assert paper.failures([wrong]) == [wrong]
    assert not paper.failures([paper.Agreement(expected, 80.0, 0.1, 0.03, paper.DIFFERS, "search", "official")])


# ---- anchors of a table


def test_embedded_and_light_tables_are_as_published(light):
    for name in ("embedded", "light"):
        text, code = run("--table", name)
        assert code == 0, text
        assert " 0 differs" in text
    assert "table      light" in run("--table")[0]


def test_a_changed_table_is_found(tmp_path, data_home):
    source = Table.open(table_path("tss", "embedded"))
    with TableWriter(data_home / "tables" / "tss" / "mine", space="tss", name="mine", version="1", size=15_625,
                     source="made", licence="none", citation="none") as writer:  # fmt: skip
        values = source.values("cifar100", "val_acc", 200).copy()
        values[9930] -= 1.0
        writer.add("cifar100", "val_acc", values, unit="%", schedule=200, epochs=[200], seeds=["mean"])
    text, code = run("--table", "mine")
    assert code == 1
    assert "best of cifar100 val_acc@200" in text
    checks = table_check.check_table(Table.open(data_home / "tables" / "tss" / "mine"))
    assert [c.what for c in checks if c.verdict == table_check.WRONG] == ["best of cifar100 val_acc@200"]
    file = data_home / "tables" / "tss" / "mine" / "cifar100.val_acc@200.npy"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    assert "checksums of its columns" in run("--table", "mine")[0].split("differs")[0]


# ---- proxies


def scores_file(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_scores_of_the_truth_itself(tmp_path):
    truth = Problem.create("tss", "cifar100").truth().values
    index = np.arange(15_625)
    noise = np.random.default_rng(0).normal(size=15_625)
    noise[:7] = np.nan
    path = scores_file(tmp_path / "s.parquet", index=index, perfect=truth, noise=noise, perfect_time_s=noise)
    text, code = run("--scores", path, "--dataset", "cifar100", "--json")
    perfect, random = json.loads(text)["scores"]
    assert code == 0
    assert perfect["kendall"]["all"]["value"] == pytest.approx(1.0)
    assert perfect["regret"]["1"]["value"] == 0.0
    assert random["unscored"] == 7
    assert abs(random["spearman"]["all"]["value"]) < 0.05


def test_csv_and_parquet_agree_and_rows_may_come_in_any_order(tmp_path):
    rng = np.random.default_rng(1)
    index = rng.permutation(15_625)[:400]
    score = np.round(rng.normal(size=400), 3)
    score[5] = np.nan
    parquet = scores_file(tmp_path / "s.parquet", index=index, score=score)
    lines = [f"{i},{'' if np.isnan(s) else s}" for i, s in sorted(zip(index, score, strict=True))]
    (tmp_path / "s.csv").write_text("\n".join(["index,score", *lines]) + "\n")
    first, second = (json.loads(run("--scores", p, "--json")[0])["scores"][0] for p in (parquet, tmp_path / "s.csv"))
    assert first["unscored"] == second["unscored"] == 1
    assert first["kendall"]["all"]["value"] == pytest.approx(second["kendall"]["all"]["value"], abs=1e-12)
    assert "400 of 15,625" in run("--scores", parquet)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arch,score\n1,2\n", "no column 'index'"),
        ("index\n1\n2\n", "no score column"),
        ("index,s,s\n1,2,3\n2,3,4\n3,5,6\n", "several columns are called 's'"),
        ("index,index,s\n1,1,3\n2,2,4\n3,3,6\n", "several columns are called 'index'"),
        ("index,score\n1,2\n1,3\n", "occurs 2 times"),
        ("index,score\n1,2\n15625,3\n", "index 15625"),
        ("index,score\n1.5,2\n", "index 1.5"),
        ("index,score\na,2\n", "expected whole numbers"),
        ("index,score\n1,good\n2,bad\n", "no score column"),
        ("index,score\n1,1\n2,1\n3,1\n", "nothing to rank"),
        ("index,score\n1,\n2,\n3,\n", "nothing to rank"),
        ("index,score\n", "no rows|no score column|expected whole"),
        ("", "cannot read"),
    ],
)
def test_wrong_score_files(tmp_path, text, message):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises((DataError, UsageError), match=message):
        run("--scores", path)


def test_more_wrong_score_requests(tmp_path):
    path = scores_file(tmp_path / "s.parquet", index=np.arange(50), score=np.arange(50.0))
    with pytest.raises(UsageError, match="nearest: score"):
        run("--scores", path, "--column", "scroe")
    with pytest.raises(UsageError, match="expected 1 to 50"):
        run("--scores", path, "--k", "51")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cannot read"):
        run("--scores", path)
    with pytest.raises(UsageError, match="csv or"):
        run("--scores", tmp_path / "s.txt")


def test_intervals_that_resampling_cannot_give_are_left_out(tmp_path):
    # one score differs: about a third of the resamples lack it and have no tau
    path = scores_file(tmp_path / "s.parquet", index=np.arange(40), score=np.eye(40)[7])
    (found,) = json.loads(run("--scores", path, "--json")[0])["scores"]
    assert found["kendall"]["all"]["value"] is not None
    assert found["kendall"]["all"]["ci95"] is None
    # the worst first: precision@1 is 0 in every resample, which is no certainty
    problem = Problem.create("tss", "cifar10")
    path = scores_file(tmp_path / "w.parquet", index=np.arange(400), score=-problem.truth().values[:400])
    (found,) = json.loads(run("--scores", path, "--json")[0])["scores"]
    assert found["precision"]["1"] == {"value": 0.0, "ci95": None}
    text = run("--scores", path)[0]
    assert "0.000 [-]" in text
    assert "[0.000, 0.000]" not in text
    assert "[-1.000, -1.000]" not in text
    assert "[-] where resampling cannot tell" in text


def test_an_interval_survives_few_undefined_resamples():
    draws = np.random.default_rng(0).normal(size=(200, 2))
    whole = proxies.bounds_of(draws, 50)
    draws[:5, 0] = np.nan
    some = proxies.bounds_of(draws, 50)
    assert np.isfinite(some).all()
    assert some[1].tolist() == whole[1].tolist()
    draws[:50, 0] = np.nan
    assert np.isnan(proxies.bounds_of(draws, 50)[0]).all()


def test_real_proxies(light, shared_data):
    """The ranking of the super-network that its source reports: rho 0.70 at its last epoch."""
    text, _ = run("--scores", shared_data / "tss_oneshot_gdas.parquet", "--column", "epoch_249", "--json")
    assert json.loads(text)["scores"][0]["spearman"]["all"]["value"] == pytest.approx(0.70, abs=0.01)
    text, _ = run("--scores", shared_data / "tss_zc.parquet", "--dataset", "cifar100", "--column", "nwot_v1",
                  "--column", "cifar100_naswot", "--json")  # fmt: skip
    old, new = json.loads(text)["scores"]
    assert old["unscored"] == 341
    assert new["spearman"]["all"]["value"] > 0.7
    text, _ = run("--scores", shared_data / "tss_zc13.parquet", "--column", "synflow")
    assert "of 15,625 architectures" in text
