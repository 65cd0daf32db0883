"""Fronts and their measures: against moocore, by their properties, and on the published table."""

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nasharness.errors import UsageError
from nasharness.fronts import (
    Reference,
    attainment,
    best_first,
    best_under,
    crowding,
    entering,
    hypervolume,
    hypervolume_along,
    igd_plus,
    non_dominated,
    ranks,
    reference_of,
)

NAN, INF = np.nan, np.inf

# few distinct values, so that ties and equal points are common
coordinates = st.one_of(st.integers(0, 6).map(float), st.floats(0, 6, allow_nan=False))
odd = st.one_of(coordinates, st.sampled_from([NAN, INF, -INF]))
REFERENCE = 5.0  # some points lie outside


def point_sets(objectives, least=1, most=12, elements=coordinates):
    return st.integers(least, most).flatmap(lambda n: arrays(np.float64, (n, objectives), elements=elements))


any_points = st.integers(1, 4).flatmap(lambda m: point_sets(m, elements=odd))
two = point_sets(2, elements=st.one_of(coordinates, st.just(NAN)))


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


def front_by_definition(points):
    present = [i for i, p in enumerate(points) if not np.isnan(p).any()]
    kept = [i for i in present if not any(dominates(points[j], points[i]) for j in present)]
    return np.isin(np.arange(len(points)), kept)


# ---- dominance


@given(any_points)
def test_the_front_is_what_no_point_dominates(points):
    assert non_dominated(points).tolist() == front_by_definition(points).tolist()


@given(any_points)
def test_ranks_peel_front_after_front(points):
    left, rank, expected = points.copy(), 0, np.full(len(points), len(points))
    while (front := front_by_definition(left)).any():
        expected[front] = rank
        left[front] = NAN
        rank += 1
    assert ranks(points).tolist() == expected.tolist()
    assert ((ranks(points) == 0) == non_dominated(points)).all()


@given(any_points, st.randoms(use_true_random=False))
def test_dominance_does_not_depend_on_the_order_of_points_and_objectives(points, random):
    order = random.sample(range(len(points)), len(points))
    columns = random.sample(range(points.shape[1]), points.shape[1])
    assert (non_dominated(points)[order] == non_dominated(points[order][:, columns])).all()
    assert (ranks(points)[order] == ranks(points[order][:, columns])).all()


@given(any_points)
def test_what_enters_a_front_is_what_no_earlier_point_dominates(points):
    expected = [bool(non_dominated(points[: place + 1])[place]) for place in range(len(points))]
    assert entering(points).tolist() == expected
    assert entering(np.stack([points, points[::-1]]))[0].tolist() == expected


def test_equal_points_stay_together():
    points = np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [2.0, 2.0], [2.0, 2.0], [NAN, 0.0]])
    assert non_dominated(points).tolist() == [True, True, True, False, False, False]
    assert ranks(points).tolist() == [0, 0, 0, 1, 1, 6]
    third = np.concatenate([points, np.zeros((6, 1))], axis=1)
    assert (ranks(third) == ranks(points)).all()


@pytest.mark.parametrize("objectives", [1, 2, 3, 5])
def test_dominance_of_many_is_moocores(objectives):
    moocore = pytest.importorskip("moocore")
    rng = np.random.default_rng(objectives)
    for count in (1, 2, 40, 200, 700):  # 700 goes by sweeping
        points = rng.integers(0, 30, (count, objectives)).astype(float)
        assert (non_dominated(points) == moocore.is_nondominated(points, keep_weakly=True)).all()
        if count <= 200 and objectives > 1:
            assert (ranks(points) == moocore.pareto_rank(points)).all()


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_a_batch_is_its_sets_one_by_one(objectives):
    rng = np.random.default_rng(objectives)
    for shape in ((0, 5), (3, 0), (7, 1), (60, 40), (2, 3, 9)):
        points = np.round(rng.random((*shape, objectives)) * 6, 1)
        points[rng.random(shape) < 0.1] = NAN
        rank = ranks(points)
        corner = np.full(objectives, REFERENCE)
        batched = {
            "front": non_dominated(points), "ranks": rank, "crowding": crowding(points, rank),
            "best": best_first(points),
            "igd": igd_plus(points, np.ones((3, objectives))),
        }  # fmt: skip
        if objectives < 3:
            batched |= {"hv": hypervolume(points, corner), "along": hypervolume_along(points, corner)}
        for where in np.ndindex(*shape[:-1]):
            one = points[where]
            alone = {
                "front": non_dominated(one), "ranks": ranks(one), "crowding": crowding(one, ranks(one)),
                "best": best_first(one),
                "igd": igd_plus(one, np.ones((3, objectives))),
            }  # fmt: skip
            if objectives < 3:
                alone |= {"hv": hypervolume(one, corner), "along": hypervolume_along(one, corner)}
            for name, value in alone.items():
                assert np.array_equal(batched[name][where], value, equal_nan=True), name


