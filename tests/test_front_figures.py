"""Figures and reports of several objectives, and what is said of devices."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nasharness
from nasharness import fronts, hardware, spaces
from nasharness.analysis import figures, report
from nasharness.analysis.comparison import compare
from nasharness.analysis.figures.source import StudyView
from nasharness.analysis.figures.style import looks
from nasharness.analysis.validation.hardware import AGREES, claims, costs_of, failures
from nasharness.errors import DataError, UsageError
from nasharness.search import Problem
from nasharness.search.winner import read_winner
from nasharness.studies import Plan, load, run_study, write
from tests.test_figures import OF_FRONTS, check_texts

WANTED = ["error", "raspi4_latency", "params"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    plan = Plan.create(
        algorithms=["random", "nsga2"], datasets="cifar10", runs=10, evaluations=50, table="embedded", objectives=WANTED
    )
    return run_study(plan, tmp_path_factory.mktemp("studies") / "three")


@pytest.fixture(scope="module")
def source(folder):
    return StudyView(load(folder))


@pytest.fixture(scope="module")
def drawn(source):
    with looks():
        return {name: figures.render(source, name) for name in OF_FRONTS}


@pytest.mark.parametrize("name", OF_FRONTS)
def test_texts_stand_clear_and_name_the_table(drawn, name):
    figure, data = drawn[name]
    check_texts(figure)
    assert "tss/embedded (9cb88bc5)" in " ".join(words.get_text() for words in figure.texts)
    assert len(data)


def test_the_median_surface_is_attained_by_half_of_the_runs(source, drawn):
    data = drawn["fronts"][1]
    cell = source.results.cells[1]
    kept = source.results.fronts(cell)
    for cost in WANTED[1:]:
        rows = data[(data["algorithm"] == "nsga2") & (data["objective"] == cost)]
        for part, share in (("early", 0.25), ("median", 0.5), ("late", 0.75)):
            for corner in rows[rows["part"] == part].itertuples():
                good = kept[(kept[cost] <= corner.cost) & (kept["error"] <= corner.value)]["seed"].nunique()
                assert good >= share * 10
                assert kept[(kept[cost] <= corner.cost) & (kept["error"] < corner.value)]["seed"].nunique() < share * 10


def test_the_exact_front_drawn_is_that_of_the_table(drawn):
    data = drawn["fronts"][1]
    for cost in WANTED[1:]:
        exact = Problem.create("tss", table="embedded", objectives=["error", cost]).exact_front().points
        rows = data[(data["part"] == "exact") & (data["objective"] == cost)]
        assert np.array_equal(rows[["value", "cost"]].sort_values("value").to_numpy(), exact)


def test_steps_are_drawn_where_values_step(drawn):
    lines = [line for line in drawn["fronts"][0].axes[0].lines if len(line.get_xdata()) > 2]
    assert lines
    assert {line.get_drawstyle() for line in lines} == {"steps-post"}
    assert "steps-post" in {line.get_drawstyle() for line in drawn["hypervolume"][0].axes[0].lines}


def test_hypervolume_ends_where_the_comparison_does(source, drawn):
    data, results = drawn["hypervolume"][1], source.results
    for row in compare(results.frame, results.cells, score="hypervolume").sections[0].rows:
        own = data[data["algorithm"] == row.algorithm]
        assert own["mean"].iloc[-1] == pytest.approx(row.mean)
        assert own["step"].iloc[-1] == 50


def test_bars_are_the_regrets_of_the_comparison(source, drawn):
    data, results = drawn["under-limits"][1], source.results
    assert set(data["objective"]) == {"raspi4_latency", "params"}
    for (name, limit), rows in data.groupby(["objective", "limit"]):
        section = compare(results.frame, results.cells, limit=f"{name} <= {limit!r}").sections[0]
        assert set(rows["optimum"]) == {section.optimum}
        for row in section.rows:
            own = rows[rows["algorithm"] == row.algorithm].iloc[0]
            if own["found"] == 1:
                assert own["behind"] == pytest.approx(row.regret)


def test_limits_are_quartiles_of_the_space(source):
    for name in WANTED[1:]:
        costs = (
            costs_of().columns[name] if "latency" in name else spaces.get("tss").params(np.arange(15_625), "cifar10")
        )
        assert source.panels[0].cell["front"]["limits"][name] == pytest.approx(np.percentile(costs, [25, 50, 75]))


def test_devices_are_drawn_as_they_are_claimed(drawn):
    costs = costs_of()
    taus = drawn["device-agreement"][1].set_index(["one", "other"])["tau"]
    assert taus["macs", "raspi4_latency"] == pytest.approx(costs.taus([("macs", "raspi4_latency")])[0])
    assert (taus == taus.swaplevel().loc[taus.index]).all()
    best = drawn["device-best"][1]
    for device, rows in best.groupby("device"):
        assert rows[rows["own"]]["index"].tolist() == [costs.best(device)]
        assert (rows["times"] >= 1).all() or costs.accuracy[rows["index"]].min() >= costs.accuracy.max() - 0.5


def test_figures_of_one_objective_say_what_is_missing(tmp_path):
    plain = write(
        nasharness.run("random", Problem.create("tss", table="embedded", evaluations=9), runs=2), tmp_path / "a"
    )
    source = StudyView(load(plain))
    for name in ("fronts", "hypervolume", "under-limits"):
        with pytest.raises(UsageError, match="one objective; fronts need more"), looks():
            figures.render(source, name)
    with pytest.raises(UsageError, match="no device is among the objectives"), looks():
        figures.render(source, "device-best")


def test_studies_of_other_objectives_are_not_mixed(folder, tmp_path):
    other = Problem.create("tss", table="embedded", evaluations=50, objectives=["error", "params"])
    with pytest.raises(DataError, match="differ in objectives"):
        StudyView(load([folder, write(nasharness.run("rea", other, runs=3), tmp_path / "b")]))


def test_the_report_has_fronts_and_a_winner_for_each_limit(source, folder, tmp_path, cli):
    page = report.write(source.results, tmp_path / "report.html").read_text()
    assert '<h2 id="device">For your device</h2>' in page
    assert "CIFAR-10: fronts" in page
    for name in OF_FRONTS:
        assert f'id="figure-{name}"' in page
    files = sorted((tmp_path / "winners").glob("*-at-most-*.json"))
    assert len(files) == 6
    for file in files:
        assert file.name in page
        read = read_winner(file)
        name, bound = read["limit"].split(" <= ")
        cost = Problem.create("tss", table="embedded", objectives=["error", name]).known()
        assert -cost.values(1, np.array([read["winner"]["index"]]))[0] <= float(bound.split()[0]) * (1 + 1e-5)
        assert f"under {read['limit']}" in read["winner"]["about"]
    code, printed, error = cli("retrain", "--winner", files[0], "--task", "imagenet", "--dry-run")
    assert "--winner" not in error or code == 0, (printed, error)


# ---- what HW-NAS-Bench says


def test_claims_of_what_ships(cli):
    code, printed, _ = cli("validate", "--hardware")
    assert code == 0
    assert "agrees     MACs track the latency of devices poorly" in printed
    assert "agrees     The best network depends on the device" in printed
    assert "not computable here; nasharness data import HW-NAS-Bench-v1_0.pickle" in printed
    read = json.loads(cli("validate", "--hardware", "--json")[1])
    theory = {line["what"]: line for line in read["claims"][0]["lines"]}
    assert theory["eyeriss_latency"]["value"] == pytest.approx(0.42, abs=0.005)
    assert theory["edgegpu_latency"]["value"] is None
    noise = {line["what"]: line["value"] for line in read["claims"][4]["lines"]}
    assert noise["raspi4_latency"] == pytest.approx(10.1, abs=0.05)
    assert noise["pixel3_latency"] == pytest.approx(11.8, abs=0.05)


def test_claims_with_the_edge_devices_are_the_published_numbers(shared_data, data_home, tmp_path, cli):
    with gzip.open(shared_data / "nb201_cifar10_hw.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    index = np.array([int(row["index"]) for row in rows])
    columns = {
        "edgegpu_lat_ms": "edgegpu_latency", "edgegpu_energy_mj": "edgegpu_energy", "edgetpu_lat_ms": "edgetpu_latency",
    }  # fmt: skip
    table = {name: np.array([float(row[source] or "nan") for row in rows]) for name, source in columns.items()}
    pq.write_table(pa.table({"index": index} | table), tmp_path / "edge.parquet")
    assert cli("data", "import", tmp_path / "edge.parquet", "--space", "tss", "--devices")[0] == 0
    found = claims(costs_of())
    assert failures(found) == 0
    lines = [line for claim in found for line in claim.lines if not np.isnan(line.expected)]
    assert len(lines) == 14
    assert {line.verdict for line in lines} == {AGREES}
    assert cli("validate", "--hardware", "--figure", tmp_path / "devices.png")[0] == 0
    assert {path.name for path in tmp_path.glob("devices*")} == {
        f"devices{part}.{kind}" for part in ("", "-best") for kind in ("png", "pdf", "csv")
    }
    assert "edgetpu_latency" in set(pd.read_csv(tmp_path / "devices.csv")["one"])


def test_a_published_device_with_other_numbers_fails(data_home, tmp_path, cli):
    rng = np.random.default_rng(0)
    made = pa.table({"index": np.arange(15_625), "raspi4_lat_ms": rng.random(15_625) + 1})
    pq.write_table(made, tmp_path / "mine.parquet")
    assert cli("data", "import", tmp_path / "mine.parquet", "--space", "tss", "--devices")[0] == 0
    code, printed, _ = cli("validate", "--hardware")
    assert code == 1
    assert "[0.74]  disagrees" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--space", "fbnet"), "get them with: nasharness data import HW-NAS-Bench-v1_0.pickle"),
        (("--space", "sss"), "nasharness data import FILE --space sss --devices"),
        (("--dataset", "svhn"), "no device is known on svhn of space tss, only on cifar10, cifar100"),
        (("--table", "lihgt"), "lihgt"),
        (("--paper", "nats-bench"), "give one of them"),
    ],
)
def test_bad_questions_about_devices(cli, words, said):
    code, printed, error = cli("validate", "--hardware", *words)
    assert (code, printed) == (2, "")
    assert said in error


def test_best_under_percentiles_on_the_published_table(shared_data):
    """The best cell, by its 200-epoch accuracy, within the 25th and the 50th percentile of each device's latency."""
    accuracy = pq.read_table(shared_data / "tss.parquet")["cifar10_test_200"].to_numpy()
    costs = pq.read_table(shared_data / "tss_hw.parquet").to_pandas()
    tss = spaces.get("tss")
    costs["fpga_lat_ms"] = hardware.reader(hardware.find(tss, "cifar10", "fpga_latency"))(np.arange(15_625))
    for device, quarter, half in (
        ("edgegpu", 5780, 1317), ("edgetpu", 11692, 2053), ("raspi4", 6953, 8592), ("pixel3", 1339, 13869),
        ("eyeriss", 11472, 10154), ("fpga", 4659, 11472),
    ):  # fmt: skip
        cost = costs[f"{device}_lat_ms"].to_numpy(float)
        limits = np.nanpercentile(cost[cost > 0], [25, 50])
        runs = np.where(cost > 0, cost, np.nan)
        place = fronts.best_under(-accuracy, runs, limits)[1]
        assert place.tolist() == [quarter, half], device


