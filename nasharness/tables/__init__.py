"""Ground truth: tables, one reader per published format, the catalogue, the safe unpickler."""

from nasharness.tables.catalogue import candidates, open_table, table_names, table_path
from nasharness.tables.importers.nats_official.live import from_nats_bench
from nasharness.tables.own import from_frame
from nasharness.tables.registry import register
from nasharness.tables.table import Column, Table, column_name, seed_mean
from nasharness.tables.writer import TableWriter

__all__ = [
    "Column",
    "Table",
    "TableWriter",
    "candidates",
    "column_name",
    "from_frame",
    "from_nats_bench",
    "open_table",
    "register",
    "seed_mean",
    "table_names",
    "table_path",
]
