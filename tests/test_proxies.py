"""Zero-cost proxies: against plain computations and published columns, the file of scores, and starts from it."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

import nasharness
from nasharness import images as image_sets
from nasharness import proxies, spaces
from nasharness.analysis.statistics.correlation import kendall
from nasharness.errors import DataError, UsageError
from nasharness.proxies import registry
from nasharness.proxies.candidate import Candidate
from nasharness.proxies.observed import deviations
from nasharness.proxies.scoring import Request, score
from nasharness.search.scores import read_scores
from nasharness.search.start import Start
from nasharness.search.testing import synthetic_problem
from nasharness.studies import load
from tests.test_nets import plain_network

TSS = spaces.get("tss")
SMALL = ["--channels", 4, "--depth", 1, "--batch", 4, "--images", "digits", "--space", "tss"]
DENSE = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_1x1~1|skip_connect~2|"


def candidate(arch, batch=6, **options):
    images = torch.randn((batch, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    chosen = {"space": TSS, "dataset": "digits", "classes": 10, "channels": 4, "cells": 2} | options
    return Candidate(arch=chosen["space"].parse(arch), images=images, labels=torch.zeros(batch), **chosen)


@pytest.fixture
def flaky():
    """A proxy that fails on the architectures in a set, which is returned."""
    failing = set()

    @proxies.register("flaky", citation="none")
    def flaky(candidate):
        """The index."""
        if candidate.arch in failing:
            raise ValueError("no luck")
        return math.nan if candidate.arch % 3 == 0 else float(candidate.arch)

    yield failing
    registry._registry.records.pop("flaky")


class Rectifiers(TorchFunctionMode):
    """Everything that a rectifier lets through."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        if function is functional.relu:
            self.seen.append(output)
        return output


@pytest.mark.parametrize("arch", [DENSE, 1462, 9930])
def test_naswot_is_the_determinant_of_plain_codes(arch):
    one = candidate(arch)
    with torch.no_grad(), Rectifiers() as rectifiers:
        plain_network(one.network(), one.images)
    codes = torch.cat([features.flatten(1) > 0 for features in rectifiers.seen], dim=1).numpy()
    alike = [[np.sum(first == second) for second in codes] for first in codes]
    assert proxies.get("naswot").function(one) == pytest.approx(np.linalg.slogdet(np.array(alike))[1])


def test_synflow_is_the_sum_over_weights_of_weight_times_gradient():
    """Every layer passes on the same flow, here that of a plain product of absolute weights."""
    one = candidate("|skip_connect~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|", cells=1)
    net = one.network().double()
    image = torch.ones((1, 3, 8, 8), dtype=torch.float64)
    with torch.no_grad():
        x = functional.conv2d(image, net.stem.conv.weight.abs(), padding=1)
        for block in net.residuals:
            inside = functional.conv2d(x, block.first.weight.abs(), stride=2, padding=1)
            inside = functional.conv2d(inside, block.second.weight.abs(), padding=1)
            x = inside + functional.conv2d(functional.avg_pool2d(x, 2), block.shortcut.weight.abs())
        through = float((x.mean((2, 3)) @ net.head.classifier.weight.abs().T).sum())
    # stem and classifier carry all of it once; first and second of a block its share, and the shortcut the rest
    found = math.exp(proxies.get("synflow").function(one))
    assert 4 * through < found < 6 * through


def test_what_looks_at_no_weight_agrees_with_the_closed_forms():
    for name, space in (("params", "tss"), ("macs", "tss"), ("params", "sss"), ("macs", "sss")):
        space = spaces.get(space)
        wide = {"images": torch.zeros((2, 3, 32, 32)), "labels": torch.zeros(2), "classes": 100, "dataset": "cifar100"}
        for arch in (0, 5_000, 12_345):
            known = Candidate(space, arch, **wide)
            built = Candidate(space, arch, **wide, cells=5 if space.name == "tss" else 1)
            assert known.published
            assert not built.published
            function = proxies.get(name).function
            assert function(built) == pytest.approx(function(known), abs=1e-9)


