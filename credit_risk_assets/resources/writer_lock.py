"""One writer a lake: a lock that the operating system releases when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

WAIT_SECONDS = 3600.0


class LakeBusyError(RuntimeError):
    """Another process writes the lake and does not end; the message names it."""


class WriterLock:
    """The right to write one lake, held from `acquire` to `release` or to the end of the process."""

    def __init__(self, lake: Path) -> None:
        self._file = lake / ".writer.lock"
        self._handle: int | None = None

    def acquire(self, say: Callable[[str], None] = print, wait_seconds: float = WAIT_SECONDS) -> None:
        """Take the lock, waiting for its holder to end. Raises `LakeBusyError` when the wait is over."""
        if self._handle is not None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + wait_seconds
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                if time.monotonic() >= deadline:
                    os.close(handle)
                    raise LakeBusyError(
                        f"{self._file.parent}: process {holder} writes this lake: expected no other writer; "
                        "wait for its run to end"
                    ) from None
                if not told:
                    say(f"waiting for process {holder}, which writes this lake")
                    told = True
                time.sleep(0.5)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._handle = handle

    def release(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
