"""The pickle reader: honest files read as the standard reader reads them, hostile ones refused by name."""

import bz2
import collections
import copyreg
import os
import pickle
import pickletools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasharness.errors import DataError
from nasharness.tables.pickle_check import check
from nasharness.tables.unpickle import NUMPY_SCALARS, OLD_PROTOCOLS, ORDERED_DICT, UnsafePickle, bunzip2, loads
from tests.nats_fixtures import make_record, old_numpy

ALL = ORDERED_DICT | NUMPY_SCALARS | OLD_PROTOCOLS
MARK_FILE = "poisoned-pickle-ran"


def frame(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def command(tmp_path) -> str:
    return f"touch {tmp_path / MARK_FILE}"


# ---- honest pickles

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=30,
)


@given(plain, st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_plain_values_come_back(value, protocol):
    data = pickle.dumps(value, protocol=protocol)
    assert check(data) == ""
    assert loads(data, OLD_PROTOCOLS, what="f") == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numpy_scalars_and_ordered_dicts_come_back_plain(protocol):
    values = [np.float64(0.1), np.float32(1.5), np.int64(-7), np.uint8(200), np.bool_(True)]
    data = pickle.dumps(collections.OrderedDict(a=values, b={1, 2}), protocol=protocol)
    back = loads(data, ALL, what="f")
    assert type(back) is dict
    assert back == {"a": [0.1, 1.5, -7, 200, True], "b": {1, 2}}
    assert all(type(value) in (float, int, bool) for value in back["a"])


def test_a_record_reads_as_the_standard_reader_reads_it():
    record = make_record("tss", 3, "arch", full=14)
    data = pickle.dumps(record, protocol=4)
    assert loads(data, ALL, what="f") == record
    assert loads(data, ALL, what="f", checked=True) == record
    assert loads(old_numpy(data), ALL, what="f") == record
    assert b"numpy.core.multiarray" in old_numpy(data)


def test_real_records_hold_only_known_globals(shared_data):
    for path in sorted((shared_data / "nats_samples").glob("*/*.pickle.pbz2")):
        data = bz2.decompress(path.read_bytes())
        assert check(data) == ""
        assert loads(data, ORDERED_DICT | NUMPY_SCALARS, what=path.name) == pickle.loads(data)  # noqa: S301


# ---- hostile pickles

STACK_GLOBAL = b"\x93"


class Evil:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


def poisoned(tmp_path) -> dict[str, bytes]:
    run = command(tmp_path)
    system = text("os") + text("system") + STACK_GLOBAL
    ordered = text("collections") + text("OrderedDict") + STACK_GLOBAL
    argument = text(run[:250]) + b"\x85"
    return {
        "reduce": pickle.dumps(Evil(os.system, run)),
        "eval": pickle.dumps(Evil(eval, f"__import__('os').system({run!r})")),
        "exec": pickle.dumps(Evil(exec, f"import os; os.system({run!r})"), protocol=0),
        "getattr": pickle.dumps(Evil(getattr, "", "__class__")),
        "dotted": frame(text("collections") + text("OrderedDict.__init__.__globals__") + STACK_GLOBAL),
        "dotted-allowed": frame(text("collections") + text("OrderedDict.fromkeys") + STACK_GLOBAL),
        "global": b"\x80\x02cos\nsystem\n" + b"X" + struct.pack("<I", len(run)) + run.encode() + b"\x85R.",
        "protocol-0": b"cos\nsystem\n(S'" + run.encode() + b"'\ntR.",
        "inst": b"(S'" + run.encode() + b"'\nios\nsystem\n.",
        "obj": frame(b"(" + system + text(run[:250]) + b"o"),
        "newobj": frame(system + argument + b"\x81"),
        "newobj-ex": frame(system + argument + b"}\x92"),
        "ext1": frame(b"\x82\x01"),
        "ext2": frame(b"\x83\x01\x00"),
        "ext4": frame(b"\x84\x01\x00\x00\x00"),
        "persid": b"Pos.system\n.",
        "binpersid": frame(text("os") + b"Q"),
        "build-on-function": frame(ordered + b"}" + text("__defaults__") + b")sb"),
        "build-slots": frame(ordered + b"N}" + text("__code__") + b"Ns\x86b"),
        "build-on-dict": frame(ordered + b")R}" + text("items") + b"K\x01sb"),
        "newobj-ordered": frame(ordered + b")\x81"),
        "ordered-of-strings": frame(ordered + text("ab") + b"\x85R"),
        "dtype-object": frame(text("numpy") + text("dtype") + STACK_GLOBAL + text("O") + b"\x85R"),
        "dtype-O8": frame(text("numpy") + text("dtype") + STACK_GLOBAL + text("O8") + b"\x89\x88\x87R"),
        "dtype-record": frame(text("numpy") + text("dtype") + STACK_GLOBAL + b"]" + b"\x85R"),
        "scalar-object": pickle.dumps(np.array([Evil(os.system, run)], dtype=object)),
        "scalar-raw": frame(text("numpy.core.multiarray") + text("scalar") + STACK_GLOBAL + text("f8") + b"C\x00\x86R"),
        "encode": frame(text("_codecs") + text("encode") + STACK_GLOBAL + text("x") + text("rot13") + b"\x86R"),
        "codecs-lookup": frame(text("codecs") + text("lookup") + STACK_GLOBAL + text("zip") + b"\x85R"),
        "memo-bomb": b"\x80\x02]r\xff\xff\xff\x7f.",
        "put-bomb": b"]p99999999999\n.",
        "bytes-bomb": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
        "bytearray-bomb": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
        "text-bomb": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 50) + b".",
        "frame-bomb": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b".",
        "long-bomb": b"\x80\x04\x8b" + struct.pack("<I", 1 << 20) + b"\xff" * (1 << 20) + b".",
        "digits-bomb": b"I" + b"9" * 100_000 + b"\n.",
        "deep-tuple": frame(b"})" + b"\x85" * 1_000_000 + b"Ns"),
        "wide-tuple": frame(b"})" + b"2\x86" * 60 + b"Ns"),
        "wide-by-memo": frame(b"})" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60)) + b"Ns"),
        "frozen": frame(b"}(" + b")" * 3 + b"\x91" + b"2\x86" * 60 + b"Ns"),
    }


