"""What assets and checks are handed: the settings and, at first use, the lake on its engine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.lakehouse import Lakehouse, open_lakehouse
from credit_risk_assets.resources.writer_lock import WriterLock

logger = logging.getLogger(__name__)


class Platform:
    """The one seam to the outside world: tests replace it as a whole."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = WriterLock(settings.lake)

    def reserve(self, say: Callable[[str], None] = logger.warning) -> None:
        """Wait until nobody else writes the lake, and keep it until `close`."""
        self.settings.make_home()
        self._lock.acquire(say)

    @cached_property
    def lakehouse(self) -> Lakehouse:
        """The lake, for writing: touching it waits for other writers and starts the engine's session."""
        self.reserve()
        return open_lakehouse(self.settings)

    @property
    def lake_log(self) -> LakeLog:
        """The tables' commit logs, for reading without an engine."""
        return LakeLog(self.settings.lake)

    def close(self) -> None:
        """Let other writers go on."""
        self.__dict__.pop("lakehouse", None)
        self._lock.release()
