"""Generators of attacks. Each yields callables; what one returns is how the attack ended: refused, or without effect.

An attack may raise NasharnessError, which is a refusal. Anything else that it raises is a defect.
"""

from __future__ import annotations

import bz2
import gzip
import http.server
import io
import json
import pickle
import random
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nasharness.errors import DataError

Attack = Callable[[], str]
HARMLESS, REFUSED = "without effect", "refused"


def flipped(data: bytes, rng: random.Random) -> bytes:
    """``data`` with one bit of it changed."""
    place = rng.randrange(8 * len(data))
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def mangled(data: bytes, rng: random.Random) -> bytes:
    """``data`` cut, overwritten, doubled or replaced."""
    at = rng.randrange(max(1, len(data)))
    return rng.choice(
        [
            lambda: data[:at],
            lambda: data[:at] + rng.randbytes(rng.randrange(1, 40)) + data[at:],
            lambda: data[:at] + data[at + rng.randrange(1, 40) :],
            lambda: rng.randbytes(rng.randrange(200)),
            lambda: data + data,
            lambda: b"",
        ]
    )()


def odd(value: Any, rng: random.Random) -> Any:
    """A JSON value with something in it replaced by what does not belong there."""
    wrong: list[Any] = [
        None, -1, 10**9, 10**30, 1e308, "", "../../x", "\x1b[31mred", "x" * 100_000, [], {}, [[]], True, "$\\frac{",
        "=1+1",
    ]  # fmt: skip
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        rest = dict(value)
        if rng.random() < 0.15:
            del rest[key]
            return rest
        return rest | {key: odd(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], odd(value[place], rng), *value[place + 1 :]]
    return rng.choice(wrong)


# ---- pickles


def calls(canary: Path, rng: random.Random) -> bytes:
    """A pickle that would make the file ``canary``, in one of many ways."""
    word = f"touch {canary}".encode()
    text = b"X" + struct.pack("<I", len(word)) + word
    module, name = rng.choice(
        [(b"os", b"system"), (b"posix", b"system"), (b"subprocess", b"getoutput"), (b"os", b"popen")]
    )
    short = [b"\x8c" + bytes([len(one)]) + one for one in (module, name)]
    body = rng.choice(
        [
            b"c" + module + b"\n" + name + b"\n" + text + b"\x85R",
            short[0] + short[1] + b"\x93" + text + b"\x85R",
            b"(" + text + b"i" + module + b"\n" + name + b"\n",
            b"(c" + module + b"\n" + name + b"\n" + text + b"o",
            b"c" + module + b"\n" + name + b"\n" + text + b"\x85\x81",
            b"cbuiltins\neval\n" + text + b"\x85R",
            b"cbuiltins\ngetattr\nc" + module + b"\n" + name + b"\n" + text + b"\x86R",
            b"c_codecs\nencode\nq\x00c" + module + b"\n" + name + b"\n" + text + b"\x85Rb",
            b"ccollections\nOrderedDict\n)Rc" + module + b"\n" + name + b"\nb" + text,
            b"P" + word + b"\n",
            text + b"Q",
        ]
    )
    return rng.choice([b"", b"\x80\x02", b"\x80\x04"]) + body + b"."


