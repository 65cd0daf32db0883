"""README and documentation do what they say: every shell, Python and file block of a page, in order, in one folder.

`tests/pages.py` has the rules. A shell block that is not run says why; the two that install run in ``.ci/run``, word
for word. Blocks that need a package which is not here are skipped.
"""

import sys

import pytest

from nasharness.search.caveats import CODES
from tests import pages


@pytest.fixture(scope="session")
def followed(tmp_path_factory):
    """Page -> the folder where it is followed."""
    root = tmp_path_factory.mktemp("pages")
    made = {}

    def folder(page):
        if page not in made:
            made[page] = root / str(len(made))
            pages.prepare(made[page], page)
        return made[page]

    return folder


def test_a_block_that_is_not_run_says_why():
    shell = [block for page in pages.PAGES for block in pages.blocks(page) if block.language in ("sh", "bash", "shell")]
    assert len(shell) > 30
    for block in shell:
        assert block.language == "sh", f"{block}: write sh"
        if not block.runs and block.comment not in pages.INSTALLS:
            assert len(block.reason.split()) > 2, f"{block}: no reason"
    script = (pages.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for name in pages.INSTALLS:
        assert [block for block in shell if block.comment == name]
        assert f"readme '{name}'" in script


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", [b for page in pages.PAGES for b in pages.blocks(page) if b.runs], ids=str)
def test_it_runs(followed, block):
    for word, module in pages.NEEDS.items():
        if word in block.text:
            pytest.importorskip(module)
    pages.follow(followed(block.page), block)


def test_it_prints_what_it_says(tmp_path):
    shown = next(b.text for b in pages.blocks(pages.README) if b.text.startswith("$ ")).splitlines()
    command = shown[0].removeprefix("$ ").split()
    printed = pages.run(tmp_path, [sys.executable, "-m", *command]).stdout.splitlines()

    def settled(lines):  # seconds of real time differ; a line's end may be blank
        return [line.rstrip() for line in lines if not line.startswith("overhead ")]

    assert settled(printed) == settled(shown[1:]), "paste what is printed into the README"


def test_its_study_separates_the_algorithms_and_it_says_which_caveats_hold():
    pytest.importorskip("pandas")
    from nasharness.analysis.comparison import compare
    from nasharness.studies import load

    text = pages.README.read_text(encoding="utf-8")
    told = text[text.index("## Studies") : text.index("## Is it better?")]
    study = load(pages.ROOT / "results" / "tss-embedded")  # with a fifth of its runs, and another algorithm
    compared = compare(study.frame, study.cells, resamples=200)
    for section in compared.sections:
        assert section.reference == "autoshrink.pooled"
        assert max(row.p_holm for row in section.rows[1:]) < 0.05 or section.dataset == "cifar100"
    found = {caveat.code for section in compared.sections for caveat in section.caveats}
    assert found == {code for code in CODES if f"(`{code}`)" in told}
