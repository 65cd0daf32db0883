"""AutoShrink's spaces of graphs: masks, strings, reachability, removal, counts in closed form, listing and showing."""

import json
import subprocess
import sys

import numpy as np
import pytest

from nasharness import spaces
from nasharness.analysis.figures.pictures import write
from nasharness.errors import UsageError
from nasharness.spaces import shrink_card
from nasharness.spaces.drawing_graph import draw_graph
from nasharness.spaces.shrink import CNN, RNN, SHRINKCNN, SHRINKRNN, Graph, edges, official_assignment
from nasharness.spaces.shrink_macro import counts, imagenet_macro, penalty, search_macro, width

FULL = CNN.complete(CNN.official)
#: docs/reproduction/autoshrink.md#network-of-the-search: mask, edges, leaves, MACs, params, penalty
VECTORS = {
    "complete": (FULL, 28, 1, 27_323_008, 151_226, 0.1437),
    "complete minus (6,7)": (FULL.without((6, 7)), 27, 2, 28_800_256, 172_874, 0.1459),
    "star": (Graph.of(CNN.official, [(0, node) for node in range(1, 8)]), 7, 7, 35_965_312, 273_338, 0.1556),
    "chain": (Graph.of(CNN.official, [(node, node + 1) for node in range(7)]), 7, 1, 7_950_976, 42_938, 0.0900),
    "shrinkcnn embedded": (
        Graph.of(CNN.official, [(0, 2), (0, 5), (0, 6), (2, 6), (0, 7), (5, 7)]), 6, 2, 9_176_320, 50_138, 0.0963,
    ),
    "empty": (Graph.of(CNN.official, []), 0, 1, 1_212_736, 3_242, 0.0084),
}  # fmt: skip


def random_graph(rng, space):
    mask = rng.random(len(space.edges)) < rng.random()
    return space.graph(mask, space.assign(rng))


@pytest.mark.parametrize("name", VECTORS)
def test_official_vectors(name):
    graph, eligible, leaves, macs, params, taken = VECTORS[name]
    found = counts(graph, search_macro(), 10)
    assert (len(graph.eligible), len(graph.leaves), found.macs, found.params) == (eligible, leaves, macs, params)
    assert round(penalty(found.macs), 4) == taken


def test_published_networks_in_closed_form():
    for classes, plain, norm, macs in (
        (1001, 3_600_981, 3_636_301, 383_677_672),
        (1000, 3_599_700, 3_635_020, 383_676_392),
    ):
        found = counts(SHRINKCNN, imagenet_macro(), classes)
        assert (found.params, found.trained, found.macs) == (plain, norm, macs)
    assert [width(16 * scale, 1) for scale in (0.7, 1.4, 2.8, 5.6, 11.2)] == [12, 24, 44, 88, 180]
    assert len(SHRINKCNN.eligible) == 6
    assert len(SHRINKRNN.eligible) == 12
    assert SHRINKRNN.leaves == (4, 5)


def test_spaces_have_their_size_and_the_official_assignment():
    assert (CNN.nodes, len(CNN.edges)) == (8, 28)
    assert (RNN.nodes, len(RNN.edges)) == (6, 15)
    assert official_assignment(CNN) == CNN.official  # seed 5
    short = {"sep3x3": "a", "conv1x1": "b"}
    assert "".join(short[name] for name in CNN.official) == "babbaab"
    assert spaces.graph_names() == ["shrink-cnn", "shrink-rnn"]
    assert not set(spaces.names()) & set(spaces.graph_names())


def test_assignment_is_balanced_seeded_and_leaves_global_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    drawn = {CNN.assign(np.random.default_rng(seed)) for seed in range(200)}
    assert {names.count("sep3x3") for names in drawn} == {4}
    assert len(drawn) == 35  # all of 7 over 3
    assert CNN.assign(np.random.default_rng(3)) == CNN.assign(np.random.default_rng(3))
    assert {name for seed in range(20) for name in RNN.assign(np.random.default_rng(seed))} == set(RNN.operations)
    official_assignment(CNN)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("space", [CNN, RNN], ids=lambda space: space.name)
def test_strings_and_masks_round_trip(space):
    rng = np.random.default_rng(0)
    for _ in range(200):
        graph = random_graph(rng, space)
        assert space.parse(str(graph)) == graph
        assert space.graph(graph.vector(), graph.operations) == graph
        assert space.read({"arch": str(graph)}) == graph
        assert space.read({"mask": graph.vector().tolist(), "operations": list(graph.operations)}) == graph


def test_reachability_and_pruning_against_a_plain_search():
    rng = np.random.default_rng(1)
    for _ in range(300):
        graph = random_graph(rng, CNN)
        reached, waiting = {0}, [0]
        while waiting:
            here = waiting.pop()
            for source, target in graph.present:
                if source == here and target not in reached:
                    reached.add(target)
                    waiting.append(target)
        assert {node for node in range(8) if graph.reached[node]} == reached
        assert set(graph.eligible) == {edge for edge in graph.present if edge[0] in reached}
        assert set(graph.leaves) == {node for node in reached if all(source != node for source, _ in graph.present)}
        pruned = graph.pruned()
        assert pruned.present == pruned.eligible == graph.eligible
        if graph.eligible:
            edge = graph.eligible[int(rng.integers(len(graph.eligible)))]
            less = graph.without(edge)
            assert edge not in less.present
            assert less == less.pruned()
            assert set(less.present) < set(graph.present)


