"""Devices: closed forms and published rows, FBNet's sums to the bit, imports of all kinds, and what may be wrong."""

import csv
import gzip
import io
import json
import os
import pickle
import time
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import nasharness
from nasharness import hardware, spaces
from nasharness.errors import DataError, NasharnessError, UsageError
from nasharness.hardware import card, imported
from nasharness.hardware import help as helps
from nasharness.hardware.build_embedded import DEVICES, build
from nasharness.hardware.quantity import batch_of, of_column
from nasharness.search import Backend, Problem
from nasharness.search.testing import synthetic_table
from nasharness.spaces.fbnet import BLOCKS

#: published rows of HW-NAS-Bench's example: index, data set -> eyeriss latency, energy, intensity, fpga latency,
#: energy; None where no form is known
ROWS = {
    (0, "cifar10"): (3.64562, 0.6872827645, 6.289297635, 2.57296, 18.01072),
    (0, "cifar100"): (3.64864, 0.687420622, 6.267465214, 2.57296, 18.01072),
    (0, "ImageNet16-120"): (0.91456, None, 2.214896022, None, None),
    (1, "cifar10"): (7.57778, 1.5644240285, 20.860066971, 5.31536, 37.20752),
    (1, "cifar100"): (7.5808, 1.564561886, 20.824541103, 5.31536, 37.20752),
    (1, "ImageNet16-120"): (1.8976, None, 6.291392892, None, None),
    (2, "cifar10"): (10.5269, 2.0846801885, 9.855405336, 5.28656, 37.00592),
    (2, "cifar100"): (10.52992, 2.084818046, 9.844283764, 5.28656, 37.00592),
    (2, "ImageNet16-120"): (2.63488, None, 2.973383777, None, None),
}
FORMS = ("eyeriss_latency", "eyeriss_energy", "eyeriss_arithmetic_intensity", "fpga_latency", "fpga_energy")
FBNET = (
    ([0] * 22, "cifar100", {
        "edgegpu_latency": 15.804523, "edgegpu_energy": 86.980959, "raspi4_latency": 17.618579,
        "pixel3_latency": 7.788973, "eyeriss_latency": 3.940896, "eyeriss_energy": 3.242008, "fpga_latency": 10.73952,
    }),
    ([0] * 22, "ImageNet", {
        "edgegpu_latency": 16.431165, "edgegpu_energy": 102.716043, "raspi4_latency": 57.656500,
        "pixel3_latency": 27.542387, "eyeriss_latency": 18.127332, "eyeriss_energy": 16.945472, "fpga_latency": 29.4219,
    }),
    ([0] * 21 + [1], "cifar100", {
        "edgegpu_latency": 16.861193, "raspi4_latency": 17.505281, "pixel3_latency": 7.673164,
        "eyeriss_latency": 3.900416, "fpga_latency": 10.34784,
    }),
)  # fmt: skip


def devices(path, columns, index=None):
    """A Parquet file of device columns."""
    rows = len(next(iter(columns.values())))
    table = {"index": np.arange(rows) if index is None else np.asarray(index), **columns}
    parquet.write_table(pa.table(table), path)
    return path


def values(space, dataset, name, ids):
    quantity = hardware.find(spaces.get(space), dataset, name)
    assert quantity is not None, name
    return hardware.reader(quantity)(np.asarray(ids))


