"""Which errors pass by themselves, and what an error says in one line."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterator

PASSING_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.ENOLCK,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EPIPE,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
    }
)
PASSING_CLASSES = frozenset(
    {
        # delta-rs and delta-spark: another writer committed first
        "CommitFailedError",
        "ConcurrentAppendException",
        "ConcurrentDeleteDeleteException",
        "ConcurrentDeleteReadException",
        "ConcurrentTransactionException",
        "ConcurrentWriteException",
        "DeltaConcurrentModificationException",
        # connections, by the names of Python's own and of HTTP libraries
        "ConnectionError",
        "ConnectTimeout",
        "ReadTimeout",
        "Timeout",
        "TimeoutError",
    }
)
"""Named, so that no optional library is imported to recognise its errors."""
PASSING_GRPC_CODES = frozenset({"UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED"})
LOCKED_DATABASE = re.compile(r"database( table| schema)? is (locked|busy)", re.IGNORECASE)
REASON_LENGTH = 400
_NAMED_ERROR = re.compile(r"[\w.]+(Error|Exception|Refused): ")
_OWN_FAILURE = re.compile(r"^dagster\.[\w.]*Failure: ")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those it was raised from."""
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or getattr(found, "orig", None)


def _grpc_code(error: BaseException) -> str:
    code = getattr(error, "getGrpcStatusCode", None) or getattr(error, "code", None)
    try:
        code = code() if callable(code) else code
    except Exception:
        return ""
    return str(getattr(code, "name", ""))


def _passes(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in PASSING_ERRNOS:
        return True
    if isinstance(error, sqlite3.OperationalError) and LOCKED_DATABASE.search(str(error)):
        return True
    if PASSING_CLASSES & {kind.__name__ for kind in type(error).__mro__}:
        return True
    return _grpc_code(error) in PASSING_GRPC_CODES


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed a little later: a conflict, a lost connection, a lock that is held.

    Bad data, a wrong setting, a full disk and a mistake in the code are not: trying again changes nothing.
    """
    return any(_passes(found) for found in _chain(error))


def one_line(text: str) -> str:
    """What an error's text says: the error that Python or a JVM names last, else its first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "no message"
    named = [line for line in lines[1:] if _NAMED_ERROR.match(line)]
    return _OWN_FAILURE.sub("", named[-1] if named else lines[0])[:REASON_LENGTH]
