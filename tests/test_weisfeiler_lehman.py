"""Weisfeiler-Lehman labels and kernels against networkx, and against relabelled graphs."""

import itertools

import networkx as nx
import numpy as np
import pytest
from nasharness.algorithms.weisfeiler_lehman import SubtreeKernel, operations, subtrees

from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.spaces.cells import CellSpace, graph_of
from nasharness.spaces.graph import LabelledGraph

CELLS = ("11.1:3", "110.01.1:31", "110.01.1:13", "101.11.1:3m", "1100.011.01.1:331", "1010.110.01.1:3m1", "111.11.1:33")


def shuffled(names, feeds, seed):
    """The same graph, its nodes in another order."""
    order = np.random.default_rng(seed).permutation(len(names))
    place = np.argsort(order)
    return [names[node] for node in order], [[int(place[one]) for one in feeds[node]] for node in order]


def graphs():
    rng = np.random.default_rng(0)
    cells = [spaces.get("tss").graph(int(index)) for index in rng.integers(15_625, size=12)]
    return [operations(graph) for graph in [*cells, *map(graph_of, CELLS)]]


@pytest.mark.parametrize("number", range(19))
def test_the_order_of_nodes_does_not_matter(number):
    names, feeds = graphs()[number]
    numbers: dict = {}
    one = subtrees(names, feeds, 3, numbers)
    other = subtrees(*shuffled(names, feeds, number), 3, numbers)
    assert np.array_equal(np.sort(one, axis=1), np.sort(other, axis=1))


def test_labels_are_equal_where_networkx_says_so():
    """Along edges taken both ways: of directed graphs networkx mixes what a node feeds with what feeds it."""
    rounds, numbers, ours, theirs = 3, {}, [], []
    for names, feeds in graphs():
        around = [
            [*sources, *(at for at, one in enumerate(feeds) if node in one)] for node, sources in enumerate(feeds)
        ]
        ours.append(subtrees(names, around, rounds, numbers))
        graph = nx.Graph()
        graph.add_nodes_from((node, {"op": name}) for node, name in enumerate(names))
        graph.add_edges_from((one, node) for node, sources in enumerate(feeds) for one in sources)
        hashes = nx.weisfeiler_lehman_subgraph_hashes(
            graph, node_attr="op", iterations=rounds, include_initial_labels=True
        )
        theirs.append(np.array([hashes[node] for node in range(len(names))]).T)
    for depth in range(rounds + 1):
        mine = np.concatenate([labels[depth] for labels in ours])
        other = np.concatenate([labels[depth] for labels in theirs])
        assert np.array_equal(mine[:, None] == mine, other[:, None] == other), depth


def test_the_kernel_counts_pairs_of_equal_labels():
    space = spaces.get("tss")
    ids = np.random.default_rng(1).integers(space.size, size=(3, 20)).astype(np.int32)
    kernel = SubtreeKernel(space, 2)
    rounds = np.array([0, 2, 1])
    found = kernel(ids[:, :5], ids, rounds)
    numbers: dict = {}
    for run, depth in enumerate(rounds):
        labels = [subtrees(*operations(space.graph(int(index))), depth, numbers) for index in ids[run]]
        raw = np.array([[(a[:, :, None] == b[:, None]).sum() for b in labels] for a in labels])
        wanted = raw / np.sqrt(np.outer(raw.diagonal(), raw.diagonal()))
        assert np.allclose(found[run], wanted[:5], atol=1e-12)
    alone = SubtreeKernel(space, 2)(ids[:1, :5], ids[:1], rounds[:1])  # other graphs were read before this one's
    assert np.array_equal(found[:1], alone)


def test_what_computes_nothing_is_left_out():
    space = spaces.get("tss")
    dead = space.from_string("|none~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|")
    names, feeds = operations(space.graph(dead))
    assert names == ["input", "skip_connect", "output"]
    assert feeds == [[], [0], [1]]
    cut = space.from_string("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    assert operations(space.graph(cut))[0] == ["input", "output"]


def test_cells_whose_nodes_carry_operations():
    names, feeds = operations(graph_of("110.01.1:31"))
    assert names == ["input", "conv3x3-bn-relu", "conv1x1-bn-relu", "output"]
    assert feeds == [[], [0], [0], [1, 2]]
    unread = LabelledGraph(("input", "a", "b", "output"), ((0, 1, ""), (0, 2, ""), (1, 3, "")))
    assert operations(unread) == (["input", "a", "output"], [[], [0], [1]])


def test_every_listed_cell_has_a_kernel_of_one_with_itself():
    space = CellSpace("cells", np.array(CELLS, dtype="S33"))
    ids = np.arange(len(CELLS), dtype=np.int32)[None]
    found = SubtreeKernel(space, 2)(ids, ids, np.array([2]))[0]
    assert np.allclose(found.diagonal(), 1)
    assert np.linalg.eigvalsh(found).min() > -1e-9
    same, different = itertools.combinations(range(3), 2), CELLS[1:3]
    assert different[0] != different[1]
    assert np.isclose(found[1, 2], 1)  # the same cell, its two nodes in the other order
    assert all(found[one, other] < 1 for one, other in same if (one, other) != (1, 2))


def test_a_space_without_graphs_is_refused():
    with pytest.raises(UsageError, match="no graphs"):
        SubtreeKernel(spaces.get("sss"), 1)
