"""nasharness compare: synthetic studies with known answers, formats, and what must not be compared."""

import csv
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

pd = pytest.importorskip("pandas")

from nasharness.analysis import statistics as stats  # noqa: E402
from nasharness.analysis.comparison import compare  # noqa: E402
from nasharness.analysis.comparison.text import render  # noqa: E402
from nasharness.analysis.statistics.significance import holm, wilcoxon  # noqa: E402
from nasharness.cli import cli  # noqa: E402
from nasharness.errors import DataError, NasharnessError, UsageError  # noqa: E402
from nasharness.storage import write_json  # noqa: E402
from nasharness.storage.sealed import seal  # noqa: E402
from nasharness.studies import load  # noqa: E402
from nasharness.studies.cells import identity_of  # noqa: E402
from tests.study_fixtures import cells, write_study  # noqa: E402

THREE = ("random", "rea", "bohb")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    made = cells(THREE, ("cifar10", "cifar100"), runs=30)
    return write_study(tmp_path_factory.mktemp("studies") / "first", made, {"rea": 3.0, "bohb": 1.0})


@pytest.fixture(scope="module")
def results(study):
    return load(study)


def run(*arguments):
    outcome = CliRunner().invoke(cli, ["compare", *map(str, arguments)])
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome.stdout


def test_numbers_are_those_of_the_frame(results):
    """Every number of a row, computed once more from the rows of the study."""
    section = compare(results.frame, results.cells, reference="random").sections[0]
    last = results.last[results.last["dataset"] == "cifar10"]
    values = {name: last[last["algorithm"] == name].sort_values("seed")["final"].to_numpy() for name in THREE}
    scores = np.stack([values[name] for name in THREE])[:, :, None]
    ranks = stats.mean_rank(scores)
    p = holm([wilcoxon(values[name], values["random"]).p for name in THREE if name != "random"])
    assert [row.algorithm for row in section.rows] == sorted(THREE, key=lambda name: -values[name].mean())
    for row in section.rows:
        own = values[row.algorithm]
        assert row.runs == 30
        assert row.mean == pytest.approx(own.mean())
        assert row.median == pytest.approx(np.median(own))
        assert row.regret == pytest.approx(94.37 - own.mean())
        assert row.regret_ci == pytest.approx((94.37 - row.mean_ci[1], 94.37 - row.mean_ci[0]))
        assert row.mean_ci[0] < row.mean < row.mean_ci[1]
        assert row.rank == pytest.approx(ranks[THREE.index(row.algorithm)])
    by_name = {row.algorithm: row for row in section.rows}
    assert np.isnan(by_name["random"].p_holm)
    assert [by_name[name].p_holm for name in ("rea", "bohb")] == pytest.approx(p)
    assert by_name["rea"].improvement == pytest.approx(
        stats.probability_of_improvement(values["rea"][:, None], values["random"][:, None])
    )


def test_time_to_target_is_that_of_each_run(results):
    section = compare(results.frame, results.cells, target=93.0).sections[0]
    frame = results.frame
    for row in section.rows:
        rows = frame[(frame["algorithm"] == row.algorithm) & (frame["dataset"] == "cifar10") & (frame["final"] >= 93.0)]
        first = rows.groupby("seed")["step"].min()
        assert row.reached == pytest.approx(len(first) / 30)
        every = sorted([*first, *[np.inf] * (30 - len(first))])
        assert row.target_evaluations == every[14] or (np.isinf(every[14]) and np.isinf(row.target_evaluations))


def test_at_a_budget_scores_the_incumbents_of_then(results):
    for options in ({"evaluations": 20}, {"seconds": 2_000.0}):
        section = compare(results.frame, results.cells, **options).sections[1]
        at = results.at(**options)
        at = at[at["dataset"] == "cifar100"]
        for row in section.rows:
            assert row.mean == pytest.approx(at[at["algorithm"] == row.algorithm]["final"].mean())
        assert "at 20 evaluations" in section.budget or "at 2,000 simulated" in section.budget


def test_at_a_budget_everything_is_of_then(results):
    """Reached, time to target, evaluations and seconds: of what had happened by the budget, not of the whole run."""
    frame = results.frame[results.frame["dataset"] == "cifar10"]
    for column, options in (("step", {"evaluations": 20}), ("simulated_seconds", {"seconds": 2_000.0})):
        limit = next(iter(options.values()))
        whole = compare(results.frame, results.cells, target=93.5).sections[0]
        section = compare(results.frame, results.cells, target=93.5, **options).sections[0]
        late = {row.algorithm: row.reached for row in whole.rows}
        assert any(row.reached < late[row.algorithm] for row in section.rows)
        for row in section.rows:
            hit = frame[(frame["algorithm"] == row.algorithm) & (frame[column] <= limit) & (frame["final"] >= 93.5)]
            assert row.reached == pytest.approx(hit["seed"].nunique() / 30)
            spent, other = (row.evaluations, row.seconds) if column == "step" else (row.seconds, row.evaluations)
            assert spent == limit
            assert np.isnan(other)  # rows are those of incumbents, which do not say
            assert np.isinf(row.target_evaluations) or row.target_evaluations < 26
    end = compare(results.frame, results.cells, evaluations=100).sections[0]
    assert [row.seconds for row in end.rows] == [
        row.seconds for row in compare(results.frame, results.cells).sections[0].rows
    ]


