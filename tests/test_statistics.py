"""Our statistics against scipy, and the coverage of our intervals by simulation."""

import warnings

import numpy as np
import pytest

from nasharness.analysis import statistics as stats
from nasharness.analysis.statistics.correlation import codes, inversions, kendall, spearman
from nasharness.analysis.statistics.distributions import chi2_sf, normal_quantile, studentized_range_sf, t_to_z
from nasharness.analysis.statistics.sequential import BETTER, WORSE, Hypothesis, boundaries, judge, looks
from nasharness.analysis.statistics.significance import critical_difference, friedman, holm, midranks, wilcoxon
from nasharness.analysis.validation.proxies import quality
from nasharness.errors import UsageError

scipy_stats = pytest.importorskip("scipy.stats")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


# ---- against scipy


@pytest.mark.parametrize("n", [4, 12, 30, 50])
@pytest.mark.parametrize("zeros", ["wilcox", "pratt"])
@pytest.mark.parametrize("method", ["exact", "approx"])
def test_wilcoxon_without_ties(rng, n, zeros, method):
    x, y = rng.normal(size=n), rng.normal(size=n) + 0.3
    ours, theirs = (
        wilcoxon(x, y, zeros=zeros, method=method),
        scipy_stats.wilcoxon(x, y, zero_method=zeros, method=method),
    )
    assert ours.statistic == pytest.approx(theirs.statistic, abs=1e-9)
    assert ours.p == pytest.approx(theirs.pvalue, abs=1e-9)


@pytest.mark.parametrize("n", [15, 60, 500])
@pytest.mark.parametrize("zeros", ["wilcox", "pratt"])
def test_wilcoxon_with_ties_and_zeros(rng, n, zeros):
    x, y = np.round(rng.normal(size=n), 1), np.round(rng.normal(size=n) + 0.2, 1)
    x[:3] = y[:3]
    ours, theirs = wilcoxon(x, y, zeros=zeros), scipy_stats.wilcoxon(x, y, zero_method=zeros, method="approx")
    assert ours.p == pytest.approx(theirs.pvalue, abs=1e-9)


def test_wilcoxon_chooses_exact_for_few_untied_differences(rng):
    x, y = rng.normal(size=50), rng.normal(size=50)
    assert wilcoxon(x, y) == wilcoxon(x, y, method="exact")
    x, y = rng.normal(size=51), rng.normal(size=51)
    assert wilcoxon(x, y) == wilcoxon(x, y, method="approx")
    assert wilcoxon([1.0, 2.0], [1.0, 2.0]).p == 1.0
    with pytest.raises(UsageError, match="finite"):
        wilcoxon([np.nan, 1.0], [0.0, 1.0])


@pytest.mark.parametrize("decimals", [0, 1, 12])
@pytest.mark.parametrize("n", [2, 3, 50, 2_000])
def test_rank_correlations(rng, n, decimals):
    x = np.round(rng.normal(size=n), decimals)
    y = np.round(x + rng.normal(size=n), decimals)
    for ours, theirs in ((kendall, scipy_stats.kendalltau), (spearman, scipy_stats.spearmanr)):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns of constant input
            expected = theirs(x, y).statistic
        assert ours(x, y) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_rank_correlations_with_many_values(rng):
    """More than two-byte codes can tell apart."""
    x = rng.normal(size=70_000)
    y = x + rng.normal(size=70_000)
    assert kendall(x, y) == pytest.approx(scipy_stats.kendalltau(x, y).statistic, abs=1e-9)


def test_inversions_are_those_of_two_loops(rng):
    values = rng.integers(0, 20, size=200)
    assert inversions(values) == sum(int((values[i] > values[i + 1 :]).sum()) for i in range(200))
    assert codes([0.5, -1.0, 0.5]).tolist() == [1, 0, 1]


