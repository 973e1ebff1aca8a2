"""What the model-performance sensor looks at: the newest model version, drift, and whether predictions come true."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from credit_risk_assets.assets.inputs import sample_inputs
from credit_risk_assets.checks.history import DISTRIBUTION_STEADY
from credit_risk_assets.checks.monitoring import RETRAINING_CHECKS
from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.config.tables import QUALITY_RESULTS
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.notifications import Alert
from credit_risk_assets.resources.registry import judged, newest_version

ASKING = tuple(f"{'/'.join(check.asset)} {check.name}" for check in (DISTRIBUTION_STEADY, *RETRAINING_CHECKS))
"""Checks whose failure asks for a training: the newest tape beside the one before, and the champion in use."""


def newest_model(lake: LakeLog, settings: ModelSettings) -> tuple[str, Alert | None] | None:
    """The newest model version with its alert where it is outside the settings' limits; None before the first."""
    version = newest_version(lake)
    if version is None:
        return None
    criteria, _ = judged(lake, settings, version)
    outside = [criterion for criterion in criteria if not criterion.passed]
    if not outside:
        return version, None
    lines = [f"{c.name}: {c.observed}: expected {c.expected}" for c in outside]
    return version, Alert(f"model version {version} is outside its limits", "\n".join(lines))


@dataclass(frozen=True)
class Retraining:
    """Why a model should be trained again: a name that is the same for the same full tapes, and the failed checks.

    `reasons` maps each failed check to its alert.
    """

    key: str
    reasons: dict[str, Alert]


def retraining(lake: LakeLog) -> Retraining | None:
    """The training that the newest evaluations of the drift and calibration checks ask for; None where all pass.

    A change file leaves the name as it is: the model is trained on full tapes.
    """
    names = ["evaluated_at", "asset", "check_name", "severity", "passed", "observed", "expected"]
    newest: dict[str, dict[str, Any]] = {}
    for row in lake.rows(QUALITY_RESULTS, names):
        name = f"{row['asset']} {row['check_name']}"
        if name in ASKING and (name not in newest or row["evaluated_at"] > newest[name]["evaluated_at"]):
            newest[name] = row
    failed = {name: newest[name] for name in ASKING if name in newest and not newest[name]["passed"]}
    if not failed:
        return None
    tapes = str(sample_inputs(lake, [])["full tapes"])
    return Retraining(
        f"drift/{sha256(tapes.encode()).hexdigest()[:16]}",
        {
            name: Alert(
                f"training asked for: {row['check_name']}",
                f"{name}: {row['observed']}: expected {row['expected']}",
                "ERROR" if row["severity"] == "ERROR" else "WARN",
            )
            for name, row in failed.items()
        },
    )