def test_crowding_by_hand():
    points = np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0], [3.0, 1.0], [5.0, 5.0], [NAN, 1.0]])
    found = crowding(points, ranks(points))
    assert found.tolist() == [INF, 3 / 4 + 3 / 4, INF, 3 / 4 + 2 / 4, INF, 0.0]
    flat = np.array([[1.0, 1.0, 0.0], [1.0, 2.0, -1.0], [1.0, 3.0, -2.0]])  # the first objective says nothing
    assert crowding(flat, ranks(flat)).tolist() == [INF, 2.0, INF]


@given(any_points)
def test_best_first_is_by_rank_then_crowding_then_place(points):
    rank = ranks(points)
    lonely = crowding(points, rank)
    assert not np.isnan(lonely).any()
    assert best_first(points).tolist() == sorted(range(len(points)), key=lambda i: (rank[i], -lonely[i], i))


@given(st.integers(2, 3).flatmap(lambda m: point_sets(m, least=3)))
def test_crowding_is_the_gap_of_the_neighbours(points):
    points = np.unique(points, axis=0)
    rank = ranks(points)
    for point, level, found in zip(points, rank, crowding(points, rank), strict=True):
        expected, peers = 0.0, points[rank == level]
        for value, others in zip(point, peers.T, strict=True):
            below, above = others[others < value], others[others > value]
            if len(np.unique(others)) < len(others):
                return  # which of two that share a value is the neighbour is a matter of order
            expected += (above.min() - below.max()) / np.ptp(others) if len(below) and len(above) else INF
        assert found == pytest.approx(expected)


# ---- hypervolume


def test_hypervolumes_by_hand():
    points = np.array([[1.0, 3.0], [3.0, 1.0], [3.0, 3.0], [5.0, 0.0], [0.0, 9.0], [NAN, 0.0], [-INF, NAN]])
    assert hypervolume(points, [4.0, 4.0]) == 3 + 3 - 1
    assert hypervolume_along(points, [4.0, 4.0]).tolist() == [3, 5, 5, 5, 5, 5, 5]
    assert hypervolume([[4.0, 0.0]], [4.0, 4.0]) == 0  # on the edge: no better than the reference
    assert hypervolume([[1.0], [2.0]], [4.0]) == 3
    assert hypervolume(np.empty((3, 0, 2)), [1.0, 1.0]).tolist() == [0, 0, 0]


@settings(max_examples=200)
@given(two, st.randoms(use_true_random=False))
def test_hypervolume_is_monotone_permutation_proof_and_blind_to_dominated_points(points, random):
    corner = [REFERENCE, REFERENCE]
    volume = hypervolume(points, corner)
    along = hypervolume_along(points, corner)
    assert (np.diff(along, prepend=0) >= 0).all()
    assert along.tolist() == [hypervolume(points[: n + 1], corner) for n in range(len(points))]  # to the bit
    order = random.sample(range(len(points)), len(points))
    assert hypervolume(points[order], corner) == volume
    assert hypervolume(points[non_dominated(points)], corner) == volume
    assert hypervolume(points[:, ::-1], corner) == pytest.approx(volume, rel=1e-12)


def test_hypervolume_of_two_is_moocores_on_a_thousand_sets():
    moocore = pytest.importorskip("moocore")
    rng = np.random.default_rng(0)
    for number in range(1_000):
        points = rng.random((int(rng.integers(1, 60)), 2)) * 1.2
        if number % 2:
            points = np.round(points, 1)
        assert hypervolume(points, [1.0, 1.0]) == pytest.approx(moocore.hypervolume(points, ref=[1, 1]), abs=1e-12)


@pytest.mark.parametrize("objectives", [3, 4])
def test_hypervolume_of_more_is_inclusion_and_exclusion(objectives):
    pytest.importorskip("moocore")
    rng = np.random.default_rng(objectives)
    points = rng.random((4, 7, objectives)) * 1.2
    points[2, 3, 1] = NAN
    points[3] = 2.0
    corner = np.ones(objectives)

    def by_definition(one):
        corners = [np.where(np.isnan(p).any(), corner, np.minimum(p, corner)) for p in one]
        total = 0.0
        for size in range(1, len(corners) + 1):
            for chosen in itertools.combinations(corners, size):
                total -= (-1) ** size * np.prod(corner - np.max(chosen, axis=0))
        return total

    assert hypervolume(points, corner) == pytest.approx([by_definition(one) for one in points], abs=1e-12)
    along = hypervolume_along(points, corner)
    for step in range(7):
        assert along[:, step] == pytest.approx(hypervolume(points[:, : step + 1], corner), abs=1e-12)
    assert (np.diff(along, axis=1) >= 0).all()
    flipped = hypervolume(points[:, ::-1, ::-1], corner)
    assert flipped == pytest.approx(hypervolume(points, corner), abs=1e-12)