def test_rank_correlation_refuses_nan_and_unequal_lengths():
    assert np.isnan(kendall([1.0, 1.0], [1.0, 2.0]))
    with pytest.raises(UsageError, match="NaN"):
        spearman([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(UsageError, match="equally long"):
        kendall([1.0, 2.0, 3.0], [1.0, 2.0])


def test_friedman_and_critical_difference(rng):
    scores = np.round(rng.normal(size=(5, 12, 2)) + np.arange(5)[:, None, None] / 4, 1)
    blocks = scores.reshape(5, -1)
    ours, theirs = friedman(scores), scipy_stats.friedmanchisquare(*blocks)
    assert ours.statistic == pytest.approx(theirs.statistic, abs=1e-9)
    assert ours.p == pytest.approx(theirs.pvalue, abs=1e-9)
    quantile = scipy_stats.studentized_range.ppf(0.95, 5, np.inf)
    assert critical_difference(5, 24) == pytest.approx(quantile / np.sqrt(2) * np.sqrt(5 * 6 / (6 * 24)), abs=1e-9)


def test_holm_by_hand(rng):
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, np.nan, 0.9])[[0, 2]] == pytest.approx([1.0, 1.0])
    stepwise = pytest.importorskip("statsmodels.stats.multitest")
    p = rng.random(20) ** 3
    assert holm(p) == pytest.approx(stepwise.multipletests(p, method="holm")[1], abs=1e-12)


def test_distributions():
    for df in range(1, 9):
        for x in (0.1, 1.0, 5.0, 40.0):
            assert chi2_sf(x, df) == pytest.approx(scipy_stats.chi2.sf(x, df), abs=1e-12)
    for groups in (2, 5, 10):
        assert studentized_range_sf(3.3, groups) == pytest.approx(
            scipy_stats.studentized_range.sf(3.3, groups, np.inf), abs=1e-10
        )
    for p in (1e-9, 0.3, 0.975):
        assert normal_quantile(p) == pytest.approx(scipy_stats.norm.ppf(p), abs=1e-9)
    assert t_to_z(-2.5, 24) == pytest.approx(-scipy_stats.norm.isf(scipy_stats.t.sf(2.5, 24)), abs=1e-8)


def test_aggregates_and_ranks(rng):
    scores = np.round(rng.normal(size=(4, 11, 3)), 1)
    flat = scores.reshape(4, -1)
    assert stats.iqm(scores) == pytest.approx(scipy_stats.trim_mean(flat, 0.25, axis=1), abs=1e-12)
    assert stats.median(scores) == pytest.approx(np.median(flat, axis=1))
    assert stats.ranks(scores) == pytest.approx(scipy_stats.rankdata(-scores, axis=0))
    assert midranks(flat[0]) == pytest.approx(scipy_stats.rankdata(flat[0]))
    x, y = scores[0], scores[1]
    u = np.mean([scipy_stats.mannwhitneyu(x[:, p], y[:, p]).statistic / 121 for p in range(3)])
    assert stats.probability_of_improvement(x, y) == pytest.approx(u, abs=1e-12)


def test_scores_of_another_shape_are_refused():
    with pytest.raises(UsageError, match=r"\[algorithms, runs, problems\]"):
        stats.ranks(np.zeros((3, 4)))
    with pytest.raises(UsageError, match="not finite"):
        stats.mean_rank(np.full((1, 2, 1), np.nan))


def test_time_to_target():
    run, step, value = [0, 0, 0, 1, 1], [1, 5, 9, 2, 7], [90.0, 93.0, 92.0, 91.0, 91.5]
    assert stats.time_to_target(run, step, value, 92.5, 2).tolist() == [5.0, np.inf]
    assert stats.time_to_target(run, step, value, 91.0, 3).tolist() == [5.0, 2.0, np.inf]


# ---- seeds


def test_bootstrap_owns_its_generator(rng):
    """The bootstrap gives the same for a seed whatever the global generator's state, and leaves that alone."""
    scores = rng.normal(size=(2, 20, 2))
    np.random.seed(1)  # noqa: NPY002 - disturbed on purpose
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = stats.interval(scores, stats.iqm, seed=3)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert (stats.interval(scores, stats.iqm, seed=3) == first).all()
    assert (stats.interval(scores, stats.iqm, seed=4) != first).any()


