"""Spaces: encodings, order, randomness, isomorphism and cost, against properties first and published anchors second."""

import copy
import pickle
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasharness import spaces
from nasharness.errors import UsageError

N1, N3 = "nor_conv_1x1", "nor_conv_3x3"
SPACES = ["tss", "sss"]
DATASETS = ["cifar10", "cifar10-valid", "cifar100", "ImageNet16-120"]


@pytest.fixture(params=SPACES)
def space(request):
    return spaces.get(request.param)


@pytest.fixture
def tss():
    return spaces.get("tss")


@pytest.fixture
def sss():
    return spaces.get("sss")


def everything(space):
    return np.arange(space.size, dtype=np.int32)


# -- the registry ------------------------------------------------------------------------------------------------------


def test_get_returns_one_object_and_survives_pickling(space):
    assert spaces.get(space.name) is space
    assert pickle.loads(pickle.dumps(space)) is space  # noqa: S301
    assert copy.deepcopy(space) is space
    assert len(pickle.dumps(space)) < 200  # tables do not travel


def test_names_and_sizes():
    assert set(SPACES) <= set(spaces.names())
    assert len(spaces.get("tss")) == spaces.get("tss").size == 15_625
    assert len(spaces.get("sss")) == spaces.get("sss").size == 32_768
    assert repr(spaces.get("tss")) == "Space('tss', size=15625)"


@pytest.mark.parametrize("name", ["ts", "", "TSS", None, 3])
def test_unknown_space_names_the_command(name):
    with pytest.raises(UsageError, match="nasharness list spaces"):
        spaces.get(name)


def test_describes_itself_consistently(space):
    assert len(space.sizes) == len(space.options) == len(space.positions) == space.uniforms_per_sample
    assert tuple(map(len, space.options)) == space.sizes
    assert space.summary


# -- index <-> choices <-> string --------------------------------------------------------------------------------------


def test_choices_and_index_are_inverse_everywhere(space):
    ids = everything(space)
    choices = space.choices(ids)
    assert choices.dtype == np.int8
    assert choices.shape == (space.size, len(space.sizes))
    back = space.index(choices)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, ids)


def test_strings_and_from_string_are_inverse_everywhere(space):
    strings = space.strings()
    assert len(set(strings)) == len(strings) == space.size
    assert [space.from_string(text) for text in strings] == list(range(space.size))
    assert space.strings() is strings


def test_strings_say_what_choices_say(space):
    for index in range(0, space.size, 97):
        named = [space.options[p][c] for p, c in enumerate(space.choices(index).tolist())]
        if space.name == "sss":
            assert space.string(index) == ":".join(named)
        else:
            a, b, c, d, e, f = named
            assert space.string(index) == f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (0,), (0, 4), (2, 3, 4)])
def test_every_function_keeps_leading_axes(space, shape):
    generator = np.random.default_rng(1)
    ids = generator.integers(space.size, size=shape)
    choices = space.choices(ids)
    assert choices.shape == (*shape, len(space.sizes))
    assert choices.dtype == np.int8
    u = generator.random((*shape, space.mutation_uniforms))
    for result in (
        space.index(choices),
        space.canonical(ids),
        space.mutate(ids, u),
        space.sample(generator.random((*shape, space.uniforms_per_sample))),
        space.sample_index(generator.random(shape)),
    ):
        assert np.shape(result) == shape
        assert result.dtype == np.int32
    assert space.neighbours(ids).shape == (*shape, sum(space.sizes) - len(space.sizes))
    assert space.neighbours(ids).dtype == np.int32
    assert np.shape(space.is_constant(ids)) == shape
    for cost in (space.params(ids, "cifar10"), space.flops(ids, "cifar10")):
        assert np.shape(cost) == shape
        assert cost.dtype == np.float64


