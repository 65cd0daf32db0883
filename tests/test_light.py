"""Small files to a table: the same table whatever the files, and nothing wrong gets in."""

import contextlib

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import nasharness
from nasharness import spaces
from nasharness.errors import DataError, UsageError
from nasharness.search import Problem
from nasharness.tables.importers.nats_light.columns import parse
from nasharness.tables.importers.nats_light.frame import read_frame
from nasharness.tables.importers.nats_light.table import import_files
from nasharness.tables.unpickle import UnsafePickle
from tests.frame_fixtures import Call, dump, frame

N = 15_625


def columns(**values):
    return {"index": np.arange(N), "cifar10_val_12": np.linspace(10, 90, N)} | values


def write(path, values):
    parquet.write_table(pa.table(values), path)
    return path


def test_the_stand_in_file_gives_the_documented_columns(shared_data, data_home):
    table = import_files([shared_data / "tss.parquet"])
    raw = parquet.read_table(shared_data / "tss.parquet")
    assert table.path == data_home / "tables" / "tss" / "light"
    assert table.column("cifar10", "test_acc", 200).seeds == ("mean", "777", "888", "999")
    assert table.column("cifar100", "test_acc", 200).seeds == ("mean", "888")
    for name, (dataset, metric, schedule, seed) in {
        "cifar10_val_12": ("cifar10-valid", "val_acc", 12, "mean"),
        "cifar10_half_test_200": ("cifar10-valid", "test_acc", 200, "mean"),
        "cifar10_half_test_200_s888": ("cifar10-valid", "test_acc", 200, "888"),
        "cifar100_xtest_200_s888": ("cifar100", "test_acc", 200, "888"),
        "in16_test_12": ("ImageNet16-120", "test_acc", 12, "mean"),
        "cifar10_test_200_s999": ("cifar10", "test_acc", 200, "999"),
    }.items():
        np.testing.assert_array_equal(table.values(dataset, metric, schedule, seed=seed), raw[name].to_numpy())
    full = raw["cifar10_epoch_s"].to_numpy()
    np.testing.assert_allclose(table.values("cifar10-valid", "train_s"), full / 2, rtol=1e-6)
    np.testing.assert_allclose(table.values("cifar100", "train_s"), full, rtol=1e-6)
    np.testing.assert_allclose(table.values("ImageNet16-120", "train_s"), raw["in16_epoch_s"].to_numpy(), rtol=1e-6)


def test_validation_seconds_err_as_their_note_says(shared_data, data_home):
    table = import_files([shared_data / "tss.parquet"])
    times = parquet.read_table(shared_data / "tss_times_1000.parquet")
    index = times["index"].to_numpy()
    for dataset, short, ratio in (
        ("cifar10-valid", "cifar10", 2.5),
        ("cifar100", "cifar100", 1),
        ("ImageNet16-120", "in16", 1),
    ):
        exact = times[f"{short}_test_time_s_12"].to_numpy() / 12 * ratio
        error = table.values(dataset, "val_s")[index] / exact - 1
        assert np.sqrt((error**2).mean()) == pytest.approx(0.028, abs=1e-3)
        assert np.abs(error).max() == pytest.approx(0.21, abs=5e-3)
    for index, seconds in ((0, 89.2021), (11, 153.6959), (284, 60.8990)):  # published costs
        cost = 12 * table.values("cifar10-valid", "train_s")[index] + table.values("cifar10-valid", "val_s")[index]
        assert cost == pytest.approx(seconds, rel=5e-3)


def test_parquet_csv_and_split_files_give_one_table(tmp_path):
    values = columns(in16_val_200=np.linspace(1, 46, N), in16_test_200=np.linspace(2, 47, N))
    whole = import_files([write(tmp_path / "a.parquet", values)], destination=tmp_path / "t1")
    csv.write_csv(pa.table(values), tmp_path / "a.csv")
    text = import_files([tmp_path / "a.csv"], destination=tmp_path / "t2")
    order = np.random.default_rng(0).permutation(N)
    first = write(tmp_path / "b.parquet", {k: values[k][order] for k in ("index", "cifar10_val_12")})
    rest = write(tmp_path / "c.parquet", {k: values[k] for k in ("index", "in16_val_200", "in16_test_200")})
    split = import_files([first, rest], destination=tmp_path / "t3")
    assert whole.checksum == text.checksum == split.checksum
    assert whole.has("ImageNet16-120", "val_acc", 200)


def test_import_again_is_nothing_other_content_needs_force(tmp_path, data_home):
    path = write(tmp_path / "a.parquet", columns())
    first = import_files([path])
    before = (first.path / "table.json").stat().st_mtime_ns
    assert import_files([path]).checksum == first.checksum
    assert (first.path / "table.json").stat().st_mtime_ns == before
    other = write(tmp_path / "b.parquet", columns(cifar10_val_12=np.full(N, 50.0)))
    with pytest.raises(UsageError, match="--force"):
        import_files([other])
    assert import_files([other], force=True).checksum != first.checksum


