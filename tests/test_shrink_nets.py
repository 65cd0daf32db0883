"""Networks of AutoShrink's graphs and of DARTS's genotypes: exact counts, published layers, recurrent arithmetic."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from nasharness import spaces  # noqa: E402
from nasharness.errors import UsageError  # noqa: E402
from nasharness.nets import genotypes, imagenet, language, shrinkrnn  # noqa: E402
from nasharness.nets.counts import macs, params  # noqa: E402
from nasharness.nets.fused_rnn import FusedCell  # noqa: E402
from nasharness.nets.initialise import glorot_normal, truncated_normal  # noqa: E402
from nasharness.nets.shrinkcnn import Cell, SameConv, ShrinkCNN  # noqa: E402
from nasharness.spaces.shrink import CNN, RNN, SHRINKCNN, Graph  # noqa: E402
from nasharness.spaces.shrink_macro import Macro, Stage, counts, imagenet_macro, search_macro  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"


def without_norm(net):
    return params(net) - sum(params(module) for module in net.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("name", ["shrinkcnn-a", "shrinkcnn-b"])
def test_published_networks_count_exactly(name):
    net = imagenet.build(name, 1001)
    assert (without_norm(net), params(net)) == (3_600_981, 3_636_301)
    assert macs(net, (1, 3, 224, 224)) - 1001 == 383_677_672  # the counter adds the classifier's biases
    net = imagenet.build(name, 1000)
    assert (without_norm(net), params(net)) == (3_599_700, 3_635_020)
    assert macs(net, (1, 3, 224, 224)) - 1000 == 383_676_392
    kinds = {type(module) for module in net.modules()}
    assert (nn.SiLU in kinds) == (name == "shrinkcnn-b")


@pytest.mark.parametrize("letter", ["a", "b"])
def test_against_the_released_description(letter):
    """The files beside the checkout were read off the released models; every layer must agree."""
    path = next(SHARED.rglob(f"shrinkcnn_{letter}.json"), None)
    if path is None:
        pytest.skip("needs the description of the released models, which is not part of the project")
    told = json.loads(path.read_text())
    net = imagenet.build(f"shrinkcnn-{letter}", 1001)
    act = {"relu": nn.ReLU, "swish": nn.SiLU, "linear": nn.Identity}
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(told["bn"]["eps"], told["bn"]["torch_momentum"])}
    assert net.stem[0].conv.out_channels == told["stem"]["channels"]
    cells = list(net.cells)
    assert list(SHRINKCNN.eligible) == sorted(map(tuple, told["cell"]["edges"]), key=lambda e: e[::-1])
    for stage in told["stages"]:
        for number in range(stage["cells"]):
            cell = cells.pop(0)
            first = number == 0
            assert isinstance(cell.pool, nn.MaxPool2d) == (first and stage["pool"] > 1)
            assert cell.outputs == stage["out_channels"]
            assert isinstance(cell.projection, nn.Identity) == (
                not first and stage["residual_other_cells"] == "identity"
            )
            if first:
                assert cell.projection[0].in_channels == stage["in_channels_first_cell"]
                assert cell.projection[0].stride == (stage["pool"],) * 2
            assert list(cell.leaves) == told["cell"]["output"]["of"]
            for node in told["cell"]["nodes"][1:]:
                layers = cell.nodes[str(node["id"])]
                assert list(cell.reads[node["id"]]) == node["in"]
                assert layers[-3].out_channels == stage["node_channels"]
                assert isinstance(layers[-1], act[node["act"]])
                if node["op"] == "sepconv3x3":
                    between = node["act"] if node["act"] != "linear" else told["sepconv_depthwise_act_when_linear"]
                    assert layers[0].groups == layers[0].in_channels
                    assert isinstance(layers[2], act[between])
    assert not cells
    assert net.head[0].out_channels == told["head"][0]["channels"]
    assert isinstance(net.stem[2], act[told["stem"]["act"]])


def random_graph(rng, space):
    return space.graph(rng.random(len(space.edges)) < rng.random(), space.assign(rng))


def test_counts_of_any_graph_equal_the_closed_form():
    rng = np.random.default_rng(0)
    macro = Macro(stem=8, stem_stride=2, stages=(Stage(1, 1, 4), Stage(2, 2, 8)), head=16, side=21)
    for graph in [Graph.of(CNN.official, []), CNN.complete(CNN.official), *(random_graph(rng, CNN) for _ in range(4))]:
        for chosen, classes in ((macro, 5), (search_macro(side=16), 10)):
            net = ShrinkCNN(graph, chosen, classes)
            told = counts(graph, chosen, classes)
            assert (without_norm(net), params(net)) == (told.params, told.trained), str(graph)
            assert macs(net, (1, 3, chosen.side, chosen.side)) - classes == told.macs, str(graph)
            net.eval()
            assert net(torch.zeros(2, 3, chosen.side, chosen.side)).shape == (2, classes)


def test_unreached_nodes_are_not_built_and_change_nothing():
    graph = Graph.of(("sep3x3", "conv1x1", "sep3x3"), [(0, 2), (1, 3)])
    net = ShrinkCNN(graph, search_macro(side=8), 3)
    twin = ShrinkCNN(graph.pruned(), search_macro(side=8), 3)
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    assert list(net.cells[0].nodes) == ["2"]
    assert torch.equal(net.eval()(images), twin.eval()(images))


def test_cell_against_the_rules_written_out():
    """Node 3 = separable of [x, node 1], node 4 = 1x1 of [x, node 2]; both linear, joined, plus the projected input."""
    macro = imagenet_macro()
    cell = Cell(SHRINKCNN, 6, 4, 2, macro).double().eval()
    for parameter in cell.parameters():
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x = torch.randn(2, 6, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def norm(layer, value):
        value = (value - layer.running_mean[:, None, None]) / torch.sqrt(layer.running_var[:, None, None] + 1e-3)
        return value * layer.weight[:, None, None] + layer.bias[:, None, None]

    def separable(node, value, last):
        depth = functional.conv2d(value, node[0].weight, padding=1, groups=value.shape[1])
        point = functional.conv2d(torch.relu(norm(node[1], depth)), node[3].weight)
        return last(norm(node[4], point))

    def same(value):
        return value

    nodes = cell.nodes
    pooled = functional.max_pool2d(x, 2)
    one = separable(nodes["1"], pooled, torch.relu)
    two = separable(nodes["2"], pooled, torch.relu)
    three = separable(nodes["3"], torch.cat([pooled, one], 1), same)
    four = norm(nodes["4"][1], functional.conv2d(torch.cat([pooled, two], 1), nodes["4"][0].weight))
    residual = norm(cell.projection[1], functional.conv2d(x, cell.projection[0].weight, stride=2))
    torch.testing.assert_close(cell(x), residual + torch.cat([three, four], 1), rtol=0, atol=1e-12)


def test_leaf_rule_is_a_field():
    for rule, kind in (("relu", nn.ReLU), ("linear", nn.Identity), ("same", nn.SiLU)):
        cell = Cell(SHRINKCNN, 4, 4, 1, imagenet_macro(activation="swish", leaf_depthwise=rule))
        assert isinstance(cell.nodes["3"][2], kind)
        assert isinstance(cell.nodes["3"][5], nn.Identity)
        assert isinstance(cell.nodes["1"][2], nn.SiLU)
    with pytest.raises(UsageError, match="relu, linear, same"):
        imagenet_macro(leaf_depthwise="tanh")


def test_stem_pads_as_tensorflow_does():
    layer = SameConv(3, 2, 2)
    nn.init.ones_(layer.conv.weight)
    image = torch.zeros(1, 3, 4, 4)
    image[..., 0, 0] = 1.0
    assert layer(image)[0, 0].tolist() == [[3.0, 0.0], [0.0, 0.0]]  # no row above, no column at the left
    image = torch.zeros(1, 3, 5, 5)
    image[..., 4, 4] = 1.0
    assert layer(image).shape == (1, 2, 3, 3)
    assert layer(image)[0, 0, 2, 2] == 3.0


def test_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    one, two = (imagenet.build("shrinkcnn-a", 7, size=32, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    other = imagenet.build("shrinkcnn-a", 7, size=32, generator=torch.Generator().manual_seed(6))
    recurrent = shrinkrnn.RecurrentNet(vocabulary=11, width=6)
    genotypes.DartsNet(genotypes.PUBLISHED["darts-v2"], 3, channels=4, cells=3)
    assert torch.equal(before, torch.get_rng_state())
    for first, second in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(one.head[0].weight, other.head[0].weight)
    for parameter in (*one.parameters(), *recurrent.parameters()):
        assert torch.isfinite(parameter).all()
    head = one.head[0].weight.detach()
    assert abs(float(head.std(unbiased=False)) - (2 / 1280) ** 0.5) < 1e-3  # fan-out
    assert abs(float(one.classifier.weight.detach().std()) - 0.01) < 1e-3
    weight = torch.empty(400, 100)
    truncated_normal(weight, 0.5, torch.Generator().manual_seed(0))
    assert abs(float(weight.std()) - 0.5) < 0.01
    assert float(weight.abs().max()) <= 0.5 / 0.8796 * 2 + 1e-6
    glorot_normal(weight, torch.Generator().manual_seed(0))
    assert abs(float(weight.std()) - (2 / 500) ** 0.5) < 1e-3


def test_winners_become_networks():
    images = torch.zeros(2, 3, 32, 32)
    tss, sss = spaces.get("tss"), spaces.get("sss")
    for winner in (
        {"space": "tss", "winner": {"index": 1462, "arch": tss.string(1462)}},
        {"space": "sss", "winner": {"arch": sss.string(0)}},
        {"space": "shrink-cnn", "winner": {"arch": str(SHRINKCNN)}},
        {"space": "darts-cnn", "winner": genotypes.PUBLISHED["darts-v1"].record()},
        "darts-v2",
        "shrinkcnn-b",
    ):
        assert imagenet.build(winner, 4, size=32).eval()(images).shape == (2, 4)
    one = imagenet.build({"space": "shrink-cnn", "winner": {"arch": str(SHRINKCNN)}}, 9)
    assert params(one) == params(imagenet.build("shrinkcnn-a", 9))


def test_stated_counts_of_tss_and_sss_on_imagenet():
    """All 3x3 convolutions: 6 * 5 cells * (9 C^2 + 2 C) a stage, and so on; see the module's docstring."""

    def expected(n3, classes, c=64, cells=5):
        total = 27 * c // 2 + c + 9 * c // 2 * c + 2 * c + 9 * c * c + 2 * c  # stem
        for k in (c, 2 * c, 4 * c):
            total += cells * n3 * (9 * k * k + 2 * k)
        for k in (c, 2 * c):
            total += 9 * k * 2 * k + 9 * 4 * k * k + k * 2 * k + 2 * 2 * 2 * k
        return total + 8 * c + (4 * c + 1) * classes

    net = imagenet.build({"space": "tss", "winner": {"index": 1462}}, 1000)
    assert params(net) == expected(6, 1000) == 24_713_608
    assert macs(net, (1, 3, 224, 224)) == 2_788_838_376
    assert params(imagenet.build({"space": "sss", "winner": {"arch": "64:64:64:64:64"}}, 1000)) == 12_494_440


