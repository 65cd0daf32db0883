"""Environments of a problem, and NAS-OoD's adversary over them: closed forms, the reference tables, refusals."""

import json

import numpy as np
import pytest
from nasharness.algorithms.nas_ood_table import adversary, robust

import nasharness
from nasharness import spaces
from nasharness.errors import UsageError
from nasharness.search import Problem

TSS = spaces.get("tss")
SOURCES = {"baseline": "clean", "ptq": "ptq", "noisy": "noisy", "baseline_drift60s": "drift60s"}
TARGETS = {"baseline_drift86400s": "drift1d", "baseline_drift2592000s": "drift30d"}
ENVIRONMENTS = ",".join(SOURCES.values())


@pytest.fixture
def imported(cli, shared_data):
    """Analog hardware's shifts, imported as a user would."""
    metrics = [
        word for column, name in (SOURCES | TARGETS).items() for word in ("--metric", f"analog_{column}_acc={name}")
    ]
    code, _, said = cli("data", "import", shared_data / "tss_robust.parquet", "--name", "robust", "--space", "tss",
                        "--arch", "index", *metrics)  # fmt: skip
    assert code == 0, said
    return cli


def analog(target="drift30d", **options):
    return Problem.create(
        "tss", table="robust", environments=ENVIRONMENTS, target=target, **{"evaluations": 100} | options
    )


def test_the_adversary_in_closed_form():
    losses = np.random.default_rng(0).normal(size=(50, 4))
    for rho in (0.3, 1.0, 5.0):
        q = adversary(losses, rho)
        np.testing.assert_allclose(q.sum(axis=1), 1)
        value = (q * losses).sum(axis=1) - rho * (q * np.log(4 * q)).sum(axis=1)
        np.testing.assert_allclose(robust(losses, rho), value)
        for other in np.random.default_rng(1).dirichlet(np.ones(4), 200):
            worse = losses @ other - rho * (other * np.log(4 * other)).sum()
            assert (worse <= value + 1e-12).all()
    np.testing.assert_array_equal(robust(losses, 0), losses.max(axis=1))
    np.testing.assert_array_equal(adversary(losses, 0).argmax(axis=1), losses.argmax(axis=1))
    np.testing.assert_allclose(robust(losses, 1e-3), losses.max(axis=1), atol=2e-3)
    np.testing.assert_allclose(robust(losses, 1e6), losses.mean(axis=1), atol=1e-5)
    assert np.isfinite(robust(1e4 * losses, 0.1)).all()  # no overflow


@pytest.mark.parametrize(
    ("target", "rho", "scale", "expected"),
    [
        ("drift30d", 0.0, "z", (34.4, 11.3)), ("drift30d", 0.5, "z", (43.5, 10.0)), ("drift30d", 1.0, "z", (45.6, 8.5)),
        ("drift30d", 2.0, "z", (46.9, 8.0)), ("drift30d", 5.0, "z", (47.6, 7.6)), ("drift30d", 1e9, "z", (47.9, 7.2)),
        ("drift30d", 0.0, "raw", (49.6, 6.3)), ("drift1d", 0.0, "z", (46.5, 12.3)), ("drift1d", 1e9, "z", (61.6, 5.3)),
    ],
)  # fmt: skip
def test_reference_rules_among_random_cells(imported, target, rho, scale, expected):
    """Target accuracy of the pick among 100 random cells: mean and deviation over 300 seeds, theirs and ours."""
    result = nasharness.run("nas-ood.table.random", analog(target), runs=300, settings={"rho": rho, "scale": scale})
    error = np.hypot(expected[1], result.recommended_final.std()) / 300**0.5
    assert result.recommended_final.mean() == pytest.approx(expected[0], abs=3 * error)
    clean = {"drift30d": (28.9, 13.7), "drift1d": (38.7, 17.3)}[target]  # the incumbent knows the first source alone
    assert result.final.mean() == pytest.approx(clean[0], abs=3 * np.hypot(clean[1], result.final.std()) / 300**0.5)


