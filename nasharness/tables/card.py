"""Everything known of one architecture, from every table that is here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from nasharness import spaces
from nasharness.errors import DataError
from nasharness.tables import catalogue
from nasharness.tables.table import Column, Table


def card(space: str, arch: str | int, table: str | None = None) -> dict[str, Any]:
    """Return what is known of ``arch`` (an index, a published string or a name) as plain values.

    Keys: ``index``, ``arch``, ``named`` (name, note, and what was published, of a named one), ``isomorphism`` (lowest
    index of its class by each rule), ``params_millions`` and ``flops_millions`` by data set, ``measurements``: a list
    with table, data set, metric, unit, schedule, epoch and ``values`` by seed, the last stored epoch of every column;
    ``problems`` of tables that cannot be read. Raises UsageError for an architecture that does not exist.
    """
    chosen = spaces.get(space)
    index = chosen.parse(arch)
    names = [table] if table is not None else catalogue.table_names(space)
    measurements, problems = [], {}
    for name in names:
        try:
            measurements += _measurements(catalogue.open_table(space, name), index)
        except DataError as error:
            if table is not None:
                raise
            problems[name] = str(error)
    one = np.asarray(index)
    text = chosen.string(index)
    names_of = [name for name, known in chosen.named.items() if chosen.string(chosen.from_string(known.arch)) == text]
    forms = {"params_millions": "params", "flops_millions": "macs"}
    return {
        "space": space,
        "index": index if not chosen.arch_shape else None,
        "arch": text,
        "named": [{"name": name, **asdict(chosen.named[name])} for name in names_of],
        "isomorphism": {rule: int(chosen.canonical(one, rule)) for rule in ("published", "corrected")}
        if "index" in chosen.offers else {},
    } | {
        key: {dataset: float(chosen.closed_form(form, one, dataset)) for dataset in chosen.datasets}
        for key, form in forms.items() if form in chosen.closed_forms
    } | {
        "tables": names,
        "measurements": measurements,
        "problems": problems,
    }  # fmt: skip


def _measurements(table: Table, index: int) -> list[dict[str, Any]]:
    rows = []
    for column in table.columns.values():
        values = table.array(column.dataset, column.metric, column.schedule)[..., index]
        if not column.seeds:
            by_seed = {"all": float(values)}
        else:
            by_seed = {seed: float(value) for seed, value in zip(column.seeds, values[-1], strict=True)}
        known = {seed: value for seed, value in by_seed.items() if not np.isnan(value)}
        if known:
            rows.append(_row(table, column, known))
    return rows


def _row(table: Table, column: Column, values: dict[str, float]) -> dict[str, Any]:
    return {
        "table": table.name,
        "dataset": column.dataset,
        "metric": column.metric,
        "unit": column.unit,
        "schedule": column.schedule,
        "epoch": column.epochs[-1] if column.epochs else None,
        "values": values,
        "note": column.note,
    }


def render(known: dict[str, Any], ascii: bool = False) -> str:  # noqa: A002 - as in Space.draw
    """A card as text for a person."""
    space = spaces.get(known["space"])
    index = known["index"]
    number = f"index {index} of space {space.name}" if index is not None else f"of space {space.name}"
    lines = [known["arch"], number, ""]
    lines += ["  " + line for line in space.draw(known["arch"], ascii=ascii).splitlines()] + [""]
    for one in known["named"]:
        lines += [f"{one['name']}, published"]
        lines += [f"  {quantity}: {value} ({source})" for quantity, value, source in one["published"]]
        lines += [f"  {one['note']}"] * bool(one["note"]) + [""]
    for rule, lowest in known["isomorphism"].items():
        alone = "lowest index of its class" if lowest == index else f"same network as index {lowest}"
        lines.append(f"isomorphism  {alone} ({space.classes(rule):,} classes, {rule} rule)")
    for dataset, millions in known.get("params_millions", {}).items():
        flops = known["flops_millions"][dataset]
        lines.append(f"cost         {dataset}: {millions:.6f} M params, {flops:.5f} M MACs")
    for table in known["tables"]:
        lines += ["", f"table {table}"]
        if table in known["problems"]:
            lines.append(f"  {known['problems'][table]}")
            continue
        rows = [row for row in known["measurements"] if row["table"] == table]
        lines += [f"  {_label(row):<36} {_values(row)}" for row in rows] or ["  nothing measured"]
    if not known["tables"]:
        how = f"no table of space {space.name} is here (nasharness list tables shows how to get one)"
        lines += ["", space.no_table or how]
    return "\n".join(lines)


def _label(row: dict[str, Any]) -> str:
    if row["schedule"] is None:
        return f"{row['dataset']} {row['metric']}"
    span = row["schedule"] if row["epoch"] == row["schedule"] else f"{row['epoch']}/{row['schedule']}"
    return f"{row['dataset']} {row['metric']}@{span}"


def _values(row: dict[str, Any]) -> str:
    texts = [
        f"{value:.4f}" if seed in ("all", "mean") else f"{value:.4f} ({seed})" for seed, value in row["values"].items()
    ]
    several = [value for seed, value in row["values"].items() if seed not in ("all", "mean")]
    if len(several) > 1 and "mean" not in row["values"]:
        texts.append(f"mean {np.mean(several):.4f}")
    note = f"  [{row['note']}]" if row["note"] else ""
    return f"{'  '.join(texts)} {row['unit']}{note}"
