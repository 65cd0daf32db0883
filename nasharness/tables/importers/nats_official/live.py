"""A table of a live API object of ``nats_bench``: what `import_archive` makes of the files it was read from.

For whoever has the object and not the archive: a subset that was made by hand, a copy behind a network file system, an
API that a script has loaded anyway.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasharness.errors import DataError, UsageError
from nasharness.runs.job import Progress
from nasharness.storage import only_writer, writing
from nasharness.tables.catalogue import table_path

if TYPE_CHECKING:
    from nasharness.tables.table import Table


def from_nats_bench(
    api: Any,
    *,
    name: str = "official",
    partial: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    destination: str | os.PathLike[str] | None = None,
) -> Table:
    """Make a table of ``api``, which ``nats_bench.create`` (or ``nas_201_api``, version 2) returned, and return it.

    Every accuracy, loss and time, by seed and epoch, as float64, on tss or sss. ``partial``: accept an API that lacks
    architectures (their values are NaN). ``force``: replace a table called ``name`` that is here. ``progress(done,
    total)`` is called after every architecture. ``destination``: the table's folder, by default where ``nasharness``
    looks for it. An API in fast mode reads each record when it is asked for; records that it had not read before are
    dropped again, so that memory does not grow.

    Raises UsageError for an object of another kind and a table that is here already, DataError for one that lacks
    architectures, or holds something else than NATS-Bench's results; the table that was there is then unchanged.
    """
    from nasharness.tables.importers.nats_official.records import Block, Shard
    from nasharness.tables.importers.nats_official.sources import SIZES, Archive, space_of
    from nasharness.tables.importers.nats_official.table import BLOCK, assemble, refuse_partial

    what = f"this {type(api).__name__}"
    if not hasattr(api, "meta_archs") or not hasattr(api, "arch2infos_dict"):
        raise UsageError(f"{what} is no API object of nats_bench; expected what nats_bench.create(...) returns")
    space = space_of(api.meta_archs, f"{what}: meta_archs")
    target = table_path(space, name) if destination is None else Path(destination)
    if (target / "table.json").is_file() and not force:
        raise UsageError(f"table {name!r} of space {space!r} is in {target} already; replace it with force=True")
    indices = [index for index in range(SIZES[space]) if _has(api, index)]
    source = Path(str(getattr(api, "filename", None) or type(api).__name__))
    refuse_partial(source, indices, SIZES[space], partial)
    blocks = [indices[start : start + BLOCK] for start in range(0, len(indices), BLOCK)]
    with writing(f"a table under {target.parent}", ""), only_writer(target):
        for left in target.parent.glob(f".import-{target.name}-*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f".import-{target.name}-", dir=target.parent) as folder:
            shards = []
            for number, rows in enumerate(blocks):
                block = Block(len(rows))
                for row, index in enumerate(rows):
                    block.add(row, _record(api, index), index, api.meta_archs[index], f"architecture {index} of {what}")
                    if progress is not None:
                        progress(number * BLOCK + row + 1, len(indices))
                path = Path(folder) / f"block-{number:05d}"
                block.write(path, "live", {index: _digest(block, row) for row, index in enumerate(rows)})
                shards.append(Shard(path))
            archive = Archive(source, source.name.split(".")[0].removesuffix("-simple"), "live", None, {})
            return assemble(archive, space, target, name, shards, anchors=True)


def _has(api: Any, index: int) -> bool:
    """Whether ``api`` has the architecture's results in memory, or their file in its folder."""
    if index in api.arch2infos_dict:
        return True
    folder = getattr(api, "archive_dir", None)
    if not getattr(api, "fast_mode", False) or folder is None:
        return False
    return any((Path(folder) / f"{text}.pickle.pbz2").is_file() for text in (f"{index:06d}", str(index)))


def _record(api: Any, index: int) -> Mapping[str, Any]:
    """The results of an architecture in the form of NATS-Bench's files."""
    read_before = index in api.arch2infos_dict
    if not read_before:
        api.reload(api.archive_dir, index)
    try:
        return {str(hp): results.state_dict() for hp, results in api.arch2infos_dict[index].items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"architecture {index}: its results are not those of nats_bench ({error})") from None
    finally:
        if not read_before:
            del api.arch2infos_dict[index]
            api.evaluated_indexes.discard(index)


def _digest(block: Any, row: int) -> str:
    """SHA-256 of one architecture's values, whatever the order in which they were met."""
    digest = hashlib.sha256()
    for curve in sorted(block.curves):
        digest.update(repr(tuple(curve)).encode() + block.curves[curve][row].tobytes())
    return digest.hexdigest()
