"""Readers of tape files: CSV by header name and Parquet, as blocks of text values with row numbers."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.rows import ROW_NUMBER, as_text, as_texts, is_typed

PARQUET_MAGIC = b"PAR1"
GZIP_MAGIC = b"\x1f\x8b"
PARQUET_BATCH_ROWS = 131_072


class TapeRefused(ValueError):
    """A file that is no loan tape; the message names the file, what was found, and what to do."""


@dataclass(frozen=True)
class RaggedLine:
    """A line with more or fewer fields than the header."""

    row_number: int
    found: int
    expected: int
    text: str


@dataclass(frozen=True)
class TapeBlock:
    """A block of rows (`_row_number` first data row = 1), with the lines that could not be split.

    `values` are text, but for what the file holds in the contract's own types (`is_typed`).
    """

    values: pl.DataFrame
    ragged: list[RaggedLine] = field(default_factory=list)
    undecodable: dict[int, list[str]] = field(default_factory=dict)

    @property
    def texts(self) -> pl.DataFrame:
        """The rows as text throughout."""
        return as_texts(self.values)


@dataclass(frozen=True)
class OpenTape:
    """A tape whose header is sound: its extra columns, and its blocks to be read once."""

    columns: list[str]
    extra_columns: list[str]
    blocks: Iterator[TapeBlock]


def column_name(header: str) -> str:
    """A header as a table column: contract names whatever their case, others made safe for Delta."""
    name = header.strip().strip('"').strip()
    if name.lower() in contract.BY_NAME:
        return name.lower()
    return re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_").lower() or "unnamed"


def check_header(file: Path, headers: list[str], required: tuple[str, ...] = contract.REQUIRED) -> list[str]:
    """The column names of a header, or `TapeRefused` where it is not that of a loan tape."""
    names = [column_name(header) for header in headers]
    if len(names) == 1:
        found = next((mark for mark in (";", "\t", "|") if mark in headers[0]), None)
        if found:
            raise TapeRefused(
                f"{file.name}: the header is one column with {found!r} in it: expected commas; "
                "save the file as comma-separated"
            )
    # A file without a header has its first row here, customer id and all: nothing of it may be shown.
    if required and set(contract.REQUIRED).isdisjoint(names):
        raise TapeRefused(
            f"{file.name}: the first line names no required column of a loan tape: expected a header with "
            f"{', '.join(required[:3])} …; add it, or translate the file with `credit-risk land --mapping`"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated and not required:
        places = [str(place) for place, name in enumerate(names, 1) if name in repeated]
        raise TapeRefused(
            f"{file.name}: columns {', '.join(places)} share a name with another: expected each name once; "
            "remove or rename the copies"
        )
    if repeated:
        raise TapeRefused(
            f"{file.name}: column {', '.join(map(repr, repeated))} stands more than once in the header: "
            "expected each name once; remove or rename the copies"
        )
    # A file yet to be mapped may call its columns anything: the mapping decides what becomes of them.
    reserved = [name for name in names if name in contract.RESERVED] if required else []
    if reserved:
        raise TapeRefused(
            f"{file.name}: reserved column {', '.join(map(repr, reserved))}: expected a tape without a simulation's "
            "sealed truth; remove the column, or rename it where it is a figure of your own"
        )
    missing = [name for name in required if name not in names]
    if missing:
        hints = []
        for name in missing:
            near = get_close_matches(name, [n for n in names if n not in contract.BY_NAME], 1, 0.7)
            hints.append(f"{name} (is {near[0]!r} meant?)" if near else name)
        raise TapeRefused(
            f"{file.name}: required column missing: {', '.join(hints)}; found {len(names)} columns; "
            "add it, or translate the file with `credit-risk land --mapping`"
        )
    return names


def open_tape(file: Path, block_bytes: int, required: tuple[str, ...] = contract.REQUIRED) -> OpenTape:
    """Open a CSV (plain or gzip) or Parquet tape by its content, whatever its name ends with.

    Raises `TapeRefused` where it cannot be read or its header lacks a required column.
    """
    if not file.is_file():
        raise TapeRefused(f"{file}: no such file; give the path of a CSV or Parquet tape")
    with file.open("rb") as stream:
        start = stream.read(4)
    if not start:
        raise TapeRefused(f"{file.name}: the file is empty: expected a header and rows; export it again")
    if start == PARQUET_MAGIC:
        return _open_parquet(file, required)
    return _open_csv(file, block_bytes, required, compressed=start[:2] == GZIP_MAGIC)


def _first_line(file: Path, *, compressed: bool) -> list[str]:
    try:
        with gzip.open(file, "rb") if compressed else file.open("rb") as stream:
            start = stream.read(1 << 16)
    except (OSError, EOFError, zlib.error) as error:
        raise TapeRefused(f"{file.name}: cannot be decompressed ({error}); send the file again") from None
    if b"\x00" in start:
        raise TapeRefused(f"{file.name}: binary content: expected UTF-8 CSV or Parquet; export it again")
    try:
        text = start.decode("utf-8-sig") if len(start) < 1 << 16 else start.decode("utf-8-sig", "ignore")
    except UnicodeDecodeError:
        text = start.decode("utf-8-sig", "replace")
    rows = csv.reader(io.StringIO(text))
    header = next((row for row in rows if any(cell.strip() for cell in row)), [])
    if not header or "\ufffd" in "".join(header):
        raise TapeRefused(f"{file.name}: the header is not UTF-8 text: expected a CSV header; export it again")
    return header


def _open_csv(file: Path, block_bytes: int, required: tuple[str, ...], *, compressed: bool) -> OpenTape:
    header = _first_line(file, compressed=compressed)
    names = check_header(file, header, required)
    extra = [name for name in names if name not in contract.BY_NAME]
    return OpenTape(names, extra, _csv_blocks(file, header, names, block_bytes, compressed=compressed))


def _csv_blocks(
    file: Path, header: list[str], names: list[str], block_bytes: int, *, compressed: bool
) -> Iterator[TapeBlock]:
    ragged: list[RaggedLine] = []
    skipped: set[int] = set()

    def keep(row: Any) -> str:
        number = row.number - 1  # the reader counts the header as row 1
        skipped.add(number)
        ragged.append(RaggedLine(number, row.actual_columns, row.expected_columns, row.text))
        return "skip"

    number, blocks = 0, 0
    with pa.input_stream(str(file), compression="gzip" if compressed else None) as stream:
        try:
            reader = pacsv.open_csv(
                stream,
                # One thread: only then does the reader number the lines that it cannot split.
                pacsv.ReadOptions(use_threads=False, block_size=block_bytes),
                pacsv.ParseOptions(invalid_row_handler=keep, newlines_in_values=True),
                pacsv.ConvertOptions(
                    column_types={name: pa.binary() for name in header},
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                numbers = []
                for _ in range(batch.num_rows):
                    number += 1
                    while number in skipped:
                        number += 1
                    numbers.append(number)
                blocks += batch.num_rows + len(ragged)
                yield _text_block(batch.rename_columns(names), numbers, ragged.copy())
                ragged.clear()
        except pa.ArrowInvalid as error:
            raise TapeRefused(f"{file.name}: {str(error).splitlines()[0]}; export the file again") from None
    if ragged:
        blocks += len(ragged)
        empty = pl.DataFrame(schema={**dict.fromkeys(names, pl.String), ROW_NUMBER: pl.Int64})
        yield TapeBlock(empty, ragged.copy())
    if not blocks:
        raise TapeRefused(f"{file.name}: a header without rows: expected at least one loan; export it again")


def _text_block(batch: pa.RecordBatch, numbers: list[int], ragged: list[RaggedLine]) -> TapeBlock:
    undecodable: dict[int, list[str]] = {}
    columns = {
        name: pl.Series(name, _decoded(name, values, numbers, undecodable))
        for name, values in zip(batch.schema.names, batch.columns, strict=True)
    }
    return TapeBlock(_blanks_to_null(pl.DataFrame(columns), numbers), ragged, undecodable)


def _decoded(name: str, values: pa.Array, numbers: Sequence[int], undecodable: dict[int, list[str]]) -> pa.Array:
    """Bytes as text; the rows whose bytes are no UTF-8 are noted, for what stands in for them is no value."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        decoded: list[str | None] = []
        for row, value in zip(numbers, values.to_pylist(), strict=True):
            try:
                decoded.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                undecodable.setdefault(row, []).append(name)
                decoded.append(value.decode(errors="replace"))
        return pa.array(decoded, pa.string())


