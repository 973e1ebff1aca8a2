"""The files of deploy/ as a test reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def environment_file(file: Path) -> dict[str, str]:
    """The variables of a file of NAME=value lines, as compose and systemd read it."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def compose(variables: dict[str, str] | None = None) -> dict[str, Any]:
    """compose.yaml with its ${NAME:-default} replaced."""
    known = environment_file(DEPLOY / ".env.example") if variables is None else variables
    text = (DEPLOY / "compose.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(
        re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda match: known.get(match[1], match[2] or ""), text)
    )
    return found


def platform_services() -> dict[str, Any]:
    """The services of compose.yaml that are the platform's own, each with its whole environment."""
    found = {name: service for name, service in compose()["services"].items() if "build" in service}
    for service in found.values():
        files = [environment_file(DEPLOY / f"{name}.example") for name in service["env_file"]]
        given = {name: value for file in files for name, value in file.items() if "__" in name}
        service["environment"] = given | service["environment"]
    return found


def unit(file: Path) -> dict[str, list[str]]:
    """A systemd unit: each key with its values."""
    found: dict[str, list[str]] = {}
    for line in file.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found
