"""What the model-performance sensor looks at: the newest model version, and drift of the newest tape."""

from __future__ import annotations

from hashlib import sha256

from credit_risk_assets.assets.inputs import sample_inputs
from credit_risk_assets.checks.model import model_findings
from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.config.tables import LOAN_HISTORY, MODEL_PERFORMANCE, QUALITY_RESULTS
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.notifications import Alert

DRIFT_CHECK = "distribution_steady"


def newest_model(lake: LakeLog, settings: ModelSettings) -> tuple[str, Alert | None] | None:
    """The newest model version with its alert where it is outside the settings' limits; None before the first."""
    rows = lake.rows(MODEL_PERFORMANCE, ["model_version", "data_set", "metric", "value", "computed_at"])
    if not rows:
        return None
    version = str(max(rows, key=lambda row: row["computed_at"])["model_version"])
    outside = [finding for finding in model_findings(rows, settings) if not finding.passed]
    if not outside:
        return version, None
    lines = [f"{f.check.name}: {f.observed}: expected {f.expected}" for f in outside]
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
