"""Taking tables back to an earlier version, together with their memory of what was committed since.

A table remembers which files and versions it has consumed (application transactions). A restore that left this
memory alone would lose rows: what came after the restored version would never be taken again. Rows and memory
therefore go back in one commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import DeltaError

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import (
    INGESTION_LOG,
    LOAN_HISTORY,
    LOAN_TAPE,
    LOANS,
    REJECTED_RECORDS,
    TABLES,
    Table,
)
from credit_risk_assets.resources.commits import NEVER
from credit_risk_assets.resources.lake_log import INPUTS_KEY, LakehouseError, LakeLog
from credit_risk_assets.resources.landing import landed_files
from credit_risk_assets.resources.writer_lock import WriterLock
from credit_risk_assets.tape.intake import fingerprint

BRONZE = (LOAN_TAPE, REJECTED_RECORDS, INGESTION_LOG)
SILVER = (LOAN_HISTORY, LOANS)


@dataclass(frozen=True)
class Restored:
    """One table taken back: the version whose rows it has again (None: emptied), and its newest version now."""

    table: Table
    version: int | None
    now: int


def restore_table(lake: LakeLog, table: Table, version: int) -> Restored:
    """Give a silver or gold table the rows of an earlier version; the next refresh brings it up to date again.

    Raises `LakehouseError` where there is no such version, its files are gone, or the table is one of bronze's,
    which tie with each other and go back together (`restore_lake`).
    """
    if table in BRONZE:
        raise LakehouseError(
            f"{table.path}: the bronze tables tie with each other: expected them to go back together; "
            "use `credit-risk restore --to TIME`"
        )
    _assert_files_exist(lake, table, version)
    return _restore(lake, table, version)


def restore_lake(lake: LakeLog, moment: datetime) -> list[Restored]:
    """Take bronze and silver back to the last whole file that was logged at a moment (UTC), tie by tie.

    Gold is not touched: it is computed again at the next refresh. Raises `LakehouseError` where the lake is
    younger than the moment, or files of that time have been vacuumed.
    """
    log_version = _version_at(lake, INGESTION_LOG, moment)
    rows = lake.rows_at(INGESTION_LOG, ["rows_accepted", "rows_rejected"], log_version)
    tape_version = _version_holding(lake, LOAN_TAPE, sum(row["rows_accepted"] for row in rows), moment)
    rejected_version = _version_holding(lake, REJECTED_RECORDS, sum(row["rows_rejected"] for row in rows), moment)
    wanted: list[tuple[Table, int | None]] = [
        (LOAN_TAPE, tape_version),
        (REJECTED_RECORDS, rejected_version),
        (INGESTION_LOG, log_version),
        *[(table, _silver_version(lake, table, tape_version)) for table in SILVER if lake.exists(table)],
    ]
    for table, version in wanted:
        if version is not None:
            _assert_files_exist(lake, table, version)
    # Silver, then the log, then the rows: one that dies in between leaves a lake that a refresh brings forward
    # again, and that a second restore takes back.
    return [_restore(lake, table, version) for table, version in reversed(wanted)]


def _version_at(lake: LakeLog, table: Table, moment: datetime) -> int:
    history = lake.history(table)
    found = [version.version for version in history if version.committed_at <= moment]
    if not found:
        first = min(version.committed_at for version in history)
        raise LakehouseError(
            f"{table.path}: no version at {moment:%Y-%m-%d %H:%M:%S} UTC: expected a time from "
            f"{first:%Y-%m-%d %H:%M:%S} on; `credit-risk restore {table.path}` lists the versions"
        )
    return max(found)


def _version_holding(lake: LakeLog, table: Table, rows: int, moment: datetime) -> int:
    """The newest version at a moment that ties with the log: rows of a file that was not logged yet do not count."""
    for entry in lake.history(table):
        if entry.committed_at <= moment and lake.row_count_at(table, entry.version) == rows:
            return entry.version
    raise LakehouseError(
        f"{table.path}: no version with the {rows:,} rows that the log tells at {moment:%Y-%m-%d %H:%M:%S} UTC: "
        f"expected one within the retention time; `credit-risk restore {table.path}` lists the versions"
    )


def _silver_version(lake: LakeLog, table: Table, bronze_version: int) -> int | None:
    """The newest version that has consumed no file beyond a version of bronze, or None where none has."""
    for entry in lake.history(table):
        consumed = lake.at(table, entry.version).transaction_version("silver")
        if consumed is not None and consumed <= bronze_version:
            return entry.version
    return None


def _assert_files_exist(lake: LakeLog, table: Table, version: int) -> None:
    try:
        delta = lake.at(table, version)
    except DeltaError:
        raise LakehouseError(
            f"{table.path}: no version {version}: `credit-risk restore {table.path}` lists the versions"
        ) from None
    paths = pa.table(delta.get_add_actions(flatten=True))["path"].to_pylist()
    gone = lake.store.missing(lake.path(table), paths)
    if gone:
        raise LakehouseError(
            f"{table.path}: version {version}: {len(gone)} of its {len(paths)} files have been vacuumed: expected a "
            f"version within the retention time; `credit-risk restore {table.path}` lists the versions"
        )


def _restore(lake: LakeLog, table: Table, version: int | None) -> Restored:
    delta = _opened(lake, table)
    files = lake.store.files(lake.path(table))
    if version is None:
        forgotten = [Transaction(name, NEVER) for name in sorted(_applications_since(files, delta, -1))]
        delta.delete(commit_properties=CommitProperties(app_transactions=forgotten))
        lake.store.look_again(lake.path(table))
        return Restored(table, None, _opened(lake, table).version())
    if version != delta.version():
        then = lake.at(table, version)
        memory = [
            Transaction(name, NEVER if (known := then.transaction_version(name)) is None else known)
            for name in sorted(_applications_since(files, delta, version))
        ]
        stated = {INPUTS_KEY: lake.inputs_at(table, version) or {"restored": version}}
        delta.restore(
            version,
            commit_properties=CommitProperties(
                app_transactions=memory, custom_metadata={"userMetadata": json.dumps(stated)}
            ),
        )
    lake.store.look_again(lake.path(table))
    return Restored(table, version, _opened(lake, table).version())


def _opened(lake: LakeLog, table: Table) -> DeltaTable:
    found = lake.store.open(lake.path(table))
    if found is None:
        raise LakehouseError(f"{table.path}: no such table yet; run `credit-risk refresh`")
    return found


def _applications_since(files: pafs.FileSystem, delta: DeltaTable, version: int) -> set[str]:
    """The applications that have committed to the table after a version, from the commits themselves."""
    found: set[str] = set()
    for number in range(version + 1, delta.version() + 1):
        path = f"_delta_log/{number:020d}.json"
        if files.get_file_info(path).type == pafs.FileType.NotFound:
            continue  # compacted into a checkpoint: older than any version that can be restored
        with files.open_input_stream(path) as stream:
            for line in stream.read().decode().splitlines():
                action = json.loads(line)
                if "txn" in action:
                    found.add(action["txn"]["appId"])
    return found


def run_restore(settings: Settings, name: str | None, version: int | None, to: str | None) -> Iterator[str]:
    """Do what `credit-risk restore` was asked for, telling it line by line.

    Raises `LakehouseError` in one line where the table, the version or the time is none that can be restored.
    """
    lake = LakeLog.of(settings)
    if to is not None and name is None and version is None:
        moment = _moment(to)
        return _told(settings, lambda: restore_lake(lake, moment), lake)
    if name is None or to is not None:
        raise LakehouseError("restore: expected a table with --version, a table alone to list its versions, or --to")
    table = next((table for table in TABLES if table.path == name), None)
    if table is None:
        raise LakehouseError(f"{name}: no such table: expected one of {', '.join(t.path for t in TABLES)}")
    if version is None:
        return _listed(lake, table)
    return _told(settings, lambda: [restore_table(lake, table, version)], lake)


def _listed(lake: LakeLog, table: Table) -> Iterator[str]:
    yield f"versions of {table.path}, newest first (times in UTC)"
    for entry in lake.history(table):
        metrics = ", ".join(f"{label} {entry.metrics[key]}" for key, label in _SHOWN.items() if key in entry.metrics)
        yield f"  {entry.version:>5}  {entry.committed_at:%Y-%m-%d %H:%M:%S}  {entry.operation:13} {metrics}".rstrip()


_SHOWN = {
    "num_added_rows": "rows added",
    "num_target_rows_inserted": "rows inserted",
    "num_target_rows_updated": "rows updated",
    "num_added_files": "files added",
    "num_removed_files": "files removed",
    "numRemovedFile": "files removed",
    "numRestoredFile": "files restored",
}


def _told(settings: Settings, restore: Callable[[], list[Restored]], lake: LakeLog) -> Iterator[str]:
    lock = WriterLock(settings.lake)
    lock.acquire()  # it says itself for whom it waits, while it waits
    try:
        before = lake.rows(INGESTION_LOG, ["source_sha256", "source_file", "outcome"])
        done = restore()
    finally:
        lock.release()
    for restored in done:
        rows = lake.row_count(restored.table)
        what = "emptied" if restored.version is None else f"holds the rows of version {restored.version} again"
        yield f"{restored.table.path}: {what} ({rows:,} rows), now version {restored.now}"
    held = {row["source_sha256"] for row in lake.rows(INGESTION_LOG, ["source_sha256"])}
    undone = {
        row["source_sha256"]: row["source_file"]
        for row in before
        if row["outcome"] == "ingested" and row["source_sha256"] not in held
    }
    waiting = {fingerprint(file.path): file.name for file in landed_files(settings)}
    for content, name in sorted(undone.items(), key=lambda item: item[1]):
        yield (
            f"{waiting[content]} lies in the landing folder and is taken again by the next refresh; move it out first "
            "if it must not come back"
            if content in waiting
            else f"{name} is no longer in the lake; land it again if it should be"
        )
    yield "next: `credit-risk refresh` brings every table that depends on these up to date"


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise LakehouseError(f"--to {text!r}: expected a time as 2026-11-20T10:00 (UTC)") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
