"""The second process of a run: order, errors, a process that is lost, and none at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from credit_risk_assets.resources.companion import Companion, CompanionLostError
from credit_risk_assets.resources.platform import Platform
from credit_risk_tests.conftest import make_settings


def process_id() -> int:
    return os.getpid()


def refuse(number: int) -> int:
    raise ValueError(f"{number} is refused")


def append(file: Path, word: str) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(f"{word} ")


@pytest.fixture
def companion() -> Iterator[Companion]:
    made = Companion()
    yield made
    made.close()


def test_work_is_done_elsewhere_in_order_and_what_it_raises_comes_back(companion: Companion, tmp_path: Path) -> None:
    assert companion.submit(process_id).result() != os.getpid()
    file = tmp_path / "words"
    for word in "abcdef":
        companion.submit(append, file, word)
    with pytest.raises(ValueError, match="7 is refused"):
        companion.submit(refuse, 7).result()
    assert file.read_text(encoding="utf-8") == "a b c d e f "


def test_closing_lets_what_was_given_come_to_its_end(tmp_path: Path) -> None:
    made, file = Companion(), tmp_path / "words"
    made.submit(append, file, "last")
    made.close()
    assert file.read_text(encoding="utf-8") == "last "


def test_a_platform_does_itself_what_a_lost_process_cannot(tmp_path: Path) -> None:
    platform = Platform(make_settings(tmp_path))
    assert platform.beside(process_id)() == os.getpid()  # none at all
    platform.companion = Companion()
    lost = platform.companion.submit(process_id).result()
    assert platform.beside(process_id)() == lost
    os.kill(lost, signal.SIGKILL)
    with pytest.raises(CompanionLostError):
        platform.companion.submit(process_id).result()
    assert platform.beside(process_id)() == os.getpid()
    platform.close()


def test_what_is_finished_later_is_finished_and_its_error_is_not_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "words"
    platform = Platform(make_settings(tmp_path))
    platform.finish_later(platform.beside(append, file, "at once"))
    assert file.read_text(encoding="utf-8") == "at once "
    platform.companion = Companion()
    platform.finish_later(platform.beside(refuse, 3))
    platform.finish_later(platform.beside(append, file, "later"))
    with pytest.raises(ValueError, match="3 is refused"):
        platform.finish()
    platform.finish()
    platform.finish_later(platform.beside(refuse, 4))
    platform.close()
    assert file.read_text(encoding="utf-8") == "at once later "
    assert "4 is refused" in caplog.text
