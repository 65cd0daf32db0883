"""A shard: some consecutive seeds of one cell, computed as one batch and written as one Parquet file.

A shard is a function of its cell and its number alone: no time, no host, no process. Whoever computes it, and whenever,
makes the same bytes.
"""

from __future__ import annotations

import pyarrow as pa

_NAME = pa.dictionary(pa.int32(), pa.string())

#: One row for each improvement of the incumbent, and one more (``last``) at the end of each run.
SCHEMA = pa.schema(
    [
        ("cell", _NAME),
        ("space", _NAME),
        ("dataset", _NAME),
        ("table", _NAME),
        ("algorithm", _NAME),
        ("seed", pa.int64()),
        ("step", pa.int32()),
        ("simulated_seconds", pa.float64()),
        ("signal", pa.float64()),
        ("incumbent", pa.int32()),
        ("final", pa.float64()),
        ("last", pa.bool_()),
        ("recommended", pa.int32()),
        ("recommended_final", pa.float64()),
        ("evaluations", pa.int32()),
    ]
)
