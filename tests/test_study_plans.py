"""Plans of studies, from files and options, and the command line."""

import importlib
import sys

import pytest
from click.testing import CliRunner

from nasharness.cli import cli
from nasharness.errors import NasharnessError, UsageError
from nasharness.studies import Plan, Study, cells, load, read_plan, run_study
from nasharness.studies.estimate import cluster_estimate, estimate
from tests import study_fixtures
from tests.study_fixtures import ALGORITHMS


@pytest.fixture(autouse=True)
def _no_tables(data_home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def plan():
    return study_fixtures.plan()


@pytest.fixture
def whole(plan, tmp_path):
    """An uninterrupted study."""
    return run_study(plan, tmp_path / "whole")


# ---- plans

TOML = """\
# a study
algorithms = ["random", "rea",
              "autoshrink.pooled"]
space = "tss"
datasets = ["cifar10", "cifar100"]
runs = 500
seed = 7
budget = "nats"

[settings]
sample = 5

[settings.rea]
population = 20
"""


def test_plan_from_toml_equals_plan_from_options(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(TOML)
    options = Plan.create(
        algorithms="random,rea(population=20, sample=5),autoshrink.pooled",
        datasets="cifar10,cifar100",
        runs=500,
        seed=7,
        budget="nats",
    )
    assert read_plan(file) == options
    assert Study.of(read_plan(file)).identity == Study.of(options).identity
    assert Plan.create(**{k: v for k, v in options.as_dict().items() if v is not None}) == options
    assert read_plan(file, runs=3).runs == 3
    assert read_plan(file, evaluations=9).budget is None


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("datasets =", "dataets =", 5, "unknown key of a plan 'dataets'; nearest: datasets"),
        ('"autoshrink.pooled"', '"autoshrink.poled"', 3, "nearest: autoshrink.pooled"),
        ('"tss"', '"tsss"', 4, "unknown space 'tsss'; nearest: tss"),
        ('"cifar100"', '"cifar1000"', 5, "nearest: cifar100"),
        ("runs = 500", "runs = 0", 6, "runs = 0"),
        ("runs = 500", 'runs = "many"', 6, "whole number"),
        ("runs = 500", "runs = true", 6, "whole number"),
        ('"nats"', '"nat"', 8, "unknown budget 'nat'; nearest: nats"),
        ("sample = 5", "smaple = 5", 11, "'smaple'; nearest: sample"),
        ("population = 20", "popluation = 20", 14, "'popluation'; nearest: population"),
        ("population = 20", 'population = "big"', 14, "population"),
        ("[settings.rea]", "[settings.reah]", 13, "unknown algorithm of this plan 'reah'; nearest: rea"),
        ("runs = 500", "runs = = 5", 6, "not TOML"),
        ("seed = 7", "runs = 7", 7, "not TOML"),
        ("seed = 7", 'signal = "val@13"', 7, "has no val@13 of cifar10; it has val@200"),
        ("seed = 7", 'table = "lihgt"', 7, "unknown table of space 'tss' 'lihgt'"),
        ("seed = 7", "evaluations = 0.5", 7, "evaluations"),
        ('"random", ', '"rea", ', 2, "asked for twice"),
    ],
)
def test_typo_in_a_plan_names_line_and_nearest(tmp_path, old, new, line, words):
    file = tmp_path / "plan.toml"
    assert old in TOML
    file.write_text(TOML.replace(old, new))
    with pytest.raises(NasharnessError) as caught:
        Study.of(read_plan(file))
    assert f"plan.toml, line {line}: " in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "runs = 5\n", "algorithms = []\n", "algorithms = 5\n", "algorithms = [5]\n"])
def test_plan_without_algorithms(tmp_path, text):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(UsageError, match=r"plan\.toml.*algorithms"):
        read_plan(tmp_path / "plan.toml")


