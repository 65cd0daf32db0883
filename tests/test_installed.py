"""The README's first command, and then Python in the clone's root and elsewhere: installed, not editable.

The environment sees the test environment's packages, so that nothing is downloaded.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ONE = 'print(nasharness.run("autoshrink", space="tss"))'
WINNER = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
#: what a user may start, from anywhere; {script} and {module} lie in a folder of the user's own
WAYS = {
    "-c": ["python", "-c", f"import nasharness; {ONE}"],
    "-m": ["python", "-m", "nasharness", "run", "--algo", "autoshrink", "--space", "tss"],
    "command": ["nasharness", "run", "--algo", "autoshrink", "--space", "tss"],
    "script": ["python", "{script}"],
    "interactive": ["python", "-i", "-c", f"import nasharness; {ONE}"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A clone, with ``.venv`` in it where nasharness was installed from it as the README says."""
    home = tmp_path_factory.mktemp("home")
    clone = home / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("results/", "paper_figs/")):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, clone / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    packages = next((clone / ".venv").glob("lib/python*/site-packages"))
    # behind its own packages; as a path and not as a site, whose .pth files would show an editable nasharness
    (packages / "tests.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    python = clone / ".venv" / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", "install", *options, "--force-reinstall", clone], check=True, cwd=home)
    (home / "script.py").write_text(f"import nasharness\n{ONE}\n")
    return home


def start(home, words, where):
    bin_folder = home / "clone" / ".venv" / "bin"
    words = [word.format(script=home / "script.py") for word in words]
    words[0] = str(bin_folder / words[0])
    environment = {"PATH": os.environ["PATH"], "NASHARNESS_DATA": str(home / "none")}
    return subprocess.run(
        words, cwd=where, capture_output=True, text=True, env=environment, check=False, stdin=subprocess.DEVNULL
    )


@pytest.mark.slow
@pytest.mark.parametrize("where", ["clone", ".", "clone/algorithms", "clone/tests"])
@pytest.mark.parametrize("way", WAYS)
def test_a_search_works(home, way, where):
    done = start(home, WAYS[way], home / where)
    assert done.returncode == 0, done.stderr
    assert WINNER in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("where", ["clone", "."])
def test_everything_is_listed_and_nothing_is_broken(home, where):
    listed = start(home, ["python", "-m", "nasharness", "list", "algos"], home / where).stdout
    assert "\nrea " in listed
    assert "broken" not in listed


@pytest.mark.slow
def test_an_old_build_in_the_root_hides_nothing(home):
    """``pip install .`` leaves nasharness.egg-info in the clone, and the next pull makes it old."""
    entries = home / "clone" / "nasharness.egg-info" / "entry_points.txt"
    assert entries.is_file()
    new = entries.read_text()
    old = "\n".join(line for line in new.splitlines() if not line.startswith("rea = "))
    try:
        entries.write_text(old.replace("bohb = nasharness.algorithms.bohb", "bohb = nasharness.algorithms.gone"))
        listed = start(home, ["python", "-m", "nasharness", "list", "algos"], home / "clone").stdout
        assert "\nrea " in listed
        assert "\nbohb " in listed
        assert "broken" not in listed
    finally:
        entries.write_text(new)


@pytest.mark.slow
@pytest.mark.parametrize(("where", "place"), [("clone", "."), (".", "{clone}")])
def test_a_missing_package_is_installed_from_the_clone(home, where, place):
    code = "from nasharness.extras import pip_install; print(pip_install('study'))"
    told = start(home, ["python", "-c", code], home / where).stdout
    assert told == f"pip install '{place.format(clone=home / 'clone')}[study]'\n"


def test_the_build_leaves_no_module_out():
    """Every package of the checkout is in setup.cfg, which names them one by one."""
    declared = (ROOT / "setup.cfg").read_text("utf-8").split()
    for path in (ROOT / "nasharness").rglob("__init__.py"):
        assert ".".join(path.parent.relative_to(ROOT).parts) in declared