def test_a_seed_below_0_is_blamed(study):
    outcome = CliRunner().invoke(cli, ["compare", str(study), "--seed", "-1"])
    assert outcome.exit_code == 2
    assert "not in the range" in outcome.output


def test_the_header_says_what_is_scored(study):
    assert "final metric of the incumbent (best by signal)" in run(study)
    assert "final metric of the algorithm's own answer" in run(study, "--score", "recommended")
    text = run(study)
    for part in ("made-up", "val@12:mean", "test@200:mean", "100 evaluations", "Holm", "bootstrap", "all data sets"):
        assert part in text


def test_every_format_has_every_number(study):
    text = run(study, "--reference", "random")
    numbers = re.findall(r"\d+\.\d+ \[\d+\.\d+, \d+\.\d+\]", text)
    assert len(numbers) > 20
    markdown = run(study, "--reference", "random", "--format", "markdown")
    for number in numbers:
        assert number in markdown
    assert markdown.count("| --- |") == 3


def test_latex_is_a_table_for_a_paper(study, results):
    latex = run(study, "--format", "latex")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == latex.count(r"\label{tab:") == 3
    assert not re.search(r"(?<!\\)%", latex)
    for section in compare(results.frame, results.cells).sections:
        best, *others = section.rows
        half = max(best.mean - best.mean_ci[0], best.mean_ci[1] - best.mean)
        assert rf"\textbf{{{best.algorithm}}} & \textbf{{{best.mean:.2f} \ensuremath{{\pm}} {half:.2f}}}" in latex
        for row in others:  # tested against the best, as no --reference is given
            marked = re.search(
                rf"^  {row.algorithm}( \\textsuperscript{{\\textdagger}})? & {row.mean:.2f} ", latex, re.M
            )
            assert marked is not None
            assert bool(marked[1]) == (row.p_holm >= 0.05)
    against = run(study, "--format", "latex", "--reference", "random")
    assert "textdagger" not in against  # p against random search says nothing of the best


def test_columns_are_chosen_in_their_order(study):
    for form in ("text", "markdown", "latex"):
        head = next(
            line for line in run(study, "--columns", "p,mean", "--format", form).splitlines() if "p (Holm)" in line
        )
        assert head.index("p (Holm)") < head.index("mean")
        assert "median" not in head
    for words, says in (
        (["--columns", "mean,medan"], "median"),
        (["--columns", "mean", "--format", "csv"], "CSV and JSON have them all"),
    ):
        outcome = CliRunner().invoke(cli, ["compare", str(study), *words])
        assert isinstance(outcome.exception, UsageError)
        assert says in str(outcome.exception)


def test_json_and_out(study, results, tmp_path):
    told = json.loads(run(study, "--json"))
    comparison = compare(results.frame, results.cells)
    assert told["sections"][0]["rows"][0]["mean"] == comparison.sections[0].rows[0].mean
    file = tmp_path / "table.tex"
    assert f"written    {file}" in run(study, "--format", "latex", "--out", file)
    assert file.read_text() == run(study, "--format", "latex")
    outcome = CliRunner().invoke(cli, ["compare", str(study), "--out", str(file)])
    assert "is there already" in str(outcome.exception)


def test_csv_is_read_back(study, results):
    rows = list(csv.DictReader(io.StringIO(run(study, "--format", "csv"))))
    assert len(rows) == 6
    comparison = compare(results.frame, results.cells)
    for section in comparison.sections:
        for row in section.rows:
            mine = next(r for r in rows if (r["dataset"], r["algorithm"]) == (section.dataset, row.algorithm))
            for field in dataclasses.fields(row):
                value = getattr(row, field.name)
                if isinstance(value, float) and np.isfinite(value):
                    assert float(mine[field.name]) == pytest.approx(value, rel=1e-12)
            assert float(mine["mean_low"]) == pytest.approx(row.mean_ci[0])


def test_data_sets_can_be_chosen(study):
    text = run(study, "--dataset", "cifar100")
    assert "tss / cifar100" in text
    assert "tss / cifar10\n" not in text