def test_interval_does_not_depend_on_the_size_of_chunks(rng, monkeypatch):
    scores = rng.normal(size=(1, 40, 1))
    whole = stats.interval(scores, stats.mean, resamples=300)
    monkeypatch.setattr(stats, "CHUNK", 40 * 7)
    assert stats.interval(scores, stats.mean, resamples=300) == pytest.approx(whole)


def test_interval_of_one_run_is_unknown():
    assert np.isnan(stats.interval(np.ones((2, 1, 1)))).all()


def test_improvement_of_a_shifted_twin_is_not_biased(rng):
    """Runs that are the same but for a little: a resample must not meet its own partner more often than the data do."""
    y = rng.normal(size=(50, 1))
    x = y - 1e-9
    middle, (low, high) = stats.probability_of_improvement(x, y), stats.improvement_interval(x, y)
    assert (low + high) / 2 == pytest.approx(middle, abs=1e-3)


# ---- coverage

DRAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "left-skewed": lambda rng, size: -rng.gamma(4.0, size=size),
}


@pytest.mark.parametrize("runs", [30, 100])
@pytest.mark.parametrize("law", DRAWS)
@pytest.mark.parametrize("aggregate", stats.AGGREGATES)
def test_intervals_cover_what_they_say(aggregate, law, runs):
    """The 95 % intervals of 1,500 studies hold the true value in 93 to 97 % of them."""
    if runs == 100 and aggregate != "mean":
        pytest.skip("the slow test has it")
    assert 0.93 <= coverage(aggregate, law, runs, 1_500, 400) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("runs", [20, 100, 500])
@pytest.mark.parametrize("law", DRAWS)
@pytest.mark.parametrize("aggregate", stats.AGGREGATES)
def test_intervals_cover_what_they_say_closely(aggregate, law, runs):
    assert 0.93 <= coverage(aggregate, law, runs, 4_000, 600) <= 0.97


def coverage(aggregate, law, runs, studies, resamples):
    measure = stats.AGGREGATES[aggregate]
    truth = measure(DRAWS[law](np.random.default_rng(9), (1, 2_000_000, 1)))[0]
    scores = DRAWS[law](np.random.default_rng(runs), (studies, runs, 1))  # a study in the place of an algorithm
    bounds = stats.interval(scores, measure, resamples=resamples)
    return float(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean())


@pytest.mark.parametrize("correlated", [0.0, 0.8])
def test_improvement_interval_covers(correlated):
    """P(X > Y) of normals 0.5 apart, with runs of one seed alike or not."""
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(1_500):
        common = rng.normal(size=(50, 1)) * np.sqrt(correlated)
        x, y = (common + rng.normal(size=(50, 1)) * np.sqrt(1 - correlated) + shift for shift in (0.5, 0.0))
        low, high = stats.improvement_interval(x, y, resamples=400)
        inside += low <= 0.6381631950841185 <= high
    assert 0.93 <= inside / 1_500 <= 0.97


# ---- sequential


def test_looks_and_boundaries():
    assert looks(500) == (25, 50, 100, 200, 500)
    assert looks(20) == (20,)
    assert boundaries((100,), 0.05) == pytest.approx([1.959963984540054], abs=1e-6)
    found = boundaries(looks(500), 0.05)
    assert found[0] == pytest.approx(normal_quantile(1 - 0.05 * 25 / 500 / 2), abs=1e-6)
    assert all(a > b for a, b in zip(found, found[1:], strict=False))
    with pytest.raises(UsageError, match="at least 3"):
        looks(2)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_boundaries_spend_alpha(alpha):
    """Random walks cross the boundaries of ``alpha`` as often as that."""
    at = looks(500)
    rng = np.random.default_rng(0)
    gaps = np.diff((0, *at))
    walks = np.cumsum(rng.normal(size=(200_000, len(at))) * np.sqrt(gaps), axis=1) / np.sqrt(at)
    crossed = (np.abs(walks) >= boundaries(at, alpha)).any(axis=1).mean()
    assert crossed == pytest.approx(alpha, abs=4 * np.sqrt(alpha / 200_000))


