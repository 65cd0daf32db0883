"""Single-Path NAS's space: its size, its published network, the latency of a Pixel 1 and what limits on it allow."""

import json

import numpy as np
import pytest

import nasharness
from nasharness import hardware, spaces
from nasharness.errors import DataError, UsageError
from nasharness.hardware import pixel1
from nasharness.hardware.build_embedded import build
from nasharness.search import Backend, Problem
from nasharness.spaces.mbconv import Setting
from nasharness.spaces.mobile import BLOCKS

MOBILE = spaces.get("mobile")
PUBLISHED = MOBILE.parse("spnasnet-100")
#: (ring kept, layer kept, second half kept) of each block
DECISIONS = {
    "skip": (0, 0, 0), "3x3-e3": (0, 1, 0), "3x3-e6": (0, 1, 1), "5x5-e3": (1, 1, 0), "5x5-e6": (1, 1, 1),
}  # fmt: skip


def latency(arch, quantity="pixel1_latency"):
    return hardware.reader(hardware.find(MOBILE, "ImageNet", quantity))(arch)


def uniform(option):
    return MOBILE.from_string(",".join([option] * 20))


def test_the_space_has_the_published_size_and_no_group_without_its_first_layer():
    assert MOBILE.size == 5**15 * 4**5
    drawn = MOBILE.sample(np.random.default_rng(0).random((2_000, 20)))
    assert (drawn[:, ::4] < 4).all()
    assert (drawn == 4).any(axis=0).sum() == 15
    mutants = MOBILE.mutate(drawn, np.random.default_rng(1).random((2_000, 1)))
    assert ((mutants != drawn).sum(axis=1) == 1).all()
    assert (mutants[:, ::4] < 4).all()
    for arch in drawn[:20]:
        assert np.array_equal(MOBILE.parse(MOBILE.string(arch)), arch)
    for wrong, why in (("3x3-e3", "1 part"), (",".join(["skip"] * 20), "group1.1 is 'skip'"), ("spnasnet", "1 part")):
        with pytest.raises(UsageError, match=why):
            MOBILE.parse(wrong)
    assert MOBILE.graph("spnasnet-100").nodes[4:6] == ("skip", "5x5-e6")
    assert MOBILE.weaker(0).max(axis=1).tolist() == [-1, 0, 0, 2]  # what cannot be left out has nothing below 3x3-e3
    assert MOBILE.weaker(1).max(axis=1).tolist() == [4, 0, 0, 2, -1]


def test_published_sums_of_the_latency_table():
    for option, milliseconds in (("3x3-e3", 65.69), ("3x3-e6", 110.65), ("5x5-e3", 76.36), ("5x5-e6", 131.46)):
        assert latency(uniform(option)) == pytest.approx(milliseconds, abs=0.005)
    read = hardware.reader(hardware.find(MOBILE, "ImageNet", "pixel1_latency"))
    assert read.least() == pytest.approx(30.63, abs=0.005)
    assert read.most() == pytest.approx(131.46, abs=0.005)
    assert read.fixed == 19.5999
    assert latency(PUBLISHED) == pytest.approx(80.44, abs=0.005)
    assert latency(PUBLISHED, "pixel1_relaxed_latency") == pytest.approx(80.59, abs=0.005)


def test_the_relaxed_model_estimates_3x3_e3_and_nothing_else():
    """By at most 5 %, the most in block 1, whose 4.490 ms it takes for 4.704."""
    exact, relaxed = (
        hardware.reader(hardware.find(MOBILE, "ImageNet", name)).layers
        for name in ("pixel1_latency", "pixel1_relaxed_latency")
    )
    for one, other in zip(exact, relaxed, strict=True):
        assert np.array_equal(one[1:], other[1:])
        assert other[0] == pytest.approx(one[2] * one[1] / one[3])
        assert other[0] == pytest.approx(one[0], rel=0.05)
    assert (exact[0][0], relaxed[0][0]) == (pytest.approx(4.490, abs=1e-3), pytest.approx(4.704, abs=1e-3))


