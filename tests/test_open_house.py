"""The house is open: a space, a table and an algorithm of somebody's own, in one small package, work everywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A package that brings a space, a table and an algorithm: sixty lines at most.
PACKAGE = '''\
"""Toy: four switches, the more of them agree the better."""

import itertools

import numpy as np

from nasharness import tables
from nasharness.search import ScalarAlgorithm, register
from nasharness.spaces import LabelledGraph, ProductSpace
from nasharness.spaces import register as register_space


@register_space
class Switches(ProductSpace):
    """Four switches with three positions each."""

    name = "switches"
    summary = "four switches with three positions"
    options = (("off", "low", "high"),) * 4
    positions = ("a", "b", "c", "d")
    string_form = "four of o, l, h"

    def strings(self):
        return ["".join(letters) for letters in itertools.product("olh", repeat=4)]

    def from_string(self, text):
        if len(text.strip()) != 4 or set(text.strip()) - set("olh"):
            raise self._malformed(text, "it is not four of o, l, h")
        return int(self.index(["olh".index(letter) for letter in text.strip()]))

    def graph(self, arch):
        names = [self.options[0][choice] for choice in self.choices(self.parse(arch))]
        return LabelledGraph(tuple("01234"), tuple((i, i + 1, name) for i, name in enumerate(names)), "off")


@tables.register(space="switches", name="measured")
def measured():
    codes = Switches().strings()
    worth = np.array([code.count("h") - 0.5 * len(set(code)) for code in codes])
    trials = {f"run{trial}": 90 + worth + np.random.default_rng(trial).normal(0, 0.1, len(codes)) for trial in range(3)}
    frame = {"code": np.array(codes, dtype=object), "seconds": 10.0 + worth, **trials}
    metrics = {f"run{trial}": f"toys/acc:{trial}" for trial in range(3)}
    return tables.from_frame(frame, name="measured", space="switches", arch="code", metrics=metrics, cost="seconds",
                             signal="acc:random", final="acc:others")


@register("turner", citation="nobody, 2026")
class Turner(ScalarAlgorithm):
    """Turn one switch of the best so far."""

    best, value = None, float("-inf")

    def ask(self):
        return self.random() if self.best is None else self.mutate(self.best)

    def tell(self, arch, value):
        if value > self.value:
            self.best, self.value = arch, value
'''
ENTRIES = """[nasharness.spaces]
switches = toy_switches
[nasharness.tables]
switches/measured = toy_switches
[nasharness.algorithms]
turner = toy_switches
"""


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """The package as an installer leaves it: a module, and metadata with its entry points."""
    site = tmp_path_factory.mktemp("site")
    assert len(PACKAGE.splitlines()) <= 60
    (site / "toy_switches.py").write_text(PACKAGE)
    info = site / "toy_switches-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-switches\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"PYTHONPATH": str(site), "NASHARNESS_DATA": str(home / "data")}

    def call(*words, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "nasharness", *map(str, words)],
            capture_output=True, text=True, env=environment, cwd=home, timeout=240,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    call.home = home
    return call


def test_the_plug_ins_are_listed_and_shown(toys):
    assert "four switches with three positions" in toys("list", "spaces")
    assert "switches/measured" in toys("list", "tables")
    assert "toys" in toys("list", "datasets")
    assert "turner" in toys("list", "algos", "turner")
    shown = toys("show", "hhol", "--space", "switches", "--png", toys.home / "cell.png")
    assert "index" in shown
    assert (toys.home / "cell.png").stat().st_size > 1_000
    assert "it is not four of o, l, h" in toys("show", "hhxx", "--space", "switches", code=2)


def test_they_run_with_everything_else(toys):
    for algorithm in ("turner", "rea", "local-search", "nsga2", "autoshrink.set"):
        result = json.loads(
            toys("run", "--algo", algorithm, "--space", "switches", "--runs", 20, "--evaluations", 40, "--json")
        )
        assert result["dataset"] == "toys"
        assert result["table"]["source"] == "measured"
        assert result["protocol"]["final"] == "acc:others"
        assert result["final"]["mean"] > 90
    assert "AutoShrink" not in toys("run", "--algo", "autoshrink", "--space", "switches", code=2)


def test_they_are_studied_compared_and_drawn(toys):
    out = toys.home / "study"
    toys("study", "--algo", "random,turner,rea", "--space", "switches", "--runs", 30, "--seconds", 300, "--out", out)
    compared = toys("compare", out)
    assert "turner" in compared
    assert "toys" in compared
    figures = toys.home / "figures"
    toys("figures", out, "--out", figures, "--only", "incumbent-evaluations,final-ecdf", "--format", "png")
    assert {path.name for path in Path(figures).glob("*.png")} == {"incumbent-evaluations.png", "final-ecdf.png"}
    toys("report", out, "-o", toys.home / "report.html")
    assert "turner" in (toys.home / "report.html").read_text()


def test_the_conformance_kit_runs_on_the_plug_in(toys, tmp_path):
    script = tmp_path / "kit.py"
    script.write_text(
        "from nasharness.search.testing import CHECKS\nfor check in CHECKS:\n    check('turner')\nprint('all')\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=240,
        env=os.environ | {"PYTHONPATH": str(next(toys.home.parent.glob("site*")))},
    )  # fmt: skip
    assert done.stdout.strip() == "all", done.stderr
