"""A file of loans through the champion, block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow.parquet as pq

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.modelling.complaints import NEEDED
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.score import EXACT_REASONS_UP_TO, score_texts
from credit_risk_assets.resources.mlflow import LoadedModel, load_version
from credit_risk_assets.tape.readers import OpenTape, TapeBlock, TapeRefused, open_tape
from credit_risk_assets.tape.rows import ROW_NUMBER


@dataclass
class _Counts:
    loans: int = 0
    unusable: int = 0


def score_file(settings: Settings, source: Path, target: Path) -> str:
    """Score each row of `source` and write the scores to `target`, in the same order; return a line about it.

    The file is read and written in blocks, so that its size does not matter; `target` appears when it is whole.
    Raises `ModelDataError` where the file cannot be read or lacks a needed column, `NoChampionError` without a
    trained model.
    """
    champion = load_version(settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    counts = _Counts()
    try:
        tape = open_tape(source, settings.landing.block_bytes, NEEDED)
        with _whole(target) as part:
            write = _write_parquet if target.suffix == ".parquet" else _write_csv
            write(part, _scores(tape, champion, counts))
    except TapeRefused as error:
        raise ModelDataError(str(error)) from None
    note = f", {counts.unusable:,} of them not scored (see column reason)" if counts.unusable else ""
    return f"{counts.loans:,} loans in {target}{note}, model version {champion.version}"


def _scores(tape: OpenTape, champion: LoadedModel, counts: _Counts) -> Iterator[pl.DataFrame]:
    exact: bool | None = None
    for block in tape.blocks:
        texts, complaints = _with_unsplit_lines(block, tape)
        if exact is None:  # the first block tells a handful of loans from a portfolio
            exact = len(texts) <= EXACT_REASONS_UP_TO
        scores = score_texts(texts, champion.model, champion.encoders, exact=exact, unreadable=complaints)
        counts.loans += len(scores)
        counts.unusable += scores["default_probability"].null_count()
        yield scores


def _with_unsplit_lines(block: TapeBlock, tape: OpenTape) -> tuple[pl.DataFrame, dict[int, str]]:
    """The block's rows with its unsplit lines in their places, and what the reader says of rows, by place."""
    texts = block.texts
    said = {
        number: f"{', '.join(names)}: the value is not UTF-8 text" for number, names in block.undecodable.items()
    } | {line.row_number: f"the line has {line.found} fields, the header {line.expected}" for line in block.ragged}
    if block.ragged:
        numbers = [line.row_number for line in block.ragged]
        gaps = {name: pl.Series([None] * len(numbers), dtype=pl.String) for name in tape.columns}
        texts = pl.concat([texts, pl.DataFrame({**gaps, ROW_NUMBER: numbers})]).sort(ROW_NUMBER)
    if not said:
        return texts, {}
    return texts, {place: said[number] for place, number in enumerate(texts[ROW_NUMBER]) if number in said}


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its place when all is written, and vanishes when that fails."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _write_csv(part: Path, blocks: Iterator[pl.DataFrame]) -> None:
    out: BinaryIO
    with part.open("wb") as out:
        for place, block in enumerate(blocks):
            block.write_csv(out, include_header=place == 0)


def _write_parquet(part: Path, blocks: Iterator[pl.DataFrame]) -> None:
    writer: Any = None
    try:
        for block in blocks:
            table = block.to_arrow()
            writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
