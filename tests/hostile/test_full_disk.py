"""A disk that is full, for every option of every command that names a file to write: found in the commands themselves.

The limit on the size of a file stands for the disk. One line, exit code 1, and what was there before is as it was.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from nasharness.cli import cli

CALL = """
import resource, sys
limit = int(sys.argv.pop(1))
if limit >= 0: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from nasharness.cli import main
main(sys.argv[1:])
"""

#: options that name what is read
READS = {
    "run": {"--data", "--split-file", "--text"},
    "study": {"plan_file"},
    "compare": {"studies"},
    "leaderboard": {"studies"},
    "validate": {"--scores", "--supernet", "--data", "--split-file"},
    "figures": {"studies"},
    "report": {"studies", "--retrained"},
    "watch": {"folders"},
    "score": {"--data"},
    "train": {"--data", "--split-file"},
    "retrain": {"--winner", "--data"},
    "export": {"run"},
    "predict": {"model", "images", "--text"},
}
SEARCH = "--space tss --runs 3 --evaluations 20 --table embedded"
IMAGES = "--space tss --images digits --epochs 1 --channels 2 --cells 1 --device cpu"
#: what writes with each of the others; {out} is the file or folder, {study} a study, {trained} a training run
WRITES = {
    "run --out": [f"run --algo random {SEARCH} --out {{out}}", f"run --algo gdas {IMAGES} --out {{out}}"],
    "study --out": ["study --algo random,rea --runs 3 --evaluations 20 --table embedded --out {out}"],
    "show --png": ["show 9930 --space tss --png {out}.png"],
    "compare --out": ["compare {study} --format csv --out {out}.csv"],
    "leaderboard --out": [
        "leaderboard --algo random,rea --space tss --evaluations 25 --start own --realisations 1 --runs 2 --out {out}"
    ],
    "validate --record": ["validate --algo random --record {out}.json --evaluations 20 --runs 20 --table embedded"],
    "validate --figure": [],  # below, with a supernet
    "validate --save-scores": [],
    "figures --out": ["figures {study} --out {out}"],
    "report --out": ["report {study} -o {out}.html"],
    "score --out": [
        "score --proxy synflow --space tss --images digits --cells 2 --batch 4 --channels 2 --depth 1 --out {out}.csv"
    ],
    "train --out": [f"train --arch 13714 {IMAGES} --out {{out}}"],
    "retrain --out": [
        "retrain --network shrinkrnn --task ptb --data {corpus} --recipe small --epochs 1 --batch 4 --set width=8 "
        "--set bptt=10 --set valid_streams=2 --device cpu --out {out}"
    ],
    "export --out": ["export {trained} -o {out}.pt2"],
    "data import": ["data import {csv} --name small --arch code --metric run0=acc:0 --force"],
}
CASES = [argv for some in WRITES.values() for argv in some]


def leaves(command, path=()):
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*path, name))
    else:
        yield " ".join(path), command


def test_every_option_that_names_a_file_is_known_here():
    found = {}
    for name, command in leaves(cli):
        for option in command.params:
            if isinstance(option.type, click.Path):
                shown = option.opts[-1] if option.param_type_name == "option" else option.name
                found.setdefault(name, set()).add(shown)
    unknown = {
        f"{name} {option}"
        for name, options in found.items()
        for option in options - READS.get(name, set())
        if f"{name} {option}" not in WRITES
    }
    assert not unknown, "say in READS or WRITES what these do"


def call(limit: int, argv: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CALL, str(limit), *argv.split()],
        capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL,
        env={**os.environ, "NASHARNESS_DATA": str(home), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def files(folder: Path) -> dict[str, str]:
    """Every file below, by its content; locks, which hold nothing, left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stat().st_size
    }


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    from tests.text_fixtures import write_corpus

    folder = tmp_path_factory.mktemp("sources")
    (folder / "mine.csv").write_text("code,run0\n11,70.1\n12,71.0\n21,72.2\n22,73.1\n")
    found = {name: folder / name for name in ("study", "trained", "corpus")} | {"csv": folder / "mine.csv"}
    write_corpus(found["corpus"], "ptb")
    for argv in (WRITES["study --out"][0], *WRITES["retrain --out"]):
        out = found["study" if argv.startswith("study") else "trained"]
        made = call(-1, argv.format(out=out, **found), folder / "home")
        assert made.returncode == 0, made.stderr
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("argv", CASES, ids=[" ".join(argv.split()[:3]) for argv in CASES])
def test_a_full_disk_is_one_line_and_loses_nothing(argv, sources, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("pandas")
    place = tmp_path / "place"
    place.mkdir()
    argv = argv.format(out=place / "out", **sources)

    def full(limit: int) -> None:
        before = files(tmp_path)
        ended = call(limit, argv, place / "home")
        said = [line for line in ended.stderr.splitlines() if line.startswith("nasharness:") and "joblib" not in line]
        assert "Traceback" not in ended.stderr, ended.stderr
        assert ended.returncode in (1, 2), (ended.returncode, ended.stderr)
        assert len(said) == 1, ended.stderr
        after = files(tmp_path)
        assert {name: after.get(name) for name in before} == before

    full(0)
    made = call(-1, argv, place / "home")
    if made.returncode == 2 and "--resume" in made.stderr:  # what was begun is not thrown away without being asked
        made = call(-1, argv + " --resume", place / "home")
    assert made.returncode == 0, made.stderr
    left = [name for name in files(tmp_path) if "partial" in name or name.endswith((".tmp", ".new"))]
    assert not left
    full(0)
