"""The way back of rejected rows: exported to be repaired, tried again, landed as a tape of their own."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import polars as pl

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import LOAN_TAPE
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.landing import TapeKind, land
from credit_risk_assets.resources.privacy import privacy_key
from credit_risk_assets.resources.rejected import (
    ROW,
    SOURCE,
    RecordKey,
    RejectedRecord,
    RejectedRows,
    RequeueError,
    audit_log,
    of_source,
    rejected_rows,
)
from credit_risk_assets.tape.intake import fingerprint, stage_tape
from credit_risk_assets.tape.pseudonym import marked
from credit_risk_assets.tape.readers import TapeRefused

REASONS, LINE = "_reasons", "_line"
HELPERS = (SOURCE, ROW, REASONS, LINE)

_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_FORMULA = re.compile(r"^'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"^'+[=+\-@\t\r]")
_UNREADABLE = "is not UTF-8 text"
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class Requeued:
    """What a requeue did: files landed, rows in them, values changed per column, what is still wrong."""

    landed: list[Path]
    rows: int
    changed: Counter[str]
    problems: list[str]


def escaped(value: str) -> str:
    """A value as a spreadsheet shows it without computing it: a formula gets an apostrophe, a number does not."""
    return f"'{value}" if _FORMULA.match(value) and not _NUMBER.match(value) else value


def unescaped(cell: str) -> str:
    """The value that `escaped` was given."""
    return cell[1:] if _ESCAPED.match(cell) else cell


def export_rejected(settings: Settings, target: Path, source: str | None = None) -> list[RejectedRecord]:
    """Write the open rejected rows as a CSV to repair; the file is its owner's alone.

    The tape's columns stand as they came, customer ids as marked pseudonyms; beside them where the row stood,
    its reasons, and the text of a line that could not be split. Raises `RequeueError` where the file exists.
    """
    records = of_source(rejected_rows(settings).open, source)
    names = dict.fromkeys(name for record in records for name in record.values)
    split = {record.source_sha256 for record in records if not record.is_line}
    if any(record.source_sha256 not in split for record in records):
        known = LakeLog.of(settings).columns(LOAN_TAPE)
        names |= dict.fromkeys(name for name in known if not name.startswith("_"))
    helpers = [name for name in HELPERS if name != LINE or any(record.is_line for record in records)]
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise RequeueError(f"{target}: exists already; it may hold repairs: remove it or choose another name") from None
    except OSError as error:
        raise RequeueError(f"{target}: cannot be written ({error.strerror})") from None
    # With a byte order mark: spreadsheets take a CSV without one for some other encoding.
    with os.fdopen(handle, "w", encoding="utf-8-sig", newline="") as out:
        writer = csv.DictWriter(out, [*helpers, *names])
        writer.writeheader()
        for record in records:
            writer.writerow({name: escaped(value) for name, value in _exported(record).items()})
    return records


def _exported(record: RejectedRecord) -> dict[str, str]:
    cells = {name: value for name, value in record.values.items() if value is not None}
    if any(reason.startswith("customer_id") for reason in record.reasons):
        # The pseudonym of an id that could not be read is nobody's.
        cells.pop("customer_id", None)
    if "customer_id" in cells:
        cells["customer_id"] = marked(cells["customer_id"])
    cells |= {SOURCE: record.source_sha256, ROW: str(record.row_number), REASONS: "; ".join(record.reasons)}
    return cells | ({LINE: record.line} if record.line is not None else {})


@dataclass(frozen=True)
class _Repair:
    """A repaired row: its place in the repaired file, the record it mends, its values by column."""

    number: int
    record: RejectedRecord
    values: dict[str, str]

    def problem(self, reason: str) -> str:
        loan = f", loan {self.values['loan_id']}" if self.values.get("loan_id") else ""
        return f"row {self.number} ({self.record.place}{loan}): {reason}"


def requeue_repaired(settings: Settings, file: Path, *, partial: bool = False, today: date | None = None) -> Requeued:
    """Try repaired rows against the contract and land them, one file for each kind of tape.

    Nothing is landed while a row is wrong, unless `partial`, which lands the right ones and leaves the others
    open. Raises `RequeueError` where the file is no export of rejected rows.
    """
    header, cells = _repaired_cells(file)
    columns = [name for name in header if name not in HELPERS]
    with audit_log(settings) as log:
        repairs, problems = _named_records(cells, rejected_rows(settings))
        folder = settings.staging_folder / f"requeue-{uuid4().hex}"
        landed: list[Path] = []
        right: list[_Repair] = []
        try:
            ready: list[tuple[TapeKind, Path, list[_Repair]]] = []
            kinds: tuple[TapeKind, ...] = ("full", "changes")
            for kind in kinds:
                chosen = [repair for repair in repairs if repair.record.kind == kind]
                broken = _broken(settings, chosen, columns, folder / kind, file.name, today) if chosen else {}
                problems |= {r.number: r.problem("; ".join(broken[i])) for i, r in enumerate(chosen) if i in broken}
                good = [repair for i, repair in enumerate(chosen) if i not in broken]
                if good:
                    tape = folder / kind / "repaired.csv"
                    tape.write_bytes(_tape_bytes(good, columns))
                    ready.append((kind, tape, good))
            if partial or not problems:
                # On record before it lies in the landing folder: should the process end in between, the
                # record names a content that nobody finds, and the rows are open as before.
                for _, tape, good in ready:
                    _register(log, tape, good)
                for kind, tape, good in ready:
                    landed.append(land(settings, tape, kind, name=_landed_name(tape, good)))
                    right += good
        except TapeRefused as error:
            raise RequeueError(str(error)) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    changed = Counter(
        name
        for repair in right
        for name, value in _as_exported(repair.record).items()
        if repair.values.get(name, "") != value
    )
    return Requeued(landed, len(right), changed, [problems[number] for number in sorted(problems)])


def _as_exported(record: RejectedRecord) -> dict[str, str]:
    cells = _exported(record)
    return {name: cells.get(name, "") for name in record.values}


def _repaired_cells(file: Path) -> tuple[list[str], list[tuple[int, list[str] | dict[str, str]]]]:
    """The header and the rows of a repaired file, by row number; a row that does not fit the header as a list."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RequeueError(f"{file}: cannot be read ({error.strerror}); give the repaired export") from None
    except UnicodeDecodeError:
        raise RequeueError(f"{file.name}: not UTF-8 text: expected the repaired export; save it as CSV UTF-8") from None
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(lines)
    except csv.Error as error:
        raise RequeueError(f"{file.name}: line {lines.line_num}: {error}; save the file as CSV again") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if missing := [name for name in (SOURCE, ROW) if name not in header]:
        if any(mark in "".join(header) for mark in ";\t"):
            raise RequeueError(f"{file.name}: the columns are not parted by commas; save it as comma-separated")
        raise RequeueError(
            f"{file.name}: column {', '.join(missing)} missing: expected a file that `credit-risk requeue --export` "
            "wrote; keep its columns, or land a tape with `credit-risk land`"
        )
    if repeated := sorted(name for name, count in Counter(header).items() if count > 1):
        raise RequeueError(f"{file.name}: column {repeated[0]!r} stands more than once; remove the copy")
    found: list[tuple[int, list[str] | dict[str, str]]] = []
    for number, row in enumerate(rows[1:], 1):
        if not any(cell.strip() for cell in row):
            continue
        fits = len(row) == len(header)
        found.append(
            (number, {n: unescaped(c.strip()) for n, c in zip(header, row, strict=True)} if fits else list(row))
        )
    if not found:
        raise RequeueError(f"{file.name}: no rows: expected at least one repaired row")
    return header, found


