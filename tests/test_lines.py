"""JSON lines: a last one that a crash has cut is left out, any other damage is named."""

import pytest

from nasharness.errors import DataError
from nasharness.storage import append, read_lines


def test_what_a_crash_cut_is_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    for row in ('{"a": 1}\n', '{"b": null}\n'):
        append(path, row)
    whole = path.stat().st_size
    assert read_lines(path, "row", "stop") == ([{"a": 1}, {"b": None}], whole)
    for torn in (b'{"c"', b'{"c": 1}', b"\0\0\0\n", b"\0\0\n\n"):  # a disk may keep the end of what it lost
        path.write_bytes(path.read_bytes()[:whole] + torn)
        assert read_lines(path, "row", "stop") == ([{"a": 1}, {"b": None}], whole)


@pytest.mark.parametrize(("content", "line"), [(b'{"a": 1}\n[2]\n{"b": 3}\n', 2), (b"of another kind\n", 1)])
def test_other_damage_is_named(tmp_path, content, line):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"rows.jsonl, line {line}: no row; move it away"):
        read_lines(path, "row", "move it away")
    assert path.read_bytes() == content
