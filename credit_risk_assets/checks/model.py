"""Checks of the default model: it predicts, it is calibrated, and nothing tells it the outcome."""

from __future__ import annotations

from typing import Any

from credit_risk_assets.automation.jobs import MODEL_KEY
from credit_risk_assets.checks.framework import STOPPED, WENT_ON, Check, CheckedTable, Finding, layer_checks
from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.config.tables import MODEL_PERFORMANCE
from credit_risk_assets.resources.platform import Platform

MEAN_PD_TOLERANCE = 0.20


def _error(name: str, description: str, advice: str) -> Check:
    return Check(tuple(MODEL_KEY.path), name, description, f"{STOPPED} {advice}")


def _warn(name: str, description: str, advice: str) -> Check:
    return Check(tuple(MODEL_KEY.path), name, description, f"{WENT_ON} {advice}", "WARN", blocking=False)


NO_LEAK = _error(
    "no_leak",
    "No single feature, and not the model, predicts better than an honest one could.",
    "Loans keep the scores of the last sound run: the version's tag `gate` in MLflow names the feature; take it out.",
)
AUC_IN_RANGE = _error(
    "auc_in_range",
    "The AUC on rows that decided nothing lies between its minimum and maximum.",
    "Loans keep the scores of the last sound run: look for a leak where it is too high, for lost columns where low.",
)
CALIBRATED = _warn(
    "calibrated",
    "The expected calibration error is within its limit.",
    "Probabilities are off though the order of loans may be right: compare the calibration plot by grade.",
)
MEAN_PD = _warn(
    "mean_pd_fits",
    "The mean PD is near the observed default rate on the test rows.",
    "Expected losses are off by as much: ask whether the economy or the portfolio has changed.",
)
NOT_OVERFITTED = _warn(
    "not_overfitted",
    "The AUC in training is not far above the one on the test rows.",
    "The model has learnt the sample by heart: more regularisation, or more tapes.",
)

CHECKS: tuple[Check, ...] = (NO_LEAK, AUC_IN_RANGE, CALIBRATED, MEAN_PD, NOT_OVERFITTED)
MAXIMUM_AUC_DROP = 0.06


def model_findings(rows: list[dict[str, Any]], settings: ModelSettings) -> list[Finding]:
    """The findings of the newest model version, from the rows of gold/model_performance."""
    newest = max(rows, key=lambda row: row["computed_at"])["model_version"]
    figures = {(r["data_set"], r["metric"]): r["value"] for r in rows if r["model_version"] == newest}
    tested = next(name for name, _ in figures if name.startswith("out_of"))

    def figure(metric: str) -> float:
        return float(figures[tested, metric])

    auc, ece, mean_pd, observed = (figure(name) for name in ("auc", "ece", "mean_pd", "observed_rate"))
    leaks = int(figures.get((tested, "leak_findings"), 0))
    drop = float(figures["train", "auc"]) - auc
    error = abs(mean_pd / observed - 1) if observed else 1.0
    version = f"version {newest}"
    return [
        Finding(
            NO_LEAK,
            leaks == 0,
            f"{version}: {leaks} leak findings (its tag `gate` in MLflow names them)" if leaks else f"{version}: none",
            f"no feature with an AUC above {settings.maximum_single_feature_auc:.2f}",
            leaks,
        ),
        Finding(
            AUC_IN_RANGE,
            settings.minimum_auc <= auc <= settings.maximum_auc,
            f"{version}: AUC {auc:.4f} on {tested}",
            f"{settings.minimum_auc:.2f} to {settings.maximum_auc:.2f}",
        ),
        Finding(
            CALIBRATED,
            ece <= settings.maximum_ece,
            f"{version}: ECE {ece:.4f}",
            f"at most {settings.maximum_ece:.3f}",
        ),
        Finding(
            MEAN_PD,
            error <= MEAN_PD_TOLERANCE,
            f"{version}: mean PD {mean_pd:.2%}, observed {observed:.2%}",
            f"within {MEAN_PD_TOLERANCE:.0%} of the observed rate",
        ),
        Finding(
            NOT_OVERFITTED,
            drop <= MAXIMUM_AUC_DROP,
            f"{version}: AUC {drop:+.4f} above the test in training",
            f"at most {MAXIMUM_AUC_DROP:.2f}",
        ),
    ]


def _measure(platform: Platform) -> list[Finding]:
    names = ["model_version", "data_set", "metric", "value", "computed_at"]
    return model_findings(platform.lakehouse.rows(MODEL_PERFORMANCE, names), platform.settings.model)


MODEL_TABLE = CheckedTable("/".join(MODEL_KEY.path), CHECKS, _measure)
model_checks = layer_checks("model_checks", (MODEL_TABLE,))
