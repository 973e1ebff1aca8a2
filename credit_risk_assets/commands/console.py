"""What every command shares: where it prints, how it fails, and the settings."""

from __future__ import annotations

import typer
from rich.console import Console

from credit_risk_assets.config.settings import Settings, load_settings

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str) -> typer.Exit:
    """Say what went wrong in one line on stderr; raise what is returned."""
    errors.print(f"error {message}", markup=False)
    return typer.Exit(1)


def current_settings() -> Settings:
    """The settings of this call."""
    return load_settings()