def torch_zip(content):
    """A file as torch.save writes it, in zip format."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


# ---- published numbers


def test_closed_forms_equal_the_published_rows(data_home):
    for (index, dataset), row in ROWS.items():
        for name, published in zip(FORMS, row, strict=True):
            quantity = hardware.find(spaces.get("tss"), dataset, name)
            if published is None:
                assert quantity is None
                continue
            assert quantity.kind == "closed form"
            assert hardware.reader(quantity)(np.int32(index)) == pytest.approx(published, abs=6e-10)


def test_closed_forms_equal_the_published_columns_to_1e_12(shared_data, data_home):
    with gzip.open(shared_data / "nb201_cifar10_hw.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    ids = np.array([int(row["index"]) for row in rows])
    for name in FORMS:
        published = np.array([float(row[name] or "nan") for row in rows])
        known = ~np.isnan(published)
        assert known.sum() >= 12_554
        assert np.abs(values("tss", "cifar10", name, ids[known]) - published[known]).max() < 1e-12


def test_measured_rows_are_the_published_ones(shared_data, cli, tmp_path):
    """Edge GPU, Raspberry Pi 4, edge TPU and Pixel 3 of the first three cells, through an import of one's own.

    Not all is public of all of them: what the file lacks stays unknown.
    """
    with gzip.open(shared_data / "nb201_cifar10_hw.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    columns = {
        f"{name}_{'mj' if name.endswith('energy') else 'ms'}": np.array([float(row[name] or "nan") for row in rows])
        for name in ("edgegpu_latency", "edgegpu_energy", "raspi4_latency", "edgetpu_latency", "pixel3_latency")
    }
    path = devices(tmp_path / "edge.parquet", columns, [int(row["index"]) for row in rows])
    assert cli("data", "import", path, "--space", "tss", "--devices")[0] == 0
    for index, expected in (
        (0, (5.807418537, 24.226614331, 10.481976820, 0.957181131, 3.60585)),
        (1, (6.547689438, 29.997147878, 54.777397620, 1.438988361, 17.2381)),
        (2, (6.509256363, 29.402310991, 50.409403755, 2.030067001, 15.723)),
    ):
        for column, value in zip(columns, expected, strict=True):
            name = column.rpartition("_")[0]
            found = values("tss", "cifar10", name, index)
            assert np.isnan(found) if not rows[index][name] else found == pytest.approx(value, abs=6e-9), name
    assert sum(bool(row["edgegpu_latency"]) for row in rows) >= 12_554


def test_embedded_columns_are_the_published_ones(shared_data, data_home):
    with gzip.open(shared_data / "nb201_cifar10_hw.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table(shared_data / "tss_hw.parquet")
    for name in ("raspi4_latency", "pixel3_latency"):
        published = np.array([float(row[name]) for row in rows])
        assert np.array_equal(values("tss", "cifar10", name, np.arange(15_625)), published.astype(np.float32))
    for device in DEVICES:
        column = f"{device}_lat_ms"
        found = values("tss", "cifar10", helps.quantity_of(device), np.arange(15_625))
        assert np.array_equal(found, table[column].to_numpy()), device


def test_embedded_rows_known_without_any_file(data_home):
    assert values("tss", "cifar10", "raspi4_latency", [0, 1, 2]) == pytest.approx(
        [10.48197682, 54.77739762, 50.409403755], rel=1e-6
    )
    assert values("tss", "cifar10", "pixel3_latency", [0, 1, 2]) == pytest.approx([3.60585, 17.2381, 15.723], rel=1e-6)
    embedded = [row for row in hardware.catalogue.inventory() if row["name"] == "embedded"]
    embedded = [row for row in embedded if row["space"] == "tss"]
    assert embedded
    assert all("MIT" in row["licence"] for row in embedded)
    size = sum(file.stat().st_size for row in embedded for file in os.scandir(row["path"]))
    assert size < 2_000_000
    assert not any(problems for problems in hardware.catalogue.verify().values())


def test_measurements_of_the_same_network_differ_by_the_published_noise(shared_data, data_home):
    """Median within-class variation: raspi4 10.1 %, pixel3 11.8 % by the 6,466 classes of NAS-Bench-201."""
    tss = spaces.get("tss")
    lowest = tss.canonical(np.arange(15_625), card.RULE)
    for name, expected in (("raspi4_latency", 10.1), ("pixel3_latency", 11.8)):
        column = values("tss", "cifar10", name, np.arange(15_625))
        order = np.argsort(lowest, kind="stable")
        groups = np.split(column[order], np.flatnonzero(np.diff(lowest[order])) + 1)
        spread = [card._spread(group) for group in groups if len(group) > 1]
        assert np.median(spread) == pytest.approx(expected, abs=0.05)


# ---- FBNet


def test_fbnet_is_a_space_of_vectors(data_home):
    fbnet = spaces.get("fbnet")
    assert fbnet.size == 9**22
    text = "7_8_1_8_4_8_8_8_7_4_1_4_7_3_2_7_3_2_4_2_4_5"
    arch = fbnet.from_string(text)
    assert fbnet.string(arch) == text
    assert np.array_equal(fbnet.from_string(text.replace("_", ",")), arch)
    assert np.array_equal(fbnet.from_string(",".join(BLOCKS[block] for block in arch)), arch)
    uniforms = np.random.default_rng(0).random((500, 22))
    drawn = fbnet.sample(uniforms)
    mutant = fbnet.mutate(drawn, uniforms[:, :1])
    assert ((drawn != mutant).sum(axis=1) == 1).all()
    assert mutant.min() >= 0
    assert mutant.max() <= 8
    for wrong in ("0_1", "0_" * 21 + "9", "0_" * 21 + "x"):
        with pytest.raises(UsageError, match="22"):
            fbnet.from_string(wrong)
    with pytest.raises(UsageError, match="nearest: .*cifar10"):
        fbnet.params(arch, "cifar11")
    assert np.array_equal(pickle.loads(pickle.dumps(fbnet)).choices(arch), arch)  # noqa: S301 - our own


@pytest.fixture
def operators(data_home, shared_data):
    """The costs of FBNet's operators, imported: they do not ship."""
    hardware.imported.import_files([shared_data / "fbnet_lut.json"])
    return data_home