def _named_records(
    cells: Sequence[tuple[int, list[str] | dict[str, str]]], rejected: RejectedRows
) -> tuple[list[_Repair], dict[int, str]]:
    """The rows that name an open rejected record, and what is wrong with the others by row number."""
    by_key = {record.key: record for record in rejected.open}
    repairs: list[_Repair] = []
    problems: dict[int, str] = {}
    taken: dict[RecordKey, int] = {}
    for number, values in cells:
        if isinstance(values, list):
            problems[number] = f"row {number}: {len(values)} fields: expected as many as the header has"
            continue
        text = values[ROW]
        key = (values[SOURCE], int(text) if text.isascii() and text.isdigit() else -1)
        if key in taken:
            problems[number] = f"row {number}: mends the same rejected row as row {taken[key]}; keep one of them"
        elif key in by_key:
            taken[key] = number
            repairs.append(_Repair(number, by_key[key], {n: v for n, v in values.items() if n not in HELPERS}))
        elif key in rejected.waiting:
            problems[number] = (
                f"row {number}: requeued already as {rejected.waiting[key]}; `credit-risk refresh` takes it"
            )
        elif key in rejected.resolved:
            problems[number] = f"row {number}: resolved already by {rejected.resolved[key]}; remove the row"
        else:
            problems[number] = (
                f"row {number}: {SOURCE} and {ROW} name no rejected row of this lake; copy them from a fresh export"
            )
    return repairs, problems