def test_batch_equals_one_by_one(space):
    generator = np.random.default_rng(2)
    ids = generator.integers(space.size, size=50)
    u = generator.random((50, space.mutation_uniforms))
    us = generator.random((50, space.uniforms_per_sample))
    for k, index in enumerate(ids.tolist()):
        np.testing.assert_array_equal(space.choices(ids)[k], space.choices(index))
        np.testing.assert_array_equal(space.neighbours(ids)[k], space.neighbours(index))
        assert space.mutate(ids, u)[k] == space.mutate(index, u[k])
        assert space.sample(us)[k] == space.sample(us[k])
        assert space.sample_index(u[:, 0])[k] == space.sample_index(u[k, 0])
        assert space.canonical(ids)[k] == space.canonical(index)
        assert space.params(ids, "cifar100")[k] == space.params(index, "cifar100")
        assert space.flops(ids, "cifar100")[k] == space.flops(index, "cifar100")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint8, np.int32, np.int64, np.uint64])
def test_any_integer_type_is_accepted(space, dtype):
    assert space.parse(dtype(100)) == 100
    assert space.string(dtype(100)) == space.string(100)
    np.testing.assert_array_equal(space.choices(dtype(100)), space.choices(100))
    np.testing.assert_array_equal(space.index(space.choices([5, 100]).astype(dtype)), [5, 100])


def test_strided_arrays_are_accepted(space):
    ids = np.arange(100, dtype=np.int32)[::-3]
    np.testing.assert_array_equal(space.index(space.choices(ids)), ids)
    np.testing.assert_array_equal(space.index(np.asfortranarray(space.choices(ids))), ids)


def test_callers_cannot_damage_the_tables(space):
    choices, neighbours, canonical = space.choices([3]), space.neighbours([3]), space.canonical([3])
    before = choices.copy(), neighbours.copy(), canonical.copy()
    for array in (choices, neighbours, canonical):
        array[...] = 0
    np.testing.assert_array_equal(space.choices([3]), before[0])
    np.testing.assert_array_equal(space.neighbours([3]), before[1])
    np.testing.assert_array_equal(space.canonical([3]), before[2])


# -- published anchors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "ops"),
    [
        (0, ("avg_pool_3x3", N1, "skip_connect", N1, "skip_connect", "skip_connect")),
        (9930, (N3, N3, N3, "skip_connect", N3, N3)),
        (1462, (N3,) * 6),
        (11472, (N3, "none", N3, "skip_connect", "none", "skip_connect")),
    ],
)
def test_tss_anchors(tss, index, ops):
    a, b, c, d, e, f = ops
    assert tss.from_string(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|") == index


@pytest.mark.parametrize(
    ("index", "text"),
    [(0, "8:8:8:8:8"), (11, "8:8:8:16:32"), (284, "8:8:40:32:40"), (32767, "64:64:64:64:64")],
)
def test_sss_anchors(sss, index, text):
    assert sss.string(index) == text
    assert sss.from_string(text) == index


def test_order_of_tss_equals_the_published_table(tss, shared_data):
    table = read_table(shared_data, "index", "arch")
    assert table["index"].tolist() == list(range(tss.size))
    assert table["arch"].tolist() == tss.strings()


def test_order_does_not_touch_the_global_generator():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    fresh = type(spaces.get("tss"))()
    fresh.strings()
    assert random.random() == expected


# -- reading what a user typed -----------------------------------------------------------------------------------------


def test_parse_accepts_index_digits_and_string(space):
    for index in (0, 17, space.size - 1):
        assert space.parse(index) == index
        assert space.parse(f"  {index} ") == index
        assert space.parse(f"\t{space.string(index)}\n") == index
        assert type(space.parse(np.int64(index))) is int


@pytest.mark.parametrize("value", [-1, "-1", 10**6, "1000000", "9" * 5000, -(2**70), np.int64(-1)])
def test_parse_refuses_what_is_out_of_range(space, value):
    with pytest.raises(UsageError, match=f"expected 0 to {space.size - 1}"):
        space.parse(value)


@pytest.mark.parametrize("value", [None, 1.0, [1], b"8:8:8:8:8", np.float32(3)])
def test_parse_refuses_other_types(space, value):
    with pytest.raises(UsageError, match="expected an index"):
        space.parse(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1 part"),
        ("|none~0|", "1 part"),
        ("|none~0|+|none~0|+|none~0|none~1|none~2|", r"node 2, '\|none~0\|', has 1 slot"),
        ("none~0+|none~0|none~1|+|none~0|none~1|none~2|", "node 1, 'none~0'"),
        ("|none~1|+|none~0|none~1|+|none~0|none~1|none~2|", "slot 'none~1' of node 1"),
        ("|none~0|+|none~0|none~1|+|none~0|none~2|none~1|", "slot 'none~2' of node 3 is not of the form op~1"),
        ("|none~0|+|none~0|conv_3x3~1|+|none~0|none~1|none~2|", "slot 'conv_3x3~1' .*nearest: nor_conv_3x3"),
        ("|none~0|+|none~0|~1|+|none~0|none~1|none~2|", "slot '~1' of node 2"),
        ("|none|+|none~0|none~1|+|none~0|none~1|none~2|", "slot 'none' of node 1"),
        ("8:8:8:8:8", "1 part"),
    ],
)
def test_malformed_tss_strings(tss, text, said):
    with pytest.raises(UsageError, match=said) as caught:
        tss.from_string(text)
    assert repr(text) in str(caught.value)
    assert "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1 width"),
        ("8:8:8:8", "4 width"),
        ("8:8:8:8:8:8", "6 width"),
        ("8:8:12:8:8", "'12' of c2"),
        ("8:8:8:8:", "'' of c4"),
        ("8:8:8:8:-8", "'-8' of c4"),
        ("08:8:8:8:8", "'08' of c0"),
    ],
)
def test_malformed_sss_strings(sss, text, said):
    with pytest.raises(UsageError, match=said) as caught:
        sss.from_string(text)
    assert repr(text) in str(caught.value)
    assert "c0:c1:c2:c3:c4" in str(caught.value)


