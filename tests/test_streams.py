"""Random streams: the n-th draw of a run is the n-th of its generator, however draws are grouped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasharness.search.streams import NOISE, SEARCH, Streams, generator


@given(st.lists(st.integers(1, 700), min_size=1, max_size=12), st.integers(0, 3000))
def test_lockstep_draws_equal_each_runs_own_generator(counts, expected):
    seeds = [0, 7, 2**40]
    streams, own = Streams(seeds), [generator(seed) for seed in seeds]
    streams.expect(expected)
    for count in counts:
        drawn = streams.uniform(count)
        assert drawn.shape == (3, count)
        assert np.array_equal(drawn, np.array([rng.random(count) for rng in own]))


def test_purposes_and_seeds_are_different_streams():
    first = {purpose: generator(3, purpose).random(4).tolist() for purpose in (SEARCH, NOISE)}
    assert first[SEARCH] != first[NOISE]
    assert generator(3).random() != generator(4).random()


def test_uniforms_are_uniform():
    u = Streams(range(200)).uniform(1000)
    assert u.min() >= 0
    assert u.max() < 1
    counts, _ = np.histogram(u, bins=50, range=(0, 1))
    chi_square = ((counts - 4000) ** 2 / 4000).sum()
    assert chi_square < 85  # 49 degrees of freedom: p = 0.001 at 85.4
    assert abs(np.corrcoef(u)[np.triu_indices(200, 1)]).max() < 0.17  # 5 sigma over 19,900 pairs


def test_pinned_values():
    """The streams are part of every result: changing them must be a decision."""
    assert generator(0).random(3) == pytest.approx(Streams([0]).uniform(3)[0], abs=0)
    assert generator(1).random(2).tolist() == [0.3035680343067586, 0.8487087496857769]
