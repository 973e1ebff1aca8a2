"""Two lakes held against each other, table by table and column by column, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from credit_risk_assets.config import tables
from credit_risk_assets.config.tables import Table
from credit_risk_assets.credit.portfolio import SEGMENTS
from credit_risk_assets.resources.lake_log import type_name

KEYS: dict[Table, tuple[str, ...]] = {
    tables.LOAN_TAPE: ("_source_sha256", "_row_number"),
    tables.REJECTED_RECORDS: ("_source_sha256", "_row_number"),
    tables.LOAN_HISTORY: ("loan_id", "as_of_date"),
    tables.LOANS: ("loan_id",),
    tables.PORTFOLIO_KPIS: ("as_of_date",),
    tables.PORTFOLIO_CUBE: ("as_of_month", *SEGMENTS),
    tables.VINTAGE_CURVES: ("origination_quarter", "loan_purpose", "months_on_book"),
    tables.ROLL_RATES: ("month", "loan_purpose", "from_bucket", "to_bucket"),
    tables.RATING_MIGRATION: ("from_date", "loan_purpose", "from_state", "to_state"),
}
"""The tables that need no model, and what names a row of each."""
STAMPS = ("_ingested_at", "_run_id")
"""What a run stamps on its rows: when and by which run, never what."""
RELATIVE, ABSOLUTE = 1e-9, 1e-9
BUCKET_ROWS = 4_000_000
_HASHES = {"key": 17, "value": 29}


def compare_lakes(ours: Path, theirs: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """`differences`, one line each (none: the lakes agree), and the `rows` that were compared."""
    differences: list[str] = []
    rows = 0
    for table, keys in KEYS.items():
        found, height = compare_tables(table.path, keys, ours / table.path, theirs / table.path)
        say(f"{table.path:28}{height:>12,} rows  {'equal' if not found else f'{len(found)} differences'}")
        differences += found
        rows += height
    return {"differences": differences, "rows": rows}


def compare_tables(name: str, keys: Sequence[str], ours: Path, theirs: Path) -> tuple[list[str], int]:
    """What differs between two Delta tables of the same name, and the rows of ours.

    Layout, columns, types and row counts must agree. A column of the same checksum over all rows (of key and value) is
    equal to the last bit; of another one, the values are joined by key and may differ by 1e-9 of their size where
    they are floating. A row without its partner is named by its key.
    """
    for side, folder in (("platform", ours), ("peer", theirs)):
        if not DeltaTable.is_deltatable(str(folder)):
            return [f"{name}: the {side} has no such table"], 0
    deltas = [DeltaTable(str(folder)) for folder in (ours, theirs)]
    height = int(deltas[0].count())
    layouts = [delta.metadata().partition_columns for delta in deltas]
    if layouts[0] != layouts[1]:
        return [f"{name}: partitioned by {layouts[0]} here, by {layouts[1]} there"], height
    types = [
        {field.name: type_name(field.type) for field in delta.schema().fields if field.name not in STAMPS}
        for delta in deltas
    ]
    if types[0] != types[1]:
        odd = sorted(column for column in types[0] | types[1] if types[0].get(column) != types[1].get(column))
        shown = ", ".join(f"{column} ({types[0].get(column)}, {types[1].get(column)})" for column in odd[:8])
        return [f"{name}: columns differ in {shown}"], height
    frames = [_plain(pl.scan_delta(str(folder)), types[0]) for folder in (ours, theirs)]
    sums = [_checksums(frame, keys) for frame in frames]
    if sums[0] == sums[1]:
        return [], height
    if not sums[0]["rows"] or not sums[1]["rows"]:
        return [f"{name}: {sums[0]['rows']:,} rows here, {sums[1]['rows']:,} there"], height
    odd = [column for column in types[0] if column not in keys and sums[0][column] != sums[1][column]]
    return [f"{name}: {line}" for line in _details(frames, keys, odd, height)], height


def _plain(frame: pl.LazyFrame, types: dict[str, str]) -> pl.LazyFrame:
    """The columns but the stamps, lists as text."""
    lists = [pl.col(name).list.join("\n") for name, kind in types.items() if kind.startswith("array")]
    return frame.select(list(types)).with_columns(lists)


def _checksums(frame: pl.LazyFrame, keys: Sequence[str]) -> dict[str, int]:
    """Rows, and for each column a sum of hashes of key and value that no order of the rows changes."""
    # Odd, so that no value's hash is lost in the product.
    key = pl.struct(keys).hash(_HASHES["key"]) | 1
    columns = frame.collect_schema().names()
    shapes = [(pl.col(name).hash(_HASHES["value"]) * pl.col("_key")).sum().alias(name) for name in columns]
    sums = frame.with_columns(key.alias("_key")).select(pl.len().cast(pl.UInt64).alias("rows"), *shapes)
    return dict(sums.collect(engine="streaming").row(0, named=True))


def _details(frames: list[pl.LazyFrame], keys: Sequence[str], columns: list[str], height: int) -> list[str]:
    """How many rows lack their partner or differ, by column, with one example each; part by part of the keys."""
    parts = -(-height // BUCKET_ROWS)
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    schema = frames[0].collect_schema()

    def note(what: str, rows: pl.DataFrame, shown: Callable[[dict[str, Any]], str]) -> None:
        if rows.height:
            counts[what] = counts.get(what, 0) + rows.height
            examples.setdefault(what, shown(rows.row(0, named=True)))

    def key_of(row: dict[str, Any]) -> str:
        return ", ".join(str(row[key])[:40] for key in keys)

    for part in range(parts):
        chosen = pl.struct(keys).hash(_HASHES["key"]) % parts == part
        here, there = (frame.filter(chosen).select(*keys).collect(engine="streaming") for frame in frames)
        for side, own, others in (("here", here, there), ("there", there, here)):
            note(f"only {side}", own.join(others, on=list(keys), how="anti", nulls_equal=True), key_of)
            note(f"keys more than once {side}", own.filter(pl.struct(keys).is_duplicated()), key_of)
        if any(what.startswith("keys") for what in counts):
            continue
        for column in columns:
            one, other = (frame.filter(chosen).select(*keys, column).collect(engine="streaming") for frame in frames)
            both = one.join(other, on=list(keys), nulls_equal=True, suffix="_there")
            unequal = _unequal(pl.col(column), pl.col(f"{column}_there"), floating=schema[column].is_float())
            # A pseudonym names a person to whoever holds the key: it is not shown.
            note(
                column,
                both.filter(unequal),
                lambda row, column=column: (
                    key_of(row)  # type: ignore[misc]
                    + (
                        ""
                        if column == "customer_id"
                        else f": {row[column]!r:.60} here, {row[column + '_there']!r:.60} there"
                    )
                ),
            )
    return [f"{what}: {count:,} rows, such as {examples[what]}" for what, count in counts.items()]


def _unequal(one: pl.Expr, other: pl.Expr, *, floating: bool) -> pl.Expr:
    if not floating:
        return one.ne_missing(other)
    size = pl.max_horizontal(one.abs(), other.abs())
    apart = (one - other).abs() > ABSOLUTE + RELATIVE * size
    return pl.when(one.is_null() | other.is_null()).then(one.is_null() != other.is_null()).otherwise(apart)
