"""Streams the filtered loans as CSV: flat memory, and no cell that a spreadsheet would run as a formula."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from credit_risk_assets.config.tables import LOAN_HISTORY, LOANS, RISK_CATEGORIES, Table
from dash_app.data.cube import read_cube
from dash_app.data.filters import Filters
from dash_app.data.lake import Snapshot

HIGH_RISK = RISK_CATEGORIES[2:]
LEFT_OUT = frozenset({"customer_id", "tape_kind"})
FORMULA = r"^\s*[=+\-@]|^[\t\r\n]"


def loan_table(snapshot: Snapshot, filters: Filters) -> tuple[Table, str]:
    """Where the loans of the chosen month are: silver/loans for the newest, silver/loan_history for one before.

    The second part is the month to filter the history by, '' for silver/loans.
    """
    cube = read_cube(snapshot)
    tape = cube.tape(filters.as_of)
    return (LOANS, "") if tape == cube.tapes[-1] else (LOAN_HISTORY, tape.month)


def high_risk(filters: Filters) -> Filters:
    """The same view with only its loans of category High and Very High."""
    chosen = filters.values("risk")
    kept = [category for category in HIGH_RISK if not chosen or category in chosen]
    return filters.with_values("risk", kept or HIGH_RISK)


def export_columns(snapshot: Snapshot, table: Table) -> list[str]:
    """The columns an export carries: all of the table but the customer's pseudonym and the provenance."""
    return [name for name in snapshot.columns(table) if not name.startswith("_") and name not in LEFT_OUT]


def escape_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Text cells that begin with = + - @ (or a control character) get a leading apostrophe.

    Header cells too. Columns of lists or structures are left out: a CSV cell cannot hold them.
    """
    flat = frame.select([name for name, kind in frame.schema.items() if not kind.is_nested()])
    # dictionary-encoded text would pass by the check for strings
    words = [pl.col(n).cast(pl.String) for n, k in flat.schema.items() if k in (pl.Categorical, pl.Enum)]
    flat = flat.with_columns(words)
    text = pl.col(pl.String)
    safe = flat.with_columns(pl.when(text.str.contains(FORMULA)).then("'" + text).otherwise(text).name.keep())
    return safe.rename({name: escape_cell(name) for name in safe.columns})


def escape_cell(text: str) -> str:
    """One cell as `escape_formulas` writes it."""
    risky = text.lstrip()[:1] in set("=+-@") or text[:1] in {"\t", "\r", "\n"}
    return f"'{text}" if text and risky else text


@dataclass
class Tally:
    """How many rows have been sent, and whether they are all."""

    rows: int = 0
    complete: bool = False


def stream_csv(snapshot: Snapshot, filters: Filters, tally: Tally | None = None) -> Iterator[bytes]:
    """The filtered loans as CSV, piece by piece, the header first; `tally` counts the rows on the way.

    Everything that can fail for want of a table or a permission fails before the first piece: raises `LakeError`.
    """
    snapshot.need_loan_rows()
    tally = tally or Tally()
    table, month = loan_table(snapshot, filters)
    columns = export_columns(snapshot, table)
    predicate = filters.predicate()
    partitions = filters.partition_predicate()
    read = list(columns)
    if month:
        predicate &= pl.col("as_of_month") == month
        partitions = f"as_of_month = '{month}'"
        read = list(dict.fromkeys([*columns, "as_of_month"]))
    empty = snapshot.scan(table).select(columns).limit(0).collect()
    yield escape_formulas(empty).write_csv(include_header=True).encode()
    for batch in snapshot.batches(table, read, partitions):
        kept = batch.filter(predicate).select(columns)
        if kept.height:
            tally.rows += kept.height
            yield escape_formulas(kept).write_csv(include_header=False).encode()
    tally.complete = True