def test_bad_winners_are_refused_by_name():
    for winner, why in (
        ("shrinkcnn-c", "nearest: shrinkcnn-"),
        ({"space": "ttt", "winner": {}}, "unknown space of a winner 'ttt'"),
        ({}, "unknown space of a winner"),
        ({"space": "tss"}, "under the key 'winner'"),
        ({"space": "tss", "winner": {"index": 99_999}}, "0 to 15624"),
        ({"space": "tss", "winner": {}}, "expected the key arch or index"),
        ({"space": "shrink-cnn", "winner": {"arch": "x@0"}}, "unknown operation 'x'"),
        ({"space": "darts-cnn", "winner": {"normal": 3}}, "expected normal and reduce"),
        ({"space": "darts-cnn", "winner": {"arch": "a@0"}}, "genotype"),
    ):
        with pytest.raises(UsageError, match=why):
            imagenet.build(winner, 10)
    with pytest.raises(UsageError, match="multiple of 32, as 224"):
        imagenet.build("darts-v2", 10, size=220)
    with pytest.raises(UsageError, match="classes = 0"):
        imagenet.build("shrinkcnn-a", 0)
    for winner, why in (
        ("shrinkrn", "nearest: shrinkrnn"),
        ({"space": "tss", "winner": {}}, "unknown space of a recurrent winner"),
        ({"space": "darts-rnn", "winner": {"recurrent": [["tanh", 3]], "concat": [1]}}, "edge 3->1"),
        ({"space": "darts-rnn", "winner": {"recurrent": 4}}, "expected recurrent"),
        ({"space": "darts-rnn", "winner": {"recurrent": [["tang", 0]], "concat": [1]}}, "nearest: tanh"),
    ):
        with pytest.raises(UsageError, match=why):
            language.recurrence(winner)


