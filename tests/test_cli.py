"""The command line as a user meets it: in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import pytest

import nasharness
import nasharness.errors
from nasharness import studies
from nasharness.cli import cli as program
from nasharness.search.testing import synthetic_table

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def cli(data_home):
    """Run ``nasharness`` and return the finished process; a traceback fails the test."""

    def call(*arguments, code=0, **options):
        command = [sys.executable, "-m", "nasharness", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, (done.returncode, done.stderr)
        return done

    return call


def test_main_job_draws_the_winner(cli):
    out = cli("run", "--algo", "autoshrink", "--space", "tss").stdout
    for word in ("table      embedded", "signal val@200:random", "winner     |", "regret", "overhead", "in ( 0 )"):
        assert word in out


def test_json_is_one_object_with_every_key(cli):
    options = (
        "run",
        "--algo",
        "rea",
        "--space",
        "tss",
        "--runs",
        20,
        "--evaluations",
        30,
        "--set",
        "population=5",
        "--json",
    )
    known = json.loads(cli(*options).stdout)
    assert set(known) >= {
        "algorithm", "settings", "space", "dataset", "protocol", "table", "runs", "seed", "evaluations", "cost_seconds",
        "overhead_seconds", "winner", "final", "recommended", "regret",
    }  # fmt: skip
    assert set(known["table"]) == {"source", "version", "checksum"}
    assert known["settings"] == {"population": 5, "sample": 3}
    assert known["evaluations"] == {"mean": 30.0}
    for key in ("final", "recommended"):
        assert set(known[key]) == {"mean", "std", "ci95", "values"}
        assert len(known[key]["values"]) == 20
        assert known[key]["mean"] == pytest.approx(np.mean(known[key]["values"]))
        assert known[key]["ci95"][0] < known[key]["mean"] < known[key]["ci95"][1]
    assert set(known["regret"]) == {"mean", "ci95"}
    assert known["winner"] == known["candidates"][0]
    assert set(known["winner"]) == {"label", "about", "index", "arch", "signal", "final", "votes"}
    assert json.loads(cli(*options).stdout) | {"overhead_seconds": 0} == known | {"overhead_seconds": 0}


def test_python_says_the_same_as_the_command(cli):
    known = json.loads(
        cli("run", "--algo", "random", "--space", "tss", "--runs", 5, "--evaluations", 50, "--json").stdout
    )
    result = nasharness.run("random", space="tss", runs=5, evaluations=50)
    assert result.summary() | {"overhead_seconds": 0} == known | {"overhead_seconds": 0}


def test_out_keeps_everything(cli, tmp_path):
    out = tmp_path / "new" / "folder"
    printed = cli("run", "--algo", "rea", "--space", "tss", "--runs", 3, "--evaluations", 25, "--out", out).stdout
    assert sorted(path.name for path in out.iterdir()) == ["evaluations.parquet", "shards", "study.json", "winner.json"]
    table = pq.read_table(out / "evaluations.parquet")
    assert table.column_names == ["seed", "step", "arch", "epochs", "signal", "simulated_seconds", "trial"]
    assert table.num_rows == 75
    assert table.column("step").to_pylist() == list(range(1, 26)) * 3
    meta = json.loads((out / "study.json").read_text())
    assert "--evaluations" in meta["provenance"]["command"]
    assert len(meta["cells"]) == 1
    assert (meta["cells"][0]["kind"], meta["cells"][0]["clock"]) == ("multi-trial", "simulated")
    result = nasharness.run("rea", space="tss", runs=3, evaluations=25)
    winner = json.loads((out / "winner.json").read_text())
    assert [one["label"] for one in winner["candidates"]] == ["best-signal", "most-recommended", "first-run"]
    assert winner["candidates"] == result.summary()["candidates"]
    assert winner["table"]["checksum"] == meta["cells"][0]["table"]["checksum"]
    best = winner["candidates"][0]
    assert best["signal"] == max(table["signal"].to_pylist())
    assert best["final"] == float(result.problem.truth().values[best["index"]])  # the mean over trials
    assert winner["candidates"][2]["index"] == result.incumbent[0]
    assert f"winner     {best['arch']}\n           index {best['index']}: best by signal over all 3 runs" in printed


def test_a_run_is_the_study_of_one_cell(cli, tmp_path):
    """Byte for byte, whatever batches the runs advanced in; so a study's command finishes a run's folder."""
    asked = ("--algo", "autoshrink", "--set", "beam=4", "--runs", 260, "--seed", 5, "--evaluations", 30)
    cli("run", "--space", "tss", *asked, "--out", tmp_path / "run")
    cli("study", *asked, "--out", tmp_path / "study")
    shards = sorted(path.name for path in (tmp_path / "study" / "shards").iterdir())
    assert shards == ["c000-00000.parquet", "c000-00001.parquet"]
    for name in shards:
        assert (tmp_path / "run/shards" / name).read_bytes() == (tmp_path / "study/shards" / name).read_bytes()
    one, two = (json.loads((tmp_path / name / "study.json").read_text()) for name in ("run", "study"))
    assert one["cells"] == two["cells"]
    before = (tmp_path / "run/shards" / shards[1]).read_bytes()
    for command in (("study",), ("run", "--space", "tss", *asked)):
        (tmp_path / "run/shards" / shards[1]).unlink()
        cli(*command, "--resume", "--out", tmp_path / "run")
        assert (tmp_path / "run/shards" / shards[1]).read_bytes() == before


def test_a_folder_with_another_result_is_refused(cli, tmp_path):
    asked = ("run", "--algo", "rea", "--space", "tss", "--evaluations", 9)
    out = tmp_path / "run"
    cli(*asked, "--out", out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert "holds this study already; go on with it: " in cli(*asked, "--out", out, code=2).stderr
    for other, words in (
        (("--seed", 3), "seed: 0 there, 3 here"),
        (("--set", "population=5"), r"algorithms: rea there, rea\(population=5\) here"),
        (("--signal", "val@200:mean"), "signal: val@200:random there, val@200:mean here"),
    ):
        done = cli(*asked, *other, "--resume", "--out", out, code=2)
        assert re.search(f"holds another study.*{words}.*Choose another --out", done.stderr), done.stderr
        assert done.stdout == ""
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert "--resume needs --out" in cli(*asked, "--resume", code=2).stderr
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "run.json").write_text("{}")
    assert "holds a full training already (run.json)" in cli(*asked, "--out", tmp_path / "trained", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--algo", "reaa", "--space", "tss"], 2, "nearest: rea, "),
        (["run", "--algo", "rea", "--space", "tsss"], 2, "nearest: tss"),
        (["run", "--algo", "rea", "--space", "tss", "--dataset", "cifar"], 2, "nearest: cifar10"),
        (["run", "--algo", "rea", "--space", "tss", "--set", "popl=3"], 2, "nearest: population"),
        (["run", "--algo", "rea", "--space", "tss", "--set", "population"], 2, "KEY=VALUE"),
        (["run", "--algo", "rea", "--space", "tss", "--set", "population=many"], 2, "a whole number"),
        (["run", "--algo", "rea", "--space", "tss", "--set", "population=0"], 2, "expected 1 to"),
        (["run", "--algo", "random", "--space", "tss", "--set", "x=1"], 2, "no settings"),
        (["run", "--algo", "rea", "--space", "tss", "--evaluations", "0"], 2, "at least 1"),
        (["run", "--algo", "rea", "--space", "tss", "--seconds", "-3"], 2, "positive"),
        (["run", "--algo", "rea", "--space", "tss", "--runs", "1000000000000"], 2, "TiB"),
        (["run", "--algo", "rea", "--space", "tss", "--runs", "x"], 2, "not a valid integer"),
        (["run", "--algo", "rea", "--space", "tss", "--runs", "0"], 2, "at least 1"),
        (["run", "--algo", "rea", "--space", "tss", "--seed", "-1"], 2, "at least 0"),
        (["run", "--algo", "rea", "--space", "tss", "--evaluations", "1000000000000"], 2, "a smaller budget"),
        (["run", "--algo", "autoshrink", "--space", "tss", "--set", "cost_weight=inf"], 2, "a finite number"),
        (["run", "--algo", "autoshrink", "--space", "tss", "--set", "beam=10000000"], 2, "1 to 1,000"),
        (["run", "--algo", "rea", "--space", "tss", "--table", "light"], 1, "nasharness data fetch"),
        (["run", "--algo", "rea", "--space", "tss", "--table", "lite"], 2, "nearest:"),
        (["run", "--algo", "rea", "--space", "sss"], 1, "nasharness data import NATS-sss"),
        (["run", "--algo", "rea"], 2, "--space"),
        (["rnu"], 2, "nearest: run"),
        (["run", "--alog", "rea"], 2, "--algo"),
        (["show", "15625", "--space", "tss"], 2, "15,?624"),
        (["show", "-1", "--space", "tss"], 2, ""),
        (["show", "|nor_conv_3x3~0|+|none~0|", "--space", "tss"], 2, "3 are expected"),
        (["list", "algorithm"], 2, "nearest: algos"),
    ],
)
def test_mistakes_get_one_clear_line(cli, arguments, code, words):
    done = cli(*arguments, code=code)
    assert done.stdout == ""
    assert done.stderr.startswith("nasharness: ")
    assert done.stderr.count("\n") == 1
    assert re.search(words, done.stderr), done.stderr


def test_unwritable_output_is_found_before_the_search(cli, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    done = cli("run", "--algo", "rea", "--space", "tss", "--out", file / "x", code=2)
    assert "is a file" in done.stderr
    assert done.stdout == ""
    assert file.read_text() == "mine"
    if os.geteuid() != 0:  # root may write anywhere
        tmp_path.chmod(0o500)
        assert "no permission" in cli("run", "--algo", "rea", "--space", "tss", "--out", tmp_path / "y", code=2).stderr
        tmp_path.chmod(0o700)


def test_a_full_disk_behind_standard_output_is_one_line(data_home):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    command = [sys.executable, "-m", "nasharness", "run", "--algo", "rea", "--space", "tss", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


def test_a_damaged_table_hides_no_other(cli, data_home):
    folder = data_home / "tables/tss/official"
    folder.mkdir(parents=True)
    (folder / "table.json").write_text("{")
    assert "'official' was passed over" in cli("run", "--algo", "random", "--space", "tss").stdout
    known = json.loads(cli("run", "--algo", "random", "--space", "tss", "--json").stdout)
    assert "'official' was passed over" in known["notes"][0]
    for arguments in (("list", "tables"), ("list", "datasets"), ("show", "0", "--space", "tss"), ("data", "status")):
        assert "is damaged" in cli(*arguments).stdout
    assert "is damaged" in cli("run", "--algo", "random", "--space", "tss", "--table", "official", code=1).stderr


def test_a_search_that_sees_its_score_says_so(cli):
    options = ("run", "--algo", "rea", "--space", "tss", "--signal", "val@200:mean")
    assert "the search is shown the mean over all trials" in cli(*options).stdout


def test_a_full_disk_leaves_what_can_be_finished(tmp_path, monkeypatch):
    result = nasharness.run("rea", space="tss", evaluations=5)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nasharness.studies.folder.Folder.write", full)
        with pytest.raises(nasharness.errors.UsageError, match="cannot write results to .*No space left"):
            studies.write(result, tmp_path)
    with pytest.raises(nasharness.errors.DataError, match="is empty"):
        studies.load(tmp_path)
    assert not (tmp_path / "winner.json").exists()
    assert not list(tmp_path.rglob(".*"))
    studies.write(result, tmp_path, resume=True)
    assert studies.load(tmp_path).last["final"].tolist() == result.final.tolist()


def test_ctrl_c_keeps_complete_runs(cli, data_home, tmp_path):
    command = [sys.executable, "-m", "nasharness", "run", "--algo", "autoshrink.pooled", "--space", "tss"]
    command += ["--runs", "100000", "--evaluations", "40", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()  # the header is printed before the search
    time.sleep(10)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    match = re.search(r"interrupted: ([\d,]+) of 100,000 runs were complete", errors)
    assert match, errors
    done = int(match[1].replace(",", ""))
    if done:
        assert len(studies.load(tmp_path / "out").last) == done
    else:
        assert not (tmp_path / "out").exists()


def test_show_tells_everything_known(cli, data_home):
    synthetic_table("tss", data_home / "tables/tss/made-up", name="made-up")
    out = cli("show", 9930, "--space", "tss").stdout
    for word in (
        "index 9930",
        "6,466 classes",
        "5,390 classes",
        "table embedded",
        "table made-up",
        "(trial0)",
        "M MACs",
    ):
        assert word in out
    known = json.loads(cli("show", "9930", "--space", "tss", "--table", "embedded", "--json").stdout)
    assert known["index"] == 9930
    assert {row["table"] for row in known["measurements"]} == {"embedded"}
    again = json.loads(cli("show", known["arch"], "--space", "tss", "--table", "embedded", "--json").stdout)
    assert again == known
    assert "64:64:64:64:64" in cli("show", "32767", "--space", "sss").stdout


def test_list(cli):
    algos = cli("list", "algos").stdout
    for name in ("random", "rea.paper", "autoshrink.official", "bohb", "darts.table", "gdas.paper"):
        assert re.search(rf"^{re.escape(name)} ", algos, re.M)
    assert "broken" not in algos
    assert cli("list", "algos", "auto*").stdout.count("Zhang et al.") == 6
    assert "15,625" in cli("list", "spaces").stdout
    assert "tss/embedded" in cli("list", "tables").stdout
    assert "ImageNet16-120" in cli("list", "datasets").stdout


def test_terminals_without_box_drawing(cli):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    out = cli("run", "--algo", "random", "--space", "tss", env=environment).stdout
    assert "in ( 0 )" in out
    assert out.isascii()


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from nasharness.cli import main\n"
        "try: main(['run', '--algo', 'autoshrink', '--space', 'tss'])\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'pandas', 'scipy', 'matplotlib', 'pyarrow', 'nats_bench')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    code = "import sys, nasharness.cli; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False", "nasharness --help must not wait for numpy"


def test_a_reader_that_leaves_is_no_error():
    """``nasharness list algos | head -1``: nothing is said, and no plug-in is blamed."""
    command = [sys.executable, "-m", "nasharness", "list", "algos"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.parametrize("words", [(), ("data",)])
def test_no_arguments_show_the_help_as_it_is(words, capsys):
    from nasharness.cli import main

    with pytest.raises(SystemExit) as exited:
        main(list(words))
    said = capsys.readouterr().err.splitlines()
    assert exited.value.code == 2
    assert said[0].startswith("Usage: nasharness")
    assert any(line.startswith("  ") and "import" in line or line.startswith("  run ") for line in said)


def options():
    """Every option of every command, of groups' commands too."""
    found = []

    def walk(command, path):
        for name in command.list_commands(None) if isinstance(command, click.Group) else ():
            walk(command.get_command(None, name), f"{path} {name}")
        found.extend((f"{path} {one.opts[-1]}", one) for one in command.params if isinstance(one, click.Option))

    walk(program, "nasharness")
    return found


def test_help_says_what_an_option_is_and_its_default():
    wrong = []
    for name, one in options():
        text = one.help or ""
        shown = one.required or one.is_flag or one.show_default or one.multiple
        said = shown or one.default in (None, click.core.UNSET) or "default" in text.lower()
        bare = re.search(r"\(([\d,.]*\d|charged|own|one|full|source)\b[^)]*\)", text)  # write (default 5)
        if len(text.split()) < 2 or not said or bare:
            wrong.append(f"{name}: {text}")
    assert not wrong
