"""The small lake's tables of delinquency, validation, decisions and monitoring: few rows, every kind of them."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from credit_risk_assets.config import tables as t
from credit_risk_tests.dash_app.small_lake import write

NOW = datetime(2026, 7, 1, 6, tzinfo=UTC)
PURPOSES = ("auto", "home")
FIGURE = ("analysis", "subject", "item", "metric", "value", "lower", "upper", "position")


def write_delinquency(lake: Path, tapes: tuple[date, ...]) -> None:
    """Vintages of eight quarters, roll rates of fifteen months, and a migration between each pair of tapes."""
    rng = np.random.default_rng(3)
    quarters = [f"{year}-Q{quarter}" for year in (2024, 2025) for quarter in (1, 2, 3, 4)]
    vintages = [
        {
            "origination_quarter": quarter, "loan_purpose": purpose, "months_on_book": age, "loans": 200,
            "loans_unseen": 0, "loan_amount": 2e6, "loans_observed": 200 if age < oldest - 2 else 90,
            "amount_observed": 2e6 if age < oldest - 2 else 9e5, "ever_30": 3 * age, "ever_60": 2 * age,
            "ever_90": age, "ever_90_amount": 1e4 * age, "mature": age < oldest - 2, "complete": place > 1,
        }
        for place, quarter in enumerate(quarters)
        for oldest in [30 - 3 * place]
        for purpose in PURPOSES
        for age in range(oldest)
    ]  # fmt: skip
    write(lake, t.VINTAGE_CURVES, pl.DataFrame(vintages))
    months = [f"{2025 + (3 + i) // 12}-{(3 + i) % 12 + 1:02d}" for i in range(15)]
    rolls = [
        {"month": month, "loan_purpose": purpose, "from_bucket": a, "to_bucket": b, "loans": int(rng.integers(1, 90)),
         "balance": None}
        for month in months
        for purpose in PURPOSES
        for place, a in enumerate(t.ROLL_BUCKETS)
        for b in dict.fromkeys((t.ROLL_BUCKETS[0], a, t.ROLL_BUCKETS[min(place + 1, 8)]))
    ]  # fmt: skip
    write(lake, t.ROLL_RATES, pl.DataFrame(rolls, schema_overrides={"balance": pl.Float64}))
    moves = [
        {"from_date": a, "to_date": b, "loan_purpose": purpose, "from_state": x, "to_state": y,
         "loans": int(rng.integers(1, 60)), "from_balance": 1e5, "to_balance": 9e4}
        for a, b in itertools.pairwise(tapes)
        for purpose in PURPOSES
        for x in (*t.RISK_CATEGORIES, "Default", "New")
        for y in ("Low", "High", "Default", "Charged off", "Paid off")
    ]  # fmt: skip
    write(lake, t.RATING_MIGRATION, pl.DataFrame(moves))


def _figures(champion: str | None) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        ("curve", "roc", "", "true_positive_rate", y, None, None, x) for x, y in ((0.0, 0.0), (0.2, 0.7), (1.0, 1.0))
    ]
    for item, values in (("bad", (0.0, 0.8, 1.0)), ("good", (0.0, 0.3, 1.0))):
        rows += [
            ("curve", "ks", item, "cumulative_share", v, None, None, x)
            for x, v in zip((400.0, 560.0, 700.0), values, strict=True)
        ]
    for place, pd in enumerate((0.02, 0.08, 0.3)):
        rows += [
            ("curve", "calibration", f"bin {place}", "observed_rate", pd * 1.05, pd * 0.9, pd * 1.2, pd),
            ("curve", "calibration", f"bin {place}", "n", 400.0, None, None, pd),
        ]
    rows += [("curve", "lift", "", "lift", v, None, None, x) for x, v in ((0.1, 4.2), (0.5, 1.8), (1.0, 1.0))]
    rows += [("curve", "gain", "", "capture", v, None, None, x) for x, v in ((0.1, 0.42), (0.5, 0.9), (1.0, 1.0))]
    for place, (group, ratio) in enumerate((("18-24", 0.71), ("25-34", 1.0))):
        measured = {
            "n": 500.0, "too_small": 0.0, "approval_rate": 0.8 * ratio, "adverse_impact_ratio": ratio,
            "below_four_fifths": float(ratio < 0.8), "equal_opportunity_difference": ratio - 1, "mean_pd": 0.1,
            "observed_rate": 0.1, "holds": 1.0, "is_reference": float(ratio == 1),
            **({"explained_by_risk": 1.0} if ratio < 0.8 else {}),
        }  # fmt: skip
        rows += [("fairness", "age_band", group, name, v, None, None, float(place)) for name, v in measured.items()]
    for name in ("champion", "scorecard"):
        rows += [
            ("benchmark", name, "", m, v, None, None, None) for m, v in (("auc", 0.81), ("ks", 0.4), ("ece", 0.01))
        ]
    rows.append(("benchmark", "scorecard", "", "auc_change", -0.01, -0.02, -0.001, None))
    if champion:
        rows.append(("champion", champion, "", "auc_difference", -0.02, -0.03, -0.01, None))
        rows += [("champion", champion, "", m, v, None, None, None) for m, v in (("auc", 0.812), ("ks", 0.48))]
    return rows


def write_validation(lake: Path) -> None:
    """Version 1 reigns; version 2 was refused. Drift and realised rates are known of version 1."""
    types = dict.fromkeys(("value", "lower", "upper", "position"), pl.Float64)
    for version, champion in (("1", None), ("2", "1")):
        frame = pl.DataFrame(_figures(champion), schema=list(FIGURE), schema_overrides=types, orient="row")
        frame = frame.with_columns(model_version=pl.lit(version), computed_at=pl.lit(NOW))
        write(lake, t.MODEL_VALIDATION, frame, "append")
    measured = {"auc": 0.792, "ks": 0.45, "brier": 0.063, "ece": 0.009, "n": 36000.0}
    rows = [
        {"model_version": "2", "data_set": "out_of_time", "metric": name, "value": value, "lower": None,
         "upper": None, "computed_at": NOW.replace(hour=7)}
        for name, value in measured.items()
    ]  # fmt: skip
    bounds = {"lower": pl.Float64, "upper": pl.Float64}
    write(lake, t.MODEL_PERFORMANCE, pl.DataFrame(rows, schema_overrides=bounds), "append")
    taken = [
        (5, "1", "registered", None, "AUC 0.8120"),
        (6, "1", "promoted", "1", "nothing against promotion"),
        (7, "2", "registered", "1", "AUC 0.7920"),
        (8, "2", "refused", "1", "not_worse_than_champion: AUC -0.0200"),
    ]
    decisions = [
        {"decided_at": NOW.replace(hour=hour), "model_version": version, "action": action,
         "champion_version": champion, "decided_by": "gate", "reasons": reasons, "run_id": "run-1"}
        for hour, version, action, champion, reasons in taken
    ]  # fmt: skip
    write(lake, t.MODEL_DECISIONS, pl.DataFrame(decisions))
    drift = [
        {"model_version": "1", "period": date(2026, 6, 30), "kind": kind, "feature": name, "reference_rows": 800,
         "rows": 900, "psi": psi, "expected": 0.01, "critical": 0.02, "bins": 10, "gaps_then": 0.0, "gaps_now": 0.0,
         "drifted": psi > 0.1, "computed_at": NOW}
        for kind, name, psi in (("score", "pd_12m", 0.012), ("feature", "credit_score", 0.15),
                                ("feature", "loan_amount", 0.004), ("segment", "loan_purpose", 0.3))
    ]  # fmt: skip
    write(lake, t.FEATURE_DRIFT, pl.DataFrame(drift))
    followed = [
        {"model_version": "1", "alias": "champion", "observation_date": day, "in_training": trained,
         "matured": rate is not None, "dimension": "all", "segment": "all", "loans": 800, "share": 1.0,
         "reference_share": 1.0, "mean_pd": 0.11, "defaults": None if rate is None else int(800 * rate),
         "observed_rate": rate, "lower": None if rate is None else rate - 0.01,
         "upper": None if rate is None else rate + 0.01, "pd_to_observed": None if rate is None else 0.11 / rate}
        for day, trained, rate in ((date(2024, 6, 30), True, 0.1), (date(2025, 6, 30), False, 0.125),
                                   (date(2026, 6, 30), False, None))
    ]  # fmt: skip
    write(lake, t.MODEL_MONITORING, pl.DataFrame(followed))
