"""What is said where an optional package is missing fits the way nasharness was installed."""

import configparser
import json
import re
from pathlib import Path

import pytest

from nasharness import extras

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Pretend that nasharness was installed as ``direct_url.json`` says, behind the egg-info of a build."""

    def pretend(origin, checkout=tmp_path / "site-packages"):
        for name, folder in (("egg", "nasharness.egg-info"), ("site", "nasharness-0.1.0.dist-info")):
            info = tmp_path / name / folder
            info.mkdir(parents=True)
            (info / ("PKG-INFO" if name == "egg" else "METADATA")).write_text("Name: nasharness\nVersion: 0.1.0\n")
        if origin is not None:
            (info / "direct_url.json").write_text(json.dumps(origin))
        monkeypatch.setattr("sys.path", [str(tmp_path / "egg"), str(tmp_path / "site")])
        monkeypatch.setattr("sys.meta_path", [finder for finder in __import__("sys").meta_path if "__editable__" not in
                                              getattr(finder, "__module__", "")])  # fmt: skip
        monkeypatch.setattr(extras, "_CHECKOUT", checkout)

    return pretend


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "a clone"
    folder.mkdir()
    (folder / "setup.cfg").touch()
    return folder


def test_from_a_clone(installed, clone, monkeypatch):
    installed({"url": clone.as_uri(), "dir_info": {}})
    assert extras.pip_install("study") == f"pip install '{clone}[study]'"
    monkeypatch.chdir(clone)
    assert extras.pip_install("study") == "pip install '.[study]'"


def test_editable_stays_editable(installed, clone):
    installed({"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert extras.pip_install("train") == f"pip install -e '{clone}[train]'"


def test_from_a_repository(installed):
    vcs = {"vcs": "git", "commit_id": "abc123", "requested_revision": "main"}
    installed({"url": "https://example.org/nasharness.git", "vcs_info": vcs})
    wanted = "pip install 'nasharness[ray] @ git+https://example.org/nasharness.git@abc123'"
    assert extras.pip_install("ray") == wanted


def test_from_an_index_or_from_a_clone_that_has_gone(installed, tmp_path):
    installed(None)
    assert extras.pip_install("study") == "pip install 'nasharness[study]'"
    (tmp_path / "site" / "nasharness-0.1.0.dist-info" / "direct_url.json").write_text(
        json.dumps({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    )
    assert extras.pip_install("study") == "pip install 'nasharness[study]'"


def test_not_installed_at_all_but_run_in_a_checkout(installed, clone):
    installed(None, checkout=clone)
    assert extras.pip_install("study") == f"pip install '{clone}[study]'"


def test_no_message_says_it_by_itself():
    code = {path: path.read_text("utf-8") for path in (ROOT / "nasharness").rglob("*.py")}
    told = [path.name for path, text in code.items() if "pip install 'nasharness[" in text]
    assert told == ["extras.py"]
    declared = (ROOT / "setup.cfg").read_text("utf-8")
    for path, text in code.items():
        for extra in re.findall(r"pip_install\('(\w+)'\)", text):
            assert f"\n{extra} =\n" in declared, path


def test_what_is_installed_by_content_is_what_the_package_needs():
    """`requirements-hashed.txt` has every package of the default install, at the version of `constraints.txt`."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    needed = {re.split(r"[ <>=]", line)[0] for line in settings["options"]["install_requires"].split("\n") if line}
    entries = (ROOT / "requirements-hashed.txt").read_text().replace("\\\n", "").splitlines()
    hashed = {line.split("==")[0]: line for line in entries if not line.startswith("#")}
    assert needed <= hashed.keys()
    pinned = {line.lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    for line in hashed.values():
        assert line.split()[0] in pinned
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line)
