"""Checks of the default model: the gate between a challenger and the loans.

They judge the newest version on rows that decided nothing. While the version is open, what keeps it out is an ERROR
that stops its promotion; the champion stays in force and goes on scoring. Once it is decided on, or where no champion
reigns and the shortfall makes the version no worse than none, the same finding is a warning.
"""

from __future__ import annotations

from credit_risk_assets.automation.jobs import MODEL_KEY
from credit_risk_assets.checks.framework import Check, CheckedTable, Finding, Severity, layer_checks
from credit_risk_assets.modelling import gate
from credit_risk_assets.modelling.gate import Criterion, keeps_out
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.registry import decisions, evidence_of, is_open, newest_version, refuse

KEPT_OUT = "The version stays challenger; the champion in force goes on scoring."
TOLERATED = "The run went on."
_OVERRIDE = "`credit-risk model list` shows both; a person may overrule with `credit-risk model promote --override`."


def _gate(name: str, description: str, advice: str) -> Check:
    return Check(tuple(MODEL_KEY.path), name, description, f"{KEPT_OUT} {advice}")


def _advice(name: str, description: str, advice: str) -> Check:
    return Check(tuple(MODEL_KEY.path), name, description, f"{TOLERATED} {advice}", "WARN", blocking=False)


NO_LEAK = _gate(
    gate.NO_LEAK,
    "No single feature, and not the model, predicts better than an honest one could.",
    "Take the feature that is named out of the model, and find out where it learns the outcome.",
)
LEAK_CANARY = _gate(
    gate.LEAK_CANARY,
    "Trained on permuted outcomes, the model predicts nothing.",
    "Training sees its own test: look at the splits and the encoding of categories.",
)
AUC_IN_RANGE = _gate(
    gate.AUC_IN_RANGE,
    "The AUC on rows that decided nothing lies between its minimum and maximum.",
    "Look for a leak where it is too high, for lost columns where it is too low.",
)
NOT_WORSE = _gate(
    gate.NOT_WORSE,
    "On the same rows the version is not worse than the champion beyond the confidence interval.",
    _OVERRIDE,
)
CALIBRATED = _gate(
    gate.CALIBRATED,
    "The expected calibration error is within its limit.",
    "Probabilities are off though the order of loans may be right: compare the calibration curve by grade.",
)
MEAN_PD = _gate(
    gate.MEAN_PD,
    "The mean PD is near the observed default rate on the test rows.",
    "Expected losses would be off by as much: ask whether the economy or the portfolio has changed.",
)
RATINGS_RISE = _gate(
    gate.RATINGS_RISE,
    "Observed default rates rise from rating to rating.",
    "Move the bounds of the master scale (model.rating_pd_bounds) apart.",
)
STABLE = _gate(
    gate.STABLE,
    "The score's distribution on the test rows is that of the development sample.",
    "The portfolio has moved: the table names the features that moved most.",
)
FAIR = _gate(
    gate.FAIR,
    "Good loans are approved at similar rates in every protected group.",
    "Look at the fairness figures of gold/model_validation with those responsible for fair lending.",
)
NOT_OVERFITTED = _advice(
    gate.NOT_OVERFITTED,
    "The AUC in training is not far above the one on the test rows.",
    "The model has learnt the sample by heart: more regularisation, or more tapes.",
)

CHECKS: tuple[Check, ...] = (
    NO_LEAK,
    LEAK_CANARY,
    AUC_IN_RANGE,
    NOT_WORSE,
    CALIBRATED,
    MEAN_PD,
    RATINGS_RISE,
    STABLE,
    FAIR,
    NOT_OVERFITTED,
)
_BY_NAME = {check.name: check for check in CHECKS}


def gate_findings(
    criteria: list[Criterion], version: str, *, open_version: bool, champion_reigns: bool
) -> list[Finding]:
    """The criteria as findings of checks; an ERROR only where it keeps an open version out."""

    def severity(criterion: Criterion) -> Severity:
        decisive = open_version and keeps_out(criterion, champion_reigns=champion_reigns)
        return "ERROR" if decisive else "WARN"

    return [
        Finding(
            _BY_NAME[criterion.name],
            criterion.passed,
            f"version {version}: {criterion.observed}",
            criterion.expected,
            failed_rows=0 if criterion.passed else 1,
            total_rows=1,
            details=criterion.details,
            severity=severity(criterion) if not criterion.passed else None,
        )
        for criterion in criteria
    ]


def _measure(platform: Platform) -> list[Finding]:
    lake = platform.lakehouse
    version = newest_version(lake)
    if version is None:
        return []
    evidence = evidence_of(lake, version)
    criteria = gate.judge(evidence, platform.settings.model)
    reigns = evidence.champion is not None
    undecided = is_open(decisions(lake), version)
    findings = gate_findings(criteria, version, open_version=undecided, champion_reigns=reigns)
    against = gate.objections(criteria, champion_reigns=reigns)
    if undecided and against:
        # The promotion that would note it is the step that these findings stop.
        refuse(lake, version, against)
    return findings


MODEL_TABLE = CheckedTable("/".join(MODEL_KEY.path), CHECKS, _measure)
model_checks = layer_checks("model_checks", (MODEL_TABLE,))