def test_fbnet_without_its_table_says_what_brings_it(cli):
    assert not hardware.find(spaces.get("fbnet"), "cifar100", "raspi4_latency")
    code, out, said = cli("show", ",".join("0" * 22), "--space", "fbnet")
    assert code == 0, said
    assert "nasharness data import HW-NAS-Bench-v1_0.pickle" in out


def test_fbnet_sums_equal_the_published_ones(operators):
    for arch, dataset, costs in FBNET:
        for name, published in costs.items():
            assert values("fbnet", dataset, name, arch) == pytest.approx(published, abs=6e-7)


def test_operators_are_the_225_of_the_published_table(shared_data, operators):
    published = json.loads((shared_data / "fbnet_lut.json").read_text())
    fbnet = spaces.get("fbnet")
    names = {name for dataset in fbnet.datasets for name in fbnet.operators(dataset).names()}
    assert len(names) == 225
    assert all(set(prices) == names for prices in published.values())
    for metric, prices in published.items():
        ours = hardware.reader(hardware.find(fbnet, "cifar100", metric))
        arch = np.arange(22) % 9
        assert ours(arch) == sum(prices[name] for name in fbnet.operators("cifar100").of(arch))  # to the bit


def test_the_5000_networks_of_help_exactly(shared_data, operators):
    table = parquet.read_table(shared_data / "hwnas_fbnet.parquet").to_pydict()
    fbnet = spaces.get("fbnet")
    archs = np.stack([fbnet.from_string(text) for text in table["arch"]])
    assert len(archs) == 5_000
    for device in ("raspi4", "pixel3", "eyeriss"):
        published = np.array(table[f"{device}_lat_ms"], dtype=np.float32)
        assert np.array_equal(values("fbnet", "cifar100", f"{device}_latency", archs).astype(np.float32), published)
    assert np.array_equal(np.round(1e6 * fbnet.params(archs, "cifar100")), table["params"])
    # their counter adds 2 an element of a normalisation, 1 of an activation and of a pooling
    more = np.full(len(archs), 3 * 16 * 32**2 + (3 + 1) * 1504 * 4**2)
    for position, layer in enumerate(fbnet.setting("cifar100").macro.shapes(32)[0]):
        out = (layer.side // layer.stride) ** 2
        wide = np.array([layer.inward * int(block[4]) if block != "skip" else 0 for block in BLOCKS])
        moved = layer.stride > 1 or layer.inward != layer.outward
        last = np.array([2 if block != "skip" else 3 * moved for block in BLOCKS]) * layer.outward * out
        more += (2 * wide * layer.side**2 + 3 * wide * out + last)[archs[:, position]]
    assert np.array_equal(np.round(1e6 * fbnet.flops(archs, "cifar100")) + more, table["flops"])


def test_a_million_networks_have_the_same_costs_as_each_alone(operators):
    archs = np.random.default_rng(0).integers(0, 9, (1_000_000, 22)).astype(np.int8)
    start = time.perf_counter()
    many = values("fbnet", "ImageNet", "raspi4_latency", archs)
    print(f"{time.perf_counter() - start:.2f} s for 10^6 networks")  # noqa: T201 - for who asks with -s; never asserted
    for row in (0, 32_767, 32_768, 999_999):
        assert values("fbnet", "ImageNet", "raspi4_latency", archs[row]) == many[row]
    assert values("fbnet", "ImageNet", "raspi4_latency", archs[:6].reshape(2, 3, 22)).tolist() == [
        many[:3].tolist(),
        many[3:6].tolist(),
    ]


def test_fbnet_has_costs_and_no_accuracies(operators, cli):
    for words in (("run", "--algo", "nsga2"), ("study", "--algo", "nsga2", "--runs", "2", "--out", "nowhere")):
        code, _, said = cli(*words, "--space", "fbnet")
        assert code in (1, 2)
        assert "fbnet" in said
        assert "no accuracies" in said
    code, out, _ = cli("show", ",".join("0" * 22), "--space", "fbnet")
    assert code == 0
    assert "17.6186 ms" in out
    assert "57.6565 ms" in out
    code, out, _ = cli("show", "_".join("0" * 22), "--space", "fbnet", "--json")
    rows = {(row["dataset"], row["name"]): row for row in json.loads(out)["devices"]}
    assert rows["cifar100", "fpga_latency"]["value"] == pytest.approx(10.73952)
    assert rows["cifar100", "raspi4_latency"]["kind"] == "modelled"


@pytest.mark.parametrize("name", ["random", "nsga2"])
def test_a_backend_searches_fbnet_under_a_limit(operators, name):
    def answer(archs):
        return np.asarray(archs).sum(axis=-1).astype(float)

    problem = Problem.create(
        "fbnet", "cifar100", table=Backend("toy", answer), objectives=["raspi4_latency", "params"],
        limits=["pixel3_latency <= 12"], evaluations=40,
    )  # fmt: skip
    assert "raspi4_latency" in problem.describe()["objectives"][1]["name"]
    result = nasharness.run(name, problem, runs=3)
    found = result.trajectories.ids[result.trajectories.made()]
    assert len(found) == 120
    assert (values("fbnet", "cifar100", "pixel3_latency", found) <= 12).all()
    pickle.dumps(problem.known())  # a worker elsewhere needs no table


# ---- searches


def test_any_accuracy_table_takes_device_objectives_and_limits(data_home, tmp_path):
    for table in ("embedded", synthetic_table("tss", tmp_path / "synthetic")):
        problem = Problem.create(
            table=table, objectives=["raspi4_latency"], limits=["raspi4_latency <= 15"], evaluations=60
        )
        result = nasharness.run("autoshrink.pooled", problem, runs=4)
        latency = values("tss", "cifar10", "raspi4_latency", np.arange(15_625))
        assert (latency[result.trajectories.ids[result.trajectories.made()]] <= 15).all()
        assert result.optimum == problem.truth().values[latency <= 15].max()
        objective = problem.describe()["objectives"][1]
        assert objective["unit"] == "ms"
        assert objective["known"] is True
        assert "measured, batch 1, cifar10, HELP 45f70eb" in objective["read"]


def test_what_does_not_run_or_is_unknown_is_never_paid_for(data_home, tmp_path):
    rng = np.random.default_rng(0)
    latency = rng.random(15_625) + 1
    latency[::3] = -1
    index = np.arange(15_000)
    path = devices(
        tmp_path / "mine.parquet", {"tpu_lat_ms": latency[:15_000], "tpu_energy_mj": latency[:15_000]}, index
    )
    imported.import_files([path], space="tss")
    quantity = hardware.find(spaces.get("tss"), "cifar10", "tpu_latency")
    assert (quantity.known, quantity.refused, quantity.partial) == (10_000, 5_000, True)
    assert hardware.column(quantity)[0] == -1
    assert np.isnan(hardware.reader(quantity)([0, 15_001])).all()
    for asked in ({"objectives": ["tpu_latency"]}, {"limits": ["tpu_latency <= 9"]}, {"limits": ["tpu_latency >= -5"]}):
        problem = Problem.create(evaluations=60, **asked)
        for name in ("random", "nsga2", "rea"):
            result = nasharness.run(name, problem, runs=3)
            ids = result.trajectories.ids[result.trajectories.made()]
            assert (ids % 3 != 0).all()
            assert (ids < 15_000).all()
            assert (result.refused > 0).any()
    text = str(quantity)
    assert "10,000 of 15,625 known, 5,000 do not run there" in text
    shown = {row["name"]: row for row in card.card(spaces.get("tss"), 3)}
    assert shown["tpu_latency"]["value"] is None
    assert "does not run" in "\n".join(card.lines(list(shown.values())))
    assert "tpu_latency" not in {row["name"] for row in card.card(spaces.get("tss"), 15_001)}


def test_a_limit_that_nothing_keeps_says_the_smallest_there_is(data_home):
    with pytest.raises(UsageError, match=r"raspi4_latency <= 0.001.*nearest is 0.0112835"):
        Problem.create(limits=["raspi4_latency <= 0.001"])
    Problem.create(limits=["raspi4_latency <= 0.0113 ms"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"objectives": ["raspi5_latency"]}, "nearest: raspi4_latency"),
        ({"objectives": ["edgegpu_latency"]}, "data import HW-NAS-Bench-v1_0.pickle"),
        ({"objectives": ["titan_rtx_256_latency"]}, "data fetch hardware"),
        ({"limits": ["raspi4_latncy <= 3"]}, "nearest: raspi4_latency"),
        ({"limits": ["raspi4_latency <= 3 mJ"]}, "has ms, not 'mJ'"),
        (
            {"objectives": ["raspi4_latency"], "dataset": "cifar100"},
            "not known on cifar100 of space tss, only on cifar10",
        ),
        ({"limits": ["raspi4_latency <= 3"], "dataset": "ImageNet16-120"}, "only on cifar10"),
        ({"objectives": ["1080ti_latency", "1080ti_1_latency"]}, "asked for twice"),
        ({"objectives": ["flops", "macs"]}, "'macs' is asked for twice"),
        ({"limits": ["error <= 5"]}, "known only after an evaluation is paid for"),
        (
            {"limits": ["raspi4_latency <= 15", "raspi4_latency >= 20"]},
            "nothing on space tss keeps it and 'raspi4_latency <= 15'; the nearest is 14.999",
        ),
        ({"limits": ["raspi4_latency <= 5", "params >= 1.3"]}, "the nearest is 0.830426"),
        ({"limits": ["raspi4_latency <= 1.2.3"]}, "'1.2.3' is no number"),
        ({"limits": ["raspi4_latency <= 1e999"]}, "1e999 is no finite number"),
    ],
)
def test_bad_objectives_and_limits(data_home, asked, said):
    with pytest.raises(UsageError, match=said):
        Problem.create(**({"dataset": "cifar10"} | asked))