def test_same_seed_same_text(study):
    assert run(study) == run(study)
    assert run(study, "--format", "csv") != run(study, "--format", "csv", "--seed", 1)


def test_two_studies_side_by_side(study, tmp_path):
    other = write_study(tmp_path / "second", cells(("rea",), ("cifar10",), runs=30), {"rea": 9.0})
    comparison = compare(load([study, other]).frame, load([study, other]).cells)
    names = {row.algorithm for row in comparison.sections[0].rows}
    assert names == {"random", "bohb", "rea @ first", "rea @ second"}
    assert comparison.overall is None  # the data sets have different algorithms


def test_only_seeds_in_common_are_paired(study, tmp_path):
    other = write_study(tmp_path / "second", cells(("fast",), ("cifar10",), runs=30, seed=20), {"fast": 9.0})
    section = compare(load([study, other]).frame, load([study, other]).cells).sections[0]
    assert {row.runs for row in section.rows} == {10}
    assert "80 runs left out" in " ".join(section.notes)
    apart = write_study(tmp_path / "third", cells(("fast",), ("cifar10",), runs=5, seed=100))
    with pytest.raises(DataError, match="no seed in common"):
        run(study, apart)


def test_one_run_each_has_no_intervals(tmp_path):
    text = run(write_study(tmp_path / "one", cells(runs=1)))
    assert "nan" not in text.lower()


def test_a_diagnostic_is_marked(tmp_path):
    made = cells(("random", "darts"), runs=5)
    made[1]["caveats"] = [{"code": "reads-whole-table", "text": "darts reads the whole table"}]
    assert "caveat: darts reads the whole table (reads-whole-table)" in run(write_study(tmp_path / "study", made))


# ---- what must not be compared


def test_other_tables_are_refused(study, tmp_path):
    other = write_study(tmp_path / "other", cells(("fast",), runs=30, checksum="1" * 64))
    with pytest.raises(DataError, match="different tables"):
        run(study, other)


@pytest.mark.parametrize(("key", "value"), [("signal", "val@200:mean"), ("repeats", "free"), ("evaluations", 50)])
def test_other_protocols_are_refused(study, tmp_path, key, value):
    made = cells(("fast",), runs=30, evaluations=50 if key == "evaluations" else 100)
    made[0]["protocol"][key] = value
    other = write_study(tmp_path / "other", made)
    with pytest.raises(DataError, match=f"differ in {key}"):
        run(study, other)
    if key == "evaluations":
        assert "at 50 evaluations" in run(study, other, "--at-evaluations", 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "rae"], "unknown reference 'rae'; nearest: rea"),
        (["--score", "finall"], "unknown score"),
        (["--dataset", "cifar11"], "nearest: cifar10"),
        (["--format", "html"], "unknown format"),
        (["--at-evaluations", "101"], "ends at 100"),
        (["--at-seconds", "nan"], "--at-seconds nan: expected"),
        (["--at-seconds", "-5"], "--at-seconds -5: expected"),
        (["--at-seconds", "0"], "--at-seconds 0: expected"),
        (["--at-seconds", "inf"], "--at-seconds inf: expected"),
        (["--at-seconds", "1"], "have not finished an evaluation"),
        (["--at-evaluations", "10", "--at-seconds", "1000"], "give one of them"),
        (["--at-evaluations", "10", "--score", "recommended"], "only at the end"),
    ],
)
def test_wrong_requests(study, arguments, message):
    with pytest.raises(UsageError, match=message):
        run(study, *arguments)


def test_half_a_study_is_refused(tmp_path):
    study = write_study(tmp_path / "study", cells(THREE, runs=5))
    shard = next((study / "shards").glob("c002*"))
    data = shard.read_bytes()
    shard.unlink()
    with pytest.raises(DataError, match="incomplete"):
        run(study)
    assert "bohb" not in run(study, "--partial")
    hidden = shard.with_name("." + shard.name)
    hidden.write_bytes(data[: len(data) // 2])  # what a killed writer leaves
    with pytest.raises(DataError, match="incomplete"):
        run(study)
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=shard.name):
        run(study)


def test_an_empty_study_is_refused(tmp_path):
    study = write_study(tmp_path / "study", cells(runs=5))
    meta = json.loads((study / "study.json").read_text())
    write_json(study / "study.json", seal(meta | {"cells": [], "identity": identity_of({}, [])}))
    with pytest.raises(NasharnessError, match="empty"):
        run(study)


def test_missing_columns_and_no_rows(results):
    with pytest.raises(DataError, match="lack column final"):
        compare(results.frame.drop(columns=["final"]), results.cells)
    with pytest.raises(DataError, match="empty"):
        compare(results.frame.iloc[:0], results.cells)
    with pytest.raises(UsageError, match="unknown format"):
        render(compare(results.frame, results.cells), "html")
