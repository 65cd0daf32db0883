"""Ground truth: tables, one reader per published format, the catalogue, the safe unpickler."""

from nasharness.tables.catalogue import candidates, data_dir, open_table, table_names, table_path
from nasharness.tables.from_nats_bench import from_nats_bench
from nasharness.tables.table import Column, Table, TableWriter, column_name, seed_mean

__all__ = [
    "Column",
    "Table",
    "TableWriter",
    "candidates",
    "column_name",
    "data_dir",
    "from_nats_bench",
    "open_table",
    "seed_mean",
    "table_names",
    "table_path",
]
