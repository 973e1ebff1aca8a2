"""Dagster's run history in SQLite, its files kept open for as long as a run from the shell lasts.

Dagster opens a file anew for each of a run's two thousand statements, and SQLite takes its write-ahead log in, with
everything that the disk has to confirm, whenever the last one closes. Files, tables and rows are Dagster's own: its
daemon, its web server and `dagster dev` open them as ever, at the same time too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event

_INDEX = "index"


def _engine(address: str) -> Engine:
    """An engine whose pool keeps its connections, unlike those of Dagster."""
    engine = create_engine(address, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        # With a write-ahead log a power cut can take the last events of the history, but never breaks it.
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


class OpenRunStorage(SqliteRunStorage):
    """The runs of Dagster's SQLite history, over one engine."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engine = _engine(conn_string)
        super().__init__(conn_string, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "OpenRunStorage":
        """Make the storage as Dagster configures it."""
        return cls.from_local(inst_data=inst_data, **config_value)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Lend a connection within a transaction."""
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the files."""
        super().dispose()
        self._engine.dispose()


class OpenEventLogStorage(SqliteEventLogStorage):
    """The events of Dagster's SQLite history, over one engine a file: one file a run, and the index of them all."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: dict[str, Engine] = {}
        self._opening = Lock()
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "OpenEventLogStorage":
        """Make the storage as Dagster configures it."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _opened(self, shard: str) -> Iterator[Connection]:
        with self._opening:
            if shard not in self._engines:
                with super().run_connection(shard):  # Dagster makes the file and its tables where they are missing
                    pass
                self._engines[shard] = _engine(self.conn_string_for_shard(shard))
        with self._engines[shard].begin() as connection:
            yield connection

    def run_connection(self, run_id: str | None = None) -> Any:
        """Lend a connection to a run's file within a transaction."""
        return self._opened(run_id or "")

    def index_connection(self) -> Any:
        """Lend a connection to the index within a transaction."""
        return self._opened(_INDEX)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has the table."""
        # A table that is there stays; Dagster asks with every event.
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        """Close the files."""
        super().dispose()
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()
