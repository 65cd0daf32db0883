"""Single-Path NAS on tables: decisions of nested spaces, the reference runs, costs, and settings that cannot be."""

import numpy as np
import pytest
from nasharness.algorithms.single_path_table import Decisions
from pyarrow import parquet

import nasharness
from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.search import Backend, Problem
from nasharness.search.testing import synthetic_problem
from nasharness.tables import from_frame

FORMS = ("single-path.table", "single-path.surrogate")
NESTED = [name for name in spaces.names() if "nested" in spaces.get(name).offers]


@pytest.fixture(scope="module")
def accuracies(shared_data):
    return parquet.read_table(shared_data / "tss.parquet", columns=["arch", "cifar10_test_200", "cifar100_test_200"])


@pytest.fixture
def problem(data_home, accuracies):
    """200-epoch test accuracy of CIFAR-10 as the signal, with the latency of the FPGA beside it."""
    frame = {"arch": accuracies["arch"].to_pylist(), "acc": accuracies["cifar10_test_200"].to_pylist()}
    table = from_frame(frame, name="ref", space="tss", arch="arch", metrics={"acc": "cifar10/acc"})
    options = {"signal": "acc", "final": "acc", "objectives": ["fpga_latency"], "evaluations": 200}
    return Problem.create("tss", "cifar10", table=table, **options)


def test_the_published_spaces_are_nested():
    assert set(NESTED) >= {"tss", "sss", "macro", "channel-resnet", "tnb101-micro", "mobile", "fbnet"}


@pytest.mark.parametrize("name", NESTED)
def test_every_path_of_decisions_leads_to_one_option_and_every_option_has_one(name):
    space = spaces.get(name)
    decisions = Decisions(space)
    on = np.random.default_rng(0).random((*decisions.path.shape[::2], 4_000)) < 0.5
    taken = decisions.taken(on)
    for position, options in enumerate(space.options):
        reached = set(np.unique(taken[position]).tolist())
        allowed = {number for number, option in enumerate(options) if space.paths(position)[number].any()}
        assert reached == allowed
    # the options that are led to differ in a decision that both were asked
    for position in range(len(space.options)):
        paths = decisions.path[position][decisions.open[position]].astype(int)
        clash = (paths[:, None] * paths[None]).min(axis=2) < 0
        assert (clash | np.eye(len(paths), dtype=bool)).all()
    asked = decisions.asked(taken)
    assert not (asked & ~decisions.free[:, :, None]).any()


def test_ordered_widths_are_products_of_decisions():
    """P(width >= 8k) = the product of the decisions up to it."""
    decisions = Decisions(spaces.get("sss"))
    on = np.ones((5, 7, 1), dtype=bool)
    assert (decisions.taken(on) == 7).all()
    on[2, 3] = False  # what comes behind it is not asked
    assert decisions.taken(on)[:, 0].tolist() == [7, 7, 3, 7, 7]
    assert decisions.asked(decisions.taken(on))[2, :, 0].tolist() == [True] * 4 + [False] * 3


def test_a_group_of_mobile_keeps_its_first_layer_and_pooling_is_never_taken():
    mobile = Decisions(spaces.get("mobile"))
    off = np.zeros((20, 3, 1), dtype=bool)
    assert mobile.taken(off)[:, 0].tolist() == [0 if number % 4 == 0 else 4 for number in range(20)]
    tss = spaces.get("tss")
    for form in FORMS:
        result = nasharness.run(form, synthetic_problem("tss", evaluations=60), runs=2)
        assert not (tss.choices(result.trajectories.ids) == 4).any()


def test_what_leaving_operations_out_costs(accuracies):
    """Without pooling nothing is lost, without skip as well a little: best cells and their indices."""
    tss = spaces.get("tss")
    choices = tss.choices(np.arange(tss.size))
    for column, chain, skip in (("cifar10_test_200", (93.98, 5721), (94.37, 6111)),
                                ("cifar100_test_200", (71.74, 12887), (73.51, 9930))):  # fmt: skip
        accuracy = np.array(accuracies[column].to_pylist())
        for (best, index), allowed, cells in ((chain, (0, 2, 3), 729), (skip, (0, 1, 2, 3), 4096)):
            kept = np.isin(choices, allowed).all(axis=1)
            assert kept.sum() == cells
            assert np.where(kept, accuracy, 0).argmax() == index
            assert accuracy[index] == pytest.approx(best, abs=0.005)


