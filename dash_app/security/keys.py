"""Secrets that the dashboard makes once for its home."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def secret(file: Path) -> bytes:
    """The secret of a file that only its owner can read; the first of several processes to ask makes it.

    It is written beside and linked into place, so that nobody ever reads half of it.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        pass
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(secrets.token_hex(32).encode())
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()
    return file.read_bytes()


def make_private(file: Path) -> None:
    """Make an empty file that only its owner can read and write, where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
