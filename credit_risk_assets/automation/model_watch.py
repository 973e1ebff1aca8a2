"""What the model-performance sensor looks at: the newest model version, and drift of the newest tape."""

from __future__ import annotations

from hashlib import sha256

from credit_risk_assets.assets.inputs import sample_inputs
from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.config.tables import LOAN_HISTORY, QUALITY_RESULTS
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.notifications import Alert
from credit_risk_assets.resources.registry import judged, newest_version

DRIFT_CHECK = "distribution_steady"


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


def drift_key(lake: LakeLog) -> str | None:
    """What one drift is called, by the full tapes that show it; None where the newest evaluation shows none.

    A change file leaves the name as it is: the model is trained on full tapes.
    """
    rows = lake.rows(QUALITY_RESULTS, ["evaluated_at", "asset", "check_name", "passed"])
    evaluated = [row for row in rows if row["asset"] == LOAN_HISTORY.path and row["check_name"] == DRIFT_CHECK]
    if not evaluated or max(evaluated, key=lambda row: row["evaluated_at"])["passed"]:
        return None
    tapes = str(sample_inputs(lake, [])["full tapes"])
    return f"drift/{sha256(tapes.encode()).hexdigest()[:16]}"
