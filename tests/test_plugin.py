"""The plug-in that the README shows: taken from there, installed, listed, checked and run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def readme_files():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- plug-in: (\S+) -->\n```\w+\n(.*?)```", text, re.S))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the plug-in installed, as pip would."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name, text in readme_files().items():
        (source / name).write_text(text)
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, capture_output=True)
    return target


def python(site, *arguments):
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "NASHARNESS_DATA": str(site / "none")}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_it_is_ten_lines():
    code = readme_files()["my_search.py"].strip().splitlines()
    assert len([line for line in code if line.strip()]) <= 10


def test_it_is_listed_and_run(site):
    listed = python(site, "-m", "nasharness", "list", "algos", "my*").stdout
    assert listed.startswith("my-search")
    ran = python(site, "-m", "nasharness", "run", "--algo", "my-search", "--space", "tss", "--runs", "20")
    assert ran.returncode == 0, ran.stderr
    assert "runs       20" in ran.stdout


def test_it_conforms(site):
    code = "from nasharness.search.testing import CHECKS\nfor check in CHECKS: check('my-search')"
    done = python(site, "-c", code)
    assert done.returncode == 0, done.stderr


def test_a_broken_plug_in_is_named_and_hides_nobody(site, tmp_path):
    info = tmp_path / "bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nasharness.algorithms]\nbad = bad_module\n")
    (tmp_path / "bad_module.py").write_text("import a_package_that_is_not_there\n")
    listed = python(tmp_path, "-m", "nasharness", "list", "algos")
    assert "bad (broken)" in listed.stdout
    assert "a_package_that_is_not_there" in listed.stdout
    assert "\nrea " in listed.stdout
    ran = python(tmp_path, "-m", "nasharness", "run", "--algo", "bad", "--space", "tss")
    assert ran.returncode == 2
    assert "cannot be imported from bad_module (bad)" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_taken_name_is_refused(site, tmp_path):
    info = tmp_path / "thief-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thief\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nasharness.algorithms]\nrandom = thief\n")
    (tmp_path / "thief.py").write_text(
        "from nasharness.search import ScalarAlgorithm, register\n"
        "@register('random', citation='none')\nclass Thief(ScalarAlgorithm):\n    '''Steal.'''\n"
    )
    ran = python(tmp_path, "-m", "nasharness", "run", "--algo", "random", "--space", "tss")
    assert ran.returncode == 2
    assert "two algorithms are called 'random'" in ran.stderr


def test_a_plug_in_that_fails_is_named_with_its_line(tmp_path):
    info = tmp_path / "clumsy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clumsy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nasharness.algorithms]\nclumsy = clumsy\n")
    (tmp_path / "clumsy.py").write_text(
        "from nasharness.search import ScalarAlgorithm, register\n"
        "@register('clumsy', citation='none')\nclass Clumsy(ScalarAlgorithm):\n    '''Divide.'''\n"
        "    def ask(self):\n        return 1 // 0\n"
    )
    ran = python(tmp_path, "-m", "nasharness", "run", "--algo", "clumsy", "--space", "tss")
    assert ran.returncode == 1
    assert f"clumsy failed in {tmp_path / 'clumsy.py'}, line 6 (ask): ZeroDivisionError" in ran.stderr
    assert "Traceback" not in ran.stderr
