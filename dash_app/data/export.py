"""Streams the loans in view as CSV or Parquet: flat memory, and no CSV cell that a spreadsheet would run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from credit_risk_assets.config.tables import LOAN_HISTORY, LOANS, RISK_CATEGORIES, Table
from dash_app.data.cube import read_cube
from dash_app.data.filters import Filters
from dash_app.data.index import SCORE_NUMBERS, LoanIndex, loan_index
from dash_app.data.lake import LakeError, Snapshot

HIGH_RISK = RISK_CATEGORIES[2:]
LEFT_OUT = frozenset({"customer_id", "tape_kind"})
FORMULA = r"^\s*[=+\-@]|^[\t\r\n]"
PIECE_ROWS = 20_000
ADDED = ("pd_12m", "risk_rating", "score_points", "reason_1")
"""The score's columns that an export of the newest tape carries."""


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


def export_frames(snapshot: Snapshot, filters: Filters) -> Iterator[pl.DataFrame]:
    """The loans in view with their scores, piece by piece; the first piece is empty and has the columns.

    Everything that can fail for want of a table or a permission fails before the first piece: raises `LakeError`.
    """
    snapshot.need_loan_rows()
    table, month = loan_table(snapshot, filters)
    columns = export_columns(snapshot, table)
    index = loan_index(snapshot, table, month)
    where = pl.col("as_of_month") == month if month else None
    listed = index.frame.lazy()
    partitions = filters.partitions() if table == LOANS else None
    if partitions is not None:  # both sides skip the same rows, so that they stay side by side
        where = partitions
        coded = [index.codes.is_in(d, filters.values(k)) for k, d in _PARTITIONS if filters.values(k)]
        listed = listed.filter(pl.all_horizontal(coded))
    added = [name for name in ADDED if name in index.frame.columns]
    wanted = listed.select(
        "loan_id", *added, index.codes.predicate(filters).alias("_wanted") if _filterable(index, filters) else _NOTHING
    ).collect()
    empty = snapshot.collect(table, snapshot.scan(table).select(columns).limit(0))
    yield _piece(empty, wanted.clear(), index, added)
    place = 0
    for batch in snapshot.pieces(table, columns, where, PIECE_ROWS):
        part = wanted.slice(place, batch.height)
        place += batch.height
        if part["_wanted"].any():
            if not part["loan_id"].equals(batch["loan_id"]):
                raise LakeError(f"{table.path}: rows are not where the loan index has them; try the export again")
            yield _piece(batch, part, index, added)
        index.rest()


_PARTITIONS = (("risk", "risk_category"), ("purpose", "loan_purpose"))
_NOTHING = pl.lit(value=False).alias("_wanted")


def _filterable(index: LoanIndex, filters: Filters) -> bool:
    # only the newest tape's loans have ratings
    return not filters.values("rating") or "risk_rating" in index.codes.words


def _piece(batch: pl.DataFrame, part: pl.DataFrame, index: LoanIndex, added: list[str]) -> pl.DataFrame:
    scores = index.words(part.select(added))
    # a loan without a score has gaps, not the word for one
    gaps = [
        pl.when(pl.col(name) != "unknown").then(pl.col(name)).alias(name) for name in added if name not in SCORE_NUMBERS
    ]
    return batch.hstack(scores.with_columns(gaps)).filter(part["_wanted"].fill_null(value=False))


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
    """The loans in view as CSV, piece by piece, the header first; `tally` counts the rows on the way."""
    tally, header = tally or Tally(), True
    for frame in export_frames(snapshot, filters):
        tally.rows += frame.height
        yield escape_formulas(frame).write_csv(include_header=header).encode()
        header = False
    tally.complete = True


def stream_parquet(snapshot: Snapshot, filters: Filters, tally: Tally | None = None) -> Iterator[bytes]:
    """The loans in view as one Parquet file, a row group a piece; the footer is its last piece."""
    tally = tally or Tally()
    frames = export_frames(snapshot, filters)
    schema = next(frames).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    sink = _Pieces()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        yield sink.taken()
        for frame in frames:
            tally.rows += frame.height
            writer.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema))
            yield sink.taken()
    yield sink.taken()
    tally.complete = True


class _Pieces(io.RawIOBase):
    """A file that only remembers what was written since it was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._waiting.append(piece)
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        """What was written since the last call."""
        found, self._waiting = b"".join(self._waiting), []
        return found