@given(text=st.text(alphabet="|+~:0123 8noeskip_cavg", max_size=80), name=st.sampled_from(SPACES))
def test_any_text_is_read_or_refused_in_words(text, name):
    space = spaces.get(name)
    try:
        index = space.parse(text)
    except UsageError:
        return
    assert 0 <= index < space.size


def test_blanks_inside_a_string_do_not_matter(tss, sss):
    text = tss.string(42)
    assert tss.from_string(text.replace("|", " | ").replace("~", " ~ ")) == 42
    assert sss.from_string(" 8 : 8 : 8:16:32 ") == 11


# -- wrong numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-1, 10**6, 2**32, 2**40 + 1, -(2**33)])
def test_indices_out_of_range_are_named(space, bad):
    u = np.full((2, space.mutation_uniforms), 0.5)
    for use in (
        space.choices,
        space.neighbours,
        space.canonical,
        space.is_constant,
        lambda ids: space.mutate(ids, u),
        lambda ids: space.params(ids, "cifar10"),
        lambda ids: space.flops(ids, "cifar10"),
    ):
        with pytest.raises(UsageError, match=f"index {bad} .*expected 0 to {space.size - 1}"):
            use(np.array([3, bad]))
    for use in (space.string, space.draw, space.choices):
        with pytest.raises(UsageError, match=f"index {bad} "):
            use(bad)


@pytest.mark.parametrize("ids", [[1.0], [0.5], ["1"], [None], [True], [2**70]])
def test_indices_that_are_no_integers_are_refused(space, ids):
    with pytest.raises(UsageError, match="whole numbers"):
        space.choices(ids)


def test_choices_out_of_range_name_value_and_position(tss, sss):
    with pytest.raises(UsageError, match=r"choice 5 at position 2 \(1->2\).*expected 0 to 4"):
        tss.index([[0, 0, 0, 0, 0, 0], [0, 0, 5, 0, 0, 0]])
    with pytest.raises(UsageError, match=r"choice -1 at position 0 \(c0\).*expected 0 to 7"):
        sss.index(np.array([-1, 0, 0, 0, 0], dtype=np.int8))
    with pytest.raises(UsageError, match="position 4"):
        sss.index([0, 0, 0, 0, 2**40])


