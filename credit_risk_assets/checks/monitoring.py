"""Checks of the champion in use: its loans are those it was made for, and its PDs come true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from credit_risk_assets.checks.framework import (
    Check,
    CheckedTable,
    Finding,
    Row,
    counted,
    error_of,
    layer_checks,
    warn_of,
)
from credit_risk_assets.config.settings import MonitoringSettings
from credit_risk_assets.config.tables import CHAMPION, FEATURE_DRIFT, LOAN_SCORES, LOANS, MODEL_MONITORING
from credit_risk_assets.modelling.population import FEATURE, SCORE, SEGMENT
from credit_risk_assets.modelling.realised import ALL, PERIOD
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

MEASURE_AGAIN = "Drop the table and refresh again: it is computed from the champion and the loans."
RETRAIN = "A training is asked for, once a full tape, and the gate decides about the version that it makes."
MOVED = f"{RETRAIN} Scores go on: ask whether the loans have changed or the way they are reported."
MISPRICED = f"{RETRAIN} Expected losses are off by as much until then: see which segments, in gold/model_monitoring."

CHAMPION_MEASURED = error_of(
    FEATURE_DRIFT,
    "champion_measured",
    "The version that scored the loans is the one measured, each feature once a period, up to the newest state.",
    MEASURE_AGAIN,
    blocking=False,
)
SCORE_STABLE = warn_of(FEATURE_DRIFT, "score_stable", "The champion's scores are spread as in its development.", MOVED)
SCORE_SHIFTED = error_of(
    FEATURE_DRIFT,
    "score_not_shifted",
    "The champion's scores are not spread altogether otherwise than in its development.",
    MOVED,
    blocking=False,
)
FEATURES_STABLE = warn_of(
    FEATURE_DRIFT, "features_stable", "Each feature of the champion is spread as in its development.", MOVED
)
SEGMENTS_STABLE = warn_of(
    FEATURE_DRIFT,
    "segments_stable",
    "The loans are divided among ratings, purposes, score bands and risk categories as in the champion's development.",
    MOVED,
)
SEGMENTS_TIE = error_of(
    MODEL_MONITORING,
    "segments_tie",
    "The segments of each division hold all loans and all defaults of a date, once.",
    MEASURE_AGAIN,
    blocking=False,
)
RATE_FITS = warn_of(
    MODEL_MONITORING,
    "realised_rate_fits",
    "The newest realised default rate that the champion did not learn from is near its mean PD.",
    MISPRICED,
)
RATE_BROKEN = error_of(
    MODEL_MONITORING,
    "realised_rate_not_off",
    "The newest realised default rate that the champion did not learn from is not far from its mean PD.",
    MISPRICED,
    blocking=False,
)
CALIBRATION_STEADY = warn_of(
    MODEL_MONITORING,
    "calibration_steady",
    "On the newest realised date the champion's PDs are right from the lowest to the highest.",
    MISPRICED,
)
RANKING_STEADY = warn_of(
    MODEL_MONITORING,
    "ranking_steady",
    "On the newest realised date the champion ranks the loans about as well as when it was tested.",
    f"{RETRAIN} Look for a feature that is reported otherwise than it was.",
)
DRIFT_CHECKS: tuple[Check, ...] = (CHAMPION_MEASURED, SCORE_STABLE, SCORE_SHIFTED, FEATURES_STABLE, SEGMENTS_STABLE)
REALISED_CHECKS: tuple[Check, ...] = (SEGMENTS_TIE, RATE_FITS, RATE_BROKEN, CALIBRATION_STEADY, RANKING_STEADY)
RETRAINING_CHECKS: tuple[Check, ...] = (
    SCORE_STABLE,
    SCORE_SHIFTED,
    FEATURES_STABLE,
    SEGMENTS_STABLE,
    RATE_FITS,
    RATE_BROKEN,
    CALIBRATION_STEADY,
    RANKING_STEADY,
)
"""Checks whose failure asks for a training."""
NOT_YET = "no date that the champion did not learn from has a known outcome yet"


def drift_findings(rows: Sequence[dict[str, Any]], settings: MonitoringSettings) -> list[Finding]:
    """What the newest period of gold/feature_drift shows."""
    newest = max((row["period"] for row in rows), default=None)
    now = [row for row in rows if row["period"] == newest]
    mild, strong = settings.maximum_psi, settings.shifted_psi
    return [
        _moved(SCORE_STABLE, [row for row in now if row["kind"] == SCORE], mild),
        _moved(SCORE_SHIFTED, [row for row in now if row["kind"] == SCORE], strong),
        _moved(FEATURES_STABLE, [row for row in now if row["kind"] == FEATURE], mild),
        _moved(SEGMENTS_STABLE, [row for row in now if row["kind"] == SEGMENT], mild),
    ]


def _moved(check: Check, rows: Sequence[dict[str, Any]], limit: float) -> Finding:
    ordered = sorted(rows, key=lambda row: (-row["psi"], row["feature"]))
    moved = [row for row in ordered if row["psi"] > max(limit, row["critical"])]
    shown = ", ".join(f"{row['feature']} {row['psi']:.3f}" for row in moved or ordered[:1])
    period = f"{ordered[0]['period']}: " if ordered else ""
    return Finding(
        check,
        not moved,
        f"{period}{'PSI' if moved else 'highest PSI'} {shown or 'none measured'}",
        f"at most {limit:.2f}, or what chance alone explains",
        len(moved),
        len(ordered),
        details=[
            {
                "feature": row["feature"],
                "PSI": round(row["psi"], 4),
                "mean without drift": round(row["expected"], 4),
                "critical value": round(row["critical"], 4),
                "bins": row["bins"],
                "gaps then": round(row["gaps_then"], 6),
                "gaps now": round(row["gaps_now"], 6),
            }
            for row in ordered
        ],
    )


def measured_finding(rows: Sequence[dict[str, Any]], scored_by: Sequence[str], newest: Any) -> Finding:
    """Whether the drift that is recorded is the champion's, and recent: against the versions that scored the loans."""
    keys = [(row["period"], row["kind"], row["feature"]) for row in rows]
    twice = len(keys) - len(set(keys))
    versions = sorted({row["model_version"] for row in rows})
    latest = max((row["period"] for row in rows), default=None)
    wrong = twice + sum(row["model_version"] not in scored_by for row in rows) + (latest != newest)
    return Finding(
        CHAMPION_MEASURED,
        not wrong and versions == sorted(scored_by),
        f"version {', '.join(versions) or 'none'}, newest period {latest}, {twice} rows twice",
        f"version {', '.join(sorted(scored_by)) or 'none'}, newest period {newest}, each row once",
        wrong,
        len(rows),
    )


