"""The local users and their sessions, in one SQLite file that all worker processes share."""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from werkzeug.security import check_password_hash, generate_password_hash

from credit_risk_assets.config.settings import Settings
from dash_app.security.keys import make_private
from dash_app.security.roles import Role

MINIMUM_PASSWORD = 12
MAXIMUM_PASSWORD = 1024
FIRST_ADMIN = "admin"
METHOD = "scrypt:32768:8:1"
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""What a generated password is made of: nothing that looks like something else."""
SEEN_EVERY = timedelta(minutes=1)
"""How exactly it is known when a session was last used; more often would write with every request."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
  name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, made_at REAL NOT NULL, signed_in_at REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
  token TEXT PRIMARY KEY, name TEXT NOT NULL REFERENCES users (name) ON UPDATE CASCADE ON DELETE CASCADE,
  began_at REAL NOT NULL, seen_at REAL NOT NULL
) WITHOUT ROWID;
"""
# Checked where there is no such user, so that a wrong name takes as long as a wrong password.
_NOBODY = (
    "scrypt:32768:8:1$c2FsdG9mbm9ib2R5$"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000"
)


class UserError(ValueError):
    """A user cannot be made or changed; the message is one line that says why."""


@dataclass(frozen=True)
class User:
    """A local user; times are UTC."""

    name: str
    role: Role
    made_at: datetime
    signed_in_at: datetime | None = None


class Users:
    """The users and sessions of one home. Passwords are kept as scrypt hashes, session tokens as SHA-256."""

    def __init__(self, file: Path) -> None:
        self.file = file
        make_private(file)
        with self._open() as db:
            db.executescript(SCHEMA)

    @contextmanager
    def _open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.file, timeout=30, isolation_level=None)
        try:
            db.execute("PRAGMA foreign_keys = ON")
            if not write:
                yield db
                return
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()

    def all(self) -> list[User]:
        """Every user, by name."""
        with self._open() as db:
            rows = db.execute("SELECT name, role, made_at, signed_in_at FROM users ORDER BY name").fetchall()
        return [_user(row) for row in rows]

    def get(self, name: str) -> User | None:
        """The user of that name."""
        with self._open() as db:
            row = db.execute(
                "SELECT name, role, made_at, signed_in_at FROM users WHERE name = ?", (normalized(name),)
            ).fetchone()
        return _user(row) if row else None

    def add(self, name: str, role: Role, password: str) -> User:
        """Make a user. Raises `UserError` where the name is taken or no name, or the password too weak."""
        name = normalized(name)
        if not NAME.fullmatch(name):
            raise UserError(
                f"user {name!r}: expected up to 64 letters, digits and . _ - @, the first a letter or a digit"
            )
        hashed = _hashed(name, password)
        try:
            with self._open(write=True) as db:
                db.execute(
                    "INSERT INTO users (name, role, password, made_at) VALUES (?, ?, ?, ?)",
                    (name, role.value, hashed, _now().timestamp()),
                )
        except sqlite3.IntegrityError:
            raise UserError(f"user {name}: there is one already; change the role or the password instead") from None
        return User(name, role, _now())

    def remove(self, name: str) -> User:
        """Remove a user and end the sessions. Raises `UserError` for an unknown one and for the last admin."""
        with self._open(write=True) as db:
            user = _known(db, name)
            _keep_an_admin(db, user)
            db.execute("DELETE FROM users WHERE name = ?", (user.name,))
        return user

    def set_password(self, name: str, password: str) -> User:
        """Give a user another password and end the sessions. Raises `UserError`."""
        hashed = _hashed(normalized(name), password)
        with self._open(write=True) as db:
            user = _known(db, name)
            db.execute("UPDATE users SET password = ? WHERE name = ?", (hashed, user.name))
            db.execute("DELETE FROM sessions WHERE name = ?", (user.name,))
        return user

    def set_role(self, name: str, role: Role) -> User:
        """Give a user another role and end the sessions. Raises `UserError`."""
        with self._open(write=True) as db:
            user = _known(db, name)
            if role != Role.ADMIN:
                _keep_an_admin(db, user)
            db.execute("UPDATE users SET role = ? WHERE name = ?", (role.value, user.name))
            db.execute("DELETE FROM sessions WHERE name = ?", (user.name,))
        return User(user.name, role, user.made_at, user.signed_in_at)

    def add_first_admin(self) -> str | None:
        """The password of a new admin where there is no user at all, else None; right under several processes."""
        if self.all():
            return None
        password = new_password()
        hashed = _hashed(FIRST_ADMIN, password)
        with self._open(write=True) as db:
            if db.execute("SELECT count(*) FROM users").fetchone()[0]:
                return None
            db.execute(
                "INSERT INTO users (name, role, password, made_at) VALUES (?, ?, ?, ?)",
                (FIRST_ADMIN, Role.ADMIN.value, hashed, _now().timestamp()),
            )
        return password

    def check(self, name: str, password: str) -> User | None:
        """The user where the password is right; takes as long for an unknown name."""
        with self._open() as db:
            row = db.execute(
                "SELECT name, role, made_at, signed_in_at, password FROM users WHERE name = ?", (normalized(name),)
            ).fetchone()
        right = check_password_hash(row[4] if row else _NOBODY, password[:MAXIMUM_PASSWORD])
        return _user(row) if row and right else None

    def begin_session(self, user: User, lifetime: timedelta) -> str:
        """The token of a new session; those that are over are forgotten."""
        token, now = secrets.token_urlsafe(32), _now().timestamp()
        with self._open(write=True) as db:
            db.execute("DELETE FROM sessions WHERE began_at < ?", (now - lifetime.total_seconds(),))
            db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (_digest(token), user.name, now, now))
            db.execute("UPDATE users SET signed_in_at = ? WHERE name = ?", (now, user.name))
        return token

    def session(self, token: str, lifetime: timedelta, idle: timedelta, *, used: bool = True) -> User | None:
        """The user of a session that is neither too old nor idle for too long; `used` keeps it from being idle."""
        now = _now()
        with self._open() as db:
            row = db.execute(
                "SELECT u.name, u.role, u.made_at, u.signed_in_at, s.began_at, s.seen_at FROM sessions s "
                "JOIN users u ON u.name = s.name WHERE s.token = ?",
                (_digest(token),),
            ).fetchone()
        if row is None or _time(row[4]) + lifetime <= now or _time(row[5]) + idle <= now:
            return None
        if used and _time(row[5]) + SEEN_EVERY <= now:
            with self._open(write=True) as db:
                db.execute("UPDATE sessions SET seen_at = ? WHERE token = ?", (now.timestamp(), _digest(token)))
        return _user(row[:4])

    def end_session(self, token: str) -> None:
        """Forget a session: its cookie opens nothing any more, wherever it was copied to."""
        with self._open(write=True) as db:
            db.execute("DELETE FROM sessions WHERE token = ?", (_digest(token),))


def users_of(settings: Settings) -> Users:
    """The users of a home."""
    return Users(settings.dashboard_folder / "users.db")


def first_log_in(settings: Settings) -> str:
    """Make a new home's first admin; the line that tells the password, the only time it is told, else ''."""
    if settings.dashboard.auth == "none":
        return ""
    password = users_of(settings).add_first_admin()
    if password is None:
        return ""
    return (
        f"first log-in: user {FIRST_ADMIN}, password {password} "
        f"(shown this once; `credit-risk user password {FIRST_ADMIN}` changes it)"
    )