@pytest.mark.parametrize("choices", [3, [], [1, 2, 3], [[1] * 7], np.zeros((6, 5, 4), dtype=int)])
def test_choices_of_wrong_shape_are_refused(space, choices):
    with pytest.raises(UsageError, match=r"shape \[\.\.\., "):
        space.index(choices)


def test_choices_that_are_no_integers_are_refused(space):
    with pytest.raises(UsageError, match="whole numbers"):
        space.index(np.zeros(len(space.sizes)))


def test_uniforms_of_wrong_shape_are_refused(space):
    with pytest.raises(UsageError, match=r"uniforms of shape \[\.\.\., 1\]"):
        space.mutate([1, 2], np.zeros((2, 3)))
    with pytest.raises(UsageError, match=rf"uniforms of shape \[\.\.\., {len(space.sizes)}\]"):
        space.sample(0.5)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("bad", [-0.5, 1.0, 1e300, -np.inf, np.nan])
def test_numbers_that_are_no_uniforms_are_refused(space, bad):
    for draw, count in ((lambda u: space.mutate(3, u), 1), (space.sample, len(space.sizes)), (space.sample_index, 2)):
        u = np.full((4, count), 0.5)
        u[2, -1] = bad
        with pytest.raises(UsageError, match="uniforms in"):
            draw(u)


def test_unknown_rule_and_dataset_suggest(space):
    with pytest.raises(UsageError, match="nearest: published"):
        space.canonical(0, rule="publshed")
    for cost in (space.params, space.flops):
        with pytest.raises(UsageError, match="nearest: cifar100.*nasharness list datasets"):
            cost(0, "cifar-100")
        with pytest.raises(UsageError, match="nasharness list datasets"):
            cost(0, None)


# -- randomness --------------------------------------------------------------------------------------------------------


def chi_square_is_ordinary(counts, expected):
    """Whether a chi-square statistic lies below its mean by or above it at most 5 standard deviations."""
    statistic = float((((counts - expected) ** 2) / expected).sum())
    degrees = counts.size - 1
    return statistic < degrees + 5 * np.sqrt(2 * degrees)


def test_uniform_sampling_both_ways(space):
    generator = np.random.default_rng(3)
    draws = 40 * space.size
    for ids in (
        space.sample(generator.random((draws, space.uniforms_per_sample))),
        space.sample_index(generator.random(draws)),
    ):
        assert chi_square_is_ordinary(np.bincount(ids, minlength=space.size), np.full(space.size, 40.0))


def test_extreme_uniforms_stay_inside(space):
    last = np.nextafter(1.0, 0.0)
    for u in (0.0, last):
        assert 0 <= space.sample_index(u) < space.size
        assert 0 <= space.sample(np.full(space.uniforms_per_sample, u)) < space.size
        assert 0 <= space.mutate(5, [u]) < space.size
    assert space.sample_index(last) == space.size - 1
    np.testing.assert_array_equal(
        space.choices(space.sample(np.full(space.uniforms_per_sample, last))), np.array(space.sizes) - 1
    )


def test_sample_takes_one_uniform_for_each_position(space):
    generator = np.random.default_rng(4)
    u = generator.random((1000, space.uniforms_per_sample))
    np.testing.assert_array_equal(space.choices(space.sample(u)), np.floor(u * space.sizes))


def test_tss_mutation_has_the_published_probabilities(tss):
    generator = np.random.default_rng(5)
    draws = 200_000
    parents = tss.sample_index(generator.random(draws))
    mutants = tss.mutate(parents, generator.random((draws, 1)))
    before, after = tss.choices(parents), tss.choices(mutants)
    changed = before != after
    assert (changed.sum(axis=1) == 1).all()
    edge = changed.argmax(axis=1)
    expected = draws * np.array([1 / 3, 1 / 6, 1 / 6, 1 / 9, 1 / 9, 1 / 9])
    assert chi_square_is_ordinary(np.bincount(edge, minlength=6), expected)
    rows = np.arange(draws)
    pairs = np.bincount(before[rows, edge] * 5 + after[rows, edge], minlength=25).reshape(5, 5)
    off_diagonal = pairs[~np.eye(5, dtype=bool)]
    assert chi_square_is_ordinary(off_diagonal, np.full(20, draws / 20))


