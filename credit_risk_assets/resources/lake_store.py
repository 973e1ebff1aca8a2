"""Where the Delta tables lie: a folder on this machine, or a prefix of an object store with the keys to it."""

from __future__ import annotations

import math
import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError
from deltalake.fs import DeltaStorageHandler

from credit_risk_assets.config.settings import Settings, StorageSettings

ENVIRONMENT_PREFIXES = ("AWS_", "AZURE_", "GOOGLE_")


class StorageError(RuntimeError):
    """The lake's store refuses what it is asked for; the message is one line that names the setting."""


class StorageUnreachableError(StorageError, ConnectionError):
    """The lake's store does not answer; it may a little later."""


FRESH_SECONDS = 2.0
"""For how long a table of an object store that was looked at is taken for its newest version."""
KEPT_HISTORIES = 4
READERS = 16
"""Tables of an object store that are looked at at once: most of the time is waiting."""


@dataclass
class _Seen:
    """What was last read of a table on an object store, and when."""

    table: DeltaTable | None = None
    at: float = -math.inf
    histories: dict[tuple[int, int | None], list[dict[str, Any]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file below a table's folder: its path there, its bytes and its footer."""

    path: str
    size: int
    footer: pq.FileMetaData


@dataclass(frozen=True)
class LakeStore:
    """The place of a lake's tables, and how delta-rs, polars and the engine get at it.

    `scratch` is a folder on this machine for the writer lock and for what a merge compares; of a lake on this
    machine it is the lake's own.
    """

    root: str
    scratch: Path
    options: Mapping[str, str] | None = field(default=None, repr=False)
    _seen: dict[str, _Seen] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_local(self) -> bool:
        """Whether the tables are files on this machine."""
        return "://" not in self.root

    @property
    def shown(self) -> str:
        """The place as a message names it."""
        return f"{self.scratch.name}/" if self.is_local else self.root

    def path(self, name: str) -> str:
        """Where the table of a name such as `gold/portfolio_kpis` lies."""
        return f"{self.root}/{name}"

    def scratch_of(self, path: str) -> Path:
        """The folder on this machine that stands for a table's."""
        return Path(path) if self.is_local else self.scratch / path.removeprefix(f"{self.root}/")

    def open(self, path: str, version: int | None = None) -> DeltaTable | None:
        """A handle of the table at a version, or at its newest; None where there is no table.

        Raises `StorageError` where an object store refuses, or does not answer.
        """
        if self.is_local:
            return DeltaTable(path, version=version) if DeltaTable.is_deltatable(path) else None
        with self._errors_named():
            try:
                return DeltaTable(path, version=version, storage_options=self.stated())
            except TableNotFoundError:
                return None

    def newest(self, path: str) -> DeltaTable | None:
        """A handle of the table's newest version that later calls may move on, for reading at once.

        On an object store it is remembered: asking again looks for later commits and reads no log twice, and what
        was looked at a moment ago is not looked at again, unless `look_again` says so.
        """
        if self.is_local:
            return self.open(path)
        seen = self._seen_at(path)
        with seen.lock:
            if seen.table is None:
                seen.table = self.open(path)
            elif time.monotonic() - seen.at > FRESH_SECONDS:
                with self._errors_named():
                    seen.table.update_incremental()
            else:
                return seen.table
            seen.at = time.monotonic()
            return seen.table

    def look_again(self, path: str) -> None:
        """Let the next `newest` of a table ask the store: it was written, or is about to be."""
        if not self.is_local:
            self._seen_at(path).at = -math.inf

    def look_at(self, paths: Iterable[str]) -> None:
        """Open tables that are about to be asked for one after another, all at once where each is a wait."""
        if not self.is_local:
            with ThreadPoolExecutor(READERS) as readers:
                list(readers.map(self.newest, paths))

    def history(self, path: str, table: DeltaTable, limit: int | None = None) -> list[dict[str, Any]]:
        """The commits of a handle's version, newest first; on an object store read once a version."""
        if self.is_local:
            return table.history(limit)
        known, key = self._seen_at(path).histories, (table.version(), limit)
        if key not in known:
            with self._errors_named():
                found = table.history(limit)
            for old in list(known)[: -KEPT_HISTORIES + 1]:
                del known[old]
            known[key] = found
        return known[key]

    def _seen_at(self, path: str) -> _Seen:
        return self._seen.setdefault(path, _Seen())

    def take(self, path: str, source: Path) -> list[ParquetFile]:
        """Move the Parquet files of a folder on this machine into a new one below a table's; no commit names them yet.

        The files, with their footers, by path.
        """
        folder = f"part-{uuid4().hex}"
        found = _described(source, folder)
        if self.is_local:
            Path(path).mkdir(parents=True, exist_ok=True)
            shutil.move(source, Path(path) / folder)
        else:
            with self._errors_named():
                pafs.copy_files(str(source), folder, pafs.LocalFileSystem(), self.files(path))
            shutil.rmtree(source)
        return found

    def parquet_files(self, path: str, folder: str) -> list[ParquetFile]:
        """Every Parquet file in a folder below a table's, with its footer, by path."""
        if self.is_local:
            return _described(Path(path) / folder, folder)
        with self._errors_named():
            files = self.files(path)
            listed = files.get_file_info(pafs.FileSelector(folder, recursive=True, allow_not_found=True))

            found = []
            for info in (info for info in listed if info.is_file and info.path.endswith(".parquet")):
                with files.open_input_file(info.path) as file:
                    found.append(ParquetFile(info.path, info.size, pq.read_metadata(file)))
            return sorted(found, key=lambda file: file.path)

    def files(self, path: str) -> pafs.FileSystem:
        """The folder of a table, wherever it is stored."""
        return pafs.PyFileSystem(DeltaStorageHandler(path, self.stated()))

    def missing(self, path: str, logged: list[str]) -> list[str]:
        """Those of a table's files, as its log names them, that are not in its folder."""
        paths = [unquote(name) for name in logged]
        if self.is_local:
            found = self.files(path).get_file_info(paths)
            return [info.path for info in found if info.type == pafs.FileType.NotFound]
        with self._errors_named():
            # One listing of the table: asking for each file is a request each.
            there = {info.path for info in self.files(path).get_file_info(pafs.FileSelector("", recursive=True))}
        return [name for name in paths if name not in there]

    def last_versions(self, names: Sequence[str]) -> dict[str, int]:
        """The newest committed version of those of the tables that exist, by name.

        On this machine the names in the log folders tell it, so that asking every few seconds costs next to nothing.
        """
        paths = [self.path(name) for name in names]
        if self.is_local:
            found = [_logged_version(path) for path in paths]
        else:
            self.look_at(paths)
            found = [None if table is None else table.version() for table in map(self.newest, paths)]
        return {name: version for name, version in zip(names, found, strict=True) if version is not None}

    def probe(self) -> None:
        """Write, read and delete a small table beside the lake's, with two writers that start from the same version.

        Raises `StorageError` where any of it is refused, or the second writer's commit replaces the first one's.
        """
        if self.is_local:
            return
        path, rows = self.path(f".probe-{uuid4().hex}"), pa.table({"probe": [1]})
        with self._errors_named():
            write_deltalake(path, rows, storage_options=self.stated())
            try:
                writers = [DeltaTable(path, storage_options=self.stated()) for _ in range(2)]
                for writer in writers:
                    write_deltalake(writer, rows, mode="append")
                found = DeltaTable(path, storage_options=self.stated()).version()
            finally:
                files = self.files(path)
                for info in files.get_file_info(pafs.FileSelector("", recursive=True)):
                    if info.is_file:
                        files.delete_file(info.path)
        if found != len(writers):
            raise StorageError(
                f"storage.lake {self.root}: of two commits at once one was lost: expected a store that puts an object "
                "only where none is (If-None-Match); use one that does"
            )

    def lend_to_engine(self) -> None:
        """Let the embedded engine, which takes its keys from the environment alone, find this process's ones."""
        for name, value in (self.options or {}).items():
            if name.upper().startswith(ENVIRONMENT_PREFIXES):
                os.environ[name.upper()] = value
        if "AWS_ACCESS_KEY_ID" in (self.options or {}) and "AWS_SESSION_TOKEN" not in (self.options or {}):
            os.environ.pop("AWS_SESSION_TOKEN", None)  # one that came with other keys

    def stated(self) -> dict[str, str] | None:
        """The options in the form that delta-rs takes; None on this machine."""
        return None if self.options is None else dict(self.options)

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            named = self.named(error)
            if named is None:
                raise
            raise named from None

    def named(self, error: BaseException) -> StorageError | None:
        """The error of an object store in one line that names the setting; None for any other error."""
        if self.is_local:
            return None
        text = re.sub(r"\x1b\[\d+m|\s+", " ", str(error))
        bucket = self.root.partition("://")[2].partition("/")[0]
        shown = f"storage.lake {self.root}"
        if "NoSuchBucket" in text or "bucket does not exist" in text:
            return StorageError(
                f"{shown}: no bucket {bucket}: expected one that exists; make it, or mend CREDIT_RISK__STORAGE__LAKE"
            )
        if re.search(r"\b(401|403)\b|AccessDenied|InvalidAccessKey|SignatureDoesNotMatch|necessary privileges", text):
            return StorageError(
                f"{shown}: the store refuses these keys: expected ones that may list, read, write and delete there; "
                "mend CREDIT_RISK__STORAGE__ACCESS_KEY and __SECRET_KEY, or the bucket's policy"
            )
        if re.search(r"redential", text) and not re.search(r"error sending request for .*\bs3", text):
            return StorageError(
                f"{shown}: no keys found: expected CREDIT_RISK__STORAGE__ACCESS_KEY and __SECRET_KEY, or those of the "
                "environment or the machine's role"
            )
        if re.search(r"error sending request|HTTP error|[Cc]onnect|dns error|timed out|\b50[0234]\b", text):
            endpoint = (self.options or {}).get("AWS_ENDPOINT") or "the store"
            return StorageUnreachableError(
                f"{shown}: {endpoint} does not answer: expected an object store there; mend "
                "CREDIT_RISK__STORAGE__ENDPOINT, or start it"
            )
        return None


def _described(folder: Path, name: str) -> list[ParquetFile]:
    """The Parquet files of a folder on this machine, which a table calls by a name."""
    return [
        ParquetFile(f"{name}/{file.relative_to(folder).as_posix()}", file.stat().st_size, pq.read_metadata(file))
        for file in sorted(folder.rglob("*.parquet"))
    ]


def _logged_version(path: str) -> int | None:
    newest: int | None = None
    try:
        with os.scandir(f"{path}/_delta_log") as entries:
            for entry in entries:
                name = entry.name
                if name[:20].isdigit() and name.endswith((".json", ".parquet")):
                    version = int(name[:20])
                    newest = version if newest is None else max(newest, version)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return newest


_stores: dict[tuple[str, Path, tuple[tuple[str, str], ...]], LakeStore] = {}


def store_at(folder: Path | str) -> LakeStore:
    """The store of a lake on this machine."""
    return LakeStore(str(folder), Path(folder))


def store_of(settings: Settings) -> LakeStore:
    """The store that the settings name; one a process, so that what it remembers is shared."""
    storage = settings.storage
    if not storage.lake:
        return store_at(settings.lake)
    root, options = storage.lake.rstrip("/"), object_store_options(storage)
    key = (root, settings.lake, tuple(sorted(options.items())))
    return _stores.setdefault(key, LakeStore(root, settings.lake, options))


def object_store_options(storage: StorageSettings) -> dict[str, str]:
    """What delta-rs, polars and the embedded engine are told: the settings by the names of the AWS tools.

    What is left empty is taken from the environment or the machine's role.
    """
    options: dict[str, str] = {}
    if storage.is_s3:
        wanted = {
            "AWS_ENDPOINT": storage.endpoint,
            "AWS_REGION": storage.region,
            "AWS_ACCESS_KEY_ID": storage.access_key.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": storage.secret_key.get_secret_value(),
            "AWS_ALLOW_HTTP": "true" if storage.allow_http else "",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false" if storage.path_style else "true",
            # A commit is put only where nobody else has put the same version.
            "AWS_CONDITIONAL_PUT": "etag",
        }
        options = {name: value for name, value in wanted.items() if value}
    return options | {name: value.get_secret_value() for name, value in storage.options.items()}
