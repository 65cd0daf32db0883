"""Reading Parquet so that nothing of it is still at work when the process ends."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from nasharness.storage.files import regular


def read_parquet(source: Path | Any, *, verify: bool = False) -> Any:
    """The table of a Parquet file or buffer; ``verify``: its pages by their checksums.

    Neither reads ahead nor has threads, which now and then outlive Python and abort it at its end
    (https://github.com/apache/arrow/issues/34314). Raises as pyarrow and
    ``regular`` do.
    """
    from pyarrow import parquet

    with contextlib.ExitStack() as stack:
        if isinstance(source, Path):  # of a name, pyarrow makes its own sense: ~, say
            source = stack.enter_context(regular(source))
        file = stack.enter_context(parquet.ParquetFile(source, pre_buffer=False, page_checksum_verification=verify))
        return file.read(use_threads=False)
