"""Networks of the spaces mobile and fbnet: what they cost at every width and side, what they compute, full training."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nasharness import spaces  # noqa: E402
from nasharness.errors import UsageError  # noqa: E402
from nasharness.nets import imagenet  # noqa: E402
from nasharness.nets.counts import macs, params  # noqa: E402
from nasharness.nets.mbconv import MBNet, network  # noqa: E402
from nasharness.spaces.mbconv import Setting  # noqa: E402
from tests.retrain_fixtures import pictures  # noqa: E402

MOBILE, FBNET = spaces.get("mobile"), spaces.get("fbnet")


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("space", [MOBILE, FBNET], ids=lambda space: space.name)
@pytest.mark.parametrize(("width", "side"), [(1.0, 224), (1.4, 33), (0.25, 28)])
def test_networks_cost_what_the_closed_form_says(space, width, side):
    arch = space.sample(np.random.default_rng(side).random(len(space.positions)))
    for dataset in space.datasets[: 1 if side == 224 else 2]:
        setting = Setting(space.setting(dataset).macro.scaled(width), side, 7)
        net = MBNet(setting.macro, space.chosen(arch), 7, generator=seeded())
        millions = space.counts(arch, setting)
        bias = 0 if space.linear_bias else 7
        assert (params(net), macs(net, (1, 3, side, side)) - bias) == tuple(round(1e6 * float(m)) for m in millions)


def test_published_network():
    net = imagenet.build("spnasnet-100", 1000)
    assert params(net) == 4_421_616
    assert macs(net, (1, 3, 224, 224)) == 333_468_072
    assert [layer.eps for layer in net.modules() if isinstance(layer, torch.nn.BatchNorm2d)][0] == 1e-3
    assert "spnasnet-100" in imagenet.names()


def test_a_layer_left_out_computes_nothing_and_another_what_its_parts_do():
    arch = MOBILE.parse("spnasnet-100")
    net = network("mobile", arch, 10, width=0.25, generator=seeded()).double().eval()
    assert isinstance(net.layers[4], torch.nn.Identity)
    block = net.layers[2]  # group1.2, a residual 3x3-e3
    x = torch.rand(2, 8, 9, 9, generator=seeded(), dtype=torch.float64)
    inside = torch.relu(block.first[1](torch.nn.functional.conv2d(x, block.first[0].weight)))
    wide = inside.shape[1]
    assert wide == 24
    inside = torch.nn.functional.conv2d(inside, block.depthwise[0].weight, padding=1, groups=wide)
    inside = torch.relu(block.depthwise[1](inside))
    torch.testing.assert_close(block(x), x + block.last[1](torch.nn.functional.conv2d(inside, block.last[0].weight)))


def test_groups_shuffle_their_channels():
    """Without the shuffle, half of the outputs would never see the other half of the inputs."""
    arch = ["k3_e3"] * 2 + ["k3_e1_g2"] + ["k3_e3"] * 19
    net = network("fbnet", ",".join(arch), 10, dataset="cifar10", generator=seeded()).double().eval()
    x = torch.rand(1, 24, 4, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    block = net.layers[2]
    (block(x)[:, :12] - x[:, :12]).sum().backward()
    assert (x.grad[:, 12:].abs().amax((0, 2, 3)) > 0).any()


def test_any_side_and_batch_and_the_same_weights_for_the_same_seed():
    net = network("mobile", "spnasnet-100", 5, width=0.25, generator=seeded())
    for side in (28, 32, 65):
        assert net(torch.zeros(2, 3, side, side)).shape == (2, 5)
    again = network("mobile", "spnasnet-100", 5, width=0.25, generator=seeded())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    with pytest.raises(UsageError, match="tss"):
        network("tss", 3, 10)
    with pytest.raises(UsageError, match="expected 20"):
        MBNet(MOBILE.setting("ImageNet").macro, [None], 10)
    with pytest.raises(UsageError, match="expected the key arch"):
        imagenet.build({"space": "mobile", "winner": {"index": 3}}, 10)


@pytest.mark.parametrize("space", ["mobile", "fbnet"])
def test_a_winner_is_retrained_exported_and_predicts(cli, tmp_path, space):
    pytest.importorskip("PIL")
    chosen = spaces.get(space)
    arch = chosen.string(np.full(len(chosen.positions), 0, dtype=np.int8))
    winner = {"format": "nasharness-winner/1", "space": space, "dataset": "ImageNet", "candidates": [{"arch": arch}]}
    (tmp_path / "winner.json").write_text(json.dumps(winner))
    data = pictures(tmp_path / "images", classes=2, train=4, val=2)
    code, out, said = cli(
        "retrain", "--winner", tmp_path / "winner.json", "--task", "imagenet", "--data", data, "--out",
        tmp_path / "full", "--recipe", "single-path", "--epochs", 1, "--batch", 4, "--size", 32, "--workers", 0,
        "--device", "cpu", "--json",
    )  # fmt: skip
    assert code == 0, said
    record = json.loads(out)
    small = Setting(chosen.setting("ImageNet").macro, 32, 2)
    assert record["params"] == round(1e6 * float(chosen.counts(chosen.parse(arch), small)[0]))
    code, _, said = cli("export", tmp_path / "full", "--out", tmp_path / "net.pt2")
    assert code == 0, said
    picture = next((data / "val").rglob("*.jpg"))
    code, out, said = cli("predict", tmp_path / "full", picture)
    assert code == 0, said
    assert "class0" in out
