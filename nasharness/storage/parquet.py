"""Reading Parquet so that nothing of it is still at work when the process ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def read_parquet(source: Path | Any, *, verify: bool = False) -> Any:
    """The table of a Parquet file or buffer; ``verify``: its pages by their checksums.

    Neither reads ahead nor has threads, which now and then outlive Python and abort it at its end
    (https://github.com/apache/arrow/issues/34314). Raises as pyarrow does.
    """
    from pyarrow import parquet

    with parquet.ParquetFile(source, pre_buffer=False, page_checksum_verification=verify) as file:
        return file.read(use_threads=False)