def test_three_objectives_without_moocore_name_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "moocore", None)
    with pytest.raises(UsageError, match=r"pip install .*\[mo\]'"):
        hypervolume(np.zeros((1, 3)), np.ones(3))
    assert hypervolume(np.zeros((1, 2)), np.ones(2)) == 1


# ---- IGD+


@given(point_sets(2), point_sets(2, most=5))
def test_igd_plus_never_prefers_what_is_dominated(points, front):
    worse = points + 0.5
    assert igd_plus(points, front) <= igd_plus(worse, front)
    assert igd_plus(np.concatenate([points, worse]), front) == igd_plus(points, front)


def test_igd_does_prefer_it():
    moocore = pytest.importorskip("moocore")
    front = np.array([[0.0, 10.0], [1.0, 6.0], [2.0, 2.0], [6.0, 1.0], [10.0, 0.0]])
    better, worse = np.array([[2.0, 4.0], [3.0, 3.0], [4.0, 2.0]]), np.array([[2.0, 8.0], [4.0, 4.0], [8.0, 2.0]])
    assert moocore.igd(better, ref=front) > moocore.igd(worse, ref=front)  # the example of Ishibuchi et al. (2015)
    assert igd_plus(better, front) < igd_plus(worse, front)


def test_igd_plus_is_moocores():
    moocore = pytest.importorskip("moocore")
    rng = np.random.default_rng(1)
    for objectives in (1, 2, 3):
        points, front = rng.random((50, 20, objectives)), rng.random((7, objectives))
        expected = [moocore.igd_plus(one, ref=front) for one in points]
        assert igd_plus(points, front) == pytest.approx(expected, abs=1e-12)
    assert igd_plus([[0.5, NAN], [1.0, 1.0]], [[0.0, 0.0]]) == pytest.approx(np.sqrt(2))
    assert igd_plus([[NAN, 0.0]], [[0.0, 0.0]]) == INF
    with pytest.raises(UsageError, match="a front is"):
        igd_plus([[0.0, 0.0]], np.empty((0, 2)))


# ---- attainment


def test_attainment_by_hand():
    runs = np.array([[[1.0, 3.0], [2.0, 1.0]], [[1.0, 2.0], [3.0, 0.0]], [[2.0, 2.0], [NAN, 0.0]]])
    best, median, worst = attainment(runs, (0.1, 0.5, 1.0))
    assert best.tolist() == [[1, 2], [2, 1], [3, 0]]
    assert median.tolist() == [[1, 3], [2, 2], [3, 1]]
    assert worst.tolist() == [[2, 2]]
    assert attainment(np.full((2, 3, 2), NAN))[0].shape == (0, 2)


def test_attainment_is_moocores():
    moocore = pytest.importorskip("moocore")
    rng = np.random.default_rng(2)
    for count in (1, 2, 9, 20):
        points = np.round(rng.random((count, 8, 2)), 1 if count % 2 else 6)
        sets = np.repeat(np.arange(count) + 1, 8)
        for percent in (7, 25, 50, 75, 100):
            theirs = moocore.eaf(points.reshape(-1, 2), sets, percentiles=[percent])[:, :2]
            (ours,) = attainment(points, (percent / 100,))
            assert ours.tolist() == theirs[np.argsort(theirs[:, 0])].tolist()


@given(st.integers(1, 6).flatmap(lambda runs: arrays(np.float64, (runs, 5, 2), elements=coordinates)))
def test_the_median_front_is_attained_by_half_of_the_runs(points):
    (front,) = attainment(points, (0.5,))
    assert non_dominated(front).all()
    attained = (points[:, :, None] <= front).all(axis=3).any(axis=1)  # [runs, members]
    assert (2 * attained.sum(axis=0) >= len(points)).all()


@pytest.mark.parametrize("quantile", [0, -0.5, 1.5, NAN])
def test_a_quantile_is_a_share(quantile):
    with pytest.raises(UsageError, match="quantile"):
        attainment(np.zeros((1, 1, 2)), (quantile,))


# ---- limits and references


def test_best_under_limits():
    values = [[3.0, 1.0, 2.0, NAN, 1.0], [INF, 5.0, 5.0, 0.0, 4.0]]
    costs = [1.0, 9.0, 5.0, 0.0, NAN]
    best, place = best_under(values, costs, [0.5, 1.0, 6.0, 9.0])
    assert place.tolist() == [[-1, 0, 2, 1], [3, 3, 3, 3]]
    assert np.array_equal(best, [[NAN, 3, 2, 1], [0, 0, 0, 0]], equal_nan=True)
    assert best_under([INF, INF], [9.0, 1.0], 2.0)[1].tolist() == [1]
    assert best_under(np.empty((2, 0)), np.empty((2, 0)), [1.0])[1].tolist() == [[-1], [-1]]


