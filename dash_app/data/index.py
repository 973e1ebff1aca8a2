"""The loan index: the list's columns of every loan, with their scores, narrow enough to be searched in memory.

It has the rows of its table in the order of the table's scan. Words are codes (see `codes`). A small one is held in
memory; a large one is written once per table version to a file under the home's `cache/`, which all workers map,
so that it counts once and the pages in use alone take memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import mmap
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.ipc

from credit_risk_assets.config.tables import EXPECTED_CREDIT_LOSS, LOAN_SCORES, LOANS, Table
from dash_app.data.codes import Codes
from dash_app.data.filters import ORIGINATION, UNKNOWN
from dash_app.data.lake import Snapshot

CODED = (
    "risk_category",
    "loan_purpose",
    "loan_status",
    "score_band",
    "dpd_bucket",
    ORIGINATION,
    "region",
)
LISTED = (
    "loan_id",
    "outstanding_balance",
    "loan_amount",
    "interest_rate",
    "term_months",
    "current_dpd",
    "credit_score",
    "debt_to_income",
    "loan_to_value",
    "origination_date",
    "months_on_book",
    "expected_loss_proxy",
    "early_warning",
)
NARROW = {"term_months": pl.Int16, "months_on_book": pl.Int16, "early_warning": pl.Int8, "stage": pl.Int8}
ECL_NUMBERS = ("stage", "ecl")
SCORE_WORDS = ("risk_rating", "reason_1")
SCORE_NUMBERS = ("pd_12m", "score_points")
INDEXED = (*CODED, *LISTED, *SCORE_WORDS, *SCORE_NUMBERS, *ECL_NUMBERS, "lgd_estimate", "exposure_at_default")
"""All that an index is read from."""
MODEL_LOSS = "model_loss"
"""The champion's expected loss of a loan: PD x LGD x EAD, in the tape's currency."""
MEMORY_ROWS = 1_000_000
"""Up to this many loans the index is held in memory by each worker; beyond it, it is a file that they share."""
BATCH_ROWS = 100_000
KEPT_FILES = 3
USES_BETWEEN_RESTS = 8
_ROW = "_place"


@dataclass(frozen=True)
class LoanIndex:
    """Every loan of one month: `frame` in coded form, and the words of its codes."""

    frame: pl.DataFrame
    codes: Codes
    mapping: mmap.mmap | None = None
    _uses: Iterator[int] = field(default_factory=itertools.count, compare=False)

    def rest(self) -> None:
        """Give the mapped pages back now and then: they stay in the system's cache, and this process holds few."""
        if self.mapping is not None and next(self._uses) % USES_BETWEEN_RESTS == 0:
            self.mapping.madvise(mmap.MADV_DONTNEED)

    def words(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of the index with words instead of codes."""
        return frame.with_columns(self.codes.decoded(*[name for name in frame.columns if name in self.codes.words]))


def loan_index(snapshot: Snapshot, table: Table = LOANS, month: str = "") -> LoanIndex:
    """The index of silver/loans with the scores, or of one month of silver/loan_history, which has none.

    Remembered while the tables' versions stand. Raises `LakeError` where a table cannot be read.
    """
    tables = index_tables(table)

    def load() -> LoanIndex:
        folder = snapshot.lake.cache_folder
        if folder is None or not is_large(snapshot, table):
            plan = _plan(snapshot, table, month)
            return LoanIndex(pl.concat(plan.batches()).rechunk(), plan.codes)
        return _mapped(folder / f"{file_name(snapshot, tables, month)}.arrow", lambda: _plan(snapshot, table, month))

    return snapshot.cached(f"loan index {table.path}", load, *tables, reads=INDEXED, more=month)


def is_large(snapshot: Snapshot, table: Table = LOANS) -> bool:
    """Whether the table's index is kept in a file instead of in memory."""
    return snapshot.rows(table) > MEMORY_ROWS


def index_tables(table: Table = LOANS) -> tuple[Table, ...]:
    """The tables that an index is made from."""
    return (LOANS, LOAN_SCORES, EXPECTED_CREDIT_LOSS) if table == LOANS else (table,)


def partitioned(snapshot: Snapshot, table: Table, month: str) -> pl.LazyFrame:
    """The table's rows of the month, in the order of the index."""
    frame = snapshot.scan(table)
    return frame.filter(pl.col("as_of_month") == month) if month else frame


@dataclass(frozen=True)
class _Plan:
    """What an index is made from: the codes, and the steps to its batches."""

    snapshot: Snapshot
    table: Table
    frame: pl.LazyFrame
    codes: Codes
    scores: pl.DataFrame | None
    losses: pl.DataFrame | None

    def batches(self) -> Iterator[pl.DataFrame]:
        """The index piece by piece, in order."""
        known = self.frame.collect_schema().names()
        words = [name for name in CODED if name in known]
        numbers = [name for name in LISTED if name in known]
        more = [name for name in ("lgd_estimate", "exposure_at_default") if name in known]
        read = self.frame.select(*numbers, *words, *more)
        shaped: list[pl.Expr] = [*[_narrow(name) for name in numbers], *[self.codes.encoded(name) for name in words]]
        first = True
        place = 0
        for batch in self.snapshot.stream(self.table, read, BATCH_ROWS):
            rows = batch.select(shaped)
            if self.scores is not None:
                scored = self.scores.slice(place, batch.height)
                loss: list[pl.Expr | pl.Series] = [pl.lit(None, pl.Float64).alias(MODEL_LOSS)]
                if len(more) == 2:
                    loss = [(scored["pd_12m"] * batch["lgd_estimate"] * batch["exposure_at_default"]).alias(MODEL_LOSS)]
                rows = rows.hstack(scored).with_columns(loss)
            if self.losses is not None:
                rows = rows.hstack(self.losses.slice(place, batch.height).with_columns(_narrow("stage")))
            place += batch.height
            first = False
            yield rows
        if first:
            yield self.snapshot.collect(self.table, read.limit(0)).select(shaped)


def _narrow(name: str) -> pl.Expr:
    """The column in as few bytes as its contract allows."""
    kind = NARROW.get(name)
    return pl.col(name).cast(kind) if kind else pl.col(name)


def _plan(snapshot: Snapshot, table: Table, month: str) -> _Plan:
    frame = partitioned(snapshot, table, month)
    known = set(frame.collect_schema().names())
    text = {name: pl.col(name).cast(pl.String).unique() for name in (*CODED, *SCORE_WORDS)}
    found = {name: snapshot.collect(table, frame.select(text[name])).to_series() for name in CODED if name in known}
    scored = losses = None
    if table == LOANS and snapshot.has(LOAN_SCORES):
        ids = snapshot.collect(table, frame.select("loan_id")).to_series()
        scores = snapshot.scan(LOAN_SCORES)
        kept = [name for name in (*SCORE_NUMBERS, *SCORE_WORDS) if name in snapshot.columns(LOAN_SCORES)]
        gap = pl.Series([None], dtype=pl.String)
        for name in SCORE_WORDS:
            if name in kept:
                words = snapshot.collect(LOAN_SCORES, scores.select(text[name])).to_series()
                found[name] = pl.concat([words, gap])
        codes = Codes.of(found)
        shaped = [codes.encoded(name) if name in SCORE_WORDS else pl.col(name) for name in kept]
        gaps = {name: codes.words[name].index(UNKNOWN) for name in SCORE_WORDS if name in kept}
        scored = _aligned(ids, snapshot.collect(LOAN_SCORES, scores.select("loan_id", *shaped)), gaps)
        if snapshot.has(EXPECTED_CREDIT_LOSS):
            lost = snapshot.scan(EXPECTED_CREDIT_LOSS).select("loan_id", *ECL_NUMBERS)
            losses = _aligned(ids, snapshot.collect(EXPECTED_CREDIT_LOSS, lost), {})
    return _Plan(snapshot, table, frame, Codes.of(found), scored, losses)


def _aligned(ids: pl.Series, rows: pl.DataFrame, gaps: Mapping[str, int]) -> pl.DataFrame:
    """The rows in the order of the ids, gaps where a loan has none; joined in parts, so that memory stays low."""
    parts = max(1, ids.len() // MEMORY_ROWS)
    left = ids.to_frame().with_row_index(_ROW).with_columns(part=pl.col("loan_id").hash(3) % parts)
    right = rows.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("_from"), "loan_id")
    right = right.with_columns(part=pl.col("loan_id").hash(3) % parts)
    sides = [(left.filter(part=part), right.filter(part=part)) for part in range(parts)]
    pairs = pl.concat([one.join(other, on="loan_id").select(_ROW, "_from") for one, other in sides])
    places = pl.Series("_from", [None], dtype=pl.UInt32).new_from_index(0, ids.len())
    places = places.scatter(pairs[_ROW], pairs["_from"])
    found = rows.drop("loan_id").select(pl.all().gather(places))
    return found.with_columns([pl.col(name).fill_null(gap) for name, gap in gaps.items()])


def file_name(snapshot: Snapshot, tables: tuple[Table, ...], month: str = "") -> str:
    """The name that an index of these table versions has in the cache."""
    versions = "_".join(f"{t.name}-{snapshot.versions[t.path]}" for t in tables if snapshot.has(t))
    return re.sub(r"[^\w-]", "", f"{versions}_{month}".strip("_"))


def _mapped(rows: Path, plan: Callable[[], _Plan]) -> LoanIndex:
    """The index as a file that is mapped; one process writes it, the others wait."""
    words = rows.with_suffix(".json")
    with locked(rows):
        if not rows.exists():
            _write(rows, words, plan())
            _forget_old(rows.parent)
    with rows.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapping))).read_all()
    codes = Codes({column: tuple(values) for column, values in json.loads(words.read_text()).items()})
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)
    return LoanIndex(frame, codes, mapping)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a file in the cache, in this and every other process; makes the folder where it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file.with_name(f"{file.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _write(rows: Path, words: Path, plan: _Plan) -> None:
    partial = rows.with_suffix(f".{os.getpid()}.partial")
    writer = None
    try:
        with pa.OSFile(str(partial), "wb") as sink:
            for batch in plan.batches():
                table = batch.to_arrow()
                writer = writer or pa.ipc.new_file(sink, table.schema)
                writer.write_table(table)
            if writer is not None:
                writer.close()
        words.write_text(json.dumps(plan.codes.words))
        partial.rename(rows)
    finally:
        partial.unlink(missing_ok=True)


def _forget_old(folder: Path) -> None:
    """Only the newest files are kept; a mapped file that is removed lives on until nobody maps it."""
    files = sorted(folder.glob("*.arrow"), key=lambda file: file.stat().st_mtime)
    for file in files[:-KEPT_FILES]:
        for part in folder.glob(f"{file.stem}.*"):
            part.unlink(missing_ok=True)
