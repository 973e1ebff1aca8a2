"""Reads the lake's Delta tables by delta-rs and polars, without a JVM, at versions that stay put for one render."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import unquote

import polars as pl
import pyarrow.parquet as pq
from deltalake import DeltaTable

from credit_risk_assets.config.tables import LOANS, TABLES, Table
from credit_risk_assets.resources.lake_store import LakeStore, StorageError, store_at
from dash_app.security.columns import UNSTATED, ColumnPolicy

log = logging.getLogger(__name__)

T = TypeVar("T")


class LakeError(RuntimeError):
    """A table of the lake cannot be read; the message is one line that names the table."""


class NotPermittedError(LakeError):
    """The role of whoever asks may not see single loans."""


class _VersionedCache:
    """Remembers what was computed from a set of table versions; each name keeps only its newest few."""

    def __init__(self, keep: int = 2) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, Any], threading.RLock] = {}
        self._values: dict[str, OrderedDict[Any, Any]] = {}

    def get(self, name: str, key: Any, compute: Callable[[], T], keep: int | None = None) -> T:
        known = self._values.get(name, {}).get(key)
        if known is not None:
            return cast(T, known)
        with self._lock:
            own = self._locks.setdefault((name, key), threading.RLock())
        with own:  # one thread computes, the others wait for its result
            values = self._values.setdefault(name, OrderedDict())
            if key not in values:
                found = compute()
                with self._lock:
                    values[key] = found
                    while len(values) > (keep or self._keep):
                        values.popitem(last=False)
                    self._locks.pop((name, key), None)
                return found
            return cast(T, values[key])


class Lake:
    """The folder of Delta tables of one portfolio, as one role sees it.

    `cache_folder` may hold what the dashboard computes from large tables. `prepare` computes what the pages need
    from a set of table versions; where the tables are large, it runs in the background and the versions before
    are shown until it is done.
    """

    def __init__(
        self,
        place: LakeStore | Path,
        cache_folder: Path | None = None,
        prepare: Callable[[Snapshot], None] | None = None,
    ) -> None:
        self.store = place if isinstance(place, LakeStore) else store_at(place)
        self.policy = UNSTATED
        self.cache_folder = cache_folder
        self.cache = _VersionedCache()
        self._moving = _Moving(prepare)
        self._looked = _Looked()

    def seen_by(self, policy: ColumnPolicy) -> Lake:
        """The same lake and cache under another role's policy."""
        other = copy.copy(self)
        other.policy = policy
        return other

    def versions(self) -> dict[str, int]:
        """The newest version of every table that exists, by path such as `gold/portfolio_cube`."""
        store = self.store
        if store.is_local:
            return store.last_versions([table.path for table in TABLES])
        looked = self._looked
        with looked.lock:
            if time.monotonic() >= looked.again_at:
                looked.trouble = ""
                try:
                    looked.versions = store.last_versions([table.path for table in TABLES])
                except StorageError as error:  # what was seen last is shown on; what is not in memory says why
                    looked.trouble = str(error)
                    log.warning("%s", error)
                looked.again_at = time.monotonic() + LOOK_SECONDS
            return looked.versions

    @property
    def trouble(self) -> str:
        """Why the object store could not be looked at, or nothing."""
        return self._looked.trouble

    def snapshot(self) -> Snapshot:
        """The lake as it stands now; everything one render shows is read through one snapshot."""
        found = self.versions()
        moving = self._moving
        if moving.prepare is None or found == moving.shown:
            return Snapshot(self, found)
        newest = Snapshot(self, found)
        if not moving.shown or not _is_large(newest):
            moving.shown = found
            return newest
        if moving.lock.acquire(blocking=False):
            everything = Snapshot(self.seen_by(UNSTATED), found)
            threading.Thread(target=moving.move_to, args=(everything,), name="prepare tables", daemon=True).start()
        return Snapshot(self, moving.shown)


