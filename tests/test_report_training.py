"""Search -> table -> full training: in one line and on a page, from records that real runs have written."""

import copy
import json
import shutil
import subprocess
import sys

import pytest

from nasharness import spaces
from nasharness.analysis import report
from nasharness.cli import main
from nasharness.errors import DataError
from nasharness.studies import load
from nasharness.training.retrained import duration, line, parse, read, read_all
from tests.study_fixtures import cells as made_up_cells
from tests.study_fixtures import write_study
from tests.test_report import Page, browser, look  # noqa: F401 - browser is a fixture

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
SEARCHED = {
    "space": "tss", "dataset": "cifar10",
    "winner": {"index": spaces.get("tss").parse(CELL), "arch": CELL, "final": 94.1},
    "algorithm": "rea", "table": {"source": "official", "version": "1.1", "checksum": "c"},
    "protocol": {"final": "test@200:mean"},
}  # fmt: skip
GRAPH = {"space": "shrink-rnn", "winner": {"arch": "tanh@0/relu@0,1"}, "dataset": "ptb", "algorithm": "autoshrink",
         "perplexity": 151.25}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders that training writes: images (a winner of tss), text (a graph, and a known network), one cut short."""
    pytest.importorskip("torch")
    pytest.importorskip("PIL")
    from nasharness.nets import imagenet
    from nasharness.training.imagenet.retrain import retrain_images
    from nasharness.training.language.task import retrain_text
    from nasharness.training.options import Options
    from tests.retrain_fixtures import pictures, tiny
    from tests.text_fixtures import options, write_corpus

    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imagenet, "build", tiny)
        data = pictures(folder / "data", classes=3, train=2, val=2)
        asked = {"epochs": 2, "batch": 3, "size": 24, "workers": 0, "device": "cpu"}
        retrain_images(Options("imagenet", SEARCHED, data, folder / "images", **asked))
    text = write_corpus(folder / "corpus")
    retrain_text(options(text, folder / "graph", network=GRAPH, epochs=1))
    retrain_text(options(text, folder / "named", network="shrinkrnn", epochs=2))
    for name in ("graph", "images"):
        stopped = shutil.copytree(folder / name, folder / f"{name}-stopped", ignore=shutil.ignore_patterns("*.pt"))
        (stopped / "retrained.json").unlink()
    log = folder / "images-stopped" / "log.jsonl"
    log.write_text(log.read_text().splitlines(keepends=True)[0] + '{"torn')
    return folder


def record(run):
    return json.loads((run / "retrained.json").read_text())


def test_a_line_says_search_table_and_training(runs):
    images = str(read(runs / "images"))
    last, best = (record(runs / "images")[name] for name in ("headline", "best"))
    assert last == record(runs / "images")["last"]["ema"] | {"weights": "ema"}
    assert images.startswith(
        f"rea on tss cifar10 -> table 94.10 % (official 1.1, test@200:mean) -> tss {CELL}, imagenet 2 epochs "
        f"(shrinkcnn): top-1 {last['top1']:.2f} %, top-5 {last['top5']:.2f} % (last ema weights; best of all epochs "
        f"{best['top1']:.2f} %, {best['weights']}, epoch {best['epoch']}), "
    )
    assert images.endswith(" s on cpu")
    graph = str(read(runs / "graph"))
    assert graph.startswith(
        "autoshrink on shrink-rnn ptb -> proxy perplexity 151.25 -> shrink-rnn tanh@0/relu@0,1, tiny 1 epoch (small): "
        f"perplexity {record(runs / 'graph')['valid_perplexity']:.2f} valid "
    )
    named = record(runs / "named")
    assert line(named).startswith(f"shrinkrnn, tiny 2 epochs (small): perplexity {named['valid_perplexity']:.2f} valid")
    assert str(read(runs / "named" / "retrained.json")) == line(named)
    many = line(named | {"processes": 8, "device": "NVIDIA H200", "seconds": 6.1 * 86400, "test_perplexity": None})
    assert many.endswith("unknown test (1 stream), 6.1 days on 8 x NVIDIA H200")


def test_a_run_that_is_not_finished_says_how_far_it_is(runs):
    images, graph = read(runs / "images-stopped"), read(runs / "graph-stopped")
    assert (images.done, images.epochs, images.finished) == (1, 2, False)
    row = json.loads((runs / "images" / "log.jsonl").read_text().splitlines()[0])
    seen = row["ema_top1"]
    assert f"-> tss {CELL}, imagenet 2 epochs (shrinkcnn): not finished, 1 done, top-1 {seen:.2f} % so far" in str(
        images
    )
    assert graph.done == graph.epochs == 1
    assert graph.search is not None
    assert graph.search.space == "shrink-rnn"
    (runs / "graph-stopped" / "log.jsonl").unlink()
    assert "not finished, 0 done, not evaluated yet" in str(read(runs / "graph-stopped"))


def test_a_study_and_its_trainings_are_on_one_page(runs, tmp_path):
    results = load(write_study(tmp_path / "s", made_up_cells(("random", "rea"), runs=4)))
    trainings = read_all([runs / name for name in ("images", "graph", "named", "images-stopped")])
    text = report.write(results, tmp_path / "page.html", trainings=trainings).read_text(encoding="utf-8")
    parsed = Page(text)
    assert parsed.open == []
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in parsed.tags:
        for key in ("href", "xlink:href"):
            assert key not in attributes or attributes[key][1:] in ids, attributes
    assert text.index('id="winners"') < text.index('id="training"') < text.index('id="settings"')
    assert 'href="#training"' in text
    shown = " ".join(parsed.text)
    section = text[text.index('id="training"') : text.index('id="settings"')]
    rows = section[: section.index("</table>")].split("<tr>")[2:]
    assert len(rows) == 4
    assert section.count("<svg") == 3  # the named network shows no search
    assert "official 1.1, test@200:mean" in rows[0]
    assert 'class="swatch"' in rows[0]  # the colour that rea has in the figures
    assert ">finished<" in rows[0]
    assert '<td class="text">–</td><td class="text">–</td><td class="text"><a href="#training-2">shrinkrnn' in rows[2]
    assert "not finished" in rows[3]
    assert "1 of 2" in rows[3]
    counts = record(runs / "images")
    assert f"{counts['params']:,}" in rows[0]
    assert f"{counts['macs']:,}" in rows[0]
    for training in trainings:
        assert str(training) in shown
    alone = report.render(None, trainings=read_all([runs / "named"]))
    assert ">search</th>" not in alone
    assert ">table</th>" not in alone


def test_the_command_needs_no_torch(runs, tmp_path):
    program = "import sys; sys.modules['torch'] = None; from nasharness.cli import main; main(sys.argv[1:])"
    words = ["report", "--retrained", str(runs / "images"), "--retrained", str(runs / "named" / "retrained.json")]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[:2] == [str(read(runs / "images")), str(read(runs / "named"))]
    assert lines[2].startswith(f"written    {runs / 'images' / 'report.html'} (")
    assert "<h1>images, named</h1>" in (runs / "images" / "report.html").read_text()


def told(arguments, capsys):
    with pytest.raises(SystemExit) as exited:
        main(["report", *map(str, arguments)])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    return exited.value.code, said


def test_what_is_no_study_or_no_training_is_refused_with_what_works(runs, tmp_path, capsys):
    run = runs / "images"
    for arguments, code, message in (
        ([], 2, "give a STUDY"),
        ([run], 2, f"is a full training, not a study: nasharness report --retrained {run} makes its page"),
        ([runs / "images-stopped"], 2, "is a full training, not a study"),
        (["--retrained", tmp_path], 1, "it has no retrained.json (nasharness retrain ... --out"),
        (["--retrained", tmp_path / "absent.json"], 1, "no file"),
        (["--retrained", run, "--retrained", run / "retrained.json"], 2, "is given twice"),
        (["--retrained", run, "-o", tmp_path], 2, "is a folder; expected a file name"),
    ):
        assert told(arguments, capsys)[0] == code, arguments
        assert message in told(arguments, capsys)[1]


DAMAGES = {
    "no JSON": "{",
    "nested": "[" * 100_000,
    "a list": "[1]",
    "another kind": {"kind": "checkpoint"},
    "another format": {"format": 2},
    "another task": {"task": "chess"},
    "no task": {"task": None},
    "best is a text": {"best": "x"},
    "epochs below 0": {"epochs": -3},
    "seconds are words": {"seconds": "long"},
    "a number too large": {"params": 10**400},
    "control sequences": {"network": "\x1b[2J"},
    "half a surrogate": {"device": "\ud800"},
    "two lines": {"recipe": "a\nb"},
    "endless text": {"network": "x" * 10_000},
    "winner is a list": {"winner": [1]},
    "winner without architecture": {"winner": {"space": "tss", "winner": {}}},
    "no architecture of its space": {"winner": {"space": "tss", "winner": {"arch": "|x|"}}},
    "index of its space": {"winner": {"space": "tss", "winner": {"index": 10**6}}},
    "graph of its space": {"winner": {"space": "shrink-cnn", "winner": {"mask": [5], "operations": []}}},
    "accuracy": {"winner": {"space": "tss", "winner": {"index": 1, "final": "94"}}},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_hostile_records_are_one_line(runs, tmp_path, capsys, damage):
    change = DAMAGES[damage]
    text = change if isinstance(change, str) else json.dumps(record(runs / "images") | change)
    (tmp_path / "retrained.json").write_text(text)
    code, said = told(["--retrained", tmp_path], capsys)
    assert code == 1
    assert said.startswith(f"nasharness: {tmp_path / 'retrained.json'}")
    assert len(said) < 600
    assert said.rstrip().isprintable()
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    file = tmp_path / "retrained.json"
    with file.open("wb") as opened:
        opened.truncate(2**31)
    with pytest.raises(DataError, match="is larger than 67,108,864 bytes"):
        read(file)


def test_names_from_a_record_cannot_become_markup(runs):
    hostile = copy.deepcopy(record(runs / "images"))
    hostile |= {"network": "<script>n</script>", "recipe": "<b>", "device": '"><i>', "extra": "</pre><script>"}
    hostile["winner"] |= {"algorithm": "<script>a</script>", "dataset": "<u>", "table": {"source": "<s>"}}
    hostile["best"]["weights"] = "<em>"
    text = report.render(None, title="<i>", trainings=[parse(hostile, "/x/<run>/retrained.json")])
    assert text.count("<script>") == 1
    for tag in ("<b>", "<i>", "<u>", "<s>", "<em>", "<run>"):
        assert tag not in text


def test_durations():
    assert [duration(seconds) for seconds in (None, 0.4, 119, 600, 9000, 600_000)] == [
        "unknown time", "0 s", "119 s", "10.0 min", "2.5 h", "6.9 days",
    ]  # fmt: skip


@pytest.mark.parametrize("dark", [False, True])
def test_the_section_fits_a_telephone(browser, runs, dark):  # noqa: F811
    trainings = read_all([runs / name for name in ("images", "graph", "named", "images-stopped")])
    page = report.write(None, runs / "page.html", trainings=trainings)
    look(browser, page, width=390, dark=dark, mobile=True)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    table = browser.execute_script(
        "const s = document.querySelector('.scroll'); return [s.scrollWidth, s.clientWidth, s.tabIndex];"
    )
    assert table[0] > table[1]  # the table scrolls in its own region, from the keyboard too
    assert table[2] == 0
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 200) == dark
