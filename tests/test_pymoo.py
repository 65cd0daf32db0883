"""pymoo's algorithms through the adapter."""

import sys

import numpy as np
import pytest

import nasharness
from nasharness.errors import UsageError
from nasharness.search import Problem
from nasharness.search.testing import synthetic_problem

pytest.importorskip("pymoo")


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize("name", ["MixedVariableGA", "GA", "DE", "PSO"])
def test_an_algorithm_of_pymoo_by_name(name, count):
    """It keeps asking, learns, and takes a start for the first of its first generation."""
    problem = synthetic_problem(evaluations=120, start=f"random:{count}")
    found = nasharness.run("pymoo", problem, runs=6, settings={"algorithm": name, "population": 10})
    random = nasharness.run("random", problem, runs=6)
    assert (found.evaluations == 120).all()
    assert np.array_equal(found.trajectories.ids[:, :count], random.trajectories.ids[:, :count])
    assert found.trajectories.signal[:, 60:].mean() > random.trajectories.signal.mean() + 1


def test_what_pymoo_is_not_asked():
    problem = Problem.create(table="embedded", evaluations=5)
    with pytest.raises(UsageError, match="nearest: GA"):
        nasharness.run("pymoo", problem, settings={"algorithm": "GAA"})
    with pytest.raises(UsageError, match="expected 4 to 10,000"):
        nasharness.run("pymoo", problem, settings={"population": 2})


def test_without_pymoo_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymoo.core.mixed", None)
    with pytest.raises(UsageError, match=r"pip install .*\[peers\]"):
        nasharness.run("pymoo", table="embedded", evaluations=5)