def test_tss_mutation_outcomes_are_exact(tss):
    """The middle of each of the 72 equal parts of [0, 1): every neighbour, as often as its edge's chance says."""
    mutants = tss.mutate(7, (np.arange(72)[:, None] + 0.5) / 72)
    times = np.array([(mutants == other).sum() for other in tss.neighbours(7)])
    np.testing.assert_array_equal(times, np.repeat([6, 3, 3, 2, 2, 2], 4))


def test_sss_mutation_outcomes_are_exact(sss):
    """The middle of each of the 40 equal parts: each neighbour once, the parent itself five times (1 in 8)."""
    for parent in (0, 12345, 32767):
        mutants = sss.mutate(parent, (np.arange(40)[:, None] + 0.5) / 40)
        assert sorted(mutants.tolist()) == sorted([parent] * 5 + sss.neighbours(parent).tolist())


def test_sss_mutation_has_the_published_probabilities(sss):
    generator = np.random.default_rng(6)
    draws = 200_000
    parents = sss.sample_index(generator.random(draws))
    changed = sss.choices(parents) != sss.choices(sss.mutate(parents, generator.random((draws, 1))))
    counts = np.array([*changed.sum(axis=0), (~changed.any(axis=1)).sum()])
    assert chi_square_is_ordinary(counts, draws * np.array([7 / 40] * 5 + [1 / 8]))


def test_mutation_broadcasts_one_parent_over_many_draws(space):
    u = np.random.default_rng(7).random((30, space.mutation_uniforms))
    np.testing.assert_array_equal(space.mutate(9, u), space.mutate(np.full(30, 9), u))


# -- neighbours --------------------------------------------------------------------------------------------------------


def test_neighbours_differ_at_one_position_in_the_documented_order(space):
    ids = everything(space)[::31]
    expected = []
    for row in space.choices(ids).tolist():
        for position, count in enumerate(space.sizes):
            for option in range(count):
                if option != row[position]:
                    expected.append([*row[:position], option, *row[position + 1 :]])
    np.testing.assert_array_equal(space.neighbours(ids).ravel(), space.index(expected))


def test_neighbours_are_symmetric_and_distinct(space):
    ids = everything(space)
    neighbours = space.neighbours(ids)
    assert neighbours.shape[1] == {"tss": 24, "sss": 35}[space.name]
    pairs = ids[:, None].astype(np.int64) * space.size + neighbours
    mirrored = neighbours.astype(np.int64) * space.size + ids[:, None]
    assert np.unique(pairs).size == pairs.size
    np.testing.assert_array_equal(np.sort(pairs.ravel()), np.sort(mirrored.ravel()))


# -- isomorphism -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "classes"), [("skip", 12_751), ("published", 6_466), ("corrected", 5_390)])
def test_class_counts(tss, rule, classes):
    canonical = tss.canonical(everything(tss), rule)
    assert tss.classes(rule) == np.unique(canonical).size == classes
    assert (canonical <= everything(tss)).all()
    np.testing.assert_array_equal(canonical[canonical], canonical)
    # The representative is the lowest member: no member of a class lies below it.
    lowest = np.full(tss.size, tss.size)
    np.minimum.at(lowest, canonical, everything(tss))
    members = np.unique(canonical)
    np.testing.assert_array_equal(lowest[members], members)


def test_corrected_only_merges_classes_of_the_other_rules(tss):
    ids = everything(tss)
    for fine in ("skip", "published"):
        np.testing.assert_array_equal(tss.canonical(tss.canonical(ids, fine)), tss.canonical(ids))


def flat_sum(choices):
    """Describe a cell as nested multisets, sums carried by skip connections dissolved: the coarsest rule known."""
    nodes = [(("in",),)]
    first = 0
    for target in (1, 2, 3):
        terms = []
        for source in range(target):
            operation = choices[first + source]
            if operation == 1:
                terms += nodes[source]
            elif operation != 0 and nodes[source]:
                terms.append((operation, nodes[source]))
        nodes.append(tuple(sorted(terms, key=repr)))
        first += target
    return nodes[3]