BAD = {
    "unknown column 'cifar10_val_13'": lambda: columns(cifar10_val_13=np.ones(N)),
    "nearest accepted: in16_val_200": lambda: columns(in16_vall_200=np.ones(N)),
    "no column 'index'": lambda: {"cifar10_val_12": np.ones(N)},
    "none of its columns": lambda: {"index": np.arange(N)},
    "index 15625 is outside": lambda: columns(index=np.arange(N) + 1),
    "occurs 2 times": lambda: columns(index=np.minimum(np.arange(N), N - 2)),
    "15,624 of 15,625 rows": lambda: {k: v[1:] for k, v in columns().items()},
    "fractions; expected percent": lambda: columns(cifar10_val_12=np.linspace(0, 0.9, N)),
    "expected 0 to 100": lambda: columns(cifar10_val_12=np.linspace(0, 101, N)),
    "params_m of index 0": lambda: columns(params_m=np.ones(N)),
    "row 7 ": lambda: columns(arch=[*spaces.get("tss").strings()[:7], "x", *spaces.get("tss").strings()[8:]]),
    "not all numbers": lambda: columns(cifar10_val_12=["x"] * N),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_files_are_refused(tmp_path, message):
    path = write(tmp_path / "a.parquet", BAD[message]())
    with pytest.raises(DataError, match=message):
        import_files([path], destination=tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_partial_and_disagreeing_files(tmp_path):
    some = write(tmp_path / "a.parquet", {k: v[5:] for k, v in columns().items()})
    table = import_files([some], partial=True, destination=tmp_path / "t")
    assert np.isnan(table.values("cifar10-valid", "val_acc", 12)).sum() == 5
    other = write(tmp_path / "b.parquet", columns(cifar10_val_12=np.full(N, 5.0)))
    with pytest.raises(DataError, match="cifar10_val_12 of index 0"):
        import_files([other, write(tmp_path / "c.parquet", columns())], destination=tmp_path / "t2")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="damaged"):
        import_files([tmp_path / "d.parquet"], destination=tmp_path / "t3")


def test_names_are_read_as_documented():
    assert parse("cifar10_val_12").dataset == "cifar10-valid"
    assert parse("cifar10_test_200_s888") == ("cifar10", "test_acc", 200, "888")
    assert parse("cifar10_half_test_12").dataset == "cifar10-valid"
    assert parse("cifar10_train_200").seed == "trial0"
    assert parse("in16_xtest_200_s777") == ("ImageNet16-120", "test_acc", 200, "777")
    assert parse("cifar10_xtest_200") is None


def test_a_pickled_frame_is_read_without_pandas():
    data = frame([0, 1, 2], ["a", "b", "c"], np.arange(18.0).reshape(6, 3))
    found = read_frame(data, "f")
    assert found["arch"].tolist() == [0, 1, 2]
    assert found["cellstr"].tolist() == ["a", "b", "c"]
    assert found["imagenet-val"].tolist() == [15.0, 16.0, 17.0]


def test_a_poisoned_or_cut_frame_is_refused():
    data = frame([0, 1, 2], ["a", "b", "c"], np.arange(18.0).reshape(6, 3))
    with pytest.raises(UnsafePickle, match=r"os\.system"):
        read_frame(b"\x80\x04" + dump(Call("os", "system", ("true",))) + b".", "f")
    with pytest.raises(UnsafePickle):
        read_frame(b"\x80\x04" + dump(Call("pandas.core.frame", "DataFrame", (), {"x": 1}, new=True)) + b".", "f")
    rng = np.random.default_rng(1)
    for cut in range(0, len(data) - 1, 37):
        with pytest.raises(DataError):
            read_frame(data[:cut], "f")
    for _ in range(500):
        bad = bytearray(data)
        bad[rng.integers(len(bad))] = rng.integers(256)
        with contextlib.suppress(DataError):
            read_frame(bytes(bad), "f")


def test_trials_of_the_embedded_signal_are_scored_by_test_accuracies(shared_data, data_home):
    import_files([shared_data / "tss.parquet"], name="light")
    problem = Problem.create("tss", "cifar100", table="light", evaluations=20)
    realised = problem.realised("all")
    assert [str(one.signal) for one in realised] == ["val@200:trial0", "val@200:trial1"]
    assert all(str(one.final) == "test@200:mean" for one in realised)
    embedded = Problem.create("tss", "cifar100", table="embedded", signal="val@200:trial1", evaluations=20)
    ids = np.arange(15_625, dtype=np.int32)
    assert np.allclose(realised[1].evaluator().signal(ids, 0), embedded.evaluator().signal(ids, 0), atol=1e-4)
    assert len(problem.realised("val@12,val@200:trial0,val@200:trial1")) == 3
    result = nasharness.run("rea", realised[0], runs=3)
    assert [caveat.code for caveat in result.caveats if caveat.code == "final-contains-signal"] == []