def test_every_poisoned_pickle_is_refused_and_nothing_runs(tmp_path):
    for label, data in poisoned(tmp_path).items():
        with pytest.raises(DataError) as caught:
            loads(data, ALL, what="000123.pickle")
        message = str(caught.value)
        assert message.startswith("000123.pickle"), label
        assert "\n" not in message, label
        assert len(message) < 500, label
    assert not (tmp_path / MARK_FILE).exists()


@pytest.mark.parametrize("checked", [False, True])
def test_the_refused_global_is_named(checked):
    for data, asked in ((pickle.dumps(Evil(os.system, "true")), "posix.system"), (pickle.dumps(eval), "builtins.eval")):
        with pytest.raises(UnsafePickle, match=asked):
            loads(data, ALL, what="f", checked=checked)
    with pytest.raises(UnsafePickle, match="expected: none at all"):
        loads(pickle.dumps(eval), what="f", checked=checked)


def test_stand_ins_cannot_be_changed_by_a_pickle(tmp_path):
    cases = poisoned(tmp_path)
    for label in ("build-on-function", "build-slots", "build-on-dict", "newobj", "newobj-ex", "newobj-ordered", "obj"):
        with pytest.raises(DataError):
            loads(cases[label], ALL, what="f", checked=True)
    assert loads(pickle.dumps(collections.OrderedDict(a=1)), ALL, what="f") == {"a": 1}


def test_the_extension_registry_is_no_way_around():
    code = 201
    copyreg.add_extension("os", "system", code)
    try:
        data = pickle.dumps(os.system, protocol=0)  # not by code: the registry knows another module name
        by_code = frame(b"\x82" + bytes([code]))
        for bad in (data, by_code):
            with pytest.raises(UnsafePickle):
                loads(bad, ALL, what="f")
        with pytest.raises(UnsafePickle, match=r"os\.system"):
            loads(by_code, ALL, what="f", checked=True)
    finally:
        copyreg.remove_extension("os", "system", code)


# ---- damage

RECORD = pickle.dumps(make_record("tss", 5, "arch", full=3), protocol=4)


def outcome(data: bytes) -> str:
    """Read the data; whatever they are, the answer is a value or a DataError of one line."""
    try:
        loads(data, ALL, what="f")
    except DataError as error:
        return "refused" if "\n" not in str(error) else "refused, in several lines"
    return "read"


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_random_bytes_never_crash_the_reader(data):
    assert outcome(data) in ("read", "refused")
    assert outcome(b"\x80\x04" + data) in ("read", "refused")


OPCODES = [op.code.encode("latin1") for op in pickletools.opcodes]
PARTS = [*OPCODES, b"K\x01", b"}", b")", b"]", b"(", b"\x94", b"h\x00"]
PARTS += [text("a"), text("collections"), text("OrderedDict")]


@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=3), max_size=60))
@settings(max_examples=500, deadline=None)
def test_random_opcodes_never_crash_the_reader(parts):
    assert outcome(frame(b"".join(parts))) in ("read", "refused")


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_record_is_read_or_refused_never_a_crash(data):
    bad = bytearray(RECORD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bad) - 1))
        bad[at] = data.draw(st.integers(0, 255))
    assert outcome(bytes(bad)) in ("read", "refused")


@given(st.integers(0, len(RECORD) - 1))
@settings(max_examples=100, deadline=None)
def test_a_truncated_record_is_refused(length):
    assert outcome(RECORD[:length]) == "refused"


def test_too_large_a_pickle_is_refused():
    with pytest.raises(DataError, match="larger than 100 bytes"):
        loads(pickle.dumps("x" * 200), what="f", limit=100)


# ---- bz2


def test_bunzip2_reads_one_or_more_streams():
    assert bunzip2(bz2.compress(b"ab"), what="f") == b"ab"
    assert bunzip2(bz2.compress(b"ab") + bz2.compress(b"cd"), what="f") == b"abcd"


def test_bunzip2_refuses_bombs_truncation_and_other_files():
    bomb = bz2.compress(b"\0" * 50_000_000)
    assert len(bomb) < 1000
    with pytest.raises(DataError, match="unpacks to more than"):
        bunzip2(bomb, what="f", limit=1_000_000)
    with pytest.raises(DataError, match="unpacks to more than"):
        bunzip2(bz2.compress(b"\0" * 900_000) * 3, what="f", limit=1_000_000)
    packed = bz2.compress(RECORD)
    with pytest.raises(DataError, match="truncated"):
        bunzip2(packed[: len(packed) // 2], what="f")
    with pytest.raises(DataError, match="not bz2"):
        bunzip2(b"hello", what="f")
    with pytest.raises(DataError, match="empty"):
        bunzip2(b"", what="f")
