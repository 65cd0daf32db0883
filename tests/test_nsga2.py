"""NSGA-II on made-up spaces: operators, survival, repeats, and a batch against its runs one by one."""

import types

import numpy as np
import pytest
from nasharness.algorithms.nsga2 import NSGA2

from nasharness.errors import UsageError
from nasharness.fronts import hypervolume, non_dominated
from nasharness.search.streams import Streams
from nasharness.spaces.base import Space
from nasharness.spaces.product import ChoiceSpace, ProductSpace


class Ring(Space):
    """A space that is no product: rows on a ring, whose neighbours are the two beside."""

    name = "ring"
    size = 300

    def sample(self, u):
        return self.sample_index(u[..., 0])

    def mutate(self, ids, u):
        return ((ids + np.where(np.asarray(u)[..., 0] < 0.5, 1, -1)) % self.size).astype(np.int32)


class Product(ProductSpace):
    """Categories at each position."""

    name = "toy"

    def __init__(self, *sizes):
        self.options = tuple(tuple(map(str, range(size))) for size in sizes)
        self.positions = tuple(map(str, range(len(sizes))))


def measurements(space, seed=3):
    """Made-up truth, higher is better: accuracy that costs, additive in the choices, with noise: ``[n, 2]``."""
    rng = np.random.default_rng(seed)
    if space.name == "ring":
        angle = np.linspace(0, np.pi / 2, space.size)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    choices = space.choices(np.arange(space.size))
    worth = [rng.random(size) for size in space.sizes]
    accuracy = sum(w[choices[:, p]] for p, w in enumerate(worth)) + rng.normal(0, 0.1, space.size)
    cost = sum((w * rng.uniform(0.2, 1.8, len(w)))[choices[:, p]] for p, w in enumerate(worth))
    return np.stack([accuracy, -cost], axis=1)


def task(space, seeds, objectives=2, limit=None):
    """``limit``: how far architectures break one."""
    return types.SimpleNamespace(
        space=space, streams=Streams(seeds), runs=len(seeds), seeds=np.asarray(seeds), several=objectives > 1,
        objectives=(None,) * objectives, excess=limit or (lambda ids: np.zeros(ids.shape[:2])),
        start=lambda count, own: own(),
    )  # fmt: skip


def search(space, truth, seeds, evaluations=60, **settings):
    """All architectures asked, in order: ``[runs, evaluations]``."""
    algorithm = NSGA2(task(space, seeds, truth.shape[1]), **settings)
    asked = []
    while sum(ids.shape[1] for ids in asked) < evaluations:
        asked.append(algorithm.ask())
        ids = asked[-1]
        if space.arch_shape:
            ids = np.ravel_multi_index(tuple(np.moveaxis(ids, -1, 0)), space.sizes)
        algorithm.tell(asked[-1], truth[ids] if truth.shape[1] > 1 else truth[ids, 0])
    return np.concatenate(asked, axis=1)[:, :evaluations]


@pytest.mark.parametrize("space", [Product(4, 3, 5, 2, 4), Ring()], ids=lambda space: space.name)
@pytest.mark.parametrize("settings", [{}, {"children": 7}, {"population": 3, "children": 2, "crossover": 0.0}])
def test_a_batch_is_its_runs_one_by_one(space, settings):
    truth = measurements(space)
    together = search(space, truth, [5, 6, 7, 8], **settings)
    for row, seed in enumerate([5, 6, 7, 8]):
        assert (search(space, truth, [seed], **settings)[0] == together[row]).all()
    assert len({tuple(row) for row in together}) == 4
    assert together.min() >= 0
    assert together.max() < space.size


@pytest.mark.parametrize("settings", [{}, {"children": 7}])
def test_vectors_of_choices_do_as_indices_do(settings):
    listed = Product(4, 3, 5, 2, 4)
    vectors = ChoiceSpace("vectors", listed.options)
    truth = measurements(listed)
    ids = search(listed, truth, [5, 6], **settings)
    assert (search(vectors, truth, [5, 6], **settings) == listed.choices(ids)).all()


def test_a_space_that_no_number_could_count():
    space = ChoiceSpace("huge", (("a", "b", "c", "d", "e", "f", "g", "h", "i"),) * 22)
    algorithm = NSGA2(task(space, [1, 2]), children=5)
    for _ in range(6):
        ids = algorithm.ask()
        algorithm.tell(ids, np.stack([ids.sum(axis=2), -(ids**2).sum(axis=2)], axis=2).astype(float))
    assert ids.dtype == np.int8
    assert ids.shape == (2, 5, 22)


