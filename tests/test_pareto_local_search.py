"""local-search towards a front: every step is that of Pareto local search."""

from __future__ import annotations

import numpy as np
import pytest

import nasharness
from nasharness import fronts, spaces
from nasharness.search import Problem
from nasharness.search.testing import synthetic_problem


def searched(evaluations, runs=4, **settings):
    problem = synthetic_problem(evaluations=evaluations, objectives=["error", "params"], signal="val@12:111")
    result = nasharness.run("local-search", problem, runs=runs, settings=settings)
    ids = result.trajectories.ids
    return ids, np.stack([-result.trajectories.signal, -problem.known().values(1, ids)], axis=-1)


@pytest.mark.parametrize("move", ["first", "best"])
def test_what_is_evaluated_is_a_neighbour_of_the_front_so_far(move):
    tss = spaces.get("tss")
    everything, points = searched(150, move=move, starts=5)
    for ids, values in zip(everything, points, strict=True):
        assert len(np.unique(ids)) == 150
        for step in range(5, 150):
            front = ids[:step][fronts.non_dominated(values[:step])]
            of_front = np.unique(tss.neighbours(front))
            # `best` finishes the neighbourhood of a member that a neighbour has come to dominate
            near = of_front if move == "first" else np.unique(tss.neighbours(ids[:step]))
            # a start anew comes only when all neighbours of the front are evaluated
            assert ids[step] in near or np.isin(of_front, ids[:step]).all()


def test_first_leaves_for_a_neighbour_that_dominates():
    tss = spaces.get("tss")
    everything, points = searched(80, runs=12, starts=1)
    left = 0
    for ids, values in zip(everything, points, strict=True):
        centre = 0  # the first member's neighbourhood is evaluated until one dominates it
        for step in range(1, 79):
            if (values[step] <= values[centre]).all() and (values[step] < values[centre]).any():
                assert ids[step + 1] in tss.neighbours(ids[step])
                centre, left = step, left + 1
            elif ids[step + 1] not in tss.neighbours(ids[centre]):
                break
    assert left > 12


def test_it_finds_more_of_the_front_than_random_search():
    problem = Problem.create("tss", table="embedded", evaluations=100, objectives=["error", "eyeriss_latency"])
    mine = nasharness.run("local-search", problem, runs=40).front.hypervolume
    others = nasharness.run("random", problem, runs=40).front.hypervolume
    gain = mine - others
    assert gain.mean() - 1.96 * gain.std(ddof=1) / np.sqrt(len(gain)) > 0


def test_limits_are_kept():
    problem = synthetic_problem(evaluations=60, objectives=["error", "params"], limits=["macs <= 60"])
    result = nasharness.run("local-search", problem, runs=5)
    macs = spaces.get("tss").flops(result.trajectories.ids, "cifar10")
    assert (macs <= 60).all()
    assert (result.trajectories.count == 60).all()