def test_no_rule_merges_networks_that_differ(tss):
    """Members of a class have one and the same description by an independent, coarser rule (4,930 classes)."""
    numbers = {}
    flat = np.array([numbers.setdefault(flat_sum(row), len(numbers)) for row in tss.choices(everything(tss)).tolist()])
    assert len(numbers) == 4_930
    for rule in ("skip", "published", "corrected"):
        np.testing.assert_array_equal(flat[tss.canonical(everything(tss), rule)], flat)


def test_published_classes_equal_the_table(tss, shared_data):
    table = read_table(shared_data, "iso_index")
    np.testing.assert_array_equal(tss.canonical(everything(tss), "published"), table["iso_index"])


def test_the_published_rule_counts_equal_zero_cells_as_different(tss):
    """Its flaw: a sum of zeros is not recognised as zero further on."""
    through_zeros = tss.index([0, 0, 0, 3, 0, 3])  # node 2 is empty, yet 2->3 convolves it
    direct = tss.index([0, 0, 0, 3, 0, 0])
    assert tss.canonical(through_zeros, "published") != tss.canonical(direct, "published")
    assert tss.canonical(through_zeros) == tss.canonical(direct)


def test_constant_cells(tss):
    constant = tss.is_constant(everything(tss))
    assert constant.sum() == 341
    assert np.unique(tss.canonical(np.flatnonzero(constant))).size == 1
    assert not np.isin(tss.canonical(np.flatnonzero(~constant)), np.flatnonzero(constant)).any()


def test_constant_cells_are_those_at_chance(tss, shared_data):
    accuracy = read_table(shared_data, "cifar10_test_200")["cifar10_test_200"]
    np.testing.assert_array_equal(tss.is_constant(everything(tss)), accuracy < 10.01)


def test_sss_has_no_equal_networks(sss):
    for rule in ("skip", "published", "corrected"):
        np.testing.assert_array_equal(sss.canonical(everything(sss), rule), everything(sss))
        assert sss.classes(rule) == sss.size
    assert not sss.is_constant(everything(sss)).any()


# -- params and FLOPs --------------------------------------------------------------------------------------------------