def floods(rng: random.Random) -> bytes:
    """A pickle that takes memory or time without end, from a few bytes, or from many that pack well."""
    n = rng.choice([10**5, 10**6, 6 * 10**6])
    nested = b"".join(b"\x86" + b"q" + bytes([k]) + b"0h" + bytes([k]) * 1 + b"h" + bytes([k]) for k in range(60))
    return rng.choice(
        [
            lambda: b"\x80\x04N" + b"\x94" * n + b".",
            lambda: b"\x80\x04(" + b"]" * n + b"l.",
            lambda: b"\x80\x04(" + b"}" * n + b"t.",
            lambda: b"\x80\x02Nr" + struct.pack("<I", rng.choice([10**9, 2**31, 2**32 - 1])) + b".",
            lambda: b"\x80\x04\x8e" + struct.pack("<Q", 10**12) + b"x.",
            lambda: b"\x80\x02" + b"(" * n + b".",
            lambda: b"\x80\x02NN" + nested + b".",
            lambda: b"\x80\x02" + b")" + b"\x85" * min(n, 10**6) + b".",
            lambda: b"\x80\x02]" + b"2" * n + b".",
            lambda: b"\x80\x02\x8b" + struct.pack("<I", 10**6) + b"\x01" * 10**6 + b".",
            lambda: b"I" + b"9" * 10**6 + b"\n.",
            lambda: b"\x80\x02X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"q\x00(" + b"h\x00" * 10**4 + b"l.",
        ]
    )()


def pickles(rng: random.Random, folder: Path, count: int) -> Iterator[Attack]:
    """Through every door that takes a pickle."""
    from nasharness.hardware.help import read_list
    from nasharness.hardware.imported import read_hw_nas_bench
    from nasharness.images.pickles import read_batch
    from nasharness.tables.importers.nats_light.files import read_columns

    canary = folder / "canary"
    honest = [pickle.dumps({"data": np.zeros((4, 12), np.uint8), "labels": [0, 1, 2, 3]}, p) for p in (2, 4, 5)]

    def written(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    def zipped(data: bytes, packed: int) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", packed) as archive:
            archive.writestr("x/data.pkl", data)
        return content.getvalue()

    doors: list[Callable[[bytes], Any]] = [
        lambda data: read_batch(data, what="batch"),
        lambda data: read_columns(written("x.pd", data)),
        lambda data: read_hw_nas_bench(written("HW-NAS-Bench-v1_0.pickle", data)),
        lambda data: read_list(zipped(data, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])), "list"),
    ]
    for number in range(count):
        kind = number % 5
        data = calls(canary, rng) if kind < 2 else floods(rng) if kind == 2 else mangled(rng.choice(honest), rng)
        door = doors[number // 5 % len(doors)]

        def attack(data: bytes = data, door: Callable[[bytes], Any] = door) -> str:
            try:
                door(data)
            finally:
                assert not canary.exists(), "code was run"
            return HARMLESS

        yield attack


# ---- archives and columns


def archives(rng: random.Random, folder: Path, count: int) -> Iterator[Attack]:
    """Streams that unpack to far more than they are, archives with names that lead elsewhere."""
    from nasharness.images.archive import read_members
    from nasharness.tables.columnar import read_whole
    from nasharness.tables.unpickle import bunzip2

    def tar() -> bytes:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            member = tarfile.TarInfo(rng.choice(["a/b", "../x", "/etc/x", "a/../../b", "a\\b"]))
            member.type = rng.choice(
                [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
            )
            member.linkname, member.size = "/etc/passwd", 0
            archive.addfile(member)
        return rng.choice([lambda: content.getvalue(), lambda: mangled(content.getvalue(), rng)])()

    for number in range(count):
        kind = number % 4

        def attack(kind: int = kind, number: int = number) -> str:
            if kind == 0:
                data = bz2.compress(b"") * rng.choice([10, 10**4, 5 * 10**5]) + bz2.compress(
                    bytes(rng.choice([10, 10**8]))
                )
                bunzip2(data, what="x.pbz2")
            elif kind == 1:
                file = folder / f"{number}.csv.gz"
                file.write_bytes(gzip.compress(b"a,b\n" + bytes(rng.choice([100, 4 * 10**7])), 9))
                read_whole(file)
            elif kind == 2:
                file = folder / f"{number}.tar.gz"
                file.write_bytes(tar())
                read_members(file, ["a/b"], fix="fetch")
            else:
                file = folder / f"{number}.csv"
                body = [
                    b"\xff" * 100,
                    b"a" + b",a" * 30_000,
                    b"a,b\n1",
                    b"\0" * 1000,
                    b"=cmd()\n1\n",
                    b"a\n" + b"9" * 10**6,
                ]
                file.write_bytes(rng.choice(body))
                read_whole(file)
            return HARMLESS

        yield attack


def parquets(rng: random.Random, folder: Path, count: int) -> Iterator[Attack]:
    """Parquet files with any byte changed, and images in them that claim to be huge."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nasharness.images.jpegs import read
    from nasharness.tables.columnar import read_whole

    def bomb() -> bytes:
        side = rng.choice([10**5, 2**31 - 1])
        chunk = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + bytes(4)

    content = io.BytesIO()
    pq.write_table(pa.table({"index": list(range(50)), "cifar10_test_200": [1.0] * 50}), content)
    for number in range(count):

        def attack(number: int = number) -> str:
            file = folder / f"{number}.parquet"
            if number % 3:
                file.write_bytes(rng.choice([flipped, mangled])(content.getvalue(), rng))
                read_whole(file)
            else:
                pq.write_table(pa.table({"jpeg": [bomb()] * 3, "label": [0, 1, 0]}), file)
                read("made-up", [file])
            return HARMLESS

        yield attack


# ---- our own files


def checkpoints(rng: random.Random, folder: Path, count: int) -> Iterator[Attack]:
    """Changed bits, cut files, and whole files that hold what does not belong there."""
    import torch

    from nasharness.runs import checkpoint

    network = torch.nn.Linear(4, 3)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(2, 4)).sum().backward()
    optimiser.step()

    def state() -> dict[str, Any]:
        return {"net": network.state_dict(), "optimiser": optimiser.state_dict(), "rows": [], "step": 3, "loss": 0.5}

    form = state()
    path = checkpoint.save(folder / "a.pt", form, kind="test", identity={"a": 1})
    whole = path.read_bytes()

    def take_up(found: dict[str, Any]) -> None:
        with checkpoint.fitting(path):
            checkpoint.same_form(found, form)
            network.load_state_dict(found["net"])
            checkpoint.load_optimiser(optimiser, found["optimiser"])

    for number in range(count):

        def attack(number: int = number) -> str:
            if number % 2:
                data = flipped(whole, rng)
            elif number % 4:
                data = mangled(whole, rng)
            else:
                weight = rng.choice([torch.zeros(3, 5), torch.zeros(0), torch.ones(3, 4).double(), None, "x", [1]])
                changed: Any = odd(form, rng) if rng.random() < 0.5 else form | {"net": {"weight": weight}}
                if not isinstance(changed, dict):
                    return HARMLESS
                checkpoint.save(path, changed, kind="test", identity={"a": 1})
                data = path.read_bytes()
            path.write_bytes(data)
            take_up(checkpoint.load(path, kind="test", identity={"a": 1}))
            assert data == whole or number % 4 == 0, "other bytes were taken up"
            return HARMLESS

        yield attack


def tables(rng: random.Random, folder: Path, count: int) -> Iterator[Attack]:
    """Changed bits in columns and in the card, and cards that say odd things."""
    from nasharness.storage.sealed import seal
    from nasharness.tables import Table, TableWriter

    about = {"space": "tss", "version": "1", "size": 100, "source": "", "licence": "", "citation": ""}
    with TableWriter(folder / "t", name="t", **about) as writer:
        for seed in ("val_acc", "test_acc"):
            writer.add("cifar10", seed, np.arange(200.0), unit="percent", schedule=12, epochs=(12,), seeds=("a", "b"))
    files = {file: file.read_bytes() for file in sorted((folder / "t").iterdir())}

    def values() -> Any:
        table = Table.open(folder / "t")
        return table.columns, [table.values("cifar10", metric, 12).tolist() for metric in ("val_acc", "test_acc")]

    expected = values()
    for number in range(count):

        def attack(number: int = number) -> str:
            file = rng.choice(list(files))
            try:
                if number % 3 == 0:
                    card = odd(json.loads(files[folder / "t" / "table.json"]), rng)
                    card = seal(card) if isinstance(card, dict) and rng.random() < 0.5 else card
                    (folder / "t" / "table.json").write_text(json.dumps(card))
                    Table.open(folder / "t").values("cifar10", "val_acc", 12)
                else:
                    file.write_bytes(rng.choice([flipped, flipped, mangled])(files[file], rng))
                    assert values() == expected, "other values were read"
            finally:
                for path, data in files.items():
                    path.write_bytes(data)
            return HARMLESS

        yield attack


def studies(rng: random.Random, folder: Path, count: int) -> Iterator[Attack]:
    """Changed bits in study.json and in shards, and plans that say odd things."""
    from nasharness.storage.sealed import seal
    from nasharness.studies import load
    from tests.study_fixtures import write_study

    out = write_study(folder / "study")
    files = {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}
    meta = json.loads(files[out / "study.json"])

    def told() -> Any:
        found = load(out)
        return found.frame.to_csv(), json.dumps(found.cells)

    expected = told()
    for number in range(count):

        def attack(number: int = number) -> str:
            file = rng.choice(list(files))
            try:
                if number % 3 == 0:
                    changed = odd(meta, rng)
                    changed = seal(changed) if isinstance(changed, dict) and rng.random() < 0.7 else changed
                    (out / "study.json").write_text(json.dumps(changed))
                    load(out)
                else:
                    file.write_bytes(rng.choice([flipped, flipped, mangled])(files[file], rng))
                    assert told() == expected, "another study was read"
            finally:
                for path, data in files.items():
                    path.write_bytes(data)
            return HARMLESS

        yield attack


def records(rng: random.Random, folder: Path, count: int) -> Iterator[Attack]:
    """winner.json, run.json, retrained.json and baselines."""
    from nasharness.analysis.validation.baseline import Recorded
    from nasharness.search.winner import content, read_winner
    from nasharness.training.imagenet.export import _run_record
    from nasharness.training.retrained import read

    one = {"label": "best-signal", "about": "", "arch": "x", "index": 1, "signal": 1.0, "final": 2.0, "votes": 1}
    recipe = {"mean": [0.5] * 3, "std": [0.2] * 3, "eval_crop": 0.9, "eval_square": True, "eval_resizer": "area"}
    run = {
        "format": 1, "task": "imagenet", "network": "shrinkcnn-a", "classes": 2, "class_names": ["a", "b"], "size": 32,
        "recipe": recipe | {"name": "x"}, "epochs": 3,
    }  # fmt: skip
    baseline: dict[str, Any] = {
        "format": "nasharness-baseline/1",
        "algorithm": "rea",
        "seed": 0,
        "runs": 1,
        "cells": [],
    }
    kinds: list[tuple[str, dict[str, Any], Callable[[Path], Any]]] = [
        ("winner.json", content({"space": "tss"}, [one]), read_winner),
        ("run.json", run, lambda file: (_run_record(file.parent), read(file.parent))),
        ("retrained.json", run | {"kind": "retrained", "best": {"epoch": 1, "weights": "raw", "top1": 1.0}}, read),
        ("baseline.json", baseline, Recorded),
    ]  # fmt: skip
    for number in range(count):
        name, value, reader = kinds[number % len(kinds)]
        if number % 7 == 0:
            text = b'{"a":' * 10_000 + b"1" + b"}" * 10_000
        elif number % 7 < 3:
            text = mangled(json.dumps(value).encode(), rng)
        else:
            text = json.dumps(odd(value, rng)).encode()

        def attack(
            name: str = name, text: bytes = text, reader: Callable[[Path], Any] = reader, n: int = number
        ) -> str:
            place = folder / str(n)
            place.mkdir()
            (place / name).write_bytes(text)
            reader(place / name)
            return HARMLESS

        yield attack


# ---- servers and command lines


def servers(rng: random.Random, folder: Path, count: int) -> Iterator[Attack]:
    """Answers that are none: odd lengths, too much, too little, broken lines."""
    from nasharness.storage.download import download

    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 999 \x1b[31m\r\n\r\n", b"junk\r\n\r\n", b"", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes x\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n",
    ]  # fmt: skip
    chosen: list[bytes] = [b""]

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.connection.recv(4096)
            self.connection.sendall(chosen[0])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for number in range(count):

            def attack(number: int = number) -> str:
                chosen[0] = answers[number % len(answers)]
                target = folder / f"{number}"
                address = f"http://127.0.0.1:{server.server_port}/x"
                download(address, target, sha256="0" * 64, timeout=2.0, attempts=1, pause=0.0)
                raise AssertionError("a file of another SHA-256 was taken")

            yield attack
    finally:
        server.shutdown()
        server.server_close()


def words(rng: random.Random, folder: Path, count: int) -> Iterator[Attack]:
    """Command lines of words that belong, and words that do not; none that would train or download."""
    from click.testing import CliRunner

    from nasharness.cli import cli
    from nasharness.cli.process import check_words
    from nasharness.errors import NasharnessError

    commands = [
        ["run", "--algo", "random", "--space", "tss"], ["compare", str(folder)], ["show", "3"], ["list", "algos"],
        ["report", str(folder)], ["data", "status"], ["validate", "--algo", "random"], ["figures", str(folder)],
        ["export", str(folder), "-o", str(folder / "x.pt2")], ["data", "import", str(folder / "none.csv")],
        ["study", "--algo", "random", "--dry-run"],
    ]  # fmt: skip
    odd_words = [
        "", "-1", "nan", "1e999", "s3://x/y", "../..", "\x1b[31m", "x" * 5_000, "--runs", "--seed", "--set", "a=b=c",
        "$(x)", "--out", "/dev/null/x", "/proc/self/mem", "--evaluations", "0", "99999999999999999999", "--table",
        "\udcff", "--json",
    ]  # fmt: skip
    for _ in range(count):
        line = [*rng.choice(commands), *rng.choices(odd_words, k=rng.randrange(1, 4))]

        def attack(line: list[str] = line) -> str:
            check_words(line)
            done = CliRunner().invoke(cli, line)
            error = done.exception
            if error is not None and not isinstance(error, NasharnessError | SystemExit):
                raise error
            if done.exit_code or error:
                raise DataError(str(error))
            return HARMLESS

        yield attack


#: family -> generator, and how many attacks the full run makes
FAMILIES = {
    "pickles": (pickles, 240), "archives": (archives, 60), "parquet": (parquets, 18), "checkpoints": (checkpoints, 200),
    "tables": (tables, 180), "studies": (studies, 160), "records": (records, 120), "servers": (servers, 20),
    "command lines": (words, 60),
}  # fmt: skip