def test_darts_networks_have_the_published_sizes():
    """3.3 M (3,349,342 in the authors' logs) on CIFAR-10 and 4.7 M (4,718,752) on ImageNet, without auxiliary head."""
    chosen = genotypes.PUBLISHED["darts-v2"]
    assert params(genotypes.DartsNet(chosen, 10)) == 3_349_342
    assert params(imagenet.build("darts-v2", 1000)) == 4_718_752
    assert genotypes.DartsNet(chosen, 5, channels=4, cells=4).eval()(torch.zeros(2, 3, 16, 16)).shape == (2, 5)


def test_genotypes_round_trip_and_are_checked():
    for chosen in genotypes.PUBLISHED.values():
        assert genotypes.Genotype.read(str(chosen)) == chosen
        assert genotypes.Genotype.read(json.loads(json.dumps(chosen.record()))) == chosen
    record = genotypes.PUBLISHED["darts-v1"].record()
    for key, value, why in (
        ("normal", [["sep_conv_9x9", 0], ["skip_connect", 1]], "unknown operation"),
        ("normal", [["skip_connect", 2], ["skip_connect", 1]], "cannot read node 2"),
        ("reduce_concat", [1], "expected inner nodes 2 to 5"),
    ):
        with pytest.raises(UsageError, match=why):
            genotypes.Genotype.read(record | {key: value})