def _blanks_to_null(frame: pl.DataFrame, numbers: Sequence[int]) -> pl.DataFrame:
    stripped = [pl.col(name).str.strip_chars() for name in frame.columns if frame.schema[name] == pl.String]
    return frame.with_columns(
        [value.replace("", None) for value in stripped] + [pl.Series(ROW_NUMBER, numbers, pl.Int64)]
    )


def _open_parquet(file: Path, required: tuple[str, ...]) -> OpenTape:
    try:
        tape = pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise TapeRefused(f"{file.name}: broken Parquet ({str(error).splitlines()[0]}); send it again") from None
    names = check_header(file, tape.schema_arrow.names, required)
    nested = [f.name for f in tape.schema_arrow if pa.types.is_nested(f.type)]
    if nested:
        raise TapeRefused(f"{file.name}: column {nested[0]} is nested: expected one value a row; flatten it")
    if not tape.metadata.num_rows:
        raise TapeRefused(f"{file.name}: no rows: expected at least one loan; export it again")
    extra = [name for name in names if name not in contract.BY_NAME]
    return OpenTape(names, extra, _parquet_blocks(file, tape, names))


def _parquet_values(
    name: str, values: pa.Array, numbers: Sequence[int], undecodable: dict[int, list[str]]
) -> pl.Series:
    kind = values.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        values = _decoded(name, values.cast(pa.large_binary()), numbers, undecodable)
    series = pl.Series(name, values)
    if is_typed(contract.BY_NAME.get(name), series.dtype):
        return series.fill_nan(None) if series.dtype.is_float() else series
    return as_text(series)


def _next_batch(file: Path, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    try:
        return next(batches, None)
    except (pa.ArrowException, OSError):
        raise TapeRefused(f"{file.name}: broken Parquet (its pages cannot be read); send it again") from None


def _parquet_blocks(file: Path, tape: pq.ParquetFile, names: list[str]) -> Iterator[TapeBlock]:
    first = 1
    batches = tape.iter_batches(batch_size=PARQUET_BATCH_ROWS)
    while (batch := _next_batch(file, batches)) is not None:
        numbers = range(first, first + batch.num_rows)
        first += batch.num_rows
        undecodable: dict[int, list[str]] = {}
        columns = [
            _parquet_values(name, values, numbers, undecodable) for name, values in zip(names, batch, strict=True)
        ]
        yield TapeBlock(_blanks_to_null(pl.DataFrame(columns), numbers), undecodable=undecodable)