# ---- names of columns


def test_names_of_columns():
    assert of_column("raspi4_lat_ms") == "raspi4_latency"
    assert of_column("1080ti_32_lat_ms") == "1080ti_32_latency"
    assert of_column("1080ti_1_lat_ms") == "1080ti_latency"
    assert of_column("edge_gpu_energy_mj") == "edge_gpu_energy"
    assert of_column("note") is None
    assert of_column("edgetpu_supported") is None
    for wrong in ("raspi4_lat_s", "raspi4_latency", "raspi4_lat", "x_energy_j", "x_latency_us"):
        with pytest.raises(UsageError, match="in ms from NAME_lat_ms"):
            of_column(wrong)
    named = {"1080ti_32_latency": 32, "silver_4114_latency": 1, "gold_6226_latency": 1, "raspi4_latency": 1}
    assert {name: batch_of(name) for name in named} == named


# ---- imports


def test_devices_of_ones_own_become_objectives(cli, tmp_path, data_home):
    rng = np.random.default_rng(1)
    fast = rng.random(15_625) + 2
    path = devices(
        tmp_path / "hw.parquet",
        {"board_lat_ms": fast, "board_8_lat_ms": fast * 3, "board_energy_mj": np.where(fast > 2.5, np.nan, fast)},
    )
    code, out, _ = cli("data", "import", path, "--space", "tss", "--devices")
    assert code == 0
    assert "board_latency, board_8_latency, board_energy" in out
    assert cli("data", "import", path, "--space", "tss", "--devices")[0] == 0  # the same again is no error
    code, out, _ = cli(
        "run", "--algo", "nsga2", "--space", "tss", "--objective", "error", "--objective", "board_latency",
        "--objective", "board_energy", "--limit", "board_8_latency <= 7.2", "--runs", "3", "--evaluations", "40",
        "--json",
    )  # fmt: skip
    assert code == 0
    result = json.loads(out)
    assert [one["unit"] for one in result["protocol"]["objectives"]] == ["percent", "ms", "mJ"]
    code, out, _ = cli("list", "devices", "board*")
    assert "batch 8, measured; hw.parquet, table hw" in out
    assert "board_energy" in out
    assert "of 15,625 known" in out
    assert '"name": "board_latency"' in cli("show", "9930", "--space", "tss", "--json")[1]
    assert "tss/hw (devices): all files as recorded" in cli("data", "verify")[1]
    assert "tss/hw (devices)" in cli("data", "status")[1]

    (tmp_path / "other").mkdir()
    changed = devices(tmp_path / "other" / "hw.parquet", {"board_lat_ms": fast + 1})
    code, _, said = cli("data", "import", changed, "--space", "tss", "--devices")
    assert code == 2
    assert "--force" in said
    assert values("tss", "cifar10", "board_latency", 5) == fast[5]
    assert cli("data", "import", changed, "--space", "tss", "--devices", "--force")[0] == 0
    assert values("tss", "cifar10", "board_latency", 5) == fast[5] + 1


