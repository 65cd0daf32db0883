"""Fetch against servers that are slow, break off, ignore Range, serve a wrong byte or nothing."""

import hashlib
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from pyarrow import parquet

from nasharness import spaces
from nasharness.errors import DataError, UsageError
from nasharness.storage.download import download
from nasharness.tables.importers.nats_light.fetch import MANIFEST, Anchors, fetch
from nasharness.tables.importers.nats_light.table import import_files
from tests.frame_fixtures import frame

CSV, PD = (source.file for source in MANIFEST)


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``cuts`` answers break off half-way, ``ranges`` says whether Range is honoured."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.ranges, self.delay, self.errors = {}, 0, True, 0.0, 0
        self.asked = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):  # noqa: N802
        server, name = self.server, self.path[1:]
        wanted = self.headers.get("Range")
        server.asked.append((name, wanted))
        if name not in server.files:
            return self.send_error(404)
        if server.errors:
            server.errors -= 1
            return self.send_error(503)
        data = server.files[name]
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range") == etag:
            start = int(wanted[6:-1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", etag)
        self.end_headers()
        if server.cuts:
            server.cuts -= 1
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return None
        for i in range(0, len(body), max(1, len(body) // 10)):
            time.sleep(server.delay)
            self.wfile.write(body[i : i + max(1, len(body) // 10)])
        return None


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def real(shared_data):
    """The two files with real values, but for ImageNet16-120 at 200 epochs, which is made up; and their manifest."""
    table = parquet.read_table(shared_data / "tss.parquet")
    get = {name: table[name].to_numpy() for name in table.column_names if name != "arch"}
    archs = table["arch"].to_pylist()
    made_up = np.round(10 + 30 * np.random.default_rng(3).random(15_625), 4)
    made_up[857] = 47.31
    lines = [",".join(f"{d}TestAccuracy200Epochs" for d in ("CIFAR10", "CIFAR100", "ImageNet")) + ",ArchitectureString"]
    c10, c100 = get["cifar10_test_200"], get["cifar100_test_200"]
    lines += [f"{c10[i]!s},{c100[i]!s},{made_up[i]},{archs[i]}" for i in range(len(archs))]
    floats = [get[f"{d}_{s}_12"] for d in ("cifar10", "cifar100", "in16") for s in ("test", "val")]
    files = {CSV: ("\n".join(lines) + "\n").encode(), PD: frame(range(len(archs)), archs, floats)}
    anchors = {"in16_test_200": Anchors(mean=float(made_up.mean()), best=857, values={857: 47.31})}
    # the files are stand-ins, so that their own SHA-256 are not the published ones
    return files, (replace(MANIFEST[0], anchors=anchors, sha256=None), replace(MANIFEST[1], sha256=None))


def run(real, **options):
    return fetch(manifest=real[1], pause=0.01, timeout=5, **options)


def leftovers(home):
    return [path for path in home.rglob("*") if path.is_file()] if home.exists() else []


def test_the_fetched_table_is_the_stand_in_file_s(real, server, data_home, shared_data):
    server.files = real[0]
    table = run(real, mirror=server.url)
    assert not leftovers(data_home / "downloads")
    assert table.meta["provenance"]["files"][CSV] == hashlib.sha256(real[0][CSV]).hexdigest()
    other = import_files([shared_data / "tss.parquet"], name="other")
    for name, column in table.columns.items():
        # the second: a mean of other files beside the trials that both take from the embedded table
        if name not in ("ImageNet16-120.test_acc@200", "cifar10-valid.val_acc@200"):
            key = (column.dataset, column.metric, column.schedule)
            np.testing.assert_array_equal(table.values(*key), other.values(*key))
    assert run(real, mirror=server.url).checksum == table.checksum


def test_slow_broken_and_failing_servers_are_outlasted(real, server, data_home):
    server.files, server.delay, server.cuts, server.errors = real[0], 0.02, 3, 2
    run(real, mirror=server.url)
    assert any(wanted for _, wanted in server.asked)  # it resumed


def test_a_server_without_range_is_asked_for_the_whole(real, server, data_home):
    server.files, server.cuts, server.ranges = real[0], 2, False
    assert run(real, mirror=server.url).verify() == []


def test_a_stopped_fetch_is_resumed_by_the_next(real, server, data_home):
    server.files, server.cuts = real[0], 1000
    with pytest.raises(DataError, match="goes on from there"):
        run(real, mirror=server.url, attempts=1)
    part = data_home / "downloads" / f"{CSV}.part"
    assert part.stat().st_size > 0
    assert not (data_home / "tables").exists()
    server.cuts, server.asked = 0, []
    run(real, mirror=server.url)
    assert next(wanted for name, wanted in server.asked if name == CSV).startswith("bytes=")


def test_a_part_of_another_file_is_not_continued(tmp_path, server):
    server.files, server.cuts = {"f": bytes(range(256)) * 40}, 1000
    with pytest.raises(DataError):
        download(f"{server.url}/f", tmp_path / "f", attempts=1, pause=0.01)
    server.files, server.cuts = {"f": b"x" * 10_240}, 0
    assert download(f"{server.url}/f", tmp_path / "f", pause=0.01).read_bytes() == b"x" * 10_240
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize(("file", "offset"), [(CSV, 200_004), (PD, 100_003), (CSV, 3), (PD, 700_001)])
def test_a_wrong_byte_is_refused_and_removed(real, server, data_home, file, offset):
    data = bytearray(real[0][file])
    if file == CSV and offset > 100:  # a digit of a value
        offset = data.index(b"\n", offset) + 4
        data[offset] = ord("7") if data[offset] != ord("7") else ord("3")
    else:
        data[offset] ^= 0x10
    server.files = real[0] | {file: bytes(data)}
    with pytest.raises(DataError, match=file):
        run(real, mirror=server.url)
    assert not (data_home / "tables").exists()
    assert not [path for path in leftovers(data_home) if path.name.startswith(file)]


def test_known_checksums_are_honoured(real, server, data_home, tmp_path):
    server.files = real[0]
    with pytest.raises(DataError, match="SHA-256"):
        run(real, mirror=server.url, sha256={CSV: "0" * 64})
    assert not leftovers(data_home)
    server.files = real[0] | {"SHA256SUMS": f"{'1' * 64}  {PD}\n".encode()}
    with pytest.raises(DataError, match="SHA-256"):
        run(real, mirror=server.url)
    for name, data in real[0].items():
        (tmp_path / name).write_bytes(data)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in real[0].items())
    (tmp_path / "SHA256SUMS").write_text(sums)
    run(real, mirror=tmp_path)
    assert (tmp_path / CSV).exists()  # a mirror's own files are left alone


def test_missing_files_and_places(real, server, data_home, tmp_path):
    with pytest.raises(DataError, match="404"):
        run(real, mirror=server.url)
    with pytest.raises(UsageError, match=CSV):
        run(real, mirror=tmp_path)
    with pytest.raises(UsageError, match="folder"):
        run(real, mirror=tmp_path / "none")
    with pytest.raises(UsageError, match="nearest"):
        run(real, mirror=tmp_path, sha256={"x": "0" * 64})
    with pytest.raises(DataError, match="cannot"):
        run(real, mirror="http://127.0.0.1:9", attempts=1)
    assert not leftovers(data_home)


def test_the_published_files_are_pinned(real, data_home, tmp_path):
    for name, data in real[0].items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "SHA256SUMS").write_text(f"{hashlib.sha256(real[0][CSV]).hexdigest()}  {CSV}\n")
    with pytest.raises(DataError, match=f"{CSV}: SHA-256 is .*--sha256 {CSV}="):
        fetch(mirror=tmp_path)
    assert not (data_home / "tables").exists()
    said = {name: hashlib.sha256(data).hexdigest() for name, data in real[0].items()}
    assert fetch(mirror=tmp_path, sha256=said, manifest=tuple(replace(source, anchors={}) for source in MANIFEST)).size


def test_addresses_are_tried_in_turn(real, server, data_home):
    server.files = real[0]
    manifest = tuple(replace(source, urls=(f"{server.url}/gone", f"{server.url}/{source.file}")) for source in real[1])
    assert fetch(manifest=manifest, pause=0.01).size == len(spaces.get("tss"))