class _Looked:
    """What was last seen of an object store, where each look is a request a table; shared by every role."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.versions: dict[str, int] = {}
        self.trouble = ""
        self.again_at = 0.0


class _Moving:
    """Which table versions are shown, and the step to newer ones; shared by what every role sees."""

    def __init__(self, prepare: Callable[[Snapshot], None] | None) -> None:
        self.prepare = prepare
        self.shown: dict[str, int] = {}
        self.lock = threading.Lock()

    def move_to(self, newest: Snapshot) -> None:
        """Prepare the versions, then show them; whoever calls holds the lock."""
        try:
            assert self.prepare is not None
            self.prepare(newest)
        except LakeError as error:
            log.warning("new table versions not prepared: %s", error)  # the page that needs them says so
        finally:
            self.shown = dict(newest.versions)
            self.lock.release()


LOOK_SECONDS = 5.0
"""How long the versions seen on an object store are taken for its newest."""
LARGE_ROWS = 1_000_000
"""Above this many loans, new table versions are prepared before they are shown."""


def _is_large(snapshot: Snapshot) -> bool:
    try:
        return snapshot.has(LOANS) and snapshot.rows(LOANS) > LARGE_ROWS
    except LakeError:
        return False


@dataclass(frozen=True)
class Snapshot:
    """The lake at a fixed set of table versions."""

    lake: Lake
    versions: Mapping[str, int]

    def has(self, table: Table) -> bool:
        """Whether the table exists."""
        return table.path in self.versions

    def known(self, *tables: Table) -> dict[str, int]:
        """The versions of those of the tables that exist, as an audit record states them."""
        return {table.path: self.versions[table.path] for table in tables if self.has(table)}

    def token(self, *tables: Table) -> str:
        """A text that changes exactly when one of the tables (all of them by default) gets a new version."""
        return " ".join(f"{t.path}@{self.versions[t.path]}" for t in (tables or TABLES) if self.has(t))

    def _open(self, table: Table, *, without_files: bool = False) -> DeltaTable:
        if not self.has(table):
            if trouble := self.lake.trouble:
                raise LakeError(f"{table.path}: {trouble}")
            raise LakeError(f"{table.path}: no such table under {self.lake.store.shown}; run `credit-risk refresh`")
        store, version = self.lake.store, self.versions[table.path]
        path = store.path(table.path)

        def opened() -> DeltaTable:
            try:
                return DeltaTable(path, version=version, storage_options=store.stated(), without_files=without_files)
            except Exception as error:
                raise LakeError(f"{table.path}: cannot be opened ({_reason(self.lake, error)})") from error

        # a log on an object store is read once a version
        return opened() if store.is_local else self.lake.cache.get(f"{table.path} handle", version, opened)

    def _hidden(self, table: Table) -> list[str]:
        """The table's columns that the role may not see."""

        def names() -> frozenset[str]:
            return frozenset(field.name for field in self._open(table, without_files=True).schema().fields)

        known = self.lake.cache.get(f"{table.path} schema", self.token(table), names)
        return sorted(known & self.lake.policy.hidden)

    def need_loan_rows(self) -> None:
        """Raise `NotPermittedError` where the role may not see single loans."""
        if not self.lake.policy.loan_rows:
            raise NotPermittedError("single loans: your role shows portfolios only; ask an admin for the role analyst")

    def scan(self, table: Table) -> pl.LazyFrame:
        """The table as a lazy frame, without the columns that the role may not see.

        Filters and columns are pushed down to its files.
        """
        try:
            # polars takes the number of retries as a number, the store's other readers take it as text
            retries = (self.lake.store.options or {}).get("max_retries")
            more: Any = {"max_retries": int(retries)} if retries else None
            frame = pl.scan_delta(self._open(table), storage_options=more)
            hidden = self._hidden(table)
            return frame.drop(hidden) if hidden else frame
        except LakeError:
            raise
        except Exception as error:
            raise LakeError(f"{table.path}: cannot be read ({_reason(self.lake, error)})") from error

    def collect(self, table: Table, frame: pl.LazyFrame) -> pl.DataFrame:
        """What the lazy frame over the table gives; raises `LakeError` where the table cannot be read."""
        try:
            return frame.collect()
        except Exception as error:
            raise LakeError(f"{table.path}: cannot be read ({_reason(self.lake, error)})") from error

    def frame(self, table: Table) -> pl.DataFrame:
        """A whole table in memory, kept while its version stands; for gold tables and logs only."""
        return self.cached(table.path, lambda: self.collect(table, self.scan(table)), table)

    def cached(
        self,
        name: str,
        compute: Callable[[], T],
        *tables: Table,
        reads: Iterable[str] | None = None,
        more: Any = "",
        keep: int | None = None,
    ) -> T:
        """What `compute` returns, remembered under `name` while the tables' versions, and `more`, stand.

        Where the tables (all of them by default) hold columns that the role may not see, it is remembered apart from
        what other roles see. `reads` names the columns that are read, so that the rest makes no difference. The
        newest `keep` results of a name are kept, by default two.
        """
        hidden: set[str] = set()
        if reads != ():
            hidden = {column for table in (tables or TABLES) if self.has(table) for column in self._hidden(table)}
        if reads is not None:
            hidden &= set(reads)
        if hidden:
            name = f"{name} without {' '.join(sorted(hidden))}"
        return self.lake.cache.get(name, (self.token(*tables), more), compute, keep)

    def stream(self, table: Table, frame: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
        """A lazy frame over the table in pieces of some `rows`, in the table's order, so that memory stays flat."""
        try:
            yield from frame.collect_batches(chunk_size=rows, maintain_order=True, engine="streaming")
        except Exception as error:
            raise LakeError(f"{table.path}: cannot be read ({_reason(self.lake, error)})") from error

    def pieces(self, table: Table, columns: Sequence[str], where: pl.Expr | None, rows: int) -> Iterator[pl.DataFrame]:
        """The table in pieces of at most some `rows`, in the order of its scan, decoded file by file.

        Slower than `stream`, and memory stays flat however wide the table and however large its files' row groups
        are. `where` is a predicate over partition columns and skips files. Raises `NotPermittedError` for a column
        that the role may not see.
        """
        hidden = set(columns).intersection(self._hidden(table))
        if hidden:
            raise NotPermittedError(f"{table.path}: your role does not show {', '.join(sorted(hidden))}")
        opened = self._open(table)
        if "deletionVectors" in (opened.protocol().reader_features or ()):
            frame = self.scan(table)  # which leaves the deleted rows out
            frame = frame if where is None else frame.filter(where)
            yield from self.stream(table, frame.select(columns), rows)
            return
        try:
            schema = self.scan(table).select(columns).collect_schema()
            for file, values in _files(opened, table, where):
                with self._parquet(table, file) as parquet:
                    yield from _read(parquet, values, schema, rows)
        except LakeError:
            raise
        except Exception as error:
            raise LakeError(f"{table.path}: cannot be read ({_reason(self.lake, error)})") from error

    def _parquet(self, table: Table, file: str) -> pq.ParquetFile:
        store = self.lake.store
        path = store.path(table.path)
        if store.is_local:
            return pq.ParquetFile(f"{path}/{file}", memory_map=True, pre_buffer=False)
        # what is next to each other comes in one request, not each column in its own
        return pq.ParquetFile(store.files(path).open_input_file(file), pre_buffer=True)

    def rows(self, table: Table) -> int:
        """The number of rows, from the log's statistics alone."""

        def count() -> int:
            actions = pl.DataFrame(self._open(table).get_add_actions(flatten=True))
            if actions.height == 0:
                return 0
            if "num_records" in actions.columns and actions["num_records"].null_count() == 0:
                return int(actions["num_records"].sum())
            return int(self.collect(table, self.scan(table).select(pl.len())).item())

        return self.cached(f"{table.path} rows", count, table)

    def columns(self, table: Table) -> list[str]:
        """The column names, from the log alone."""
        return self.cached(f"{table.path} columns", lambda: list(self.scan(table).collect_schema()), table)

    def committed_at(self, table: Table) -> datetime | None:
        """When the table's version was written."""

        def newest() -> tuple[datetime | None]:
            entries = self._open(table, without_files=True).history(1)
            stamp = entries[0].get("timestamp") if entries else None
            return (datetime.fromtimestamp(stamp / 1000, tz=UTC) if stamp else None,)

        return self.cached(f"{table.path} committed", newest, table)[0]


def _files(opened: DeltaTable, table: Table, where: pl.Expr | None) -> list[tuple[str, Mapping[str, Any]]]:
    """The table's files, by their path in its folder, in polars' order, each with the values of its partition."""
    keys = table.partition_by
    actions = pl.DataFrame(opened.get_add_actions(flatten=True))
    files = opened.file_uris()
    paths = [unquote(path) for path in actions["path"]] if files else []
    if len(paths) != len(files) or not all(map(str.endswith, files, paths)):
        raise LakeError(f"{table.path}: its log does not say which partition each file is of")
    values = pl.DataFrame([actions[f"partition.{key}"].alias(key) for key in keys])
    if not keys or where is None:
        kept: Iterable[int] = range(len(files))
    else:
        kept = values.with_row_index("_file").filter(where)["_file"]
    return [(paths[place], values.row(place, named=True) if keys else {}) for place in kept]


def _read(parquet: pq.ParquetFile, values: Mapping[str, Any], schema: pl.Schema, rows: int) -> Iterator[pl.DataFrame]:
    """One file in pieces; a column that it is too old to have is a gap."""
    present = [name for name in schema if name in parquet.schema_arrow.names]
    for batch in parquet.iter_batches(rows, columns=present):
        frame = pl.DataFrame(batch)
        yield frame.select(
            (pl.col(name) if name in present else pl.lit(values.get(name))).cast(kind).alias(name)
            for name, kind in schema.items()
        )


def _reason(lake: Lake, error: Exception) -> str:
    return _first_line(lake.store.named(error) or error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
