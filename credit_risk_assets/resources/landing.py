"""The landing folder: which files wait, whether they are complete, and what becomes of refused ones."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.tape.intake import fingerprint
from credit_risk_assets.tape.readers import TapeRefused, open_tape

TapeKind = Literal["full", "changes"]
TEMPORARY_SUFFIXES = (".part", ".tmp", ".crdownload", ".filepart")


@dataclass(frozen=True)
class LandedFile:
    """A file in the landing folder, and whether it is a full tape or one of changes."""

    path: Path
    kind: TapeKind

    @property
    def name(self) -> str:
        """The file's name below the landing folder."""
        return self.path.name if self.kind == "full" else f"changes/{self.path.name}"


def landed_files(settings: Settings) -> list[LandedFile]:
    """Every file that waits in the landing folder, by name; hidden and temporary ones are left alone."""
    found: list[LandedFile] = []
    folders: list[tuple[Path, TapeKind]] = [
        (settings.landing_folder, "full"),
        (settings.changes_folder, "changes"),
    ]
    for folder, kind in folders:
        if folder.is_dir():
            found += [
                LandedFile(path, kind)
                for path in sorted(folder.iterdir())
                if path.is_file() and not path.name.startswith(".") and path.suffix not in TEMPORARY_SUFFIXES
            ]
    return found


def size_and_time(path: Path) -> tuple[int, int]:
    """A file's size and modification time, which change while somebody writes it."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def being_written(paths: list[Path]) -> set[Path]:
    """Those of the files that a process of this user holds open for writing."""
    wanted = {str(path.resolve()): path for path in paths}
    found: set[Path] = set()
    for process in psutil.process_iter():
        try:
            for file in process.open_files():
                mode = getattr(file, "mode", "r")
                if file.path in wanted and mode != "r":
                    found.add(wanted[file.path])
        except (psutil.Error, OSError):
            continue
    return found


def settled_files(
    files: list[LandedFile],
    settle_seconds: float,
    wait: Callable[[float], None] = time.sleep,
    whole: Collection[Path] = (),
) -> tuple[list[LandedFile], list[LandedFile]]:
    """Part files that are complete from those that still grow.

    A file is complete when no process writes it and it has not changed for `settle_seconds`; a file younger
    than that is waited for once. Those known to be `whole` are complete as they are.
    """
    known = [file for file in files if file.path in whole]
    files = [file for file in files if file.path not in whole]
    if not files:
        return known, []
    busy = being_written([file.path for file in files])
    before = {file: size_and_time(file.path) for file in files if file.path not in busy}
    newest = max((modified for _, modified in before.values()), default=0)
    age_seconds = time.time() - newest / 1e9
    if before and 0 <= age_seconds < settle_seconds:
        wait(settle_seconds - age_seconds)
    busy |= being_written([file.path for file in before])
    settled = [
        file
        for file, state in before.items()
        if file.path not in busy and file.path.exists() and size_and_time(file.path) == state
    ]
    return [*known, *settled], [file for file in files if file not in settled]


def file_identity(path: Path) -> str:
    """What tells one landed file from another of the same bytes: it changes when a file is sent again."""
    state = path.stat()
    return f"{state.st_ino}-{state.st_ctime_ns}"


def quarantined_as(settings: Settings, file: Path) -> Path:
    """Where a refused file goes."""
    return settings.quarantine_folder / f"{fingerprint(file)[:12]}_{file.name}"


def quarantine(settings: Settings, file: Path, reason: str) -> Path:
    """Move a refused file out of the landing folder and keep the reason beside it; nothing is lost."""
    settings.quarantine_folder.mkdir(parents=True, exist_ok=True)
    target = quarantined_as(settings, file)
    target.with_name(target.name + ".reason.txt").write_text(reason + "\n", encoding="utf-8")
    shutil.move(file, target)
    return target


def land(settings: Settings, file: Path, kind: TapeKind = "full", name: str | None = None) -> Path:
    """Put a readable tape into the landing folder in one step, so that nobody sees half of it.

    Raises `TapeRefused` where the file is no tape. A file of the same name and content is left as it is; one
    of the same name and other content lands beside it.
    """
    tape = open_tape(file, settings.landing.block_bytes)
    next(tape.blocks)
    folder = settings.landing_folder if kind == "full" else settings.changes_folder
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / (name or file.name)
    if target.resolve() == file.resolve():
        return target
    if target.exists():
        content = fingerprint(file)
        if fingerprint(target) == content:
            return target
        stem, dot, suffix = target.name.partition(".")
        target = folder / f"{stem}_{content[:8]}{dot}{suffix}"
    part = folder / f".{target.name}.part"
    try:
        shutil.copyfile(file, part)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TapeRefused(
            f"{file.name}: cannot be copied to {folder} ({error.strerror}); free the disk or fix its rights"
        ) from None
    return target