def test_a_network_that_sees_nothing_has_no_flow():
    nothing = candidate("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    for name in ("synflow", "jacob_cov", "zen"):
        assert proxies.get(name).function(nothing) == -math.inf


def test_zen_sees_a_deviation_for_every_normalisation():
    net = candidate(DENSE).network()
    normalisations = 1 + 6 * 5 + 2 * 2 + 1  # stem, five convolutions in six cells, residual blocks, head
    assert len(torch.cat(deviations(net))) == normalisations


def test_scores_depend_on_seed_and_architecture_alone():
    for name in ("synflow", "naswot", "jacob_cov", "zen"):
        function = proxies.get(name).function
        torch.manual_seed(0)
        first = function(candidate(9930))
        torch.manual_seed(1)
        assert function(candidate(9930)) == first
        assert function(candidate(9930, seed=1)) != first


def published(shared_data, names, count, batch=32):
    """Our scores of some cells on JPEG copies of CIFAR-10, and the published frames beside them."""
    pandas = pytest.importorskip("pandas")
    all_of = pandas.read_parquet(shared_data / "tss_zc.parquet").set_index("index")
    some = pandas.read_parquet(shared_data / "tss_zc13.parquet").query("dataset == 'cifar10'").set_index("index")
    chosen = np.random.default_rng(7).permutation(some.index.to_numpy())[:count]
    images = image_sets.load("cifar10", shared_data)
    drawn = np.random.default_rng(0).permutation(len(images.train_y))[:batch]
    shown = torch.from_numpy(images.train_x[drawn]).float() / 255
    shown = (shown - torch.tensor(images.mean).view(1, 3, 1, 1)) / torch.tensor(images.std).view(1, 3, 1, 1)
    labels = torch.from_numpy(images.train_y[drawn])
    made = [Candidate(TSS, int(arch), "cifar10", 10, shown, labels) for arch in chosen]
    ours = {name: np.array([proxies.get(name).function(one) for one in made]) for name in names}
    if "synflow" in names:
        theirs = [dataclasses.replace(one, init="kaiming") for one in made]
        ours["synflow.kaiming"] = np.array([proxies.get("synflow").function(one) for one in theirs])
    return ours, all_of.loc[chosen], some.loc[chosen]


def test_what_needs_no_images_ranks_as_published(shared_data):
    ours, all_of, some = published(shared_data, ("params", "macs", "synflow"), 20, batch=2)
    assert kendall(ours["params"], some["params"].to_numpy()) == pytest.approx(1)
    assert kendall(ours["macs"], some["flops"].to_numpy()) > 0.95
    assert kendall(ours["synflow"], some["synflow"].to_numpy()) > 0.95
    flows = all_of["cifar10_log10_synflow"].to_numpy()
    assert kendall(ours["synflow.kaiming"], flows) > 0.95
    assert np.abs(ours["synflow.kaiming"] / np.log(10) - flows).max() < 0.5  # theirs: the mean of three draws


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_rank_as_published(shared_data):
    """Other weights and other images than theirs: no more agreement can be asked than between two seeds of ours."""
    ours, all_of, some = published(shared_data, ("naswot", "jacob_cov", "zen"), 40)
    assert kendall(ours["naswot"], some["nwot"].to_numpy()) > 0.94
    assert kendall(ours["naswot"], all_of["cifar10_naswot"].to_numpy()) > 0.93
    assert kendall(ours["zen"], all_of["cifar10_zen"].to_numpy()) > 0.94
    assert kendall(ours["jacob_cov"], some["jacov"].to_numpy()) > 0.65


def test_the_command_writes_what_validate_reads_and_never_over_a_file(cli, tmp_path):
    out = tmp_path / "scores.csv"
    words = ["score", "--proxy", "params,synflow", "--proxy", "naswot", "--cells", 12, *SMALL, "--out", out]
    code, printed, error = cli(*words)
    assert code == 0, error
    assert f"written    {out}" in printed
    index, scores, left_out = read_scores(out, TSS.size, "cifar10")
    assert (len(index), list(scores), left_out) == (12, ["params", "synflow", "naswot"], [])
    card = json.loads((tmp_path / "scores.csv.json").read_text())
    assert (card["dataset"], card["seed"], card["batch"]) == ("digits", 0, 4)
    code, _, error = cli(*words)
    assert code == 2
    assert "there is one already" in error
    made = nasharness.score(["synflow", "naswot"], "tss", "digits", archs=12, batch=4, channels=4, cells=1)
    assert np.array_equal(made.scores["naswot"], scores["naswot"])
    before = out.read_bytes()
    assert cli(*words, "--resume")[0] == 0
    assert out.read_bytes() == before
    code, _, error = cli(*words, "--resume", "--seed", 3)
    assert code == 2
    assert "another request" in error
    (tmp_path / "other.csv.json").write_text("{}")
    code, _, error = cli(*words[:-1], tmp_path / "other.csv")
    assert code == 2
    assert "would be written over" in error
    assert cli("validate", "--scores", out, "--k", "1", "--column", "synflow")[0] == 0
    code, printed, _ = cli("score", "--proxy", "params", "--cells", 3, *SMALL, "--json")
    assert code == 0
    assert len(json.loads(printed)["scores"]["params"]) == 3
    assert not list(tmp_path.glob(".*"))


def test_csv_and_parquet_hold_the_same_and_some_architectures_score_as_all(tmp_path, flaky):
    base = {"proxies": ["flaky", "synflow"], "space": "tss", "images": "digits", "channels": 4, "cells": 1, "batch": 4}
    (tmp_path / "cells.txt").write_text(f"{DENSE}\n0\n8\n10\n")
    found = []
    for ending in ("csv", "parquet"):
        out = tmp_path / f"scores.{ending}"
        score(Request(**base, archs=tmp_path / "cells.txt", out=out))
        found.append(read_scores(out, TSS.size, "cifar10"))
    (index, scores, _), (index_too, scores_too, _) = found
    assert np.array_equal(index, index_too)
    assert index.tolist() == sorted([TSS.parse(DENSE), 0, 8, 10])
    assert np.isnan(scores["flaky"][0])
    assert scores["flaky"][1] == 8
    assert all(np.array_equal(scores[name], scores_too[name], equal_nan=True) for name in scores)
    (tmp_path / "one.txt").write_text("10\n")
    alone = score(Request(**base, archs=str(tmp_path / "one.txt")))
    assert alone.scores["synflow"][0] == scores["synflow"][index.tolist().index(10)]


def test_a_run_that_was_stopped_goes_on_and_ends_in_the_same_bytes(tmp_path, flaky):
    base = {"proxies": ["flaky", "synflow"], "space": "tss", "images": "digits", "channels": 4, "cells": 1, "batch": 4}
    whole, out = tmp_path / "whole.csv", tmp_path / "scores.csv"
    index = score(Request(**base, archs=8, out=whole)).index
    flaky.add(int(index[5]))
    with pytest.raises(DataError, match=r"proxy 'flaky' fails on tss \d+: .*no luck"):
        score(Request(**base, archs=8, out=out))
    assert not out.exists()
    flaky.clear()
    with pytest.raises(UsageError, match="5 architectures of it are scored; go on with --resume"):
        score(Request(**base, archs=8, out=out))
    with pytest.raises(UsageError, match="seed, digest differ"):
        score(Request(**base, archs=8, seed=1, out=out, resume=True))
    with (tmp_path / ".scores.csv.begun").open("a") as file:
        file.write('{"index": 1')  # what a crash left
    flaky.update(index[:5].tolist())  # which are not scored again
    score(Request(**base, archs=8, out=out, resume=True))
    assert out.read_bytes() == whole.read_bytes()
    assert (tmp_path / "scores.csv.json").read_bytes() == (tmp_path / "whole.csv.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--proxy", "synflw"], "nearest: synflow"),
        (["--proxy", ","], "no proxy"),
        (["--proxy", "params", "--cells", 0], "expected 1"),
        (["--proxy", "params", "--cells", "absent.txt"], "absent.txt"),
        (["--proxy", "params", "--batch", 1], "--batch 1: expected 2"),
        (["--proxy", "params", "--out", "scores.txt"], "ends in .csv"),
        (["--proxy", "params", "--init", "kaimin"], "nearest: kaiming"),
        (["--proxy", "params", "--resume"], "give --out"),
        (["--proxy", "params", "--space", "sss"], "widths"),
        (["--proxy", "params", "--space", "fbnet"], "no network here"),
        (["--proxy", "params", "--depth", 0], "--depth 0"),
    ],
)
def test_what_cannot_be_scored_is_refused(cli, words, says):
    code, printed, error = cli("score", *SMALL, *words)
    assert code in (1, 2)
    assert not printed
    assert says in error