def test_a_data_set_is_said_or_the_first(data_home, tmp_path):
    path = devices(tmp_path / "hw.parquet", {"board_lat_ms": np.linspace(1, 2, 15_625)})
    imported.import_files([path], dataset="cifar100,ImageNet16-120")
    tss = spaces.get("tss")
    assert hardware.find(tss, "cifar10", "board_latency") is None
    for dataset in ("cifar100", "ImageNet16-120"):
        assert Problem.create(dataset=dataset, objectives=["board_latency"]).objectives[1].device.dataset == dataset
    with pytest.raises(UsageError, match="nearest: cifar10"):
        imported.import_files([path], name="again", dataset="cifar11")


def test_sss_takes_devices_too(data_home, tmp_path):
    path = devices(tmp_path / "hw.csv.gz.parquet", {"board_lat_ms": np.linspace(1, 2, 32_768)})
    imported.import_files([path], space="sss", name="hw")
    assert hardware.find(spaces.get("sss"), "cifar10", "board_latency").known == 32_768


@pytest.mark.parametrize(
    ("columns", "index", "said"),
    [
        ({"x_lat_s": [1.0, 2.0]}, None, "x_lat_s.*in ms"),
        ({"x_lat_ms": [1.0, 2.0], "x_energy_j": [1.0, 2.0]}, None, "x_energy_j.*in mJ"),
        ({"x_lat_ms": [1.0, -2.0]}, None, "x_lat_ms of index 1 is -2"),
        ({"x_lat_ms": [1.0, np.inf]}, None, "index 1 is inf"),
        ({"x_lat_ms": [-1.0, np.nan]}, None, "no value at all"),
        ({"x_lat_ms": ["a", "b"]}, None, "something else than numbers"),
        ({"x_lat_ms": [1.0, 2.0]}, [3, 3], "index 3 occurs 2 times"),
        ({"x_lat_ms": [1.0, 2.0]}, [3, 15_625], "15625 is outside space tss"),
        ({"x_lat_ms": [1.0, 2.0]}, [3.5, 4.0], "whole numbers"),
        ({"x_lat_ms": [1.0, 2.0], "x_1_lat_ms": [1.0, 2.0]}, None, "both x_latency"),
        ({"acc": [1.0, 2.0]}, None, "no column of a device"),
    ],
)
def test_bad_device_columns(data_home, tmp_path, columns, index, said):
    path = devices(tmp_path / "hw.parquet", columns, index)
    with pytest.raises(NasharnessError, match=said):
        imported.import_files([path])
    assert hardware.catalogue.tables("tss")[0].name == "embedded"  # nothing was written


