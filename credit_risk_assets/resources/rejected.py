"""Rejected rows as the lake holds them, and what became of each: open, requeued, resolved."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import INGESTION_LOG, REJECTED_RECORDS
from credit_risk_assets.resources.ingestion import known_contents
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.landing import TapeKind, landed_files
from credit_risk_assets.tape import contract
from credit_risk_assets.tape.intake import fingerprint

SOURCE, ROW = "_source_sha256", "_row_number"
AUDIT_FILE = "requeue.jsonl"

RecordKey = tuple[str, int]


class RequeueError(ValueError):
    """A file or name that cannot be requeued; the message is one line that says what to do."""


@dataclass(frozen=True)
class RejectedRecord:
    """A row that the lake refused: where it stood, why, and its values as text.

    `values` is empty for a line that could not be split; its text is `line`, None where it is in quarantine
    no more. The customer id is a pseudonym.
    """

    source_file: str
    source_sha256: str
    row_number: int
    kind: TapeKind
    reasons: tuple[str, ...]
    values: dict[str, str | None]
    line: str | None

    @property
    def key(self) -> RecordKey:
        """The file content and the row in it."""
        return self.source_sha256, self.row_number

    @property
    def is_line(self) -> bool:
        """Whether the row could not be split into columns."""
        return not self.values

    @property
    def place(self) -> str:
        """Where the row stood, as people say it."""
        return f"{self.source_file} row {self.row_number}"


@dataclass(frozen=True)
class RejectedRows:
    """Every rejected row of the lake, by what became of it since."""

    open: list[RejectedRecord]
    waiting: dict[RecordKey, str]
    resolved: dict[RecordKey, str]


def rejected_rows(settings: Settings) -> RejectedRows:
    """Every rejected row: open, requeued and waiting to be ingested, or resolved.

    A row is resolved when the content that carries its repair stands in the log as ingested, and not before:
    a file that was refused or taken away leaves its rows open.
    """
    lake = LakeLog.of(settings)
    ingested = known_contents(lake)
    kinds = {row["source_sha256"]: row["kind"] for row in lake.rows(INGESTION_LOG, ["source_sha256", "kind"])}
    last = {(entry["source_sha256"], entry["row_number"]): entry for entry in _audit_entries(settings)}
    sizes = {entry["landed_bytes"] for entry in last.values()}
    waiting = {
        fingerprint(file.path): file.name for file in landed_files(settings) if file.path.stat().st_size in sizes
    }
    rows = RejectedRows([], {}, {})
    lines: dict[str, dict[int, str]] = {}
    columns = ["_source_file", SOURCE, ROW, "reasons", "raw"]
    for found in sorted(lake.rows(REJECTED_RECORDS, columns), key=lambda r: (r["_source_file"], r[SOURCE], r[ROW])):
        key = (found[SOURCE], found[ROW])
        content = last[key]["landed_sha256"] if key in last else ""
        if content in ingested:
            rows.resolved[key] = ingested[content]
        elif content in waiting:
            rows.waiting[key] = waiting[content]
        else:
            rows.open.append(_record(found, kinds.get(found[SOURCE], "full"), settings, lines))
    return rows


def _record(
    found: dict[str, Any], kind: TapeKind, settings: Settings, lines: dict[str, dict[int, str]]
) -> RejectedRecord:
    values: dict[str, Any] = json.loads(found["raw"])
    line = None
    if set(values) == {"quarantined_in", "row"}:
        name = Path(values["quarantined_in"]).name
        if name not in lines:
            lines[name] = _quarantined_lines(settings.quarantine_folder / name)
        line = lines[name].get(values["row"])
        values = {}
    return RejectedRecord(
        found["_source_file"], found[SOURCE], found[ROW], kind, tuple(found["reasons"] or ()), values, line
    )


def _quarantined_lines(file: Path) -> dict[int, str]:
    if not file.is_file():
        return {}
    entries = [json.loads(text) for text in file.read_text(encoding="utf-8").split("\n") if text]
    return {entry["row"]: entry["line"] for entry in entries}


def _audit_entries(settings: Settings) -> list[dict[str, Any]]:
    file = settings.audit_folder / AUDIT_FILE
    entries = []
    for text in file.read_text(encoding="utf-8").split("\n") if file.is_file() else []:
        try:
            entries.append(json.loads(text))
        except json.JSONDecodeError:
            continue  # a process died while it wrote the line, so it landed nothing
    return entries


@contextmanager
def audit_log(settings: Settings) -> Iterator[io.FileIO]:
    """The register of requeued rows, for one process at a time: two must not land the same row."""
    settings.make_home()
    handle = os.open(settings.audit_folder / AUDIT_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with io.FileIO(handle, "a+") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        yield log


def of_source(records: list[RejectedRecord], source: str | None) -> list[RejectedRecord]:
    """The records of one source file. Raises `RequeueError` where the name is unknown."""
    names = sorted({record.source_file for record in records})
    if source is not None and source not in names:
        raise RequeueError(f"--source {source}: no open rejected rows; known are {', '.join(names) or 'none'}")
    return [record for record in records if source in (None, record.source_file)]


def kind_of_reason(reason: str) -> str:
    """A reason without the row's values, so that rows of the same reason can be counted together."""
    found, _, expected = reason.rpartition(": expected ")
    if found.endswith(" fields"):
        return "the line cannot be split into the header's columns"
    first, *others = re.findall(r"(?:^| and )(\w+)(?= is | and |$)", found) or ["row"]
    names = [first, *(name for name in others if name in contract.BY_NAME)]
    return f"{' and '.join(dict.fromkeys(names))}: expected {expected}"


def summary(settings: Settings) -> list[str]:
    """What waits for repair, by source file and reason, and the command to type next."""
    rows = rejected_rows(settings)
    lines = [
        f"{len(rows.open):,} rejected rows are open, {len(rows.waiting):,} repaired ones wait to be ingested, "
        f"{len(rows.resolved):,} are resolved"
    ]
    for source in dict.fromkeys(record.source_file for record in rows.open):
        mine = [record for record in rows.open if record.source_file == source]
        lines.append(f"  {source}: {len(mine):,} rows")
        counts = Counter(kind_of_reason(reason) for record in mine for reason in record.reasons)
        lines += [f"    {count:>7,}  {reason}" for reason, count in counts.most_common()]
    unsplit = [record for record in rows.open if record.is_line]
    if unsplit:
        gone = sum(record.line is None for record in unsplit)
        kept = f"{len(unsplit):,} of them are lines that could not be split, kept in landing/quarantine"
        lines.append(kept + (f" ({gone:,} no longer there)" if gone else ""))
    refused = sorted(settings.quarantine_folder.glob("*.reason.txt"))
    if refused:
        lines.append(f"{len(refused):,} refused files are kept in landing/quarantine:")
        lines += [f"  {file.read_text(encoding='utf-8').strip()}" for file in refused]
    return lines + _next_steps(rows, refused)


def _next_steps(rows: RejectedRows, refused: list[Path]) -> list[str]:
    steps = []
    if rows.open:
        steps.append(
            "next: `credit-risk requeue --export rejected.csv`, repair the rows, `credit-risk requeue rejected.csv`"
        )
    if rows.waiting:
        steps.append("next: `credit-risk refresh` ingests the repaired rows that wait")
    if refused:
        steps.append("next: mend a refused file, `credit-risk land` it, and remove it from landing/quarantine")
    return steps or ["next: nothing to do"]