def test_plan_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="cannot read the plan"):
        read_plan(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_plan(tmp_path / "binary.toml")


def test_plan_with_a_byte_order_mark(tmp_path):
    (tmp_path / "plain.toml").write_text(TOML)
    (tmp_path / "marked.toml").write_text(TOML, encoding="utf-8-sig")
    assert read_plan(tmp_path / "marked.toml") == read_plan(tmp_path / "plain.toml")


def test_too_many_shards_are_refused_at_once(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text('algorithms = ["random", "rea"]\nruns = 99999999999\n')
    code, text = invoke(file, "--dry-run")
    assert code == 2
    assert "plan.toml, line 2: runs = 99,999,999,999: that is 200,000,000 shards, and a study has at most" in text
    assert "at most 50,000,000 runs" in text
    with pytest.raises(UsageError, match="200,000,000 shards"):
        Study.of(Plan.create(algorithms="random,rea", runs=99_999_999_999))
    assert len(Study.of(Plan.create(algorithms="random,rea", runs=50_000_000)).shards()) == 100_000


def test_one_is_no_plural(tmp_path):
    out = tmp_path / "one"
    code, text = invoke("--algo", "random", "--evaluations", 5, "--out", out)
    assert code == 0, text
    assert ": 1 shard, " in text
    code, text = invoke("--resume", "--out", out)
    assert "1 of 1 shard is complete" in text
    (out / "shards" / "c000-00000.parquet").unlink()
    with pytest.raises(NasharnessError, match="none of its 1 shard is there"):
        load(out)


PLUG_IN = """\
from nasharness.search import ScalarAlgorithm
from .deep import helper
import package.tools.more as more
import json, numpy
class Mine(ScalarAlgorithm):
    'It does.'
"""


def test_fingerprint_follows_imports_through_the_package(tmp_path, monkeypatch):
    files = {
        "package/__init__.py": "",
        "package/search/__init__.py": "",
        "package/search/mine.py": PLUG_IN,
        "package/search/deep/__init__.py": "",
        "package/search/deep/helper.py": "from ... import far\n",
        "package/far.py": "",
        "package/tools/__init__.py": "",
        "package/tools/more.py": "def late():\n    from package.tools import last\n",
        "package/tools/last.py": "x = 1\n",
        "package/tools/unused.py": "",
        "json.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    mine = importlib.import_module("package.search.mine").Mine
    found = {path.relative_to(tmp_path).as_posix() for path in cells._sources(mine)}
    assert found == files.keys() - {"package/tools/unused.py", "json.py"}
    assert "package.tools.last" not in sys.modules  # found, not run


def test_fingerprint_of_a_module_follows_those_beside_it(tmp_path, monkeypatch):
    for name, text in {
        "alone_.py": "import beside_, side_.inner, nasharness, numpy\nclass Mine:\n    pass\n",
        "beside_.py": "",
        "side_/__init__.py": "",
        "side_/inner.py": "",
        "other_.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found = cells._sources(importlib.import_module("alone_").Mine)
    names = {path.relative_to(tmp_path).as_posix() for path in found}
    assert names == {"alone_.py", "beside_.py", "side_/__init__.py", "side_/inner.py"}


def test_nested_names_of_variants(tmp_path):
    (tmp_path / "plan.toml").write_text('algorithms = ["rea.paper"]\n[settings.rea.paper]\nsample = 2\n')
    assert [str(c) for c in read_plan(tmp_path / "plan.toml").algorithms] == ["rea.paper(sample=2)"]


def test_identity_depends_on_every_field(plan):
    identities = {Study.of(plan).identity}
    changes = [
        {"runs": 500},
        {"seed": 1},
        {"evaluations": 31},
        {"repeats": "free"},
        {"signal": "val@200:mean"},
        {"algorithms": ["random"]},
        {"datasets": ["cifar10"]},
        {"algorithms": [*ALGORITHMS[:2], "rea"]},
    ]
    for change in changes:
        given = {key: value for key, value in (plan.as_dict() | change).items() if value is not None}
        identities.add(Study.of(Plan.create(**given)).identity)
    assert len(identities) == 9
    assert Study.of(plan).identity in identities


def test_long_searches_get_small_shards():
    short = Study.of(Plan.create(algorithms=["random"], runs=100_000, evaluations=100))
    long = Study.of(Plan.create(algorithms=["random"], runs=100_000, evaluations=1_000_000))
    assert [study.cells[0]["shard_runs"] for study in (short, long)] == [1000, 2]
    assert sum(shard.runs for shard in short.shards()) == 100_000


def test_estimate_of_a_study_and_of_a_large_one():
    study = Study.of(Plan.create(algorithms=["random", "rea"], runs=1000, evaluations=50))
    whole, half = estimate(study), estimate(study, done={shard.name for shard in study.shards()[:4]})
    assert 0 < half.bytes < whole.bytes
    assert whole.seconds > 0
    assert estimate(study, done={shard.name for shard in study.shards()}).bytes == 0
    parts = cluster_estimate()
    assert max(parts, key=parts.get) == "driver"
    assert cluster_estimate(nodes=200)["compute"] == parts["compute"] / 2
    assert cluster_estimate(evaluations=2e9)["driver"] == pytest.approx(2 * parts["driver"])
    slow = cluster_estimate(cpu_seconds_per_evaluation=1e-4)
    assert max(slow, key=slow.get) == "compute"


# ---- the command line


def invoke(*words):
    done = CliRunner().invoke(cli, ["study", *map(str, words)], catch_exceptions=True)
    if isinstance(done.exception, NasharnessError):
        return done.exception.exit_code, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.output


def test_command(tmp_path):
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text('algorithms = ["random", "rea"]\ndatasets = "all"\nruns = 6\nevaluations = 12\n')
    code, text = invoke(file, "--dry-run", "--out", out)
    assert code == 0, text
    assert "2 algorithms x 3 data sets x 6 runs = 36 runs in 6 shards" in text
    assert "estimate" in text
    assert not out.exists()
    code, text = invoke(file, "--out", out, "--set", "population=5", "--jobs", 2)
    assert code == 0, text
    assert "rea(population=5)" in text
    assert len(load(out).last) == 36
    code, text = invoke(file, "--out", out, "--set", "population=5")
    assert code == 2
    assert "--resume" in text
    code, text = invoke("--resume", "--out", out)
    assert code == 0, text
    assert "6 of 6 shards are complete" in text
    code, text = invoke("--resume", "--out", out, "--runs", 9)
    assert code == 2
    code, text = invoke(file, "--out", out, "--resume", "--runs", 9)
    assert (code, "runs: 6 there, 9 here" in text) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--algo", "raa", "--out", "x"], "nearest: rea"),
        (["--algo", "rea(populaton=3)", "--out", "x"], "nearest: population"),
        (["--algo", "rea(", "--out", "x"], "expected NAME or NAME"),
        (["--algo", "rea"], "--out"),
        (["--out", "x"], "needs algorithms"),
        (["--resume", "--out", "nowhere"], "no study in nowhere"),
        (["--algo", "rea", "--jobs", "0", "--out", "x"], "--jobs 0"),
        (["--algo", "rea", "--set", "population", "--out", "x"], "KEY=VALUE"),
        (["--algo", "rea", "--set", "popolation=3", "--out", "x"], "nearest: population"),
        (["--algo", "rea", "--budget", "nats", "--seconds", "5", "--out", "x"], "give one of them"),
    ],
)
def test_usage(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, text = invoke(*words)
    assert code in (1, 2)
    assert message in text
    assert not (tmp_path / "x").exists()
