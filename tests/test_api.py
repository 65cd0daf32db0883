"""The calls of a notebook give what the commands give."""

import subprocess
import sys

import numpy as np
import pytest

import nasharness
from nasharness.errors import UsageError

pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("api") / "study"
    return nasharness.study(["random", "rea"], out, datasets="cifar10", runs=20, evaluations=30, table="embedded")


def test_a_study_is_read_back_and_not_run_over(results):
    assert len(results.last) == 40
    with pytest.raises(UsageError, match="resume"):
        nasharness.study(["random", "rea"], results.paths[0], datasets="cifar10", runs=20, evaluations=30)


def test_compare_prints_what_the_command_prints(results, cli):
    code, printed, _ = cli("compare", results.paths[0])
    assert code == 0
    assert f"{nasharness.compare(results)}\n" == f"{nasharness.compare(results.paths[0])}\n" == printed
    one = nasharness.compare(results, reference="random").sections[0]
    assert one.reference == "random"
    with pytest.raises(UsageError, match="needs a study"):
        nasharness.compare()


def test_validate_prints_what_the_command_prints(cli):
    words = ("--evaluations", "30", "--dataset", "cifar10", "--runs", "50", "--table", "embedded")
    code, printed, _ = cli("validate", "--algo", "rea", "--against", "rea(population=20)", *words)
    asked = {"datasets": "cifar10", "runs": 50, "evaluations": 30, "table": "embedded"}
    found = nasharness.validate("rea", "rea(population=20)", **asked)
    assert f"{found}\n" == printed
    assert (code == 1) == (found.verdict == "worse")
    assert len(found.answers) == 1


def test_a_result_is_short_and_has_a_page_of_its_own_in_a_notebook():
    result = nasharness.run("random", space="tss", evaluations=5)
    assert len(repr(result)) < 200
    assert "random" in repr(result)
    assert str(result).startswith("space      tss")
    assert "<pre>space      tss" in result._repr_html_()
    assert "&lt;" not in str(result)


def test_importing_the_package_costs_nothing():
    code = "import sys, nasharness; assert 'numpy' not in sys.modules; assert 'compare' in nasharness.__all__"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert np.isfinite(nasharness.run("random", space="tss", evaluations=2).final).all()