def test_exact_fronts_and_reference_points_are_listed(shared_data, cli):
    assert cli("data", "import", shared_data / "tss.parquet")[0] == 0
    code, printed, _ = cli("list", "fronts", "tss/cifar10/light/*")
    assert code == 0
    lines = printed.splitlines()
    for cost, members, ends, volume in (
        ("macs", 14, "7.78305 to 153.273 M", 1164.6556), ("eyeriss_latency", 16, "1.67954 to 7.82354 ms", 48.2818),
        ("gold_6226_latency", 36, "2.66473 to 16.0086 ms", 614.5363),
        ("raspi4_latency", 43, "0.0112835 to 68.4041 ms", 6690.5354),
        ("pixel3_latency", 43, "0.00327686 to 23.5848 ms", 2291.2066),
    ):  # fmt: skip
        place = next(place for place, line in enumerate(lines) if line.startswith(f"tss/cifar10/light/{cost} "))
        assert f"{members} members by test@200:mean: error 5.62666 to" in lines[place]
        assert f"{cost} {ends}" in lines[place]
        assert float(lines[place + 1].rpartition(" ")[2]) == pytest.approx(volume, rel=1e-6)
        assert "reference point (" in lines[place + 1]
    assert "nothing matches" in cli("list", "fronts", "tss/cifar11/*")[1]