def test_the_bar_at_a_hundred_evaluations(imported):
    """At 30 days: clean accuracy alone picks 28.9, an oracle among random cells 52.6."""
    result = nasharness.run("nas-ood.table", analog(), runs=300)
    mean, error = result.recommended_final.mean(), result.recommended_final.std() / 300**0.5
    assert mean - 2 * error >= 47
    random = nasharness.run("nas-ood.table.random", analog(), runs=300)
    assert mean > random.recommended_final.mean()
    code, out, said = imported(
        "run", "--algo", "nas-ood.table", "--space", "tss", "--table", "robust", "--environments", ENVIRONMENTS,
        "--target", "drift30d", "--evaluations", 100, "--runs", 20, "--json",
    )  # fmt: skip
    assert code == 0, said
    told = json.loads(out)
    assert told["protocol"]["environments"] == list(SOURCES.values())
    assert told["protocol"]["final"] == "drift30d:mean"
    assert told["recommended"]["values"] == result.recommended_final[:20].tolist()
    assert "front" not in told
    assert told["winner"]["label"] == "most-recommended"


def test_the_null_case():
    """Data sets as environments: a search by CIFAR-10 alone does as well on the third."""
    problem = Problem.create(
        "tss", "ImageNet16-120", table="embedded", environments=["cifar10/val@200:mean", "cifar100/val@200:mean"],
        target="val@200:mean", evaluations=100,
    )  # fmt: skip
    result = nasharness.run("nas-ood.table.random", problem, runs=300, settings={"rho": 0.0})
    apart = result.recommended_final - result.final
    assert abs(apart.mean()) < 0.3
    assert abs(result.final.mean() - 44.8) < 0.3


def test_no_search_sees_the_target_and_a_run_is_the_same_alone(imported):
    many = nasharness.run("nas-ood.table", analog(evaluations=40), runs=5)
    other = nasharness.run("nas-ood.table", analog("drift1d", evaluations=40), runs=5)
    assert np.array_equal(many.trajectories.ids, other.trajectories.ids)
    assert np.array_equal(many.recommended, other.recommended)
    alone = nasharness.run("nas-ood.table", analog(evaluations=40), seed=4)
    assert np.array_equal(alone.trajectories.ids[0], many.trajectories.ids[4])
    assert alone.recommended[0] == many.recommended[4]
    clean = many.trajectories.signal[:, :40].argmax(axis=1)
    assert np.array_equal(many.incumbent, many.trajectories.ids[np.arange(5), clean])


def test_environments_that_cannot_be(imported):
    cases = (
        (("--environments", "clean", "--target", "drift30d"), "at least two sources"),
        (("--environments", "clean,clean", "--target", "drift30d"), "named twice"),
        (("--environments", "clean,ptq", "--target", "ptq"), "must not be searched by"),
        (("--environments", "clean,ptq"), "--target NAME"),
        (("--target", "drift30d"), "--environments a,b"),
        (("--environments", "clean,ptc", "--target", "drift30d"), "ptq"),
        (("--environments", "clean,ptq", "--target", "drift"), "drift30d"),
        (("--environments", "clean,params", "--target", "drift30d"), "unknown|no measurement"),
        (("--environments", "clean,ptq", "--target", "drift30d", "--signal", "clean"), "leave --signal out"),
        (("--signal", "clean", "--final", "drift30d"), "--environments a,b --target c"),
    )
    for words, why in cases:
        code, _, said = imported("run", "--algo", "nas-ood.table", "--space", "tss", "--table", "robust", *words)
        assert code == 2, words
        assert any(part in said for part in why.split("|")), said
    for settings, why in (({"rho": -1.0}, "at least 0"), ({"batch": 1}, "at least 2"), ({"scale": "ranks"}, "raw, z")):
        with pytest.raises(UsageError, match=why):
            nasharness.run("nas-ood.table", analog(), settings=settings)


def test_studies_and_plans_take_environments(imported, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'algorithms = ["nas-ood.table", "random"]\nspace = "tss"\ntable = "robust"\nruns = 3\nevaluations = 20\n'
        'environments = ["clean", "noisy"]\ntarget = "drift1d"\n'
    )
    code, _, said = imported("study", plan, "--out", tmp_path / "study")
    assert code == 0, said
    code, out, said = imported("compare", tmp_path / "study", "--score", "recommended")
    assert code == 0, said
    assert "nas-ood.table" in out