def _broken(
    settings: Settings, repairs: list[_Repair], columns: list[str], folder: Path, name: str, today: date | None
) -> dict[int, list[str]]:
    """What the intake has against each of the rows, by their place; the very code that ingests tries them."""
    folder.mkdir(parents=True)
    tape = folder / name
    tape.write_bytes(_tape_bytes(repairs, columns))
    staged = stage_tape(
        tape,
        folder / "staged",
        key=privacy_key(settings),
        today=today or datetime.now(UTC).date(),
        quarantine_file=folder / "lines.jsonl",
        block_bytes=settings.landing.block_bytes,
    )
    broken: dict[int, list[str]] = {}
    if staged.rows_rejected:
        rejected = pl.read_parquet(staged.rejected_folder / "*.parquet").select("_row_number", "reasons")
        broken = {number - 1: list(reasons) for number, reasons in rejected.iter_rows()}
    for place, repair in enumerate(repairs):
        unreadable = [name for name, value in repair.values.items() if _REPLACEMENT in value]
        if any(_UNREADABLE in reason for reason in repair.record.reasons) and unreadable:
            reasons = [f"{name} still shows {_REPLACEMENT}: expected the right letter" for name in unreadable]
            broken.setdefault(place, []).extend(reasons)
    return broken


def _tape_bytes(repairs: list[_Repair], columns: list[str]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(repair.values for repair in repairs)
    return text.getvalue().encode()


def _landed_name(tape: Path, repairs: list[_Repair]) -> str:
    sources = list(dict.fromkeys(Path(repair.record.source_file).name for repair in repairs))
    stem = sources[0].partition(".")[0].removeprefix("requeued_")
    more = f"_and_{len(sources) - 1}_more" if len(sources) > 1 else ""
    return f"requeued_{stem}{more}_{fingerprint(tape)[:8]}.csv"


def _register(log: io.FileIO, tape: Path, repairs: list[_Repair]) -> None:
    content, size = fingerprint(tape), tape.stat().st_size
    entries = [
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "source_file": repair.record.source_file,
            "source_sha256": repair.record.source_sha256,
            "row_number": repair.record.row_number,
            "landed_file": _landed_name(tape, repairs),
            "landed_sha256": content,
            "landed_bytes": size,
        }
        for repair in repairs
    ]
    # A line that a dying process left half written must not swallow the next one.
    log.write(("\n" + "".join(json.dumps(entry) + "\n" for entry in entries)).encode())
    os.fsync(log.fileno())
