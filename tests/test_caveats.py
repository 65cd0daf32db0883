"""Caveats: each code is provoked by one result and absent from a like one, and every output shows them."""

import json

import numpy as np
import pytest

import nasharness
from nasharness import tables
from nasharness.search import Algorithm, Problem, caveats
from nasharness.search.caveats import CODES
from nasharness.search.testing import synthetic_problem

WORTH = np.linspace(50, 90, 243)
GIVES_UP = "plugged"


class GivesUp(Algorithm):
    """Asks for the full network, which is refused under a tight limit, and ends."""

    def __init__(self, task):
        super().__init__(task)
        self.asked = False

    def ask(self):
        done, self.asked = self.asked, True
        return np.full((self.task.runs, 1), -1 if done else self.task.space.size - 1)

    def tell(self, ids, values):
        pass


@pytest.fixture(scope="module", autouse=True)
def made(tmp_path_factory):
    """Tables of 243 coded architectures: ``plain``; ``dense``, whose first one is the best; ``tied``, with two best."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASHARNESS_DATA", str(tmp_path_factory.mktemp("data")))
        codes = np.array([np.base_repr(n, 3).zfill(5) for n in range(243)], dtype=object)
        tied = np.where(np.arange(243) >= 241, 90.0, WORTH)
        for name, run0, run1 in (("plain", WORTH, WORTH[::-1]), ("tied", tied, WORTH)):
            frame = {"code": codes, "run0": run0, "run1": run1}
            tables.from_frame(frame, name=name, arch="code", metrics={"run0": "acc:0", "run1": "acc:1"}, ordered=True)
        yield


def run(algorithm="rea", runs=3, problem=None, **options):
    return nasharness.run(algorithm, problem or synthetic_problem(**({"evaluations": 60} | options)), runs=runs)


def own(algorithm, space, runs=3, **options):
    asked = {"evaluations": 30, "signal": "acc:0", "final": "acc:1"} | options
    return nasharness.run(algorithm, space=space, runs=runs, **asked)


def embedded(algorithm="rea", runs=3, **options):
    return run(algorithm, runs, Problem.create(table="embedded", **({"evaluations": 30} | options)))


#: code -> what provokes it, and the same with what matters changed
TABLE = {
    "budget-below-population": (lambda: run(evaluations=9), lambda: run(evaluations=30)),
    "final-contains-signal": (lambda: embedded(final="val@200:mean"), lambda: run()),
    "start-at-target": (
        lambda: own("autoshrink", "plain", final="acc:0"),
        lambda: own("random", "plain", final="acc:0"),
    ),
    "winner-by-few-runs": (lambda: run("random", 100, evaluations=20), lambda: run("random", 5, evaluations=20)),
    "fidelities-missing": (lambda: embedded("bohb"), lambda: run("bohb")),
    "saturated": (
        lambda: run("local-search", evaluations=4_000, signal="val@12:mean", final="val@12:mean"),
        lambda: run("local-search", evaluations=10, signal="val@12:mean", final="val@12:mean"),
    ),
    "one-answer": (lambda: own("autoshrink", "plain", 20), lambda: own("random", "plain", 20)),
    "signal-tied": (lambda: own("rea", "tied"), lambda: own("rea", "plain")),
    "budget-overshoot": (
        lambda: embedded(evaluations=None, seconds=4_000.0, runs=20),
        lambda: embedded(evaluations=None, seconds=400_000.0, runs=20),
    ),
    "no-test": (lambda: embedded(), lambda: run()),
    "transfer": (
        lambda: embedded(dataset="cifar10", signal="cifar100/val@200:mean"),
        lambda: embedded(dataset="cifar10"),
    ),
    "reads-whole-table": (lambda: run("darts.exact", evaluations=5), lambda: run("darts.table", evaluations=5)),
    "nothing-feasible": (
        lambda: run(GIVES_UP, evaluations=5, limits=["macs <= 8"]),
        lambda: run("rea", evaluations=5, limits=["macs <= 8"]),
    ),
}


def codes_of(result):
    return [caveat.code for caveat in result.caveats]


@pytest.mark.parametrize("code", [code for code in CODES if code != "few-realisations"])
def test_each_is_provoked_and_absent_otherwise(code, plug):
    plug(GivesUp)
    provoke, silent = TABLE[code]
    found = provoke()
    assert code in codes_of(found)
    assert code in [each["code"] for each in found.summary()["caveats"]]
    caveat = next(caveat for caveat in found.caveats if caveat.code == code)
    assert str(caveat) in str(found)
    assert str(caveat).endswith(f" ({code})")
    assert code not in codes_of(silent())


@pytest.mark.parametrize(("realisations", "warned"), [(2, True), (8, False)])
def test_few_realisations_decide_nothing(cli, realisations, warned):
    asked = ("--evaluations", 20, "--runs", 2, "--realisations", realisations)
    code, text, _ = cli("validate", "--algo", "rea", "--against", "random", *asked)
    assert code == 0
    assert ("(few-realisations)" in text) is warned
    code, text, _ = cli("validate", "--algo", "rea", "--against", "random", *asked, "--json")
    found = [each["code"] for each in json.loads(text)["cells"][0]["caveats"]]
    assert ("few-realisations" in found) is warned


def test_the_table_is_complete():
    assert {*TABLE, "few-realisations"} == set(CODES)
    assert all(text and code == code.lower() for code, text in CODES.items())


def test_studies_comparisons_figures_and_reports_show_them(cli, tmp_path):
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")

    def asked(*words):
        code, text, _ = cli(*words)
        assert code == 0
        return text

    folder = tmp_path / "study"
    study = ("study", "--algo", "random,rea,bohb", "--runs", 40, "--evaluations", 9, "--out", folder, "-q")
    known = ("budget-below-population", "fidelities-missing", "no-test")
    all_of = (*known, "winner-by-few-runs")
    printed = asked(*study)
    assert all(f"({code})" in printed for code in known)
    printed = asked("compare", folder)
    assert all(f"({code})" in printed for code in all_of)
    section = json.loads(asked("compare", folder, "--json"))["sections"][0]
    assert set(all_of) <= {each["code"] for each in section["caveats"]}
    assert all(each["text"] for each in section["caveats"])
    asked("figures", folder, "--only", "final-runs", "--no-caption", "-q")
    caption = (folder / "figures" / "final-runs.txt").read_text()
    assert all(f"({code})" in caption for code in all_of)
    asked("report", folder, "-q")
    page = (folder / "report.html").read_text()
    assert all(f"({code})" in page for code in all_of)


def test_one_sentence_a_code_names_each_algorithm():
    protocol = {"final": "test@200:mean", "direction": "max", "seconds": None}
    runs = {"final": np.arange(40.0), "optimum": 50.0, "seconds": np.zeros(40)}
    votes = {"a": 0.01, "b": 0.02, "c": 0.5}
    found = {name: caveats.after(protocol, votes=share, **runs) for name, share in votes.items()}
    assert [str(one) for one in caveats.said(found)] == [
        "1.0% (a), 2.0% (b) of the 40 runs, no more, recommend the same architecture (winner-by-few-runs)"
    ]
    assert caveats.said({"a": found["a"]})[0].text.startswith("1.0% of the 40 runs")
