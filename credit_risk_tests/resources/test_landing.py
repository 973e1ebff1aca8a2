"""The landing folder: complete files alone are taken, refused ones are kept, one key per home."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.landing import (
    LandedFile,
    being_written,
    land,
    landed_files,
    quarantine,
    settled_files,
)
from credit_risk_assets.resources.privacy import KEY_FILE, privacy_key
from credit_risk_assets.resources.writer_lock import LakeBusyError, WriterLock
from credit_risk_assets.tape.readers import TapeRefused
from credit_risk_tests.conftest import make_settings, write_tape


def old(path: Path) -> Path:
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    return path


def test_full_tapes_and_changes_are_told_apart_and_temporary_files_left_alone(
    settings: Settings, tape: Callable[..., Path]
) -> None:
    tape("b.csv", [{}])
    tape("a.csv", [{}], changes=True)
    (settings.landing_folder / ".hidden.csv").write_text("x")
    (settings.landing_folder / "upload.csv.part").write_text("x")
    assert [(file.name, file.kind) for file in landed_files(settings)] == [
        ("b.csv", "full"),
        ("changes/a.csv", "changes"),
    ]


def test_a_file_that_changes_while_it_is_watched_has_not_settled(tape: Callable[..., Path]) -> None:
    growing, still = LandedFile(tape("growing.csv", [{}]), "full"), LandedFile(tape("still.csv", [{}]), "full")

    def grow(_: float) -> None:
        with growing.path.open("a") as out:
            out.write("more\n")

    settled, waiting = settled_files([growing, still], settle_seconds=60, wait=grow)
    assert settled == [still]
    assert waiting == [growing]


def test_a_file_that_somebody_holds_open_for_writing_has_not_settled(tape: Callable[..., Path]) -> None:
    file = LandedFile(old(tape("open.csv", [{}])), "full")
    with file.path.open("a"):
        assert being_written([file.path]) == {file.path}
        assert settled_files([file], settle_seconds=0) == ([], [file])
    assert settled_files([file], settle_seconds=0) == ([file], [])


def test_an_old_file_is_taken_without_waiting(tape: Callable[..., Path]) -> None:
    def never(_: float) -> None:
        raise AssertionError("waited for a file that is old")

    file = LandedFile(old(tape("old.csv", [{}])), "full")
    assert settled_files([file], settle_seconds=5, wait=never) == ([file], [])


def test_a_file_that_this_process_has_landed_is_not_waited_for(tape: Callable[..., Path]) -> None:
    landed, other = (LandedFile(tape(name, [{}]), "full") for name in ("landed.csv", "other.csv"))
    waited: list[float] = []
    assert settled_files([landed], 60, waited.append, whole={landed.path}) == ([landed], [])
    assert not waited
    assert settled_files([other, landed], 60, waited.append, whole={landed.path}) == ([landed, other], [])
    assert len(waited) == 1


def test_landing_a_tape_twice_keeps_one_and_other_content_lands_beside_it(settings: Settings, tmp_path: Path) -> None:
    file = write_tape(tmp_path / "tape.csv", [{}])
    first = land(settings, file)
    assert land(settings, file) == first
    write_tape(file, [{"loan_id": "L9"}])
    second = land(settings, file)
    assert second != first
    assert second.name.startswith("tape_")
    assert len(landed_files(settings)) == 2


def test_a_file_that_is_no_tape_never_enters_the_landing_folder(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "empty.csv"
    file.touch()
    with pytest.raises(TapeRefused, match="empty"):
        land(settings, file)
    with pytest.raises(TapeRefused, match="no such file"):
        land(settings, tmp_path / "absent.csv")
    assert landed_files(settings) == []


def test_a_quarantined_file_keeps_its_content_and_its_reason(settings: Settings, tape: Callable[..., Path]) -> None:
    file = tape("bad.csv", [{}])
    content = file.read_bytes()
    kept = quarantine(settings, file, "bad.csv: no tape")
    assert not file.exists()
    assert kept.read_bytes() == content
    assert kept.with_name(kept.name + ".reason.txt").read_text() == "bad.csv: no tape\n"


def test_a_home_makes_its_key_once_for_its_owner_alone(settings: Settings, tmp_path: Path) -> None:
    key = privacy_key(settings)
    assert privacy_key(settings) == key
    assert (settings.home / KEY_FILE).stat().st_mode & 0o077 == 0
    other = make_settings(tmp_path / "other")
    assert privacy_key(other) != key
    assert privacy_key(make_settings(tmp_path / "third", privacy={"key": "stated"})) == b"stated"


def test_the_landing_folder_is_closed_to_others(settings: Settings) -> None:
    assert settings.landing_folder.stat().st_mode & 0o077 == 0


def test_a_second_writer_is_told_who_holds_the_lake(settings: Settings) -> None:
    first, second = WriterLock(settings.lake), WriterLock(settings.lake)
    said: list[str] = []
    first.acquire()
    with pytest.raises(LakeBusyError, match=f"process {os.getpid()} writes this lake"):
        second.acquire(said.append, wait_seconds=0)
    first.release()
    second.acquire(said.append, wait_seconds=0)
    second.release()
    assert said == []
