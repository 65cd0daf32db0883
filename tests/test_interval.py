"""Student's interval against scipy, and its coverage."""

import numpy as np
import pytest
from scipy import stats

from nasharness.search.interval import summarise, t_cdf, t_quantile


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 30, 499, 9_999])
def test_quantiles_equal_scipy(df):
    for probability in (0.6, 0.9, 0.975, 0.995):
        assert t_quantile(probability, df) == pytest.approx(stats.t.ppf(probability, df), rel=1e-9)
    for t in (0.0, 0.3, 2.0, 5.0):
        assert t_cdf(t, df) == pytest.approx(stats.t.cdf(t, df), abs=1e-11)


def test_interval_equals_scipy_and_covers():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2_000):
        values = rng.normal(3, 2, 12)
        low, high = summarise(values)["ci95"]
        covered += low < 3 < high
    assert 0.935 < covered / 2_000 < 0.965
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, rel=1e-9)


def test_one_run_has_no_interval():
    assert summarise(np.array([4.0])) == {"mean": 4.0, "std": 0.0, "ci95": None}
