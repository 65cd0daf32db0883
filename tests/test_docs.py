"""The documentation: references lead somewhere, the reference is complete, the site builds, notebooks run."""

import functools
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nasharness
from nasharness.cli import COMMANDS
from nasharness.search import registry
from nasharness.search.caveats import CODES
from nasharness.training.proxy_search.settings import SETTINGS, defaults_of, told

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def tracked(*patterns):
    """Files of the project that match, with their text."""
    names = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if names.returncode:
        pytest.skip("needs git")
    here = [ROOT / name for name in names.stdout.splitlines()]
    return {path: path.read_text(encoding="utf-8") for path in here if path.is_file()}


@functools.cache
def anchors(path):
    """What a link to the page may end in: headings, as GitHub and MkDocs name them, and named places."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    found = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return found


def test_a_reference_into_the_documentation_exists():
    """``docs/PAGE.md#PLACE``, and ``PAGE.md#PLACE`` for short where the page is a reproduction note."""
    wrong, count = [], 0
    for path, text in tracked("*.py", "*.cfg").items():
        if path == Path(__file__).resolve():
            continue
        for page, place in re.findall(r"\b((?:docs/)?[\w/-]+\.md)(?:#([\w-]+))?", text):
            if not page.startswith("docs/") and not (DOCS / "reproduction" / page).is_file():
                continue  # another file, such as README.md
            target = ROOT / page if page.startswith("docs/") else DOCS / "reproduction" / page
            count += 1
            if not target.is_file() or (place and place not in anchors(target)):
                wrong.append(f"{path.relative_to(ROOT)}: {page}#{place}")
    assert not wrong
    assert count > 80


def test_no_reference_to_what_is_not_here():
    """Sources are papers, public files and our own pages; a defect's code comes as a link to its page."""
    sheets = re.compile(r"\bfact[s]\b", re.IGNORECASE)  # written so that it does not find itself
    bare = re.compile(r"\b(?:[QR][0-9]{1,2}|[TS][1-4])\b")
    own = Path(__file__).resolve()
    for path, text in tracked("*.py", "*.md", "setup.cfg").items():
        assert not sheets.search(text), path
        if path.suffix == ".py" and path != own:
            assert not bare.search(text), path


def test_links_between_pages_lead_somewhere():
    pages = tracked("docs/*.md", "docs/**/*.md", "README.md", "CONTRIBUTING.md")
    wrong = []
    for path, text in pages.items():
        plain = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
        for target in re.findall(r"\]\(([^)\s]+)\)", plain):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, place = target.partition("#")
            goal = (path.parent / name).resolve() if name else path
            if (DOCS / "reference") in goal.parents:
                continue  # written when the site is built, which checks these
            if not goal.exists() or (place and place not in anchors(goal)):
                wrong.append(f"{path.relative_to(ROOT)}: {target}")
    assert not wrong


def test_every_caveat_is_explained():
    text = (DOCS / "concepts.md").read_text(encoding="utf-8")
    assert [code for code in CODES if f"| `{code}` |" not in text] == []


@pytest.mark.parametrize("name", registry.names())
def test_every_setting_has_a_meaning_a_range_and_a_source(name):
    record = registry.get(name)
    assert sorted(record.meanings) == sorted(record.defaults)
    for key, meaning in record.meanings.items():
        parts = [part for part in meaning.split(";") if part.strip()]
        assert len(parts) >= (2 if isinstance(record.defaults[key], bool) else 3), f"{name}: {key}: {meaning}"


@pytest.mark.parametrize("space", SETTINGS)
def test_so_has_every_setting_of_a_search_that_trains(space):
    meanings = told(SETTINGS[space])
    assert sorted(meanings) == sorted(defaults_of(SETTINGS[space], "autoshrink"))
    assert all(len(line.split("; ")) >= 3 for line in meanings.values())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site: any warning, such as a dead link, is an error."""
    pytest.importorskip("mkdocs", reason="needs pip install '.[docs]'")
    pytest.importorskip("mkdocstrings", reason="needs pip install '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "docs/site/mkdocs.yml", "--site-dir", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_the_reference_is_complete(site):
    """Every public name of the packages that users import is on its page, and so is every command and algorithm."""
    rooms = ("comparison", "figures", "report", "statistics", "validation")
    packages = ("search", "spaces", "tables", "studies", *(f"analysis.{room}" for room in rooms))
    for package in ("nasharness", *(f"nasharness.{name}" for name in packages)):
        page = (site / "reference" / "python" / package / "index.html").read_text(encoding="utf-8")
        module = importlib.import_module(package)
        own = [
            name
            for name, thing in vars(module).items()
            if not name.startswith("_") and callable(thing) and getattr(thing, "__module__", "") == package
        ]
        names = getattr(module, "__all__", own)
        assert names
        assert [name for name in names if f'id="{package}.{name}"' not in page] == []
    commands = (site / "reference" / "cli" / "index.html").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f'id="nasharness-{name}"' not in commands] == []
    for name in registry.names():
        record = registry.get(name)
        family = min((other for other in registry.names() if registry.get(other).cls is record.cls), key=len)
        page = (site / "reference" / "algorithms" / family / "index.html").read_text(encoding="utf-8")
        assert name in page
        assert all(f"<code>{key}</code>" in page for key in record.defaults), name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("notebook", sorted((DOCS / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="needs pip install '.[docs]'")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="needs pip install '.[docs]'")
    pytest.importorskip("torch")
    monkeypatch.setenv("NASHARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    cells = nbformat.read(notebook, as_version=4)
    assert all(not cell.get("outputs") for cell in cells.cells), "outputs are not kept"
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(cells, timeout=300, kernel_name="python3", resources=where).execute()


def test_the_citation_names_this_version():
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {nasharness.__version__}\n" in cited
    assert "\nlicense: MIT\n" in cited
