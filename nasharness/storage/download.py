"""Brings public files over HTTP, or from a mirror: slow servers are waited for, broken connections resumed, wrong
files refused.

Bytes arrive in ``FILE.part`` beside ``FILE.part.json``, which records where they come from. A later attempt, or a later
process, asks for the rest only when the server identifies the same file (ETag or Last-Modified, and length); otherwise
it starts over. The file gets its name only when it is complete and its SHA-256, where known, is right.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasharness.errors import DataError, UsageError, unknown
from nasharness.storage.files import file_sha256, writing
from nasharness.storage.places import data_dir
from nasharness.version import __version__

#: called with (file, bytes so far, bytes in all or 0 where the server does not say)
Progress = Callable[[str, int, int], None]

#: where files of public repositories lie: RAW/owner/name/commit/path
RAW = "https://raw.githubusercontent.com"
LARGEST = 1 << 28
#: seconds that a download of the largest file may take in all
LONGEST = 86_400.0
#: how many times the time without a byte a whole download may take
PATIENCE = 60
CHUNK = 1 << 16


class NotThere(DataError):  # noqa: N818 - reads as what it says
    """The server has no such file."""


class _Broken(Exception):  # noqa: N818
    """The connection failed or ended too early; another attempt may do better."""


@dataclass(frozen=True)
class Bringer:
    """How public files are brought here.

    ``mirror``: a folder, or the address of one, that holds files of the same names. ``sha256``: file name -> SHA-256,
    which goes before the one that is known; that goes before the mirror's ``SHA256SUMS``. The rest: as in ``download``.
    """

    mirror: str | Path | None = None
    sha256: Mapping[str, str] | None = None
    timeout: float = 60.0
    attempts: int = 6
    pause: float = 1.0
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= LONGEST:
            raise UsageError(f"--timeout {self.timeout}: expected a number of seconds above 0, up to {LONGEST:,.0f}")

    def bring(self, files: Mapping[str, tuple[Sequence[str], str | None]], command: str) -> dict[str, Path]:
        """Return where the files lie, in the mirror folder or downloaded; see ``discard``.

        ``files``: name -> addresses, tried in turn, and SHA-256 where known. ``command``: what brings them.
        Raises UsageError for a digest of another file or a mirror that has no such file, DataError for a file that
        cannot be had or has another SHA-256.
        """
        for file in self.sha256 or {}:
            if file not in files:
                raise unknown("file", file, files)
        digests = self._sums() | {file: known for file, (_, known) in files.items() if known} | dict(self.sha256 or {})
        return {file: self._bring(file, urls, digests.get(file), command) for file, (urls, _) in files.items()}

    def _bring(self, file: str, urls: Sequence[str], sha256: str | None, command: str) -> Path:
        if self.mirror is not None and not self._address:
            path = Path(self.mirror).expanduser() / file
            if not path.is_file():
                raise UsageError(f"no {file} in {self.mirror}; --mirror takes a folder, or the address of one")
            if sha256 is not None and (found := file_sha256(path)) != sha256.lower():
                raise DataError(
                    f"{path}: SHA-256 is {found}, expected {sha256.lower()} (where another file is meant: --sha256 "
                    f"{file}={found})"
                )
            return path
        missing = ""
        for url in urls if self.mirror is None else [f"{self._address}/{file}"]:
            try:
                return download(
                    url,
                    data_dir() / "downloads" / file,
                    sha256=sha256,
                    timeout=self.timeout,
                    attempts=self.attempts,
                    pause=self.pause,
                    progress=self.progress,
                )
            except NotThere as error:
                missing = str(error)
        raise DataError(f"{missing}; get {file} elsewhere and run: {command} --mirror DIR")

    def discard(self, paths: Iterable[Path]) -> bool:
        """Remove those of ``paths`` that were downloaded; return whether there were any."""
        downloaded = [path for path in paths if path.parent == data_dir() / "downloads"]
        for path in downloaded:
            discard(path)
        return bool(downloaded)

    @property
    def _address(self) -> str:
        text = "" if self.mirror is None else str(self.mirror)
        return text.rstrip("/") if text.lower().startswith(("http://", "https://")) else ""

    def _sums(self) -> dict[str, str]:
        """What a mirror's SHA256SUMS says, empty where it has none."""
        if self.mirror is None:
            return {}
        if self._address:
            text = fetch_text(f"{self._address}/SHA256SUMS", timeout=self.timeout) or ""
        else:
            folder = Path(self.mirror).expanduser()
            if not folder.is_dir():
                raise UsageError(f"--mirror {self.mirror}: expected a folder that is there, or an http(s) address")
            sums = folder / "SHA256SUMS"
            text = sums.read_text(encoding="utf-8", errors="replace") if sums.is_file() else ""
        found = re.findall(r"^([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(\S.*?)\s*$", text, re.MULTILINE)
        return {name: digest.lower() for digest, name in found}


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    timeout: float = 60.0,
    attempts: int = 6,
    pause: float = 1.0,
    progress: Progress | None = None,
) -> Path:
    """Download ``url`` to ``target`` and return it.

    ``timeout``: seconds without a byte before a connection is given up. ``attempts``: how many in a row may bring no
    new byte; between them ``pause`` seconds are waited, doubled each time up to a minute.
    Raises NotThere for 404 and 410, DataError for any other refusal, a connection that keeps failing (the part stays,
    to be resumed) or a wrong SHA-256 (the part is removed), UsageError where ``target`` cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"cannot download {url!r}: expected an address that starts with http:// or https://")
    part = target.with_name(target.name + ".part")
    with writing(target, ""):
        target.parent.mkdir(parents=True, exist_ok=True)
        failures, wait = 0, pause
        ends = time.monotonic() + PATIENCE * timeout
        while time.monotonic() < ends:
            before = _length(part)
            try:
                _attempt(url, part, timeout, ends, progress)
                break
            except _Broken as error:
                failures = 0 if _length(part) > before else failures + 1
                if failures >= attempts:
                    raise _gave_up(url, part, str(error)) from None
            if failures:
                time.sleep(wait)
                wait = min(2 * wait, 60.0)
        else:
            raise _gave_up(url, part, f"not complete after {PATIENCE * timeout:,.0f} s")
        if sha256 is not None:
            found = file_sha256(part)
            if found != sha256.lower():
                discard(target)
                raise DataError(f"{url}: SHA-256 is {found}, expected {sha256.lower()}; the file was removed")
        part.replace(target)
        _note(part).unlink(missing_ok=True)
    return target


def discard(target: Path) -> None:
    """Remove a download and whatever of it is there."""
    part = target.with_name(target.name + ".part")
    for path in (target, part, _note(part)):
        path.unlink(missing_ok=True)


def fetch_text(url: str, *, timeout: float = 60.0, limit: int = 1 << 16) -> str | None:
    """Return a small text, None where the server has none. Raises DataError where it cannot be reached."""
    try:
        with _open(_request(url), timeout, time.monotonic() + 2 * timeout) as answer:
            return str(answer.read(limit).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (403, 404, 410):
            return None
        raise DataError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"cannot reach {url}: {_reason(error)}") from None


class _Cut:
    """A connection that is cut when its time is over, however slowly the server goes on sending."""

    ends = 0.0
    sock: Any
    _timer: threading.Timer | None = None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        sock = self.sock

        def cut() -> None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        self._timer = threading.Timer(max(0.0, self.ends - time.monotonic()), cut)
        self._timer.daemon = True
        self._timer.start()


def _open(request: urllib.request.Request, timeout: float, ends: float) -> Any:
    """Open an http(s) address; the connection is cut at ``ends``, of the monotonic clock."""
    plain: Any = type("Plain", (_Cut, http.client.HTTPConnection), {"ends": ends})
    safe: Any = type("Safe", (_Cut, http.client.HTTPSConnection), {"ends": ends})

    class Plainly(urllib.request.HTTPHandler):
        def http_open(self, asked: urllib.request.Request) -> Any:
            return self.do_open(plain, asked)

    class Safely(urllib.request.HTTPSHandler):
        def https_open(self, asked: urllib.request.Request) -> Any:
            return self.do_open(safe, asked)

    return urllib.request.build_opener(Plainly, Safely).open(request, timeout=timeout)


def _attempt(url: str, part: Path, timeout: float, ends: float, progress: Progress | None) -> None:
    """Bring the rest of the file, or all of it. Raises _Broken for what another attempt may mend."""
    known = _read_note(part, url)
    start = _length(part) if known else 0
    request = _request(url)
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", known["validator"])
    try:
        with _open(request, timeout, ends) as answer:
            total, start = _agree(answer, part, known, start, url)
            if start == 0:
                validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
                weak = validator.startswith("W/")
                note = {"url": url, "validator": "" if weak else validator, "length": total}
                part.unlink(missing_ok=True)
                _note(part).write_text(json.dumps(note), encoding="utf-8")
            _receive(answer, part, start, total, url, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise NotThere(f"{url}: not there ({error.code} {error.reason})") from None
        if error.code == 416:
            _start_over(part)
            raise _Broken("the server cannot resume") from None
        if error.code in (408, 425, 429) or error.code >= 500:
            raise _Broken(f"the server answers {error.code} {error.reason}") from None
        raise DataError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Broken(_reason(error)) from None


def _agree(answer: Any, part: Path, known: dict[str, Any], start: int, url: str) -> tuple[int, int]:
    """Return (length of the whole file or 0, where the answer starts); _Broken where it is of another file."""
    said = answer.headers.get("Content-Length") or "0"
    if not re.fullmatch(r"[0-9]{1,15}", said):
        raise DataError(f"{url}: the server says the file has {said[:40]!r} bytes, which is no number")
    length = int(said)
    if answer.status != 206:
        start, total = 0, length
    else:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range") or "")
        etag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or known.get("validator")
        if not match or int(match[1]) != start or int(match[3]) != known["length"] or etag != known["validator"]:
            _start_over(part)
            raise _Broken("the file has changed on the server")
        total = int(match[3])
    if total > LARGEST:
        raise DataError(f"{url}: {total:,} bytes; no file that is fetched is larger than {LARGEST:,}")
    return total, start


def _receive(answer: Any, part: Path, start: int, total: int, url: str, progress: Progress | None) -> None:
    done = start
    name = part.name.removesuffix(".part")
    with part.open("ab" if start else "wb") as file:
        while True:
            try:
                chunk = answer.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:  # not of writing: that is outside this block
                raise _Broken(f"cut off after {done:,} bytes: {_reason(error)}") from None
            if not chunk:
                break
            file.write(chunk)
            done += len(chunk)
            if done > LARGEST or (total and done > total):
                raise DataError(f"{url}: the server sends more than the {total or LARGEST:,} bytes it should")
            if progress is not None:
                progress(name, done, total)
    if total and done < total:
        raise _Broken(f"cut off after {done:,} of {total:,} bytes")


def _request(url: str) -> urllib.request.Request:
    headers = {"User-Agent": f"nasharness/{__version__}", "Accept-Encoding": "identity"}
    return urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) only, by callers


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path, url: str) -> dict[str, Any]:
    """What is known of the part, empty where it cannot be resumed."""
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        same = note["url"] == url and note["validator"] and note["length"] > _length(part) > 0
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return note if same else {}


def _start_over(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    return str(inner) or type(inner).__name__


def _gave_up(url: str, part: Path, why: str) -> DataError:
    kept = f"; {_length(part):,} bytes are kept and the next try goes on from there" if _length(part) else ""
    return DataError(
        f"cannot download {url}: {why}{kept} (without network: nasharness data fetch --mirror DIR, a folder that holds "
        f"{part.name.removesuffix('.part')})"
    )