def test_a_proxy_needs_a_name_that_heads_a_column():
    for name in ("index", "two words", "synflow_time_s"):
        with pytest.raises(UsageError, match="head a column"):
            proxies.register(name, citation="none")(len)
    with pytest.raises(UsageError, match="two proxies"):
        proxies.register("synflow", citation="none")(lambda candidate: 0.0)


# -- starts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scores_file(tmp_path):
    """Two scores of ten architectures; one has none, three share the best."""
    file = tmp_path / "scores.csv"
    rows = [(10 + k, value, -k) for k, value in enumerate([1, 5, 5, 5, "", 0, "-inf", 2, 3, 4])]
    file.write_text("index,good,other\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    return file


def test_a_start_from_scores_takes_the_best_first_and_equals_in_random_order(scores_file):
    start = Start.parse(f"scores:{scores_file}@good:5", TSS)
    free = lambda ids: np.zeros(np.shape(ids))  # noqa: E731
    many = start.draw(TSS, np.arange(200), 0, free)
    assert (np.sort(many[:, :3], axis=1) == [11, 12, 13]).all()
    assert (many[:, 3:] == [19, 18]).all()
    assert np.abs(np.bincount(many[:, 0])[11:14] / 200 - 1 / 3).max() < 0.12
    assert np.array_equal(start.draw(TSS, np.array([7]), 0, free)[0], many[7])
    assert np.isin(many, [11, 12, 13, 19, 18]).all()
    without = start.draw(TSS, np.arange(4), 0, lambda ids: np.isin(ids, [11, 12]).astype(float))
    assert (without == [13, 19, 18, 17, 10]).all()
    assert str(start).startswith("scores:scores.csv@good:5 (9 scores, SHA-256 ")
    assert Start.parse(start.asked, TSS) == start


def test_searches_begin_with_the_best_by_score(scores_file, cli, tmp_path):
    start = f"scores:{scores_file}@other:4"
    for name in ("rea", "local-search", "autoshrink.pooled", "gp"):
        found = nasharness.run(name, synthetic_problem(evaluations=20, start=start), runs=2).trajectories.ids
        assert (np.sort(found[:, :4], axis=1) == [10, 11, 12, 13]).all()
    out = tmp_path / "study"
    words = ["--algo", "random,rea", "--runs", 2, "--evaluations", 12, "--start", start]
    assert cli("study", *words, "--out", out)[0] == 0
    assert any("[scores:scores.csv@other:4]" in name for name in load([out]).frame["algorithm"].unique())
    code, printed, error = cli("validate", "--algo", "rea", "--against", "random", "--evaluations", 15, "--runs", 25,
                               "--start", start)  # fmt: skip
    assert code in (0, 1), error
    assert "start scores:scores.csv@other:4" in printed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scores:{}", "several scores, good, other; name one"),
        ("scores:{}@god", "nearest: good"),
        ("scores:{}@good:40", "9 architectures have a score"),
        ("scores:{}@good:0", "expected scores:FILE"),
        ("scores:", "expected scores:FILE"),
        ("scores:absent.csv", "no file absent.csv"),
    ],
)
def test_what_is_no_start_from_scores(scores_file, text, says):
    with pytest.raises(UsageError, match=says):
        synthetic_problem(start=text.format(scores_file))
