"""Path encodings, wide networks and their ensembles, against what they are said to be."""

import numpy as np
from nasharness.algorithms.ensembles import Paths, predictions, wide_network

from nasharness import spaces
from nasharness.spaces.cells import CellSpace


def named(features, index):
    """The labels of one architecture, by name."""
    labels = features.labels(np.array([index]))[0, 0].tolist()
    names = {number: label for label, number in features._numbers.items()}
    return {names[number - 1] for number in labels if number}


def test_paths_of_a_cell():
    space = spaces.get("tss")
    cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
    assert named(Paths(space), space.from_string(cell)) == {
        ("avg_pool_3x3", "output"),
        ("nor_conv_3x3", "skip_connect", "nor_conv_1x1", "output"),
    }
    cells = CellSpace("cells", np.array(["11.1:3", "110.01.1:31"], dtype="S33"))
    assert named(Paths(cells), 0) == {("output",), ("conv3x3-bn-relu", "output")}
    assert named(Paths(cells), 1) == {("conv3x3-bn-relu", "output"), ("conv1x1-bn-relu", "output")}


def test_chains_are_told_apart_by_their_choices():
    for name in ("sss", "macro"):
        space = spaces.get(name)
        assert named(Paths(space), 123) == set(enumerate(space.choices(123).tolist()))


def encoded(space, ids):
    """Presence of every path and a constant, ``[n, features]``."""
    features = Paths(space)
    labels = features.labels(ids)[:, 0]
    return features, np.hstack(
        [(labels[:, :, None] == np.arange(1, labels.max() + 1)).sum(axis=1), np.ones((len(ids), 1))]
    )


def test_the_kernel_is_that_of_a_wide_network():
    ids = np.random.default_rng(0).integers(15_625, size=6)
    features, x = encoded(spaces.get("tss"), ids)
    hidden = np.maximum(x @ np.random.default_rng(1).normal(size=(x.shape[1], 400_000)), 0)
    sampled = hidden @ hidden.T
    sampled /= np.sqrt(np.outer(sampled.diagonal(), sampled.diagonal()))
    assert np.allclose(wide_network(features, ids[None], ids[None])[0], sampled, atol=0.01)


def test_an_ensemble_is_weighted_ridge_regression():
    rng = np.random.default_rng(2)
    ids, pool = rng.integers(15_625, size=(2, 12)), rng.integers(15_625, size=(2, 5))
    features = Paths(spaces.get("tss"))
    y, weights, ridge = rng.normal(size=(2, 12)), rng.random((2, 3, 12)) + 0.1, 0.2
    ids[1, 4], y[1, 4] = -1, 0.0  # nothing was told here
    found = predictions(features, ids, y, pool, weights, ridge)
    for run, network in np.ndindex(2, 3):
        told = ids[run] >= 0
        among = wide_network(features, ids[run, told][None], ids[run, told][None])[0]
        across = wide_network(features, pool[run][None], ids[run, told][None])[0]
        # minimise the sum of w (y - K a)^2 + ridge a K a: its gradient is K (w (K a - y) + ridge a)
        w = weights[run, network, told]
        solved = np.linalg.solve(w[:, None] * among + ridge * np.eye(len(w)), w * y[run, told])
        assert np.allclose(found[run, network], across @ solved, atol=2e-6)
