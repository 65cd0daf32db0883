"""Writes a pickled DataFrame as pandas 1.0 does (protocol 4, laid out like a real one), without pandas."""

import pickle
import struct

import numpy as np

MINI = ["arch", "cellstr"] + [f"{d}-{s}" for d in ("cifar10", "cifar100", "imagenet") for s in ("test", "val")]


class Call:
    """A global called with arguments (REDUCE, or NEWOBJ with ``new``), then given a state (BUILD)."""

    def __init__(self, module, name, args=None, state=None, new=False):
        self.module, self.name, self.args, self.state, self.new = module, name, args, state, new


def dump(value):
    """Opcodes that build the value."""
    if isinstance(value, Call):
        out = f"c{value.module}\n{value.name}\n".encode()
        if value.args is not None:
            out += dump(value.args) + (b"\x81" if value.new else b"R")
        return out + (dump(value.state) + b"b" if value.state is not None else b"")
    if isinstance(value, tuple):
        return b"(" + b"".join(map(dump, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(dump, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(dump(key) + dump(item) for key, item in value.items()) + b"u"
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    return pickle.dumps(value, protocol=2)[2:-1]


def array(values):
    values = np.asarray(values)
    code = "O8" if values.dtype == object else values.dtype.str[1:]
    order = "|" if code == "O8" else "<"
    dtype = Call("numpy", "dtype", (code, False, True), (3, order, None, None, None, -1, -1, 0))
    raw = values.ravel().tolist() if code == "O8" else values.tobytes()
    new = (Call("numpy", "ndarray"), (0,), b"b")
    return Call("numpy.core.multiarray", "_reconstruct", new, (1, values.shape, dtype, False, raw))


def index(values):
    parts = {"data": array(np.array(values, dtype=object)), "name": None}
    return Call("pandas.core.indexes.base", "_new_Index", (Call("pandas.core.indexes.base", "Index"), parts))


def frame(arch, cells, floats, names=MINI):
    """The bytes of a frame with one column of integers, one of strings and one block of floats [columns, rows]."""
    rows = Call("pandas.core.indexes.range", "RangeIndex")
    rows = Call(
        "pandas.core.indexes.base", "_new_Index", (rows, {"name": None, "start": 0, "stop": len(arch), "step": 1})
    )
    axes = [index(names), rows]
    blocks = [
        (array(np.asarray(floats, dtype="<f8")), (2, len(names), 1)),
        (array(np.asarray([arch], dtype="<i8")), (0, 1, 1)),
        (array(np.array([cells], dtype=object)), (1, 2, 1)),
    ]
    places = [{"values": values, "mgr_locs": Call("builtins", "slice", where)} for values, where in blocks]
    extra = {"0.14.1": {"axes": axes, "blocks": places}}
    manager = Call("pandas.core.internals.managers", "BlockManager", (), (axes, [], [], extra), new=True)
    state = {"_data": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}}
    return b"\x80\x04" + dump(Call("pandas.core.frame", "DataFrame", (), state, new=True)) + b"."
