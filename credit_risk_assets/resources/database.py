"""Whether the PostgreSQL databases and the MLflow server of the settings answer, said in one line without a secret."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

from credit_risk_assets.config.settings import POSTGRES_SCHEMES, Settings, SettingsError, with_driver

CONNECT_SECONDS = 5
SERVER_EXTRA = "install the extra `server`: dagster-postgres and psycopg2-binary"


class DatabaseError(SettingsError):
    """A database or server that the settings name cannot be used; the message is one line without a secret."""


@dataclass(frozen=True)
class Database:
    """What a setting names: a PostgreSQL database, or an MLflow server by http."""

    setting: str
    use: str
    url: str

    @property
    def is_postgres(self) -> bool:
        """Whether it is a database, and not a server of another kind."""
        return urlsplit(self.url).scheme in POSTGRES_SCHEMES

    @property
    def place(self) -> str:
        """The address without user, password and options."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme.partition('+')[0]}://{host}{parts.path}"


def databases(settings: Settings) -> Iterator[Database]:
    """The databases and servers that a run of these settings needs; none where everything lies under the home."""
    for setting, use, url in (
        ("dagster.postgres_url", "Dagster's run history", settings.dagster.postgres_url.get_secret_value()),
        ("mlflow.tracking_uri", "MLflow's runs and models", settings.mlflow.tracking_uri.get_secret_value()),
    ):
        if urlsplit(url).scheme in (*POSTGRES_SCHEMES, "http", "https"):
            yield Database(setting, use, url)


def backend(settings: Settings) -> Database | None:
    """The database behind the platform's own MLflow server; None where it is SQLite under the home."""
    url = settings.mlflow.backend_url.get_secret_value()
    return Database("mlflow.backend_url", "the MLflow server's runs and models", url) if url else None


def problem_of(database: Database) -> str:
    """Why it cannot be used, in one line that names the setting and never a password; '' where it answers."""
    reason = _postgres_problem(database.url) if database.is_postgres else _server_problem(database.url)
    return f"setting {database.setting}: {database.place} ({database.use}): {reason}" if reason else ""


def require_databases(settings: Settings, *, only: str = "") -> None:
    """Raise `DatabaseError` for the first database or server that does not answer, or that two stores would share.

    `only` names one setting to look at. What has answered once is not asked again by this process.
    """
    if problem := shared_problem(settings):
        raise DatabaseError(problem)
    for database in databases(settings):
        if only in ("", database.setting):
            _require(database)


@lru_cache(maxsize=8)
def _require(database: Database) -> None:
    if problem := problem_of(database):
        raise DatabaseError(problem)


def shared_problem(settings: Settings) -> str:
    """What is wrong where Dagster and MLflow would write one database, in one line; '' where they do not."""
    dagster = settings.dagster.postgres_url.get_secret_value()
    stores = (settings.mlflow.tracking_uri, settings.mlflow.backend_url)
    for url in (store.get_secret_value() for store in stores):
        if dagster and url and _identity(dagster) == _identity(url):
            return (
                f"setting dagster.postgres_url: MLflow keeps its tables in {_identity(url)[2]} of the same server too: "
                "expected a database for each, since both have a table alembic_version"
            )
    return ""


def _identity(url: str) -> tuple[str, int, str, str]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 5432, parts.path.strip("/"), parts.query


def _postgres_problem(url: str) -> str:
    try:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError
        from sqlalchemy.pool import NullPool
    except ImportError:  # pragma: no cover - Dagster brings it
        return SERVER_EXTRA
    try:
        engine = create_engine(with_driver(url), poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS})
        with engine.connect():
            return ""
    except ModuleNotFoundError:
        return SERVER_EXTRA
    except SQLAlchemyError as error:
        lines = [line.strip() for line in str(getattr(error, "orig", None) or "not a PostgreSQL address").splitlines()]
        return without_password(next((line for line in lines if line), type(error).__name__), url)


def _server_problem(url: str) -> str:
    """MLflow's own client would ask for minutes; its server says at once whether it is there."""
    parts = urlsplit(url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/") + "/health", query="")
    try:
        with urlopen(address.geturl(), timeout=CONNECT_SECONDS) as answer:
            return "" if answer.status == 200 else f"answered {answer.status}"
    except OSError as error:
        reason = str(getattr(error, "reason", "") or error)
        return without_password(f"no MLflow server answers ({reason}); start it with `credit-risk serve mlflow`", url)


def without_password(text: str, url: str) -> str:
    """The text with the password of the address taken out, as it is written there and as it is meant."""
    password = urlsplit(url).password
    for shown in {url, password, unquote(password or "")} - {None, ""}:
        text = text.replace(str(shown), "***")
    return text
