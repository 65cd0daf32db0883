"""Two processes must not write one table at once."""

import subprocess
import sys

import numpy as np
import pytest

from nasharness.errors import DataError
from nasharness.tables import Table, TableWriter

OPTIONS = {"space": "tss", "version": "0", "size": 3, "source": "-", "licence": "-", "citation": "-"}


def test_a_second_writer_is_refused_and_the_first_unharmed(tmp_path):
    code = (
        "import sys; from nasharness.tables import TableWriter\n"
        f"with TableWriter(sys.argv[1], name='t', **{OPTIONS!r}): pass"
    )
    with TableWriter(tmp_path / "t", name="t", **OPTIONS) as writer:
        writer.add("cifar10", "train_s", np.ones(3), unit="s")
        second = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "t")], capture_output=True, text=True, check=False
        )
        assert "another process is writing table 't'" in second.stderr
    assert Table.open(tmp_path / "t").verify() == []


def test_a_failed_writer_leaves_the_old_table_and_no_lock(tmp_path):
    with TableWriter(tmp_path / "t", name="t", **OPTIONS) as writer:
        writer.add("cifar10", "train_s", np.ones(3), unit="s")
    before = Table.open(tmp_path / "t").checksum
    with pytest.raises(ZeroDivisionError), TableWriter(tmp_path / "t", name="t", **OPTIONS):
        raise ZeroDivisionError
    assert Table.open(tmp_path / "t").checksum == before
    with TableWriter(tmp_path / "t", name="t", **OPTIONS) as writer:
        writer.add("cifar10", "train_s", np.zeros(3), unit="s")
    assert Table.open(tmp_path / "t").checksum != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t"]


def test_a_writer_that_cannot_write_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises((DataError, ValueError), match="cannot write a table"),
        TableWriter(tmp_path / "file" / "t", name="t", **OPTIONS),
    ):
        pass