def test_shrinkrnn_counts_exactly():
    with torch.device("meta"):  # 23 million numbers need not be drawn to be counted
        shapes = [(10_000, 745), (1490, 1490), (12, 745, 1490), (10_000,)]
    assert sum(int(np.prod(shape)) for shape in shapes) == 23_000_700
    assert shrinkrnn.parameters(shrinkrnn.PUBLISHED, 745, 10_000) == 23_000_700
    net = shrinkrnn.RecurrentNet()
    assert params(net) == 23_000_700
    assert [tuple(parameter.shape) for parameter in net.parameters()] == [shapes[0], shapes[3], shapes[1], shapes[2]]


def test_recurrent_step_against_the_equations_written_out():
    generator = torch.Generator().manual_seed(0)
    cell = shrinkrnn.RecurrentCell(shrinkrnn.PUBLISHED, 5, bound=1.0, generator=generator).double()
    x, state = (torch.randn(3, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    m_x, m_h = ((torch.rand(3, 5, dtype=torch.float64, generator=generator) < 0.7) / 0.7 for _ in range(2))
    matrix = dict(zip(shrinkrnn.PUBLISHED.edges, cell.edge_weights, strict=True))

    def move(product, source, phi):
        c, h = product[:, :5], product[:, 5:]
        return source + torch.sigmoid(c) * (phi(h) - source)

    def same(h):
        return h

    s0 = move(torch.cat([x * m_x, state * m_h], 1) @ cell.input_weight, state, torch.tanh)
    s1 = move((s0 * m_h) @ matrix[0, 1], s0, same)
    s2 = move((s0 * m_h) @ matrix[0, 2], s0, torch.sigmoid)
    s3 = sum(move((s * m_h) @ matrix[i, 3], s, torch.sigmoid) for i, s in ((0, s0), (1, s1))) / 2
    befores = ((0, s0), (1, s1), (2, s2), (3, s3))
    s4 = sum(move((s * m_h) @ matrix[i, 4], s, torch.tanh) for i, s in befores) / 4
    s5 = sum(move((s * m_h) @ matrix[i, 5], s, same) for i, s in befores) / 4
    outputs, last = cell(x[None], state, m_x, m_h)
    torch.testing.assert_close(last, (s4 + s5) / 2, rtol=0, atol=1e-14)
    assert torch.equal(outputs[-1], last)


def test_recurrent_cells_of_any_graph_and_the_fused_form():
    rng = np.random.default_rng(4)
    graphs = [Graph.of(RNN.official, []), *(random_graph(rng, RNN) for _ in range(8))]
    cells = [shrinkrnn.Recurrence.of(graph) for graph in graphs]
    for recurrence in [*cells, language.CELLS["darts-rnn-v2"]]:
        generator = torch.Generator().manual_seed(1)
        plain = shrinkrnn.RecurrentCell(recurrence, 4, bound=1.0, generator=generator).double()
        fused = FusedCell(recurrence, 4, bound=1.0, generator=generator).double()
        fused.load_state_dict(plain.state_dict())
        x = torch.randn(6, 2, 4, dtype=torch.float64, generator=generator)
        state = torch.zeros(2, 4, dtype=torch.float64)
        torch.testing.assert_close(fused(x, state)[0], plain(x, state)[0], rtol=0, atol=1e-12)
        assert params(plain) == 4 * 16 + 2 * 16 * len(recurrence.edges)


def test_recurrence_drops_what_is_not_reached():
    graph = Graph.of(("relu", "tanh", "sigmoid"), [(0, 2), (1, 2), (1, 3)])
    found = shrinkrnn.Recurrence.of(graph)
    assert found == shrinkrnn.Recurrence(("tanh",), ((0, 1),), (1,))
    assert shrinkrnn.Recurrence.of(Graph.of(RNN.official, [])).outputs == (0,)


def test_gradients_of_a_recurrent_net_by_finite_differences():
    net = shrinkrnn.RecurrentNet(shrinkrnn.Recurrence.of(RNN.parse("tanh@0/sigmoid@0,1")), 5, 3).double()
    tokens = torch.tensor([[0, 3], [4, 1], [2, 2]])
    names, values = zip(*[(name, value.detach()) for name, value in net.named_parameters()], strict=True)

    def loss(*given):
        logits, _ = torch.func.functional_call(net, dict(zip(names, given, strict=True)), (tokens,))
        return functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())

    assert torch.autograd.gradcheck(loss, [value.requires_grad_() for value in values])