@pytest.mark.parametrize(
    ("weight", "without", "decoded", "best"),
    [
        (0.0, "", (93.70, 8.46), (94.35, 6.84)),
        (0.02, "", (93.65, 7.97), (93.88, 4.51)),
        (0.05, "skip_connect", (93.26, 6.26), (92.50, 3.76)),
        (0.10, "skip_connect", (92.48, 4.74), (91.53, 3.23)),
    ],
)
def test_reference_runs(problem, weight, without, decoded, best):
    """Accuracy and milliseconds, means of 100 runs; both means have their error."""
    settings = {"cost_weight": weight, "warmup": 0.3, "without": without}
    for answer, expected in (("decoded", decoded), ("best", best)):
        result = nasharness.run("single-path.table", problem, runs=200, settings=settings | {"answer": answer})
        latency = -problem.known().values(1, result.recommended)
        for found, mean in ((result.recommended_final, expected[0]), (latency, expected[1])):
            error = found.std() * np.hypot(1 / 200**0.5, 1 / 100**0.5)
            assert found.mean() == pytest.approx(mean, abs=3 * error + 0.005)


def test_exact_optima_of_the_reward(problem):
    everything = np.arange(15_625)
    accuracy = problem.truth().values
    latency = -problem.known().values(1, everything)
    kept = (spaces.get("tss").choices(everything) != 4).all(axis=1)
    for weight, index in ((0.0, 6111), (0.02, 11472), (0.05, 4659), (0.10, 4384)):
        assert np.where(kept, accuracy / 100 - weight * np.log(latency), -9).argmax() == index


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("space", ["tss", "sss"])
def test_a_heavier_cost_buys_a_cheaper_network(form, space):
    problem = synthetic_problem(space, evaluations=100, objectives=["macs"])
    costs = [
        -problem.known().values(1, nasharness.run(form, problem, runs=4, settings=settings).recommended).mean()
        for settings in ({"cost_weight": weight, "answer": "best"} for weight in (0.0, 1.0))
    ]
    assert costs[0] > costs[1]


def test_a_space_of_vectors_is_searched_too():
    def answer(archs):
        return 70.0 + (np.asarray(archs) == 3).sum(axis=-1)

    problem = Problem.create(
        "mobile", table=Backend("toy", answer), dataset="ImageNet", objectives=["pixel1_latency"], evaluations=60,
        limits=["pixel1_latency <= 100"],
    )  # fmt: skip
    for form in FORMS:
        result = nasharness.run(form, problem, runs=2, settings={"cost_weight": 0.02})
        assert (-problem.known().values(1, result.recommended) <= 100).all()
        alone = nasharness.run(form, problem, seed=1, settings={"cost_weight": 0.02})
        assert np.array_equal(alone.recommended[0], result.recommended[1])


def test_settings_that_cannot_be(data_home):
    problem = synthetic_problem(evaluations=5)
    for settings, why in (
        ({"cost_weight": -1.0}, "at least 0"), ({"warmup": 2.0}, "0 to 1"), ({"answer": "worst"}, "decoded"),
        ({"without": "skip"}, "nearest: skip_connect"), ({"lr": 0.0}, "more than 0"), ({"gain": 0.0}, "more than 0"),
        ({"momentum": 1.0}, "less than 1"),
        ({"without": "none,skip_connect,nor_conv_1x1,nor_conv_3x3"}, "leaves nothing"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=why):
            nasharness.run("single-path.table", problem, settings=settings)
    for settings in ({"ridge": 0.0}, {"growth": 0.5}):
        with pytest.raises(UsageError, match="expected"):
            nasharness.run("single-path.surrogate", problem, settings=settings)
    frame = {"a": ["x", "x", "y", "y"], "b": ["p", "q", "p", "q"], "v": [1.0, 2.0, 3.0, 4.0]}
    table = from_frame(frame, name="kinds", arch=["a", "b"], metrics={"v": "acc"})
    kinds = Problem.create("kinds", table=table, evaluations=3)
    with pytest.raises(UsageError, match="parts of one another"):
        nasharness.run("single-path.table", kinds)