def run_through(all_differences, alpha, runs=200):
    hypotheses = [Hypothesis(looks(runs), differences) for differences in all_differences]
    while not all(h.over for h in hypotheses):
        for hypothesis in hypotheses:
            hypothesis.seen += not hypothesis.over
        judge(hypotheses, alpha)
    return hypotheses


@pytest.mark.parametrize("together", [1, 3])
def test_false_verdicts_are_as_rare_as_said(together):
    """Skewed, coarse scores of one law on both sides: any verdict in any of the comparisons is false."""
    rng = np.random.default_rng(5)
    false = 0
    for _ in range(1_000):
        a, b = (np.round(-rng.gamma(1.5, size=(together, 200)), 1) for _ in range(2))
        false += any(h.verdict for h in run_through(a - b, 0.05))
    assert false / 1_000 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1_000)


def test_verdict_has_the_sign_of_the_effect_and_an_interval_without_zero():
    rng = np.random.default_rng(5)
    up, down, none = run_through([rng.normal(1, 1, 200), rng.normal(-1, 1, 200), np.zeros(200)], 0.05)
    assert (up.verdict, down.verdict, none.verdict) == (BETTER, WORSE, None)
    assert up.interval()[0] > 0 > down.interval()[1]
    assert up.runs == down.runs == 25
    assert none.runs == 200


def test_smallest_effect_is_found_with_the_power_said():
    rng = np.random.default_rng(6)
    shift = run_through([rng.normal(size=200)], 0.05)[0].detectable()
    found = sum(run_through([rng.normal(shift, 1, 200)], 0.05)[0].verdict == BETTER for _ in range(400))
    assert 0.74 <= found / 400 <= 0.90


# ---- proxies


def test_rank_quality_of_the_truth_and_of_noise(rng):
    truth = rng.normal(size=2_000)
    perfect = quality("truth", truth, truth, resamples=50)
    assert perfect.tau["all"][0] == pytest.approx(1.0)
    assert perfect.rho["top 1 %"][0] == pytest.approx(1.0)
    assert perfect.precision[10][0] == 1.0
    assert perfect.regret[1][0] == 0.0
    noise = quality("noise", rng.normal(size=2_000), truth, resamples=100)
    low, high = noise.tau["all"][1]
    assert low < 0 < high
    upside_down = quality("loss", -truth, truth, lower_is_better=True, resamples=20)
    assert upside_down.precision[100][0] == 1.0


def test_proxy_without_a_score_for_the_best_regrets_it(rng):
    truth = np.arange(1_000.0)
    scores = truth.copy()
    scores[990:] = np.nan
    found = quality("nearly", scores, truth, resamples=20)
    assert found.unscored == 10
    assert found.regret[1][0] == 10.0
    assert found.precision[10][0] == 0.0
    assert found.tau["all"][0] == pytest.approx(1.0)


def test_equal_scores_are_worth_what_a_random_order_is(rng):
    truth = np.arange(1_000.0)
    scores = np.where(truth >= 900, 1.0, 0.0)  # a hundred equally good
    found = quality("coarse", scores, truth, resamples=20, ks=(10,))
    assert 0.02 <= found.precision[10][0] <= 0.25


def test_interval_of_kendall_covers():
    """Kendall's tau of normals with correlation 0.5 is 1/3."""
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(150):
        x = rng.normal(size=100)
        y = 0.5 * x + np.sqrt(0.75) * rng.normal(size=100)
        low, high = quality("x", x, y, resamples=150, ks=(1,), top=()).tau["all"][1]
        inside += low <= 1 / 3 <= high
    assert 0.89 <= inside / 150 <= 0.99
