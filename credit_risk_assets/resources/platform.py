"""What assets and checks are handed: the settings and, at first use, the lake on its engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import ParamSpec, TypeVar

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.companion import Companion, CompanionLostError
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.lakehouse import Lakehouse, open_lakehouse
from credit_risk_assets.resources.writer_lock import WriterLock

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)


class Platform:
    """The one seam to the outside world: tests replace it as a whole."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.companion: Companion | None = None
        self.landed: set[Path] = set()
        """Files that this process has put into the landing folder itself, each whole: none is waited for."""
        self._unfinished: list[Callable[[], object]] = []
        self._lock = WriterLock(settings.lake)

    def reserve(self, say: Callable[[str], None] = logger.warning) -> None:
        """Wait until nobody else writes the lake, and keep it until `close`."""
        self.settings.make_home()
        self._lock.acquire(say)

    @cached_property
    def lakehouse(self) -> Lakehouse:
        """The lake, for writing: touching it waits for other writers."""
        self.reserve()
        return open_lakehouse(self.settings)

    @property
    def lake_log(self) -> LakeLog:
        """The tables' commit logs, for reading without an engine."""
        return LakeLog.of(self.settings)

    def beside(self, work: Callable[P, R], *given: P.args, **named: P.kwargs) -> Callable[[], R]:
        """Begin a function in the second process where the run has one; calling the answer gives its result.

        Without a second process, or where it was lost, the function is called when its result is asked for.
        """
        pending: Future[R] | None = None
        if self.companion is not None:
            pending = self.companion.submit(work, *given, **named)

        def result() -> R:
            if pending is not None:
                try:
                    return pending.result()
                except CompanionLostError as error:
                    logger.warning("%s: its work is done by the first one", error)
            return work(*given, **named)

        return result

    def finish_later(self, result: Callable[[], object]) -> None:
        """Let what was begun beside the run come to its end later; without a second process it is done now."""
        self._unfinished.append(result)
        if self.companion is None:
            self.finish()

    def finish(self) -> None:
        """Wait for what was left to be finished; raises what it raised."""
        while self._unfinished:
            self._unfinished.pop(0)()

    def close(self) -> None:
        """Finish, end the second process and let other writers go on."""
        try:
            self.finish()
        except Exception:
            logger.exception("what ran beside the run has failed")
        companion, self.companion = self.companion, None
        if companion is not None:
            companion.close()
        self.__dict__.pop("lakehouse", None)
        self._lock.release()
