"""The README does what it says: every shell, Python and file block of it, in order, in one folder.

A shell block that is not run carries the comment ``<!-- not run: REASON -->`` before it; the two that install run in
``.ci/run``, word for word. Blocks that need a package which is not here are skipped.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from nasharness import spaces

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: run by .ci/run, each in a clone of its own
INSTALLS = ("the main job", "the tests")
#: what a block needs beyond the package itself
NEEDS = {"--images": "torch", "nasharness figures": "matplotlib", "nasharness report": "matplotlib"}


class Block(NamedTuple):
    """A fenced block: the comment before it, its language, its text, its line in the README."""

    comment: str
    language: str
    text: str
    line: int


def blocks():
    fenced = re.compile(r"(?:<!-- (?P<comment>.*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.S)
    for match in fenced.finditer(README):
        line = README.count("\n", 0, match.start("text")) + 1
        yield Block(match["comment"] or "", match["language"], match["text"], line)


def runs(block):
    if block.language == "sh":
        return not block.comment.startswith("not run: ") and block.comment not in INSTALLS
    return (block.language == "python" and not block.comment) or block.comment.startswith("file: ")


def plug_in():
    mark = "plug-in: "
    return {block.comment.removeprefix(mark): block.text for block in blocks() if block.comment.startswith(mark)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the README is followed: with its plug-in installed, and a proxy's scores."""
    folder = tmp_path_factory.mktemp("readme")
    for name, text in plug_in().items():
        (folder / "plug-in").mkdir(exist_ok=True)
        (folder / "plug-in" / name).write_text(text)
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(folder / "plug-in")], check=True)
    macs = spaces.get("tss").flops(np.arange(15_625), "cifar10")
    lines = [f"{index},{number}" for index, number in enumerate(macs)]
    (folder / "proxy.csv").write_text("\n".join(["index,macs", *lines]))
    return folder


def run(folder, words, timeout=None):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "site"),
        "NASHARNESS_DATA": str(folder / "data"),
        "PYTHONIOENCODING": "utf-8",
    }
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8",
                          check=False, timeout=timeout, stdin=subprocess.DEVNULL)  # fmt: skip


def test_a_block_that_is_not_run_says_why():
    shell = [block for block in blocks() if block.language == "sh"]
    assert len(shell) > 8
    for block in shell:
        if not runs(block) and block.comment not in INSTALLS:
            assert len(block.comment.removeprefix("not run: ").split()) > 2, f"README line {block.line}: no reason"
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for name in INSTALLS:
        assert [block for block in shell if block.comment == name]
        assert f"readme '{name}'" in script


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", [pytest.param(b, id=f"line-{b.line}") for b in blocks() if runs(b)])
def test_it_runs(folder, block):
    for word, module in NEEDS.items():
        if word in block.text:
            pytest.importorskip(module)
    if block.comment.startswith("file: "):
        (folder / block.comment.removeprefix("file: ")).write_text(block.text)
        return
    words = ["bash", "-euc"] if block.language == "sh" else [sys.executable, "-c"]
    done = run(folder, [*words, block.text])
    assert done.returncode == 0, f"README line {block.line}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr


def test_it_prints_what_it_says(tmp_path):
    shown = next(block.text for block in blocks() if block.text.startswith("$ ")).splitlines()
    command = shown[0].removeprefix("$ ").split()
    printed = run(tmp_path, [sys.executable, "-m", *command]).stdout.splitlines()

    def settled(lines):  # seconds of real time differ; a line's end may be blank
        return [line.rstrip() for line in lines if not line.startswith("overhead ")]

    assert settled(printed) == settled(shown[1:]), "paste what is printed into the README"