def test_hard_decisions_are_decoded_as_what_they_are():
    """The released converter swaps two: it makes 3x3-e6 k3_e3, and 5x5-e3 k5_e6."""
    for option, decided in DECISIONS.items():
        found = MOBILE.decoded([decided] * 20)
        kept = option if option != "skip" else "3x3-e3"  # a group's first layer cannot be left out
        assert [MOBILE.options[at][found[at]] for at in (0, 1)] == [kept, option]
    swapped = {"3x3-e6": (3, 6), "5x5-e3": (5, 3)}
    for option, (kernel, expansion) in swapped.items():
        assert (BLOCKS[option].kernel, BLOCKS[option].expansion) == (kernel, expansion)
    decisions = [DECISIONS[options[choice]] for options, choice in zip(MOBILE.options, PUBLISHED, strict=True)]
    assert np.array_equal(MOBILE.decoded(decisions), PUBLISHED)
    assert MOBILE.decoded(np.zeros((3, 2, 20, 3))).shape == (3, 2, 20)


def test_published_counts():
    """4.42 M parameters; pytorch-image-models has 4,421,616."""
    assert round(1e6 * float(MOBILE.params(PUBLISHED))) == 4_421_616
    assert float(MOBILE.flops(PUBLISHED)) == pytest.approx(333.468, abs=1e-3)
    many = MOBILE.sample(np.random.default_rng(0).random((6, 20)))
    assert MOBILE.params(many.reshape(2, 3, 20)).tolist() == [[float(MOBILE.params(x)) for x in part] for part in
                                                                many.reshape(2, 3, 20)]  # fmt: skip
    small = Setting(MOBILE.settings["ImageNet"].macro.scaled(0.25), 32, 10)
    assert MOBILE.counts(PUBLISHED, small)[0] < 0.1 * MOBILE.params(PUBLISHED)
    for bad in (0, -1.0, float("inf")):
        with pytest.raises(UsageError, match="width"):
            MOBILE.settings["ImageNet"].macro.scaled(bad)
    with pytest.raises(UsageError, match="nearest: ImageNet"):
        MOBILE.params(PUBLISHED, "imagenet")


def test_show_knows_published_networks_by_name(cli):
    code, out, said = cli("show", "spnasnet-100")
    assert code == 0, said
    for words in ("80.4411 ms", "80.5926 ms", "4.421616 M params", "74.96 %", "group1.4 skip", "spnasnet-100"):
        assert words in out
    code, out, _ = cli("show", MOBILE.string(PUBLISHED), "--space", "mobile", "--json")
    known = json.loads(out)
    assert (code, known["named"][0]["name"], known["index"]) == (0, "spnasnet-100", None)
    code, _, said = cli("show", "spnasnet-10")
    assert code == 2
    assert "nearest: spnasnet-100" in said
    code, out, _ = cli("list", "devices", "pixel1*")
    assert "mobile, ImageNet: ms" in out


def test_a_backend_searches_mobile_under_a_limit():
    def depth(archs):
        return (np.asarray(archs) < 4).sum(axis=-1).astype(float)

    problem = Problem.create(
        "mobile", table=Backend("depth", depth), dataset="ImageNet", limits=["pixel1_latency <= 79"], evaluations=200
    )
    result = nasharness.run("rea", problem, runs=2)
    assert (latency(result.recommended) <= 79).all()
    assert (result.final >= 15).all()
    for limit in ("pixel1_latency <= 30", "pixel1_latency >= 132"):
        with pytest.raises(UsageError, match=r"nothing on space mobile keeps it; the nearest is (30.6|131.4)"):
            Problem.create("mobile", table=Backend("depth", depth), dataset="ImageNet", limits=[limit])


def test_the_embedded_table_is_built_again_from_its_source(tmp_path):
    operators = MOBILE.operators("ImageNet")
    prices = hardware.reader(hardware.find(MOBILE, "ImageNet", "pixel1_latency")).layers
    content = {str(n): dict(zip("0123", row[:4].tolist(), strict=True)) for n, row in enumerate(prices, 1)}
    file = tmp_path / pixel1.FILE
    file.write_text(json.dumps(content))
    made = build(file, tmp_path / "made")
    here = hardware.tables("mobile")[-1]
    assert made.size == len(operators.names()) == 1 + 15 * 5 + 5 * 4
    for name, column in here.columns.items():
        assert made.columns[name].sha256 == column.sha256
    del content["7"]["2"]
    with pytest.raises(DataError, match="block 7"):
        pixel1.columns(content)