def realised_findings(rows: Sequence[dict[str, Any]], settings: MonitoringSettings) -> list[Finding]:
    """What the newest date shows whose outcomes are known and that did not train the champion."""
    unseen = sorted(
        (
            row
            for row in rows
            if row["alias"] == CHAMPION and row["dimension"] == ALL and row["matured"] and not row["in_training"]
        ),
        key=lambda row: row[PERIOD],
    )
    if not unseen:
        return [Finding(check, True, NOT_YET, "an outcome to compare") for check in REALISED_CHECKS[1:]]
    newest, first = unseen[-1], unseen[0]
    segments = [
        row for row in rows if row["alias"] == CHAMPION and row[PERIOD] == newest[PERIOD] and row["dimension"] != ALL
    ]
    details = _by_segment(segments)
    trained_on = sum(
        row["loans"] for row in rows if row["alias"] == CHAMPION and row["dimension"] == ALL and row["in_training"]
    )
    return [
        _rate(RATE_FITS, newest, trained_on, settings.maximum_pd_error, details),
        _rate(RATE_BROKEN, newest, trained_on, settings.broken_pd_error, details),
        _calibration(newest, settings),
        _ranking(newest, first, settings),
    ]


def _by_segment(rows: Sequence[dict[str, Any]]) -> list[Row]:
    """Segments with predicted and realised rate; those whose mean PD lies outside the interval first."""

    def outside(row: dict[str, Any]) -> bool:
        return not row["lower"] <= row["mean_pd"] <= row["upper"]

    return [
        {
            "division": row["dimension"],
            "segment": row["segment"],
            "loans": row["loans"],
            "defaults": row["defaults"],
            "mean PD": round(row["mean_pd"], 6),
            "realised rate": round(row["observed_rate"], 6),
            "from": round(row["lower"], 6),
            "to": round(row["upper"], 6),
            "fits": not outside(row),
        }
        for row in sorted(rows, key=lambda row: (not outside(row), row["dimension"], row["segment"]))
    ]


def _rate(check: Check, row: dict[str, Any], trained_on: int, limit: float, details: Sequence[Row]) -> Finding:
    rate, pd = row["observed_rate"], row["mean_pd"]
    error = abs(pd / rate - 1) if rate else float("inf")
    return Finding(
        check,
        error <= limit or abs(pd - rate) <= chance_of_rates(rate, row["loans"], pd, trained_on),
        f"{row[PERIOD]}: mean PD {pd:.2%}, realised {rate:.2%} ({row['lower']:.2%} to {row['upper']:.2%})",
        f"within {limit:.0%} of the realised rate, or what chance alone explains",
        0,
        row["loans"],
        details=details,
    )


