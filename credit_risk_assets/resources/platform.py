"""What assets and checks are handed: the settings and, at first use, the lake on its engine."""

from __future__ import annotations

from functools import cached_property

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.lakehouse import Lakehouse, open_lakehouse


class Platform:
    """The one seam to the outside world: tests replace it as a whole."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def lakehouse(self) -> Lakehouse:
        """The lake; touching it starts the engine's session."""
        self.settings.make_home()
        return open_lakehouse(self.settings)