@given(two, st.floats(0, 6))
def test_best_under_a_limit_stands_on_the_front(points, limit):
    best, place = best_under(points[:, 0], points[:, 1], [limit])
    fits = points[(points[:, 1] <= limit) & ~np.isnan(points[:, 0])]
    assert (place[0] < 0) == (len(fits) == 0)
    if len(fits):
        assert best[0] == fits[:, 0].min() == points[place[0], 0]
        assert points[place[0], 1] <= limit


def test_reference_of_a_front():
    points = np.array([[1.0, 30.0], [2.0, 10.0], [9.0, 10.0], [NAN, 0.0]])
    scale = reference_of(points)
    assert scale == Reference((1.0, 10.0), (2.0, 30.0))
    assert scale.point == pytest.approx((2.1, 32.0))
    assert scale.normalised(points[:2]).tolist() == [[0, 1], [1, 0]]
    dead = np.concatenate([points, [[90.0, 0.0]]])
    assert reference_of(dead).ideal == (1.0, 0.0)
    alive = reference_of(dead, region=[15.0, INF])
    assert alive.point == scale.point
    assert alive.inside(dead).tolist() == [True, True, True, False, False]
    assert hypervolume(alive.within(dead), alive.point) == hypervolume(points, scale.point)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: reference_of([[1.0, 2.0]]), "goes from 1 to 1"),
        (lambda: reference_of([[1.0, 2.0]], region=[0.0, 0.0]), "no point lies"),
        (lambda: reference_of([[NAN, 2.0]]), "there is no point"),
        (lambda: reference_of([[1.0, 2.0]], region=[0.0]), "2 bounds"),
        (lambda: Reference((0.0, 0.0), (1.0,)), "2 finite numbers"),
        (lambda: Reference((0.0, 0.0), (1.0, 1.0), (1.0,)), "2 bounds"),
        (lambda: hypervolume([1.0, 2.0], [1.0, 1.0]), r"\[\.\.\., points, objectives\]"),
        (lambda: hypervolume([[1.0, 2.0]], [1.0]), "the reference point is 2 finite numbers"),
        (lambda: hypervolume([[1.0, 2.0]], [1.0, INF]), "finite"),
        (lambda: igd_plus([[1.0, 2.0]], [[1.0]]), r"\[\.\.\., points, 1\]"),
    ],
)
def test_wrong_input_is_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()


# ---- the table of NATS-Bench and HW-NAS-Bench, CIFAR-10: error after 200 epochs against cost


@pytest.mark.parametrize(
    ("cost", "rows", "members", "volume"),
    [
        ("flops_m", 15_625, 14, 1164.6556),
        ("eyeriss_lat_ms", 15_625, 16, 48.2818),
        ("gold_6226_lat_ms", 15_625, 36, 614.5363),
        ("raspi4_lat_ms", 15_625, 43, 6690.5354),
        ("pixel3_lat_ms", 15_625, 43, 2291.2066),
        ("edgegpu_lat_ms", 12_554, 24, 554.7645),
        ("edgegpu_energy_mj", 12_554, 31, 2750.6718),
    ],
)
def test_exact_fronts_of_the_table(shared_data, cost, rows, members, volume):
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(shared_data / "tss.parquet").merge(pandas.read_parquet(shared_data / "tss_hw.parquet"))
    points = np.stack([100 - table["cifar10_test_200"], table[cost]], axis=1).astype(np.float64)
    assert (~np.isnan(points).any(axis=1)).sum() == rows
    front = points[non_dominated(points)]
    assert len(np.unique(front, axis=0)) == members  # isomorphic cells of equal accuracy are one point
    scale = reference_of(points)
    assert hypervolume(points, scale.point) == pytest.approx(volume, rel=1e-6)
    assert hypervolume(front, scale.point) == hypervolume(points, scale.point)
    assert igd_plus(points, front) == 0


def test_a_column_of_the_second_source_has_the_same_front(shared_data):
    """The values as HW-NAS-Bench's copy prints them, with all their digits."""
    pandas = pytest.importorskip("pandas")
    error = 100 - pandas.read_parquet(shared_data / "tss.parquet")["cifar10_test_200"].to_numpy(np.float64)
    costs = pandas.read_csv(shared_data / "nb201_cifar10_hw.csv.gz")["eyeriss_latency"].to_numpy(np.float64)
    points = np.stack([error, costs], axis=1)
    assert len(np.unique(points[non_dominated(points)], axis=0)) == 16
    assert hypervolume(points, reference_of(points).point) == pytest.approx(48.2818, rel=1e-6)
