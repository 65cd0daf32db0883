"""Reading one pickle of many records: each record and the rest come out as they do from the whole."""

import collections
import contextlib
import io
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasharness.errors import DataError
from nasharness.tables.importers.nats_official.single import REMEMBERED, RecordReader
from nasharness.tables.unpickle import guarded
from tests.nats_fixtures import make_record, old_numpy, single_dict


def split(data: bytes):
    records = {}
    rest = guarded(lambda: RecordReader(io.BytesIO(data), "f", records.__setitem__).load(), "f")
    return records, rest


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("indices", [[7], [0, 3, 15624], range(0, 12, 2)])
def test_records_and_rest_equal_those_of_the_whole(protocol, indices):
    whole = single_dict("tss", indices, full=13)
    records, rest = split(pickle.dumps(whole, protocol=protocol))
    assert records == whole["arch2infos"]
    assert list(records) == list(indices)
    assert rest.pop("arch2infos") == dict.fromkeys(indices)
    assert rest == {key: value for key, value in whole.items() if key != "arch2infos"}


def test_plain_dicts_and_many_batches():
    """Pickles write a dict's items in batches of a thousand, and a last single one without a mark."""
    for count in (1, 2, 999, 1000, 1001, 2001):
        infos = {index * 37: {"a": [index, "x", (1, "y")], "b": None} for index in range(count)}
        for protocol in (2, 4):
            records, rest = split(pickle.dumps({"arch2infos": infos, "z": "end"}, protocol=protocol))
            assert records == infos
            assert rest == {"arch2infos": dict.fromkeys(infos), "z": "end"}


def test_objects_shared_between_records_come_back():
    dtype = np.dtype("f8")
    shared = {"list": ["p", 1.5], "tuple": tuple("abcdefgh"), "dict": {"k": ("v", [1])}, "scalar": np.float64(2.5)}
    names = ["first", "second"]
    infos = {i: {"s": shared["list"], "d": shared, "n": names[i % 2], "x": np.float64(i)} for i in range(40)}
    assert dtype == np.float64(0).dtype
    for protocol in (2, 4):
        records, rest = split(pickle.dumps({"names": names, "arch2infos": infos, "again": names}, protocol=protocol))
        assert records == infos
        assert rest["again"] == names


def test_sharing_that_starts_late_is_refused_not_misread():
    late = "a string that only late records share"
    infos = {i: {"x": [str(i), late if i > REMEMBERED + 2 else i]} for i in range(REMEMBERED + 9)}
    with pytest.raises(DataError, match="share objects"):
        split(pickle.dumps({"arch2infos": infos}, protocol=4))


def test_numpy_1_names():
    data = old_numpy(pickle.dumps({"arch2infos": {3: make_record("tss", 3, "a", full=13)}}, protocol=4))
    records, _ = split(data)
    assert records[3] == make_record("tss", 3, "a", full=13)


def test_no_records():
    assert split(pickle.dumps({"arch2infos": None, "meta_archs": ["a"]}))[0] == {}
    assert split(pickle.dumps([1, 2]))[1] == [1, 2]


RECORDS = collections.OrderedDict({i: make_record("tss", i, "a", 2) for i in (1, 2)})
WHOLE = pickle.dumps({"m": ["a"] * 3, "arch2infos": RECORDS}, protocol=4)


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_damage_is_refused_or_read_never_a_crash(seed):
    draw = random.Random(seed)
    bad = bytearray(WHOLE)
    for _ in range(draw.randint(1, 4)):
        bad[draw.randrange(len(bad))] = draw.randrange(256)
    if draw.random() < 0.3:
        del bad[draw.randrange(len(bad)) :]
    with contextlib.suppress(DataError):
        split(bytes(bad))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_refused_or_read_never_a_crash(data):
    for prefix in (b"", b"\x80\x04}(\x8c\x0aarch2infos}(K\x01"):
        with contextlib.suppress(DataError):
            split(prefix + data)


def test_what_a_record_held_is_forgotten():
    """The reader's memory does not grow with the file: what it remembers after all records is that of the first few."""
    sizes = []
    infos = {index: {"a": [f"string {index} {n}" for n in range(50)]} for index in range(400)}
    reader = RecordReader(
        io.BytesIO(pickle.dumps({"arch2infos": infos})), "f", lambda *_: sizes.append(len(reader.memo))
    )
    assert set(reader.load()["arch2infos"].values()) == {None}
    assert max(sizes) < (REMEMBERED + 2) * 60