def test_removal_cuts_off_what_hangs_on_it():
    chain = Graph.of(CNN.official, [(0, 1), (1, 2), (2, 3), (0, 4)])
    assert chain.without((0, 1)).present == ((0, 4),)
    assert chain.without((2, 3)).leaves == (2, 4)
    with pytest.raises(UsageError, match="5->6 is not in"):
        chain.without((5, 6))


def test_bad_graphs_are_refused_by_name():
    for text, why in (
        ("sep3x3@0/conv1x2@0", "unknown operation 'conv1x2' .*conv1x1"),
        ("sep3x3@0/conv1x1@2", "node 2 cannot read '2'"),
        ("sep3x3@0/conv1x1@-1", "cannot read '-1'"),
        ("sep3x3@0/conv1x1", "no '@'"),
        ("/".join(["sep3x3@0"] * 8), "8 nodes besides node 0 where 7"),
        ("", "no '@'"),
    ):
        with pytest.raises(UsageError, match=why):
            CNN.parse(text)
    with pytest.raises(UsageError, match="28 zeros and ones"):
        CNN.graph([1, 0], CNN.official)
    with pytest.raises(UsageError, match="28 zeros and ones"):
        CNN.graph([2] * 28, CNN.official)
    with pytest.raises(UsageError, match="expected the key arch"):
        CNN.read({"index": 3})
    with pytest.raises(UsageError, match="expected the key arch"):
        CNN.read({})
    with pytest.raises(UsageError, match="'relu' of node 1"):
        CNN.read({"mask": [1], "operations": ["relu"]})
    with pytest.raises(UsageError, match="expected 28"):
        CNN.read({"mask": [1, 1], "operations": list(CNN.official)})
    with pytest.raises(UsageError, match="expected zeros and ones"):
        CNN.read({"mask": ["a"], "operations": ["sep3x3"]})
    with pytest.raises(UsageError, match="autoshrink.official --space shrink-cnn --images"):
        spaces.get("shrink-cnn")
    with pytest.raises(UsageError, match="nearest: shrink-cnn"):
        spaces.graphs("shrink-cn")


def test_drawing_says_who_reads_whom():
    lines = draw_graph(SHRINKCNN).splitlines()
    assert [line.count("●") for line in lines] == [0, 1, 1, 2, 2]
    assert [line.endswith("out") for line in lines] == [False, False, False, True, True]
    rng = np.random.default_rng(2)
    for _ in range(50):
        graph = random_graph(rng, CNN)
        drawn = draw_graph(graph, ascii=True)
        assert drawn.isascii()
        assert drawn.count("o") - drawn.count("conv") - drawn.count("out") - drawn.count("not ") == len(graph.eligible)


def test_picture_has_an_arrow_an_edge(tmp_path):
    pytest.importorskip("matplotlib")
    from nasharness.analysis.figures.pictures import figure
    from nasharness.analysis.figures.style import looks

    with looks():
        axes = figure(CNN, SHRINKCNN).axes[0]
        assert sum(type(patch).__name__ == "FancyArrowPatch" for patch in axes.patches) == 6
        assert sum(type(patch).__name__ == "FancyBboxPatch" for patch in axes.patches) == 5
    assert write(CNN, FULL, tmp_path / "full.svg", "x").stat().st_size > 1000
    with pytest.raises(UsageError, match="ends in .png"):
        write(CNN, FULL, tmp_path / "full.jpg")


def test_cards_tell_published_from_counted():
    card = shrink_card.card("shrinkcnn-b")
    assert card["published"]["ImageNet top-1"] == {"value": "75.1 %", "tags": "R"}
    assert card["counts"]["ImageNet, side 224, 1,001 classes"]["macs"] == 383_677_672
    recurrent = shrink_card.card("shrinkrnn")
    assert next(iter(recurrent["counts"].values()))["params"] == 23_000_700
    text = shrink_card.render(recurrent, ascii=True)
    assert text.isascii()
    assert "23,000,700" in text
    assert "24 M" in text


def test_show_on_the_command_line():
    def show(*arguments):
        command = [sys.executable, "-m", "nasharness", "show", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    known = json.loads(show("shrinkcnn-a", "--json").stdout)
    assert known["arch"] == str(SHRINKCNN)
    wrong = show("shrinkcnn-c")
    assert wrong.returncode == 2
    assert "nearest: shrinkcnn-" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_spaces_and_cards_import_no_torch():
    code = (
        "import sys; from nasharness.spaces import shrink_card; from nasharness.training.proxy_search import settings"
    )
    code += ", shrink, journal, workers; from nasharness.cli import run_shrink, show; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_edges_come_by_target():
    assert edges(4) == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
