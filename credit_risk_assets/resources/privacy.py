"""The key behind the pseudonyms: from the settings, else made once under the home."""

from __future__ import annotations

import os
import secrets

from credit_risk_assets.config.settings import Settings

KEY_FILE = "privacy.key"


def privacy_key(settings: Settings) -> bytes:
    """The lender's pseudonymisation key; a new home gets a random one in a file only its owner can read."""
    stated = settings.privacy.key.get_secret_value()
    if stated:
        return stated.encode()
    file = settings.home / KEY_FILE
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_bytes()
    with os.fdopen(handle, "wb") as out:
        out.write(secrets.token_hex(32).encode())
    return file.read_bytes()
