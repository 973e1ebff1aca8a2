"""Foreign tapes through a mapping: the engine evaluates its expressions, the result is one Parquet tape."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pyarrow.parquet as pq
from pyspark.sql import functions as F

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.spark import spark_session
from credit_risk_assets.tape.mapping import Mapping
from credit_risk_assets.tape.readers import TapeRefused, open_tape
from credit_risk_assets.tape.rows import ROW_NUMBER


def translate(settings: Settings, file: Path, mapping: Mapping) -> Path:
    """A foreign file as a Parquet tape in the staging folder, row for row in its order.

    Raises `TapeRefused` where the file cannot be read, lacks a column that the mapping names, or holds lines
    that cannot be split: a translated file is whole.
    """
    tape = open_tape(file, settings.landing.block_bytes, required=())
    if missing := sorted(mapping.source_columns() - set(tape.columns)):
        # Where not one name is known the file may lack a header, and its first row holds a customer id.
        known = not mapping.source_columns().isdisjoint(tape.columns)
        found = (
            f"found {', '.join(tape.columns[:8])} …; choose" if known else "it has none of them in its header; choose"
        )
        raise TapeRefused(
            f"{file.name}: the mapping reads {', '.join(missing)}, which the file lacks; {found} another mapping"
        )
    folder = settings.staging_folder / f"translate-{uuid4().hex}"
    source, target = folder / "source", folder / "target"
    source.mkdir(parents=True)
    rows = 0
    for number, block in enumerate(tape.blocks):
        if block.ragged:
            line = block.ragged[0]
            shutil.rmtree(folder)
            raise TapeRefused(
                f"{file.name}: row {line.row_number} has {line.found} fields: expected {line.expected}, as in the "
                "header; mend the file"
            )
        rows += block.texts.height
        block.texts.write_parquet(source / f"part-{number:05d}.parquet", compression="lz4")
    frame = spark_session(settings).read.parquet(str(source))
    selected = [F.expr(sql).alias(name) for name, sql in mapping.select().items()]
    try:
        frame = frame.select(*selected, F.col(ROW_NUMBER))
        # Resolves the expressions and reads no row: what fails here is the mapping's own text, and may be shown.
        _ = frame.schema
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise TapeRefused(
            f"{file.name}: the mapping cannot be applied ({reason[:200]}); mend its expressions"
        ) from None
    try:
        with _engine_silent(settings):
            frame.coalesce(1).sortWithinPartitions(ROW_NUMBER).drop(ROW_NUMBER).write.parquet(str(target))
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise TapeRefused(
            f"{file.name}: an expression of the mapping fails on a value of the file: expected ones that take every "
            "value; use try_cast, or null where nothing fits"
        ) from None
    parts = sorted(target.glob("*.parquet"))
    translated = folder / "tape.parquet"
    written = 0
    with pq.ParquetWriter(translated, pq.read_schema(parts[0])) as writer:
        for part in parts:
            for batch in pq.ParquetFile(part).iter_batches():
                written += batch.num_rows
                writer.write_batch(batch)
    if written != rows:
        shutil.rmtree(folder, ignore_errors=True)
        raise TapeRefused(f"{file.name}: {written:,} rows after the mapping: expected {rows:,}; report the mapping")
    shutil.rmtree(source)
    shutil.rmtree(target)
    return translated


@contextmanager
def _engine_silent(settings: Settings) -> Iterator[None]:
    """No log of the engine's while it evaluates raw values: its errors quote them, customer ids too."""
    loggers = [logging.getLogger(name) for name in ("pyspark.sql.connect.logging", "SQLQueryContextLogger")]
    before = [logger.disabled for logger in loggers]
    on_jvm = settings.spark.engine in ("local", "cluster")
    if on_jvm:
        spark_session(settings).sparkContext.setLogLevel("OFF")
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
        if on_jvm:
            spark_session(settings).sparkContext.setLogLevel("ERROR")
