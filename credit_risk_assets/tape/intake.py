"""From a file in the landing folder to typed, pseudonymised rows, in Parquet files that bronze can take over."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from credit_risk_assets.tape.parts import Parts
from credit_risk_assets.tape.readers import TapeBlock, open_tape
from credit_risk_assets.tape.rows import check_rows, rejected_frame

YOUNG_SECONDS = 2.0


@dataclass
class StagedTape:
    """What one file holds once parsed: folders of accepted and rejected parts, and the counts that must tie.

    `rows_read` = `rows_accepted` + `rows_rejected`; `rows_quarantined` of the rejected ones are lines that
    could not be split into columns.
    """

    accepted_folder: Path
    rejected_folder: Path
    extra_columns: list[str]
    rows_accepted: int = 0
    rows_rejected: int = 0
    rows_quarantined: int = 0
    quarantine_file: Path | None = None

    @property
    def rows_read(self) -> int:
        """Data rows of the file, header excluded."""
        return self.rows_accepted + self.rows_rejected


def fingerprint(file: Path) -> str:
    """The SHA-256 of a file's content: two files with the same one are the same tape.

    A file is read once for as long as its size and times stay the same; one that was written a moment ago may
    change again within the clock's step and is read each time.
    """
    state = file.stat()
    known = (str(file.resolve()), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    if time.time() - max(state.st_mtime, state.st_ctime) < YOUNG_SECONDS:
        return _digest.__wrapped__(*known)
    return _digest(*known)


@lru_cache(maxsize=4096)
def _digest(path: str, *_: int) -> str:
    with Path(path).open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _read_ahead(blocks: Iterator[TapeBlock], thread: ThreadPoolExecutor) -> Iterator[TapeBlock]:
    """The blocks, each read by a thread while the one before is worked on."""
    coming = thread.submit(next, blocks, None)
    while (block := coming.result()) is not None:
        coming = thread.submit(next, blocks, None)
        yield block


def _quarantine(block: TapeBlock, file: Path) -> pl.DataFrame:
    """Keep lines that could not be split where the landing folder's protection covers them."""
    if not block.ragged:
        return rejected_frame([])
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as out:
        for line in block.ragged:
            out.write(json.dumps({"row": line.row_number, "line": line.text}, ensure_ascii=False) + "\n")
    return rejected_frame(
        [
            (
                None,
                [f"row has {line.found} fields: expected {line.expected}, as in the header"],
                json.dumps({"quarantined_in": file.name, "row": line.row_number}),
                line.row_number,
            )
            for line in block.ragged
        ]
    )


def stage_tape(
    file: Path,
    folder: Path,
    *,
    key: bytes,
    today: date,
    quarantine_file: Path,
    block_bytes: int = 16 * 2**20,
    stamp: Mapping[str, pa.Scalar[Any]] | None = None,
    partition_by: str | None = None,
) -> StagedTape:
    """Parse one tape block by block into `folder/accepted` and `folder/rejected`, flat in memory.

    Every row carries the columns of `stamp`; accepted ones are parted by `partition_by`.

    Raises `TapeRefused` where the file as a whole is no tape: empty, binary, wrong delimiter, a required
    column missing, a repeated header.
    """
    tape = open_tape(file, block_bytes)
    staged = StagedTape(folder / "accepted", folder / "rejected", tape.extra_columns)
    quarantine_file.unlink(missing_ok=True)
    with (
        ThreadPoolExecutor(1) as reading,
        ThreadPoolExecutor(1) as writing,
        closing(Parts(staged.accepted_folder, writing.submit, stamp=stamp, partition_by=partition_by)) as accepted,
        closing(Parts(staged.rejected_folder, writing.submit, stamp=stamp)) as rejected,
    ):
        for block in _read_ahead(tape.blocks, reading):
            bad_lines = _quarantine(block, quarantine_file)
            checked = check_rows(block.values, key, today, block.undecodable)
            accepted.write(checked.accepted)
            rejected.write(checked.rejected)
            rejected.write(bad_lines)
            staged.rows_accepted += checked.accepted.height
            staged.rows_rejected += checked.rejected.height + bad_lines.height
            staged.rows_quarantined += bad_lines.height
    if staged.rows_quarantined:
        staged.quarantine_file = quarantine_file
    return staged
