"""What is given in place of a file or a name: pipes and devices without end, names that no disk takes, odd text."""

import json
import os
import threading
from pathlib import Path

import pytest

from nasharness.storage import toml
from nasharness.storage.parquet import read_parquet

SEARCH = ["run", "--algo", "random", "--space", "tss", "--evaluations", "20", "--table", "embedded"]
READS = {
    "plan": ["study", "{file}", "--dry-run"],
    "start": [*SEARCH, "--start", "{file}"],
    "scores": [*SEARCH, "--start", "scores:{file}.csv@x:3"],
    "table": ["data", "import", "{file}", "--name", "x", "--arch", "a", "--metric", "m=acc"],
    "winner": ["retrain", "--winner", "{file}", "--task", "imagenet", "--data", "."],
    "study": ["compare", "{file}"],
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("door", READS)
def test_what_has_no_end_is_not_read(door, cli, tmp_path):
    for name in ("pipe", "pipe.csv"):
        os.mkfifo(tmp_path / name)
    for endless in (tmp_path / "pipe", "/dev/zero"):
        if door == "winner":
            pytest.importorskip("torch")
        code, _, said = cli(*(word.format(file=endless) for word in READS[door]))
        assert code in (1, 2)
        assert said.count("\n") == 1
        assert "unexpectedly" not in said
    assert threading.active_count() < 20


PLANS = {
    "nested": ("algorithms = " + "[" * 3_000 + "]" * 3_000, "nested too deeply"),
    "dotted": ("a." * 20_000 + "b = 1", "more than 200 dots in a line"),
    "long number": ("algorithms = ['rea']\nruns = " + "9" * 5_000, "4300 digits"),
    "large": ("#" * (toml.LARGEST + 1), "larger than"),
    "no text": ("\udcff", "is not UTF-8 text"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", PLANS)
def test_a_plan_that_costs_more_than_it_is_worth(kind, cli, tmp_path):
    text, says = PLANS[kind]
    (tmp_path / "plan.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    code, _, said = cli("study", tmp_path / "plan.toml", "--dry-run")
    assert code == 2
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 2_000 + "b"])
def test_a_name_that_no_disk_takes(name, cli, tmp_path):
    code, _, said = cli(*SEARCH, "--out", tmp_path / name)
    assert code == 2
    assert "expected at most 100 folders with names of at most 240 bytes" in said


def test_a_tilde_is_a_letter_once_the_shell_has_seen_it(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = cli(*SEARCH, "--out", "~root", "--json")
    assert code == 0
    assert json.loads(out)["runs"] == 1
    assert (tmp_path / "~root" / "evaluations.parquet").is_file()
    monkeypatch.chdir(tmp_path / "~root")
    os.rename("evaluations.parquet", "~root")
    assert read_parquet(Path("~root")).num_rows == 20


FRAMES = {
    "control characters": ("code,m\n\x1b[31m,1\nb,2\n", ["m=acc"], "a character that cannot be shown"),
    "one name twice": ("code,code,m\n1,1,2\n", ["m=acc"], "two columns are called 'code'"),
    "epochs without end": ("code,m\na,1\nb,2\n", ["m=acc@99999999999"], "at most 32,767 epochs"),
    "a name to elsewhere": (
        "code,m,k\na,1,2\nb,2,3\n",
        ["m=acc", "--known", "k=../../x"],
        "expected a name of",
    ),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_table_that_could_not_be_used_is_not_made(kind, cli, tmp_path, data_home):
    text, words, says = FRAMES[kind]
    (tmp_path / "a.csv").write_text(text)
    code, _, said = cli("data", "import", tmp_path / "a.csv", "--name", "a", "--arch", "code", "--metric", *words)
    assert code in (1, 2)
    assert says in said
    assert not list(data_home.glob("tables/*"))
