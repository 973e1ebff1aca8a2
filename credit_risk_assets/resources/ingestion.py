"""From landed files to bronze: each file's content exactly once, every row accounted for."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DateType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import INGESTION_LOG, LOAN_TAPE, REJECTED_RECORDS, Table
from credit_risk_assets.resources.commits import Commit, IdempotenceKey, arrow_rows
from credit_risk_assets.resources.lake_log import LakehouseError, LakeLog
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.landing import (
    LandedFile,
    file_identity,
    landed_files,
    quarantine,
    quarantined_as,
    settled_files,
    size_and_time,
)
from credit_risk_assets.resources.privacy import privacy_key
from credit_risk_assets.tape import contract
from credit_risk_assets.tape.intake import StagedTape, fingerprint, stage_tape
from credit_risk_assets.tape.readers import TapeRefused

logger = logging.getLogger(__name__)

Outcome = Literal["ingested", "refused", "duplicate", "waiting"]

ABANDONED_SECONDS = 86_400
PROVENANCE = ("_source_file", "_source_sha256", "_row_number", "_ingested_at", "_run_id")
_SPARK_TYPES = {"string": StringType(), "date": DateType(), "double": DoubleType(), "int": IntegerType()}
_PROVENANCE_FIELDS = [
    StructField("_source_file", StringType()),
    StructField("_source_sha256", StringType()),
    StructField("_row_number", LongType()),
    StructField("_ingested_at", TimestampType()),
    StructField("_run_id", StringType()),
]
LOAN_TAPE_SCHEMA = StructType(
    [StructField(column.name, _SPARK_TYPES[column.type]) for column in contract.COLUMNS] + _PROVENANCE_FIELDS
)
REJECTED_SCHEMA = StructType(
    [
        StructField("reasons", ArrayType(StringType())),
        StructField("raw", StringType()),
        StructField("loan_id", StringType()),
        *_PROVENANCE_FIELDS,
    ]
)
LOG_SCHEMA = StructType(
    [
        StructField("source_file", StringType()),
        StructField("source_sha256", StringType()),
        StructField("kind", StringType()),
        StructField("bytes", LongType()),
        StructField("rows_read", LongType()),
        StructField("rows_accepted", LongType()),
        StructField("rows_rejected", LongType()),
        StructField("new_columns", ArrayType(StringType())),
        StructField("started_at", TimestampType()),
        StructField("finished_at", TimestampType()),
        StructField("run_id", StringType()),
        StructField("table_version", LongType()),
        StructField("outcome", StringType()),
        StructField("message", StringType()),
    ]
)


@dataclass(frozen=True)
class FileReport:
    """What became of one landed file."""

    name: str
    kind: str
    outcome: Outcome
    message: str
    rows_read: int = 0
    rows_accepted: int = 0
    rows_rejected: int = 0
    new_columns: list[str] = field(default_factory=list)


def make_bronze_tables(lakehouse: Lakehouse) -> None:
    """Make the three bronze tables where they are missing, with every column they have today."""
    for table, schema in (
        (LOAN_TAPE, LOAN_TAPE_SCHEMA),
        (REJECTED_RECORDS, REJECTED_SCHEMA),
        (INGESTION_LOG, LOG_SCHEMA),
    ):
        lakehouse.ensure(table, schema)


def known_contents(lake: LakeLog) -> dict[str, str]:
    """Content fingerprint -> file name of everything that was ingested; a refused file may be tried again."""
    rows = lake.rows(INGESTION_LOG, ["source_sha256", "source_file", "outcome"])
    return {row["source_sha256"]: row["source_file"] for row in rows if row["outcome"] == "ingested"}


def waiting_files(settings: Settings, known: dict[str, str]) -> list[LandedFile]:
    """Landed files whose content the lake does not hold yet."""
    return [file for file in landed_files(settings) if fingerprint(file.path) not in known]


class Ingestion:
    """One pass over the landing folder, file by file, each in commits of its own.

    Files that this process has `landed` itself are whole; others are looked at until they have stopped growing.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        settings: Settings,
        run_id: str,
        *,
        today: date | None = None,
        log: Callable[[str], None] = logger.info,
        landed: Collection[Path] = (),
    ) -> None:
        self._lakehouse = lakehouse
        self._settings = settings
        self._run_id = run_id
        self._today = today or datetime.now(UTC).date()
        self._log = log
        self._landed = landed

    def run(self) -> list[FileReport]:
        """Take every complete file; a file still being written waits for the next pass."""
        make_bronze_tables(self._lakehouse)
        self._clear_staging()
        known = known_contents(self._lakehouse)
        files = landed_files(self._settings)
        fresh = [file for file in files if fingerprint(file.path) not in known]
        for file in set(files) - set(fresh):
            self._finished(file)
        settled, growing = settled_files(fresh, self._settings.landing.settle_seconds, whole=self._landed)
        reports = [
            FileReport(
                file.name,
                file.kind,
                "waiting",
                f"{file.name}: still being written; taken at the next refresh",
            )
            for file in growing
        ]
        for file in settled:
            report = self._take(file, known)
            self._log(report.message)
            reports.append(report)
        return reports

    def _take(self, file: LandedFile, known: dict[str, str]) -> FileReport:
        before = size_and_time(file.path)
        content = fingerprint(file.path)
        if content in known:
            self._finished(file)
            message = f"{file.name}: same content as {known[content]}, which the lake holds; nothing to do"
            return FileReport(file.name, file.kind, "duplicate", message)
        begun = self._begun_at(content)
        started = begun or datetime.now(UTC)
        folder = self._parts / content[:16]
        shutil.rmtree(folder, ignore_errors=True)
        refusal: str | None = None
        try:
            staged = stage_tape(
                file.path,
                folder,
                key=privacy_key(self._settings),
                # A file that a killed run has begun is finished by the rules of the day it was begun.
                today=begun.date() if begun else self._today,
                quarantine_file=self._settings.quarantine_folder / f"{content[:12]}_{file.path.name}.lines.jsonl",
                block_bytes=self._settings.landing.block_bytes,
                stamp=self._stamp(file, content, started),
                partition_by=LOAN_TAPE.partition_by[0],
            )
        except TapeRefused as error:
            refusal = str(error)
            staged = StagedTape(folder, folder, [])
        if not file.path.exists() or size_and_time(file.path) != before:
            shutil.rmtree(folder, ignore_errors=True)
            message = f"{file.name}: changed while it was read; taken at the next refresh"
            return FileReport(file.name, file.kind, "waiting", message)
        report = self._commit(file, content, before[0], staged, started, refusal)
        shutil.rmtree(folder, ignore_errors=True)
        if refusal is None:
            known[content] = file.name
            self._finished(file)
        else:
            # After its log row: a run that dies in between refuses it again under the same key.
            quarantine(self._settings, file.path, refusal)
        return report

    @property
    def _parts(self) -> Path:
        return self._settings.staging_folder / "ingestion"

    def _clear_staging(self) -> None:
        """Remove the parts that a killed run left, for nobody else writes this lake now, and what a killed `land` did.

        Translations and repairs in progress lie beside them and are left alone.
        """
        shutil.rmtree(self._parts, ignore_errors=True)
        if self._settings.staging_folder.is_dir():
            oldest = time.time() - ABANDONED_SECONDS
            for folder in self._settings.staging_folder.iterdir():
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)

    def _finished(self, file: LandedFile) -> None:
        """What becomes of a landed file whose content the lake holds."""
        if self._settings.landing.after_ingestion == "remove":
            file.path.unlink(missing_ok=True)

    def _begun_at(self, content: str) -> datetime | None:
        """When a run that died began to take this content, by the rows that it has committed, or None."""
        key = f"file/{content}"
        for table in (LOAN_TAPE, REJECTED_RECORDS):
            if self._lakehouse.sequence(table, key) is None:
                continue
            rows = self._lakehouse.read(table).where(F.col("_source_sha256") == content)
            first = rows.select(F.date_format("_ingested_at", "yyyy-MM-dd HH:mm:ss.SSSSSS")).head()
            if first:
                return datetime.fromisoformat(first[0]).replace(tzinfo=UTC)
        return None

    def _stamp(self, file: LandedFile, content: str, started: datetime) -> dict[str, pa.Scalar[Any]]:
        """What every row of a file says of where it came from."""
        return {
            "_source_file": pa.scalar(file.name),
            "_source_sha256": pa.scalar(content),
            "_ingested_at": pa.scalar(started, pa.timestamp("us", "UTC")),
            "_run_id": pa.scalar(self._run_id),
        }

    def _commit(
        self,
        file: LandedFile,
        content: str,
        size: int,
        staged: StagedTape,
        started: datetime,
        refusal: str | None,
    ) -> FileReport:
        """Commit rows, rejected rows, log row, in this order; a rerun after a crash goes on where it ended."""
        key = IdempotenceKey(f"file/{content}")
        new_columns: list[str] = []
        if refusal is None:
            new_columns = self._append_accepted(file, content, staged, key)
            if staged.rows_rejected:
                commit = self._lakehouse.append_files(REJECTED_RECORDS, staged.rejected_folder, key=key)
                self._assert_same_rows(REJECTED_RECORDS, file, content, commit, staged.rows_rejected)
            message = f"{file.name}: {staged.rows_accepted:,} rows accepted, {staged.rows_rejected:,} rejected"
            if new_columns:
                message += f", new columns {', '.join(new_columns)}"
            outcome: Outcome = "ingested"
        else:
            kept = quarantined_as(self._settings, file.path)
            outcome, message = "refused", f"{refusal}; the file is kept as quarantine/{kept.name}"
            # The file itself, not its content: the same bytes may be sent again and are then refused again.
            key = IdempotenceKey(f"refused/{content}/{file_identity(file.path)}")
        row: tuple[Any, ...] = (
            file.name,
            content,
            file.kind,
            size,
            staged.rows_read if refusal is None else 0,
            staged.rows_accepted if refusal is None else 0,
            staged.rows_rejected if refusal is None else 0,
            new_columns,
            started,
            datetime.now(UTC),
            self._run_id,
            self._lakehouse.version(LOAN_TAPE),
            outcome,
            message,
        )
        self._lakehouse.append(INGESTION_LOG, arrow_rows([row], LOG_SCHEMA), key=key)
        return FileReport(file.name, file.kind, outcome, message, row[4], row[5], row[6], new_columns)

    def _append_accepted(self, file: LandedFile, content: str, staged: StagedTape, key: IdempotenceKey) -> list[str]:
        if not staged.rows_accepted:
            return []
        extra = [StructField(name, StringType()) for name in staged.extra_columns]
        self._lakehouse.evolve(LOAN_TAPE, StructType([*LOAN_TAPE_SCHEMA, *extra]))
        new = self._new_columns(staged)
        commit = self._lakehouse.append_files(LOAN_TAPE, staged.accepted_folder, key=key)
        self._assert_same_rows(LOAN_TAPE, file, content, commit, staged.rows_accepted)
        return new

    def _assert_same_rows(self, table: Table, file: LandedFile, content: str, commit: Commit, expected: int) -> None:
        """Rows that a killed run committed must be the ones that would be committed now."""
        if not commit.skipped:
            return
        found = self._lakehouse.read(table).where(F.col("_source_sha256") == content).count()
        if found != expected:
            raise LakehouseError(
                f"{file.name}: a run that died has left {found:,} rows in {table.path}: expected {expected:,} by "
                "today's rules; `credit-risk restore --to` a time before that run, then refresh"
            )

    def _new_columns(self, staged: StagedTape) -> list[str]:
        """Columns that no file before brought, by the log, so that a rerun after a crash names them too."""
        seen: set[str] = set()
        for row in self._lakehouse.rows(INGESTION_LOG, ["new_columns"]):
            seen.update(row["new_columns"] or [])
        return [name for name in staged.extra_columns if name not in seen]
