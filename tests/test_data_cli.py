"""``nasharness data`` end to end."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from nasharness.cli.data import command
from nasharness.cli.terminal import Progress
from nasharness.errors import DataError, UsageError


def run(*arguments, fails=None):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    if fails is not None:
        assert isinstance(result.exception, fails), result.output
        return str(result.exception)
    assert result.exception is None, result.exception
    return result.output


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.parquet"
    parquet.write_table(pa.table({"index": np.arange(15_625), "in16_val_12": np.linspace(1, 40, 15_625)}), path)
    return path


def test_import_status_verify(small, data_home):
    assert "tss/light: 15,625 rows" in run("import", small)
    assert "tss/light: 15,625 rows" in run("import", small)  # the same again is no error
    text = run("status")
    assert "tss/light" in text
    assert "tss/embedded" in text
    assert "Xuanyi Dong" in text
    assert "get it with: nasharness data import NATS-tss" in text
    assert "ImageNet16-120.val_acc@12" in run("status", "--table", "light")
    report = json.loads(run("status", "--json"))
    row = next(row for row in report["tables"] if row["name"] == "light")
    assert row["rows"] == 15_625
    assert row["space"] == "tss"
    assert {"version", "columns", "bytes", "licence", "attribution", "checksum", "path"} <= set(row)
    assert {(row["space"], row["name"]) for row in report["missing"]} >= {("tss", "official"), ("sss", "official")}
    assert "as recorded" in run("verify")


def test_verify_finds_a_changed_byte(small, data_home):
    run("import", small, "--name", "mine")
    column = data_home / "tables" / "tss" / "mine" / "ImageNet16-120.val_acc@12.npy"
    data = bytearray(column.read_bytes())
    data[5_000] ^= 1
    column.write_bytes(bytes(data))
    assert "tss/mine" in run("verify", fails=DataError)
    assert "as recorded" in run("verify", "--table", "embedded")


def test_archives_go_to_the_archive_reader(shared_data, data_home):
    samples = shared_data / "nats_samples" / "NATS-tss-v1_0-3ffb9-simple"
    assert "--partial" in run("import", samples, fails=DataError)
    assert "tss/official" in run("import", samples, "--partial", "--jobs", 1)
    assert "--force" in run("import", samples, "--partial", fails=UsageError)
    assert "tss/official" in run("import", samples, "--partial", "--force", "--jobs", 1)


def test_bad_requests(small, data_home, tmp_path):
    assert "nothing at" in run("import", tmp_path / "none", fails=UsageError)
    assert "embedded" in run("import", small, "--name", "embedded", fails=UsageError)
    assert "nearest: tss" in run("import", small, "--space", "tsss", fails=UsageError)
    assert "archive" in run("import", small, "--space", "sss", fails=UsageError)
    assert "2 paths" in run("import", small, tmp_path, fails=UsageError)
    assert "nearest: embedded" in run("status", "--table", "embeded", fails=UsageError)
    assert "FILE=HEX" in run("fetch", "--sha256", "x", fails=UsageError)
    assert "expected a folder" in run("fetch", "--mirror", tmp_path / "none", fails=UsageError)


def test_progress_is_a_plain_line_a_while_when_piped():
    now = [0.0]
    stream = io.StringIO()
    progress = Progress("records", clock=lambda: now[0], stream=stream)
    for done in range(0, 401, 10):
        now[0] = float(done) / 10
        progress.update(done, 400)
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "100 of 400 records (25 %), 10/s, 0:00:30 left"
    assert len(lines) == 4
    assert "\r" not in stream.getvalue()
