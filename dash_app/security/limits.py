"""Limits on log-in and export, counted in one SQLite file so that they hold across all worker processes."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from limits import RateLimitItem, parse
from limits.storage import Storage
from limits.strategies import RateLimiter

from dash_app.security.keys import make_private

SCHEME = "credit-risk-limits"


class FileStorage(Storage):
    """Counters of fixed windows in an SQLite file; `limits` finds it by the scheme of its address."""

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - as its base class declares it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._file = Path(str(uri).removeprefix(f"{SCHEME}:"))
        make_private(self._file)
        with self._open() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS counters (key TEXT PRIMARY KEY, hits INTEGER, ends REAL) WITHOUT ROWID"
            )

    def _open(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self._file, timeout=30, isolation_level=None))

    @property
    def base_exceptions(self) -> type[Exception]:
        """What the storage may raise."""
        return sqlite3.Error

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count and give the new count, in one step for all processes."""
        now = time.time()
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM counters WHERE ends <= ?", (now,))
            (hits,) = db.execute(
                "INSERT INTO counters VALUES (?, max(?, 0), ?) "
                "ON CONFLICT (key) DO UPDATE SET hits = max(hits + ?, 0) RETURNING hits",
                (key, amount, now + expiry, amount),
            ).fetchone()
            db.execute("COMMIT")
        return int(hits)

    def get(self, key: str) -> int:
        """The count of a window that is not over."""
        with self._open() as db:
            row = db.execute("SELECT hits FROM counters WHERE key = ? AND ends > ?", (key, time.time())).fetchone()
        return int(row[0]) if row else 0

    def get_expiry(self, key: str) -> float:
        """When a window ends, in seconds since 1970."""
        with self._open() as db:
            row = db.execute("SELECT ends FROM counters WHERE key = ?", (key,)).fetchone()
        return float(row[0]) if row else time.time()

    def check(self) -> bool:
        """Whether the file can be read."""
        with self._open() as db:
            db.execute("SELECT 1 FROM counters LIMIT 1")
        return True

    def reset(self) -> int | None:
        """Forget every count."""
        with self._open() as db:
            return db.execute("DELETE FROM counters").rowcount

    def clear(self, key: str) -> None:
        """Forget one count."""
        with self._open() as db:
            db.execute("DELETE FROM counters WHERE key = ?", (key,))


def storage_address(folder: Path) -> str:
    """The address of a home's counters, as Flask-Limiter takes it."""
    return f"{SCHEME}:{folder / 'limits.db'}"


@dataclass(frozen=True)
class LoginLimit:
    """Failed log-ins that a user name, and an address, may make within a quarter of an hour.

    An attempt counts before its password is looked at, so that many at once gain nothing; a right one is given back.
    """

    limiter: RateLimiter
    per_user: int
    per_address: int

    def _items(self, name: str, address: str) -> tuple[tuple[RateLimitItem, str, str], ...]:
        # what is typed as a name may be a password: its hash counts as well
        digest = hashlib.sha256(name.encode()).hexdigest()
        return (
            (parse(f"{self.per_user} per 15 minutes"), "user", digest),
            (parse(f"{self.per_address} per 15 minutes"), "address", address),
        )

    def seconds_to_wait(self, name: str, address: str) -> int:
        """0 where the attempt may go on, which is counted; else the seconds until the window ends."""
        refused = [key for key in self._items(name, address) if not self.limiter.hit(*key)]
        if not refused:
            return 0
        ends = max(self.limiter.get_window_stats(*key).reset_time for key in refused)
        return max(1, int(ends - time.time()) + 1)

    def forgive(self, name: str, address: str) -> None:
        """The password was right: the name begins anew, and the address gets its attempt back."""
        user, place = self._items(name, address)
        self.limiter.clear(*user)
        self.limiter.hit(*place, cost=-1)

    def first_refusal(self, address: str) -> bool:
        """Whether this is the first refusal of an address within a minute: a flood fills no audit log."""
        return self.limiter.hit(parse("1 per minute"), "refusal", address)
