"""kill -9 at twenty moments of whatever writes: the same command goes on, ends with the same bits, and leaves no more.

Half of the moments are between two changes of files, half anywhere in its time; both are drawn from a seed. And four
processes that want the same folder: one gets it.
"""

import json
import os
import random
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("pandas")

import pyarrow.parquet as pq  # noqa: E402

from nasharness.runs import codec  # noqa: E402
from nasharness.runs.log import read  # noqa: E402
from tests.hostile.copies import Copies  # noqa: E402
from tests.nats_fixtures import write_folder  # noqa: E402
from tests.text_fixtures import write_corpus  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="copies processes, and looks for orphans in /proc"),
]

MOMENTS, ROUNDS = 20, 25
#: what is real time or memory, who ran it, and the seals of what holds that
NEVER_THE_SAME = {
    "seconds", "simulated_seconds", "images_per_second", "words_per_second", "memory_bytes", "provenance", "sha256",
    "command",
}  # fmt: skip
USE = "run --algo random --space own --table own --evaluations 3 --json"
RUN = "run --space tss --out {out} "
KINDS = {
    "study": "study --algo bohb,rea --dataset all --runs 20 --evaluations 20 --table embedded --out {out}",
    "study in processes": "study --algo random,rea --runs 20 --evaluations 20 --jobs 2 --table embedded --out {out}",
    "run": RUN + "--algo rea --runs 20 --evaluations 20 --table embedded",
    "one-shot run": RUN + "--algo gdas --runs 2 --images digits --epochs 2 --batch 512 --channels 2 --device cpu",
    "retrain": "retrain --network shrinkrnn --task ptb --data {corpus} --recipe small --epochs 3 --batch 8 "
    "--device cpu --set width=8 --set bptt=10 --set valid_streams=2 --out {out}",
    "import": "data import {csv} --name own --arch code --metric run0=acc:0 --metric run1=acc:1",
    "import --force": "data import {csv} --name own --arch code --metric run0=acc:0 --metric run1=acc:1 --force",
    "import of an archive": "data import {archive} --partial --jobs 1",
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    (folder / "old.csv").write_text("code,run0,run1\n11,70.1,70.2\n12,71.0,71.1\n21,72.2,72.3\n22,73.1,73.0\n")
    (folder / "new.csv").write_text("code,run0,run1\n11,60.1,60.2\n12,61.0,61.1\n21,62.2,62.3\n23,63.1,63.0\n")
    write_corpus(folder / "corpus", "ptb")
    write_folder(folder / "archive", "tss", [0, 3, 11, 47, 98, 99], full=14)
    return folder


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    home = tmp_path_factory.mktemp("place")
    with Copies(home / "home") as found:
        yield found


def plain(value):
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items() if key not in NEVER_THE_SAME}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def content(folder: Path) -> dict[str, object]:
    """Every file below a folder, by what it says, the clock aside; a lock and what was verified say nothing."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".pt":
            found[name] = repr(plain(codec.read(path)))
        elif path.suffix == ".json":
            found[name] = plain(json.loads(path.read_text()))
        elif path.suffix == ".jsonl":
            found[name] = plain(read(path.parent))
        elif path.suffix == ".parquet":
            found[name] = repr(plain(pq.read_table(path).to_pydict()))
        elif path.is_file() and path.name != "log.csv":  # which is made of log.jsonl
            found[name] = path.read_bytes()
        else:
            found[name] = None
    return found


def moments(rng: random.Random, steps: int, seconds: float, count: int):
    chosen = rng.sample(range(1, steps + 1), min(count // 2, steps))
    yield from ({"step": step} for step in sorted(chosen))
    for number in range(count - len(chosen)):
        yield {"after": seconds * (number + rng.random()) / (count - len(chosen))}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_started_again_it_ends_the_same(kind, copies, sources, tmp_path):
    importing = kind.startswith("import")
    place = copies.home.parent
    (archive,) = (sources / "archive").iterdir()
    given = {"corpus": sources / "corpus", "csv": sources / "new.csv", "archive": archive}
    words = KINDS[kind].format(out=place / "out", **given)
    copies.load(KINDS[kind].format(out=tmp_path / "loaded", **given).split())
    before = tmp_path / "before"
    if kind == "import --force":
        assert copies.run(words.replace("new.csv", "old.csv").split(), place)["code"] == 0
        old = content(copies.home)
        shutil.copytree(copies.home, before)

    def fresh():
        for folder in place.iterdir():
            if folder.is_dir():
                shutil.rmtree(folder)
        if before.exists():
            shutil.copytree(before, copies.home)

    fresh()
    whole = copies.run(words.split(), place)
    assert whole["code"] == 0, whole["said"]
    expected, new = content(place), content(copies.home)
    killed, count = 0, 6 if "processes" in kind else MOMENTS
    for moment in moments(random.Random(kind), whole["steps"], whole["seconds"], count):
        fresh()
        ended = copies.run(words.split(), place, **moment)
        assert ended["code"] in (0, -9), (moment, ended)
        assert not ended["orphans"], f"{moment}: a process outlived its parent"
        killed += ended["code"] == -9
        if kind == "import --force":
            used = copies.run(
                ["run", "--algo", "random", "--space", "own", "--table", "own", "--evaluations", "3", "--json"], place
            )
            assert used["code"] == 0, (moment, used["said"])
            found = content(copies.home)
            assert found.keys() in (old.keys(), new.keys()), moment
            assert found in (old, new), moment
        again = copies.run([*words.split(), *([] if importing else ["--resume"])], place)
        there = importing and again["code"] == 2 and "already; replace it with --force" in again["said"]
        assert there or again["code"] == 0, (moment, again["said"])
        if there:  # it was over but for its lock, which whatever asks for the table clears away
            assert copies.run(["data", "status"], place)["code"] == 0
        told = content(place)
        assert told.keys() == expected.keys(), moment
        assert [name for name in told if told[name] != expected[name]] == [], moment
    assert killed >= count // 2


RACES = {
    "study": KINDS["study"],
    "run": KINDS["run"],
    "one-shot run": RUN + "--algo gdas --images digits --epochs 1 --batch 512 --channels 2 --device cpu",
}


@pytest.mark.parametrize("kind", RACES)
def test_of_four_at_once_one_writes_and_three_are_refused(kind, copies, tmp_path):
    place = copies.home.parent
    out = place / "raced"
    copies.load(RACES[kind].format(out=tmp_path / "loaded").split())
    lines = [[*RACES[kind].format(out=out).split(), "--seed", str(seed)] for seed in range(4)]
    alone = []
    for line in lines:
        shutil.rmtree(out, ignore_errors=True)
        assert copies.run(line, place)["code"] == 0
        alone.append(content(out))
    for number in range(ROUNDS):
        shutil.rmtree(out)
        ended = copies.race(lines, place)
        assert sorted(one["code"] for one in ended) == [0, 2, 2, 2], (number, ended)
        for one in ended:
            assert one["code"] == 0 or "another process is writing" in one["said"] or " holds " in one["said"], one
        (writer,) = [seed for seed, one in enumerate(ended) if one["code"] == 0]
        assert content(out) == alone[writer], number
