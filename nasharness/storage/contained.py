"""Reading a stranger's file in a process of its own, with bounds on memory and time, which ends with the answer.

What a hostile file can do, crash the reader, fill the memory or take for ever, happens there and is told in one line.
The answer comes back as plain values and arrays of numbers, never as a pickle.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from nasharness.errors import DataError, NasharnessError, UsageError

#: bytes of memory, besides GROWTH times those of the file
MEMORY = 5 << 28
GROWTH = 24
#: seconds of processor time, besides one for each of so many bytes
SECONDS, RATE = 30, 4 << 20
#: bytes of the largest answer, besides GROWTH times those of the file
ANSWER = 1 << 28
_ARRAY, _TEXTS, _BIG = 1, 2, 3
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import main; main()"


def contained(target: str, what: str, size: int, *arguments: Any, fork: bool = True) -> Any:
    """Return what the function ``target``, ``module:name``, gives for ``arguments``, plain values or bytes.

    ``what``: names the file in messages; ``size``: its bytes, which bound memory and time. ``fork``: whether the
    process may be a copy of this one, which starts in an instant; libraries with threads of their own need a fresh one.
    Raises what the function raises on purpose, and DataError where reading takes more than any honest file does or ends
    the process.
    """
    bounds = (MEMORY + GROWTH * size, SECONDS + size // RATE)
    most = ANSWER + GROWTH * size
    copied = fork and sys.platform == "linux" and threading.active_count() == 1
    with tempfile.TemporaryFile() as errors:
        start = _forked if copied else _spawned
        pipe, end = start(target, bounds, arguments, errors)
        try:
            with pipe:
                answer = pipe.read(most + 1)
            if len(answer) > most:
                raise DataError(f"{what}: unpacks to more than any honest file of its size does")
        finally:
            code = end()
        if code:
            raise DataError(f"{what}: reading it {_ended(code)}, as no honest file does{_last_words(errors)}")
    return _outcome(answer, what)


_Started = tuple[IO[bytes], Callable[[], int]]


def _forked(target: str, bounds: tuple[int, int], arguments: Sequence[Any], errors: IO[bytes]) -> _Started:
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.dup2(errors.fileno(), 2)
            os.close(read)
            _do(function, bounds, arguments, write)
        finally:
            os._exit(1)
    os.close(write)

    def end() -> int:
        ends = time.monotonic() + 1.0  # it has said its last word
        done, status = os.waitpid(process, os.WNOHANG)
        while not done and time.monotonic() < ends:
            time.sleep(0.002)
            done, status = os.waitpid(process, os.WNOHANG)
        if not done:
            os.kill(process, signal.SIGKILL)
            status = os.waitpid(process, 0)[1]
        return os.waitstatus_to_exitcode(status)

    return os.fdopen(read, "rb"), end


def _spawned(target: str, bounds: tuple[int, int], arguments: Sequence[Any], errors: IO[bytes]) -> _Started:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others take address space in advance
    with tempfile.TemporaryFile() as given:
        given.write(msgspec.msgpack.encode([target, bounds, list(arguments)]))
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT.format(__name__), json.dumps(sys.path)],
            stdin=given, stdout=subprocess.PIPE, stderr=errors, env=environment,
        )  # fmt: skip

    def end() -> int:
        try:
            return process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    assert process.stdout is not None  # noqa: S101 - for the type checker
    return process.stdout, end


def _outcome(answer: bytes, what: str) -> Any:
    try:
        word, value = msgspec.msgpack.decode(answer, ext_hook=_unpacked)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DataError(f"{what}: the process that read it gave no answer ({error})") from None
    if word == "done":
        return value
    raise _ERRORS.get(word, DataError)(value)


def _ended(code: int) -> str:
    names = {-9: "took too long", -24: "took too long", -11: "crashed", -6: "crashed"}
    return names.get(code, f"ended with {'signal' if code < 0 else 'exit code'} {abs(code)}")


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - 1_000))
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return f" ({lines[-1][:160]})" if lines else ""


_ERRORS: Mapping[str, type[NasharnessError]] = {"UsageError": UsageError, "DataError": DataError}


# ---- in the process


def main() -> None:
    """Do the one task on standard input, and answer on standard output."""
    target, bounds, arguments = msgspec.msgpack.decode(sys.stdin.buffer.read())
    module, _, name = target.partition(":")
    out = os.dup(1)
    os.dup2(2, 1)  # whatever prints, prints elsewhere
    _do(getattr(importlib.import_module(module), name), bounds, arguments, out)


def _do(function: Callable[..., Any], bounds: Sequence[int], arguments: Sequence[Any], out: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    faulthandler.disable()  # a crash is told in one line, by the parent
    _limit(*bounds)
    try:
        answer = msgspec.msgpack.encode(["done", _packed(function(*arguments))])
    except NasharnessError as error:
        kind = next((name for name, kind in _ERRORS.items() if isinstance(error, kind)), "DataError")
        answer = msgspec.msgpack.encode([kind, _shown(str(error))])
    except (MemoryError, RecursionError) as error:
        why = "takes more memory than" if isinstance(error, MemoryError) else "is nested deeper than"
        answer = msgspec.msgpack.encode(
            ["DataError", f"{_first(arguments)}: damaged: it {why} any file of this format"]
        )
    except Exception as error:
        text = _shown(f"{type(error).__name__}: {error}")[:200]
        answer = msgspec.msgpack.encode(["DataError", f"{_first(arguments)}: damaged: {text}"])
    with os.fdopen(out, "wb") as pipe:
        pipe.write(answer)
    os._exit(0)


def _first(arguments: Sequence[Any]) -> str:
    return next((_shown(word)[:300] for word in arguments if isinstance(word, str)), "the file")


def _shown(text: str) -> str:
    return text[:4_000].encode("utf-8", "backslashreplace").decode()


def _limit(memory: int, seconds: int) -> None:
    try:
        import resource
    except ImportError:  # no such limits on this system
        return
    with contextlib.suppress(OSError, ValueError):  # what a copy of a process has mapped already
        memory += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds += int(used.ru_utime + used.ru_stime)
    for kind, wanted in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _packed(value: Any) -> Any:
    """``value`` with arrays as MessagePack extensions."""
    import numpy as np

    if isinstance(value, dict):
        return {_packed(key): _packed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(item) for item in value]
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufSU":
            return msgspec.msgpack.Ext(_TEXTS, msgspec.msgpack.encode([_packed(one) for one in value.tolist()]))
        head = msgspec.msgpack.encode([value.dtype.str, list(value.shape)])
        return msgspec.msgpack.Ext(
            _ARRAY, len(head).to_bytes(2, "little") + head + np.ascontiguousarray(value).tobytes()
        )
    if isinstance(value, np.generic):
        return _packed(value.item())
    if type(value) is int and not -(1 << 63) <= value < 1 << 64:
        return msgspec.msgpack.Ext(_BIG, str(value).encode())
    return _shown(value) if type(value) is str and not value.isascii() else value


def _unpacked(code: int, data: memoryview) -> Any:
    import numpy as np

    if code == _BIG:
        return int(bytes(data))
    if code == _TEXTS:
        texts = msgspec.msgpack.decode(data, ext_hook=_unpacked)
        array = np.empty(len(texts), dtype=object)
        array[:] = texts
        return array
    size = int.from_bytes(data[:2], "little")
    dtype, shape = msgspec.msgpack.decode(data[2 : 2 + size])
    values = data[2 + size :]
    plain = np.dtype(dtype)
    if plain.kind not in "biufSU" or math.prod(shape) * plain.itemsize != len(values):
        raise ValueError("an array of another size")
    return np.frombuffer(bytearray(values), dtype=plain).reshape(shape)
