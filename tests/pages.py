"""Pages of Markdown and their fenced blocks, which are followed in order, in one folder a page.

A shell block is run unless the comment ``<!-- not run: REASON -->`` stands before it; a Python block is run; a block
after ``<!-- file: NAME -->`` is written to that file, and those after ``<!-- plug-in: NAME -->`` are installed as a
package.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nasharness import spaces

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: run by .ci/run, each in a clone of its own
INSTALLS = ("the main job", "the tests")
#: what a block needs beyond the package itself
NEEDS = {"--images": "torch", "nasharness figures": "matplotlib", "nasharness report": "matplotlib", "pandas": "pandas"}
NEEDS |= {"nasharness compare": "pandas", "figures.draw": "matplotlib", "studies import load": "pandas"}


class Block(NamedTuple):
    """A fenced block: the comment before it, its language, its text, its line in the page."""

    page: Path
    comment: str
    language: str
    text: str
    line: int

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}, line {self.line}"

    @property
    def runs(self):
        if self.language == "sh":
            return not self.comment.startswith("not run: ") and self.comment not in INSTALLS
        return (self.language == "python" and not self.comment) or self.comment.startswith("file: ")

    @property
    def reason(self):
        """Why it is not run."""
        return self.comment.removeprefix("not run: ") if self.comment.startswith("not run: ") else ""


def blocks(page):
    text = page.read_text(encoding="utf-8")
    fenced = re.compile(r"(?:<!-- (?P<comment>.*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```", re.S | re.M)
    for match in fenced.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(page, match["comment"] or "", match["language"], match["text"], line)


def prepare(folder, page):
    """Make the folder where the page is followed: with its plug-in installed, and a proxy's scores."""
    folder.mkdir(parents=True, exist_ok=True)
    for block in blocks(page):
        if block.comment.startswith("plug-in: "):
            (folder / "plug-in").mkdir(exist_ok=True)
            (folder / "plug-in" / block.comment.removeprefix("plug-in: ")).write_text(block.text)
    if (folder / "plug-in").is_dir():
        options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder / "site")]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, str(folder / "plug-in")], check=True)
    macs = spaces.get("tss").flops(np.arange(15_625), "cifar10")
    lines = [f"{index},{number}" for index, number in enumerate(macs)]
    (folder / "proxy.csv").write_text("\n".join(["index,macs", *lines]))


def run(folder, words, timeout=None):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "site"),
        "NASHARNESS_DATA": str(folder / "data"),
        "PYTHONIOENCODING": "utf-8",
    }
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8",
                          check=False, timeout=timeout, stdin=subprocess.DEVNULL)  # fmt: skip


def follow(folder, block):
    """Do what a block says; raises AssertionError where that fails."""
    if block.comment.startswith("file: "):
        (folder / block.comment.removeprefix("file: ")).write_text(block.text)
        return
    done = run(folder, [*(["bash", "-euc"] if block.language == "sh" else [sys.executable, "-c"]), block.text])
    assert done.returncode == 0, f"{block}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr
