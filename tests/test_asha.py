"""ASHA against a slow reference of one run, and what its rungs must look like."""

import numpy as np
import pytest

import nasharness
from nasharness.errors import UsageError
from nasharness.search.testing import synthetic_problem


def reference(ids, signal, epochs, eta, rungs):
    """Replay a trajectory with one worker: at every step what ASHA would promote, None where a new one begins."""
    seen = [[] for _ in rungs]
    promoted = [set() for _ in rungs]
    for arch, value, epoch in zip(ids, signal, epochs, strict=True):
        expected = None
        for rung in range(len(rungs) - 2, -1, -1):
            best = sorted(range(len(seen[rung])), key=lambda place, rung=rung: -seen[rung][place][1])
            left = [place for place in best[: len(best) // eta] if place not in promoted[rung]]
            if left:
                expected = rung, left[0]
                break
        if expected is None:
            assert epoch == rungs[0]
        else:
            rung, place = expected
            assert epoch == rungs[rung + 1]
            assert arch == seen[rung][place][0]
            promoted[rung].add(place)
        seen[list(rungs).index(epoch)].append((arch, value))
    return seen


@pytest.mark.parametrize(("name", "eta", "rungs"), [("asha", 3, (1, 4, 12)), ("asha.paper", 4, (3, 12))])
def test_every_step_is_the_reference(name, eta, rungs):
    result = nasharness.run(name, synthetic_problem("tss", evaluations=300), runs=5)
    for run in range(5):
        path = [getattr(result.trajectories, part)[run] for part in ("ids", "signal", "epochs")]
        seen = reference(*path, eta, rungs)
        assert len(seen[-1]) >= 10


def test_workers_in_flight_do_not_see_each_other():
    problem = synthetic_problem("tss", evaluations=200)
    result = nasharness.run("asha", problem, runs=3, settings={"workers": 8})
    assert (result.trajectories.epochs[:, :8] == 1).all()
    for ids, epochs in zip(result.trajectories.ids, result.trajectories.epochs, strict=True):
        low, middle, top = (ids[epochs == epoch].tolist() for epoch in (1, 4, 12))
        assert len(low) + len(middle) + len(top) == 200
        assert set(top) <= set(middle) <= set(low)


def test_a_start_comes_first_on_the_lowest_rung():
    problem = synthetic_problem("tss", evaluations=40, start="random:6")
    result = nasharness.run("asha", problem, runs=2)
    given = problem.start.draw(problem.space, result.seeds, 0, lambda ids: np.zeros(ids.shape))
    for run in range(2):
        assert result.trajectories.ids[run, :6].tolist() == given[run].tolist()
        assert (result.trajectories.epochs[run, :6] == 1).all()
        assert result.trajectories.epochs[run, 6] == 4


def test_refusals():
    with pytest.raises(UsageError, match="workers = 0"):
        nasharness.run("asha", synthetic_problem("tss", evaluations=4), settings={"workers": 0})
    with pytest.raises(UsageError, match="eta = 1"):
        nasharness.run("asha", synthetic_problem("tss", evaluations=4), settings={"eta": 1})
