"""The facts that a measurement is worth nothing without: the machine, the versions, the settings that differ."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from credit_risk_assets.config.settings import DEFAULTS_FILE, Settings

LIBRARIES = ("pyspark", "pysail", "delta-spark", "deltalake", "polars", "pyarrow", "xgboost", "mlflow", "dagster")
SHOWN_SECTIONS = ("spark", "landing", "quality", "model", "monitoring", "ecl")
"""Sections whose settings decide what is measured; the others hold addresses and secrets."""
REPOSITORY = Path(__file__).resolve().parents[2]


def machine_facts() -> dict[str, Any]:
    """Processor, cores, memory, system and versions; no names of hosts, users or folders."""
    return {
        "processor": _processor(),
        "cores": len(psutil.Process().cpu_affinity() or []) or psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the code that runs, marked where files differ from it; None outside a checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=True, timeout=30
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    head = git("rev-parse", "--short=12", "HEAD")
    return f"{head} with changes" if head and git("status", "--porcelain", "--untracked-files=no") else head


def changed_settings(settings: Settings) -> dict[str, Any]:
    """The settings that are not the default, as `section.key`; addresses are named, not shown."""
    import yaml

    stated: dict[str, Any] = yaml.safe_load(DEFAULTS_FILE.read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for section in SHOWN_SECTIONS:
        model = getattr(settings, section)
        default = type(model).model_validate(stated.get(section) or {}).model_dump(mode="json")
        for key, value in model.model_dump(mode="json").items():
            if value != default[key]:
                local = not isinstance(value, str) or "://" not in value
                found[f"{section}.{key}"] = value if local else f"{value.partition('://')[0]}://…"
    return found