def new_password() -> str:
    """A random password of four groups of four, 79 bits."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(4))


def normalized(name: str) -> str:
    """A user's name as it is kept: without blanks around it and without capitals."""
    return name.strip().casefold()


def _hashed(name: str, password: str) -> str:
    if len(password) < MINIMUM_PASSWORD:
        raise UserError(f"password: expected at least {MINIMUM_PASSWORD} characters, found {len(password)}")
    if len(password) > MAXIMUM_PASSWORD:
        raise UserError(f"password: expected at most {MAXIMUM_PASSWORD} characters, found {len(password)}")
    if normalized(password) == name or len(set(password)) < 5:
        raise UserError("password: expected one that is neither the user's name nor a few characters repeated")
    return generate_password_hash(password, METHOD)


def _known(db: sqlite3.Connection, name: str) -> User:
    row = db.execute(
        "SELECT name, role, made_at, signed_in_at FROM users WHERE name = ?", (normalized(name),)
    ).fetchone()
    if row is None:
        raise UserError(f"user {normalized(name)!r}: no such user; `credit-risk user list` shows them")
    return _user(row)


def _keep_an_admin(db: sqlite3.Connection, user: User) -> None:
    others = db.execute("SELECT count(*) FROM users WHERE role = ? AND name <> ?", (Role.ADMIN.value, user.name))
    if user.role == Role.ADMIN and not others.fetchone()[0]:
        raise UserError(f"user {user.name}: the last admin; make another one first")


def _user(row: tuple[str, str, float, float | None]) -> User:
    name, role, made, signed_in = row[:4]
    return User(name, Role(role), _time(made), _time(signed_in) if signed_in else None)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