def chance_of_rates(rate: float, loans: int, pd: float, trained_on: int) -> float:
    """What the realised rate and the mean PD differ by in one case of twenty where the PDs' level is right.

    1.96 sqrt(p (1 - p) (1/n + 1/m)): the n loans default by chance, and so did the m that the level was learnt from.
    """
    pooled = (rate * loans + pd * trained_on) / (loans + trained_on)
    return 1.96 * math.sqrt(pooled * (1 - pooled) * (1 / loans + (1 / trained_on if trained_on else 0.0)))


def _calibration(row: dict[str, Any], settings: MonitoringSettings) -> Finding:
    if row["ece"] is None:
        return Finding(CALIBRATION_STEADY, True, f"{row[PERIOD]}: one outcome alone", "both outcomes to compare")
    ece_limit = max(settings.maximum_ece, row["ece_critical"])
    slope, tolerance = row["calibration_slope"], settings.maximum_slope_error
    straight = abs(slope - 1) <= tolerance or row["slope_lower"] <= 1 <= row["slope_upper"]
    shown = f"slope {slope:.3f} ({row['slope_lower']:.3f} to {row['slope_upper']:.3f})"
    return Finding(
        CALIBRATION_STEADY,
        row["ece"] <= ece_limit and straight,
        f"{row[PERIOD]}: ECE {row['ece']:.4f}, {shown}",
        f"ECE at most {ece_limit:.4f}, slope {1 - tolerance:.2f} to {1 + tolerance:.2f} or not apart from 1",
        0,
        row["loans"],
    )


def _ranking(row: dict[str, Any], first: dict[str, Any], settings: MonitoringSettings) -> Finding:
    if row["auc"] is None or first["auc"] is None:
        return Finding(RANKING_STEADY, True, f"{row[PERIOD]}: one outcome alone", "both outcomes to compare")
    drop = first["auc"] - row["auc"]
    return Finding(
        RANKING_STEADY,
        drop <= settings.maximum_auc_drop or row["auc_upper"] >= first["auc"],
        f"{row[PERIOD]}: AUC {row['auc']:.4f} ({row['auc_lower']:.4f} to {row['auc_upper']:.4f})",
        f"at most {settings.maximum_auc_drop:.2f} below {first['auc']:.4f} of {first[PERIOD]}",
        0,
        row["loans"],
    )


def tie_finding(rows: Sequence[dict[str, Any]]) -> Finding:
    """Whether each division's segments add up to all loans and all defaults of a version and date."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        found = sums.setdefault((row["model_version"], row["alias"], row[PERIOD], row["dimension"]), [0, 0])
        found[0] += row["loans"]
        found[1] += row["defaults"] or 0
    apart = [
        {
            "model version": version,
            "observation date": date,
            "division": dimension,
            "loans": found[0],
            "defaults": found[1],
            "all loans": whole[0],
            "all defaults": whole[1],
        }
        for (version, alias, date, dimension), found in sums.items()
        if found != (whole := sums.get((version, alias, date, ALL), [0, 0]))
    ]
    return counted(SEGMENTS_TIE, len(apart), len(sums), "loans and defaults of the whole date", details=apart)


def _rows(lakehouse: Lakehouse, table: Any) -> list[dict[str, Any]]:
    return lakehouse.rows(table, list(table.columns))


def _measure_drift(platform: Platform) -> list[Finding]:
    lakehouse = platform.lakehouse
    rows = _rows(lakehouse, FEATURE_DRIFT)
    scored_by = [row[0] for row in lakehouse.read(LOAN_SCORES).select("model_version").distinct().collect()]
    newest = lakehouse.read(LOANS).selectExpr("max(as_of_date)").collect()[0][0]
    return [measured_finding(rows, scored_by, newest), *drift_findings(rows, platform.settings.monitoring)]


def _measure_realised(platform: Platform) -> list[Finding]:
    rows = _rows(platform.lakehouse, MODEL_MONITORING)
    return [tie_finding(rows), *realised_findings(rows, platform.settings.monitoring)]


DRIFT_TABLE = CheckedTable(FEATURE_DRIFT.path, DRIFT_CHECKS, _measure_drift)
REALISED_TABLE = CheckedTable(MODEL_MONITORING.path, REALISED_CHECKS, _measure_realised)
TABLES = (DRIFT_TABLE, REALISED_TABLE)
monitoring_checks = layer_checks("monitoring_checks", TABLES)