def test_bad_files(cli, tmp_path):
    path = devices(tmp_path / "hw.parquet", {"x_lat_ms": [1.0]})
    for words, said in (
        ((tmp_path / "absent.parquet",), "nothing at"),
        ((path, "--space", "fbnet"), "too large"),
        ((path, "--name", "embedded"), "another --name"),
        ((path, "--name", "../up"), "expected letters"),
        ((path, "--arch", "x"), "of tables of accuracies"),
        ((tmp_path,), "nothing at"),
    ):
        code, _, err = cli("data", "import", *words, "--devices")
        assert code == 2, said
        assert said in err
    without = tmp_path / "without.parquet"
    parquet.write_table(pa.table({"x_lat_ms": [1.0]}), without)
    assert "no column 'index'" in cli("data", "import", without, "--devices")[2]
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    code, _, err = cli("data", "import", tmp_path / "broken.parquet", "--devices")
    assert code == 1
    assert "damaged" in err
    code, _, err = cli("data", "import", path, "--dataset", "cifar10")
    assert code == 2
    assert "--devices" in err


def test_other_columns_are_left_out_and_said(cli, tmp_path):
    path = devices(tmp_path / "hw.parquet", {"x_lat_ms": [1.0, 2.0], "x_supported": [1, 0], "accuracy": [3.0, 4.0]})
    code, out, _ = cli("data", "import", path, "--devices")
    assert code == 0
    assert "left out, no columns of a device: accuracy" in out
    assert hardware.column(hardware.find(spaces.get("tss"), "cifar10", "x_latency"))[:2].tolist() == [1, -1]