def reference_cost(layers, side):
    """Sum parameters and multiply-accumulates over (kernel, inputs, outputs, stride divisor, normalised) layers."""
    params = macs = 0
    for kernel, inputs, outputs, divisor, normalised in layers:
        params += kernel * kernel * inputs * outputs + (2 * outputs if normalised else 0)
        macs += kernel * kernel * inputs * outputs * (side // divisor) ** 2
    return params, macs


def reference_network(space, index):
    """List the layers of a network from the published skeleton, independently of the closed forms."""
    block = lambda a, b, d: [(3, a, b, d, True), (3, b, b, d, True), (1, a, b, d, False)]  # noqa: E731
    kernels = {N1: 1, N3: 3}
    if space.name == "tss":
        edges = [space.options[0][choice] for choice in space.choices(index).tolist()]
        cell = lambda c, d: [(kernels[op], c, c, d, True) for op in edges if op in kernels]  # noqa: E731
        layers = [(3, 3, 16, 1, True), *cell(16, 1) * 5, *block(16, 32, 2), *cell(32, 2) * 5]
        return [*layers, *block(32, 64, 4), *cell(64, 4) * 5], 64
    a, b, c, d, e = (8 * (choice + 1) for choice in space.choices(index).tolist())

    def cell(i, o, s):
        layers = [(3, i, o, s, True)] * 2 + [(3, o, o, s, True)] * 3
        return [*layers, (1, i, o, s, True)] if i != o else layers

    return [(3, 3, a, 1, True), *cell(a, a, 1), *block(a, b, 2), *cell(b, c, 2), *block(c, d, 4), *cell(d, e, 4)], e


@pytest.mark.parametrize("dataset", DATASETS)
def test_costs_equal_a_count_over_the_layers(space, dataset):
    classes = {"cifar100": 100, "ImageNet16-120": 120}.get(dataset, 10)
    ids = np.random.default_rng(8).integers(space.size, size=60)
    for index in ids.tolist():
        layers, last = reference_network(space, index)
        params, macs = reference_cost(layers, 16 if dataset == "ImageNet16-120" else 32)
        head = last * classes + classes
        params += head + 2 * last  # the final normalisation
        assert space.params(index, dataset) == pytest.approx(params / 1e6, abs=1e-12)
        assert space.flops(index, dataset) == pytest.approx((macs + head) / 1e6, abs=1e-12)


def test_cost_anchors(tss, sss):
    ids = everything(tss)
    assert tss.params(ids, "cifar10").min() == pytest.approx(0.073306, abs=1e-9)
    assert tss.params(ids, "cifar10").max() == pytest.approx(1.531546, abs=1e-9)
    assert tss.flops(ids, "cifar10").min() == pytest.approx(7.78305, abs=1e-9)
    assert tss.flops(ids, "cifar10").max() == pytest.approx(220.11969, abs=1e-9)
    assert np.unique(tss.params(ids, "cifar10").round(9)).size == 28
    assert sss.params([12, 32767, 0], "cifar10") == pytest.approx([0.067378, 0.713674, 0.011714], abs=1e-9)
    assert sss.flops([12, 32767], "cifar10") == pytest.approx([7.991706, 274.399882], abs=1e-9)
    assert sss.params(sss.from_string("8:8:16:40:40"), "cifar10") == pytest.approx(0.107826, abs=1e-9)


def test_costs_equal_the_published_table(tss, shared_data):
    table = read_table(shared_data, "params_m", "flops_m")
    np.testing.assert_allclose(tss.params(everything(tss), "cifar10"), table["params_m"], rtol=1e-6)
    np.testing.assert_allclose(tss.flops(everything(tss), "cifar10"), table["flops_m"], rtol=1e-6)


def read_table(folder, *columns):
    parquet = pytest.importorskip("pyarrow.parquet", reason="reads the published table")
    table = parquet.read_table(folder / "tss.parquet", columns=list(columns))
    return {name: table[name].to_numpy() for name in columns}


# -- drawings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ascii_only", [False, True])
def test_drawings_fit_a_terminal(space, ascii_only):
    for index in range(0, space.size, 53):
        text = space.draw(index, ascii=ascii_only)
        assert all(len(line) <= 80 and line == line.rstrip() for line in text.split("\n"))
        assert text.isascii() or not ascii_only


def test_drawings_tell_cells_apart(tss):
    """Every operation of every edge can be read off: no two cells have the same picture."""
    assert len({tss.draw(index) for index in range(0, tss.size, 3)}) == len(range(0, tss.size, 3))


def test_drawing_of_a_cell_with_an_empty_node(tss):
    text = tss.draw(int(tss.index([0, 3, 2, 4, 1, 2])), ascii=True)
    assert text == "\n".join(
        [
            "    +~~~~~~~~~~~~~~~~~~~~~~~~~~~ pool 3x3 ~~~~~~~~~~~~~~~~~~~~~~~~~~+",
            "    | +=============== conv 3x3 ===============+                    |",
            "    | |                                        v                    v",
            "in ( 0 )..... none ..... x1x .. (conv 1x1) ..( 2 )=== conv 1x1 ==>( 3 ) out",
            "                          :                                         :",
            "                          .................. (skip) .................",
            "Node 1 is empty: nothing reaches it from the input.",
        ]
    )


def test_drawing_says_when_the_output_is_constant(tss):
    constant = tss.is_constant(everything(tss))
    for index in range(0, tss.size, 11):
        assert ("No path leads from in to out" in tss.draw(index)) == constant[index]


def test_drawing_of_widths(sss):
    lines = sss.draw(284, ascii=True).split("\n")
    assert [line.count("#") for line in lines] == [4, 4, 20, 16, 20]
    assert [f"{width} channels" in line for width, line in zip((8, 8, 40, 32, 40), lines, strict=True)] == [True] * 5
