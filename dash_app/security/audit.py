"""The audit log: one JSON record a line, only ever appended, each holding the hash of the line before.

A record says who did what, with which filter, on which table versions and how many rows. It never holds personal
data: of a loan only a keyed fingerprint, of a search only that there was one, of an unknown user no name.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from credit_risk_assets.config.settings import Settings
from dash_app.security.keys import make_private, secret

LOG, HEAD, KEY = "dashboard.jsonl", "dashboard.head", "loan.key"
START = "0" * 64
"""What stands for the hash before the first record."""
TAIL_BYTES = 65_536
ACTIONS = (
    "login",
    "login_failed",
    "login_limited",
    "logout",
    "refused",
    "loan_view",
    "loan_list",
    "export_started",
    "export",
    "score",
    "user_added",
    "user_removed",
    "user_password",
    "user_role",
    "log_mended",
)


class AuditError(RuntimeError):
    """The audit log cannot be written; the message is one line that names the file."""


@dataclass(frozen=True)
class Verdict:
    """Whether the chain holds: its records, the hash of the last, and the first broken line with what is wrong."""

    records: int
    head: str
    broken_line: int | None = None
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return self.broken_line is None


class AuditLog:
    """The log of one home. Several processes may append: a file lock puts them in order.

    Beside it stands the head, the number and hash of the newest record, so that lines cut off at the end are
    missed too. A record counts once it is on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file, self.head_file = folder / LOG, folder / HEAD
        self._known: tuple[tuple[int, ...], Verdict] | None = None
        self._verify_again_at = 0.0

    def append(self, action: str, user: str, role: str, **facts: Any) -> None:
        """Add a record; what is None is left out. Raises `AuditError` where it cannot be written."""
        known = {name: value for name, value in facts.items() if value is not None}
        try:
            with self._locked() as log:
                number, last = self._last(log)
                if number is None:  # a process died while it wrote: its record never counted
                    number, last = self._mend(log)
                self._write(log, number + 1, last, action, user, role, known)
        except OSError as error:
            raise AuditError(f"{self.file}: the audit log cannot be written ({error.strerror or error})") from error

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        make_private(self.file)
        with self.file.open("r+b", buffering=0) as log:
            fcntl.flock(log, fcntl.LOCK_EX)  # released with the file, also where the process is killed
            yield log

    def _last(self, log: BinaryIO) -> tuple[int | None, str]:
        size = log.seek(0, os.SEEK_END)
        if size == 0:
            return 0, START
        log.seek(max(0, size - TAIL_BYTES))
        tail = log.read()
        if not tail.endswith(b"\n"):
            return None, START
        line = tail[:-1].rsplit(b"\n", 1)[-1]
        try:
            return int(json.loads(line)["number"]), _digest(line)
        except (ValueError, KeyError, TypeError):
            # tampered with: `verify` names the line, and the chain goes on from what is there
            return self._head()[0], _digest(line)

    def _mend(self, log: BinaryIO) -> tuple[int, str]:
        content = self.file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        log.truncate(len(whole))
        number, last = self._last(log)
        number = number or 0
        facts = {"bytes_dropped": len(content) - len(whole)}
        self._write(log, number + 1, last, "log_mended", "audit", "system", facts)
        number, last = self._last(log)
        return number or 0, last

    def _write(
        self, log: BinaryIO, number: int, last: str, action: str, user: str, role: str, facts: Mapping[str, Any]
    ) -> None:
        record = {
            "number": number,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "action": action,
            "user": user,
            "role": role,
            **facts,
            "previous": last,
        }
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        log.seek(0, os.SEEK_END)
        log.write(line + b"\n")
        os.fsync(log.fileno())
        draft = self.head_file.with_suffix(".draft")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(f"{number} {_digest(line)}\n")
        draft.replace(self.head_file)

    def _head(self) -> tuple[int, str]:
        try:
            number, digest = self.head_file.read_text().split()
            return int(number), digest
        except (OSError, ValueError):
            return 0, START

    def verify(self) -> Verdict:
        """Follow the chain from the first record to the head."""
        if not self.file.exists():
            number, _ = self._head()
            if number:
                return Verdict(0, START, 1, f"the log is gone; the head tells of {number} records")
            return Verdict(0, START)
        with self.file.open("rb") as log:
            fcntl.flock(log, fcntl.LOCK_SH)
            head_number, head_digest = self._head()
            number, last, head_seen = 0, START, head_number == 0
            for number, line in enumerate(log, start=1):
                if not line.endswith(b"\n"):
                    return Verdict(number - 1, last, number, "the line is cut off")
                problem = _problem(line[:-1], number, last)
                if problem:
                    return Verdict(number - 1, last, number, problem)
                last = _digest(line[:-1])
                head_seen = head_seen or (number == head_number and last == head_digest)
        if number < head_number:
            return Verdict(number, last, number + 1, f"records are missing: the head tells of {head_number}")
        if number and not head_seen:
            return Verdict(number, last, head_number or 1, "the record is not the one that the head tells of")
        return Verdict(number, last)

    def verdict(self) -> Verdict:
        """What `verify` found last: anew where a file has changed, but so seldom that it takes 1 % of the time."""
        files = [file.stat() for file in (self.file, self.head_file) if file.exists()]
        state = tuple(fact for file in files for fact in (file.st_size, file.st_mtime_ns, file.st_ctime_ns))
        began = time.monotonic()
        if self._known is None or (self._known[0] != state and began >= self._verify_again_at):
            self._known = state, self.verify()
            ended = time.monotonic()
            self._verify_again_at = ended + 99 * (ended - began)
        return self._known[1]

    def records(self, since: datetime | None = None, limit: int | None = None) -> list[dict[str, Any]]:
        """The records, newest first; lines that are no record are left out (`verify` names them)."""
        found: list[dict[str, Any]] = []
        for line in self._lines_backwards():
            try:
                record = json.loads(line)
                at = datetime.fromisoformat(record["at"])
            except (ValueError, KeyError, TypeError):
                continue
            if since is not None and at < since:
                break
            found.append(record)
            if limit is not None and len(found) >= limit:
                break
        return found

    def _lines_backwards(self) -> Iterator[bytes]:
        if not self.file.exists():
            return
        with self.file.open("rb") as log:
            place, rest = log.seek(0, os.SEEK_END), b""
            while place > 0:
                step = min(TAIL_BYTES, place)
                place -= step
                log.seek(place)
                lines = (log.read(step) + rest).split(b"\n")
                rest = lines[0]
                yield from (line for line in reversed(lines[1:]) if line)
            if rest:
                yield rest

    def fingerprint(self, loan_id: str) -> str:
        """What stands for a loan in the log: who has the key can ask for a loan, the log alone names none."""
        return hmac.new(secret(self.folder / KEY), loan_id.encode(), hashlib.sha256).hexdigest()[:16]


def audit_log(settings: Settings) -> AuditLog:
    """The audit log of a home."""
    return AuditLog(settings.audit_folder)


def _problem(line: bytes, number: int, last: str) -> str:
    try:
        record = json.loads(line)
        found = record["number"], record["previous"]
    except (ValueError, KeyError, TypeError):
        return "the line is no record"
    if found[1] != last:
        return "the hash of the line before is another"
    return "" if found[0] == number else f"record {found[0]} stands where {number} is expected"


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