# ---- HW-NAS-Bench's own file


def official(size=15_625):
    """A file of HW-NAS-Bench's layout with made-up numbers."""
    tss, fbnet = spaces.get("tss"), spaces.get("fbnet")
    rng = np.random.default_rng(0)
    metrics = (*FORMS, "edgegpu_latency", "edgegpu_energy", "raspi4_latency", "edgetpu_latency", "pixel3_latency")
    content = {"nasbench201": {}, "fbnet": {}}
    for dataset in tss.datasets:
        content["nasbench201"][dataset] = {name: (rng.random(size) + 0.5).tolist() for name in metrics}
        content["nasbench201"][dataset]["edgetpu_latency"][0] = -1
        content["nasbench201"][dataset]["config"] = [{"name": "infer.tiny", "arch_str": text} for text in tss.strings()]
    names = [name for dataset in fbnet.datasets for name in fbnet.operators(dataset).names()]
    content["fbnet"]["raspi4_latency"] = {name: number + 0.5 for number, name in enumerate(dict.fromkeys(names))}
    return content


@pytest.fixture(scope="module")
def content():
    return official()


def test_the_official_file(cli, tmp_path, content):
    path = tmp_path / "HW-NAS-Bench-v1_0.pickle"
    path.write_bytes(pickle.dumps(content, 3))
    code, out, said = cli("data", "import", path)
    assert code == 0, said
    assert "on cifar10, cifar100, ImageNet16-120" in out
    for dataset in spaces.get("tss").datasets:
        for metric, published in content["nasbench201"][dataset].items():
            if metric != "config":
                quantity = hardware.find(spaces.get("tss"), dataset, metric)
                assert hardware.column(quantity).tolist() == published
                assert quantity.kind == ("modelled" if metric.startswith(("eyeriss", "fpga")) else "measured")
    fbnet = spaces.get("fbnet")
    arch = np.arange(22) % 9
    prices = content["fbnet"]["raspi4_latency"]
    assert values("fbnet", "cifar10", "raspi4_latency", arch) == sum(
        prices[name] for name in fbnet.operators("cifar10").of(arch)
    )
    assert Problem.create(dataset="cifar100", objectives=["edgetpu_latency"]).objectives[1].partial
    assert cli("data", "import", path)[0] == 0
    changed = pickle.loads(path.read_bytes()) | {  # noqa: S301 - our own
        "fbnet": {"raspi4_latency": dict.fromkeys(prices, 1.0)}
    }
    path.write_bytes(pickle.dumps(changed))
    code, _, said = cli("data", "import", path)
    assert code == 2
    assert "--force" in said


