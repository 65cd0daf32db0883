"""References lead somewhere: from the code into docs/, and from page to page."""

import functools
import re
import subprocess
from pathlib import Path

import pytest

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
    sheets = re.compile(r"facts,? [a-z_]+\.md|\(facts [0-9]|facts sheet|facts [0-9]+\.[0-9]|\bfacts\b", re.IGNORECASE)
    bare = re.compile(r"\b(?:[QR][0-9]{1,2}|[TS][1-4])\b")
    own = Path(__file__).resolve()
    for path, text in tracked("*.py", "*.md", "setup.cfg").items():
        if path != own:
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
            if not goal.exists() or (place and place not in anchors(goal)):
                wrong.append(f"{path.relative_to(ROOT)}: {target}")
    assert not wrong
