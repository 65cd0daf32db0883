"""Tar shards where a URL says: an object store, a server, whatever fsspec knows (``s3://``, ``gs://``, ``https://``)."""

from __future__ import annotations

import importlib.util
import posixpath
from dataclasses import dataclass
from typing import IO, Any

from nasharness.errors import DataError, UsageError
from nasharness.extras import pip_install


def is_url(place: object) -> bool:
    """Whether it is a URL and no path of this machine."""
    return isinstance(place, str) and "://" in place


@dataclass(frozen=True)
class RemotePath:
    """A folder or a file at a URL: as much of pathlib's Path as tar shards need, and ranges of bytes.

    Holds no connection, so that processes that decode can be forked: each makes its own.
    """

    url: str

    @classmethod
    def of(cls, url: str) -> RemotePath:
        """Check that it can be read from here.

        Raises:
            UsageError: a package is not installed, or nobody knows the protocol.
        """
        if importlib.util.find_spec("fsspec") is None:
            raise UsageError(f"--data {url}: reading from a URL needs fsspec: {pip_install('remote')}")
        path = cls(url.rstrip("/"))
        try:
            path._found()
        except ImportError as error:
            raise UsageError(f"--data {url}: {error}") from error  # names the package that knows the protocol
        except ValueError as error:
            raise UsageError(f"--data {url}: {error}; expected a URL that fsspec knows, or a folder") from error
        return path

    def _found(self) -> tuple[Any, str]:
        import fsspec  # type: ignore[import-untyped]

        system, path = fsspec.core.url_to_fs(self.url)
        return system, str(path)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def parent(self) -> RemotePath:
        """The folder that it is in."""
        return RemotePath(posixpath.dirname(self.url))

    def is_dir(self) -> bool:
        """Whether there is such a folder, or anything that begins so."""
        system, path = self._found()
        return bool(system.isdir(path))

    def is_file(self) -> bool:
        """Whether there is such a file."""
        system, path = self._found()
        return bool(system.isfile(path))

    def glob(self, pattern: str) -> list[RemotePath]:
        """Files in this folder whose names fit."""
        system, path = self._found()
        names = (posixpath.basename(str(found)) for found in system.glob(f"{path}/{pattern}"))
        return [self / name for name in sorted(names)]

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open for reading."""
        system, path = self._found()
        opened: IO[bytes] = system.open(path, mode)
        return opened

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole file."""
        with self.open() as file:
            return file.read().decode(encoding)

    def range(self, offset: int, size: int) -> bytes:
        """Bytes of the file. Raises OSError."""
        system, path = self._found()
        data: bytes = system.cat_file(path, start=offset, end=offset + size)
        return data


def reachable(url: str) -> RemotePath:
    """As `RemotePath.of`, and something is there. Raises DataError."""
    path = RemotePath.of(url)
    try:
        there = path.is_dir()
    except OSError as error:
        raise DataError(f"--data {url} cannot be read: {error}") from error
    if not there:
        raise DataError(f"--data {url}: there is nothing at this URL; expected train/*.tar and val/*.tar")
    return path