def test_a_hostile_or_damaged_official_file(data_home, tmp_path, content):
    path = tmp_path / "HW-NAS-Bench-v1_0.pickle"

    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    path.write_bytes(pickle.dumps({"nasbench201": {}, "fbnet": Evil()}))
    with pytest.raises(DataError, match="refused"):
        imported.import_files([path])
    path.write_bytes(pickle.dumps(content)[:100_000])
    with pytest.raises(DataError, match="damaged"):
        imported.import_files([path])

    def of(**tss):
        published = content["nasbench201"]["cifar10"]["raspi4_latency"]
        return {"nasbench201": {"cifar10": {"raspi4_latency": published, **tss}}, "fbnet": content["fbnet"]}

    for wrong, said in (
        ({"nasbench201": {}}, "keys nasbench201 and fbnet"),
        (of(raspi4_latency=[1.0]), "15,625 numbers"),
        (of(raspi4_latency=[-2.0] * 15_625), "number 0 is -2"),
        (of(raspi4_latency=["a"] * 15_625), "something else"),
        (of(accuracy=[1.0] * 15_625), "expected DEVICE_latency"),
        (of(config=[{"arch_str": "x"}] * 15_625), "index 0 is not the cell"),
        (of() | {"fbnet": {"raspi4_latency": {"FC_Cin1504_Cout10": 1.0}}}, "224 of 225 operators are missing"),
        ({"nasbench201": {"mnist": {}}, "fbnet": content["fbnet"]}, "unknown data set 'mnist'"),
    ):
        path.write_bytes(pickle.dumps(wrong))
        with pytest.raises(DataError, match=said):
            imported.import_files([path])
    assert not (data_home / "hardware").exists()


def test_operators_as_json(cli, tmp_path, content):
    path = tmp_path / "fbnet_lut.json"
    path.write_text(json.dumps(content["fbnet"]))
    assert cli("data", "import", path)[0] == 0
    assert hardware.find(spaces.get("fbnet"), "ImageNet", "raspi4_latency").table == "hw-nas-bench"
    path.write_text(json.dumps(content["fbnet"])[:5_000])
    assert cli("data", "import", path, "--force")[0] == 1


# ---- HELP's files


def test_a_zip_of_torch_with_a_list_is_read_and_nothing_else(tmp_path):
    assert helps.read_list(torch_zip([1.5, 2, 3.25]), "made up") == [1.5, 2.0, 3.25]

    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    for wrong in (torch_zip({"a": 1}), torch_zip(["1"]), torch_zip([Evil()]), b"PK no zip", b"", torch_zip([1.5])[:60]):
        with pytest.raises(DataError):
            helps.read_list(wrong, "made up")


def test_fetch_hardware_from_a_mirror(data_home, tmp_path):
    import hashlib

    rng = np.random.default_rng(0)
    numbers = {device: (rng.random(15_625) + 1).tolist() for device in ("phone", "gpu_1", "gpu_256")}
    digests = {}
    for device, column in numbers.items():
        path = tmp_path / helps.path_of(device)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(torch_zip(column))
        digests[device] = hashlib.sha256(path.read_bytes()).hexdigest()
    table = helps.fetch(mirror=tmp_path, files=digests)
    assert table.name == "help"
    for device, column in numbers.items():
        assert np.array_equal(
            values("tss", "cifar10", helps.quantity_of(device), np.arange(15_625)), np.float32(column)
        )
    with pytest.raises(DataError, match="SHA-256"):
        helps.fetch(mirror=tmp_path, files=digests | {"phone": "0" * 64})
    with pytest.raises(UsageError, match="--mirror"):
        helps.fetch(mirror=tmp_path)
    with pytest.raises(UsageError, match="nearest"):
        helps.fetch(mirror=tmp_path, sha256={"nothing.pt": "0" * 64})


def test_the_recorded_checksums_are_those_of_the_public_files(shared_data):
    lines = [line.split() for line in (shared_data / "help_sha256.txt").read_text().splitlines()]
    published = {path: digest for digest, path in lines}
    assert {helps.path_of(device): digest for device, digest in helps.FILES.items()} == {
        path: digest for path, digest in published.items()
        if path.startswith(helps.FOLDER) and not path.endswith(("eyeriss.pt", "fpga.pt"))
    }  # fmt: skip


def test_building_the_embedded_tables_gives_what_is_committed(shared_data, tmp_path):
    committed = hardware.catalogue.table_path("tss", "embedded")
    made = build(shared_data / "tss_hw.parquet", tmp_path / "tss")
    assert made.checksum == nasharness.tables.Table.open(committed).checksum


def test_a_damaged_hardware_table_is_said(data_home, tmp_path):
    path = devices(tmp_path / "hw.parquet", {"x_lat_ms": [1.0, 2.0]})
    table = imported.import_files([path])[0]
    (table.path / "table.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        Problem.create(objectives=["raspi4_latency"])