def test_it_finds_more_of_the_front_than_random_search():
    space = Product(5, 5, 5, 5, 5, 5)
    truth = measurements(space)
    ids = search(space, truth, range(40), evaluations=100)
    uniform = space.sample_index(Streams(range(40)).uniform(100))
    corner = -truth.min(axis=0)
    found, chance = (hypervolume(-truth[which], corner) for which in (ids, uniform))
    assert found.mean() > chance.mean() + 5 * (found - chance).std() / np.sqrt(40)


def test_the_front_survives():
    """The population has room for the front of all that was asked, and so holds it."""
    space = Product(4, 4, 4, 4)
    truth = measurements(space)
    algorithm = NSGA2(task(space, [1, 2, 3]), population=40)
    asked = []
    for _ in range(80):
        asked.append(algorithm.ask())
        algorithm.tell(asked[-1], truth[asked[-1]])
    for run, ids in enumerate(np.concatenate(asked, axis=1)):
        told = np.unique(ids)
        assert set(told[non_dominated(-truth[told])]) <= set(algorithm._ids[run])


def test_a_child_takes_every_choice_but_one_from_its_parents():
    space = Product(9, 9, 9, 9, 9, 9)
    parents = space.index(np.array([[1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]]))
    mixed = 0
    for crossover in (0.0, 1.0):
        algorithm = NSGA2(task(space, range(200)), population=2, crossover=crossover)
        algorithm.ask()
        ids = np.tile(parents, (200, 1))
        algorithm.tell(ids, np.stack([ids, -ids], axis=2).astype(float))
        children = space.choices(algorithm.ask()[:, 0])
        of_first, of_second = (children == 1).sum(axis=1), (children == 2).sum(axis=1)
        assert ((6 - of_first - of_second) <= 1).all()
        mixed = ((of_first > 0) & (of_second > 0)).mean()
        if not crossover:  # one parent's alone, but for a mutation that happens to be the other's choice
            assert (np.minimum(of_first, of_second) <= 1).all()
    assert 0.25 < mixed < 0.5  # the better of two wins 3 tournaments in 4: 3 pairs in 8 are of different parents


def test_what_is_known_is_not_asked_again_while_there_is_something_new():
    space = Product(5, 5, 5, 5)
    ids = search(space, measurements(space), range(20), evaluations=120, children=4)
    repeats = [len(row) - len(set(row)) for row in ids]
    assert np.mean(repeats) < 6  # 2 as it is; 26 if a child is held against the latest evaluation alone
    tiny = Product(2, 2)  # all is known after four
    assert search(tiny, measurements(tiny), [1, 2], evaluations=40, population=4).shape == (2, 40)


def test_what_was_not_evaluated_is_not_kept():
    space = Product(4, 4, 4)
    truth = measurements(space)
    algorithm = NSGA2(task(space, [1, 2]), population=4, children=4)
    ids = algorithm.ask()
    algorithm.tell(ids, truth[ids])
    before = algorithm._ids.copy()
    ids = algorithm.ask()
    algorithm.tell(ids, np.full((2, 4, 2), np.nan))  # the budget has ended
    assert (algorithm._ids == before).all()
    values = truth[ids].copy()
    values[:, :, 1] = np.nan  # a device that is not known for these
    algorithm.tell(ids, values)
    assert (algorithm._ids == before).all()


def test_one_objective_is_climbed():
    space = Product(4, 4, 4, 4)
    truth = measurements(space)[:, :1]
    ids = search(space, truth, range(20), evaluations=100)
    assert truth[ids].max(axis=1).mean() > np.quantile(truth, 0.99)


def test_what_breaks_a_limit_gives_way_to_what_keeps_it():
    """Told as the loop tells it: a low first objective, the rest as it is, which may be the lowest cost of all."""
    space = Product(5, 5, 5, 5)
    truth = measurements(space)
    excess = np.maximum(truth[:, 1] - np.median(truth[:, 1]), 0)  # the cheap half is forbidden
    algorithm = NSGA2(task(space, [1, 2, 3], limit=lambda ids: excess[ids]), population=10)
    for _ in range(40):
        ids = algorithm.ask()
        values = truth[ids].copy()
        values[..., 0] = np.where(excess[ids] > 0, -1e3, values[..., 0])
        algorithm.tell(ids, values)
    assert (excess[algorithm._ids] == 0).all()


def test_three_objectives():
    space = Product(4, 4, 4, 4)
    truth = np.concatenate([measurements(space), measurements(space, seed=9)[:, :1]], axis=1)
    ids = search(space, truth, [3, 4], evaluations=50)
    assert (search(space, truth, [4], evaluations=50)[0] == ids[1]).all()


@pytest.mark.parametrize("settings", [{"population": 0}, {"children": 0}, {"crossover": 1.5}])
def test_settings_are_checked(settings):
    (name,) = settings
    with pytest.raises(UsageError, match=f"nsga2: {name} = "):
        NSGA2(task(Product(2, 2), [1]), **settings)
