"""What pages and callbacks work with: the settings and the lake of the app that serves the request."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from flask import Flask, current_app

from credit_risk_assets.config.settings import Settings
from dash_app.data.lake import Lake, LakeError
from dash_app.data.rated import prepare
from dash_app.security.access import current_access
from dash_app.security.columns import POLICIES
from dash_app.security.roles import Role

EXTENSION = "credit_risk"


@dataclass(frozen=True)
class Services:
    """One portfolio's settings and lake."""

    settings: Settings
    lake: Lake

    @property
    def currency(self) -> str:
        """The currency that amounts are shown in."""
        return self.settings.dashboard.currency

    def today(self) -> date:
        """The day that ages are counted to."""
        return datetime.now(UTC).date()


def warm(server: Flask) -> None:
    """Read what every page needs before the first user asks, in the background."""
    lake: Lake = server.extensions[EXTENSION].lake

    def read() -> None:
        with contextlib.suppress(LakeError):  # the page that needs the table says so
            prepare(lake.snapshot())

    threading.Thread(target=read, daemon=True).start()


def services() -> Services:
    """The services of the app that serves the current request; the lake shows what the user's role may see."""
    found: Services = current_app.extensions[EXTENSION]
    access = current_access()
    return replace(found, lake=found.lake.seen_by(POLICIES[access.role if access else Role.VIEWER]))
