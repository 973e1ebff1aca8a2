"""How a model version was validated, decided on, and followed since: gold's figures in the shape of the model page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.config.tables import (
    CHALLENGER,
    CHAMPION,
    FEATURE_DRIFT,
    MODEL_MONITORING,
    MODEL_PERFORMANCE,
    MODEL_VALIDATION,
)
from dash_app.data.lake import Snapshot
from dash_app.data.model import champion_version, decisions

if TYPE_CHECKING:
    from credit_risk_assets.modelling.gate import Criterion


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0


def versions(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Every measured version with its role, the newest first: champion, challenger, or none."""
    if not snapshot.has(MODEL_PERFORMANCE):
        return []
    champion, challenger = champion_version(snapshot), challenger_version(snapshot)
    found = snapshot.frame(MODEL_PERFORMANCE)["model_version"].unique().to_list()
    roles = {champion: CHAMPION, challenger: CHALLENGER}
    return [(version, roles.get(version, "")) for version in sorted(found, key=_number, reverse=True)]


def challenger_version(snapshot: Snapshot) -> str | None:
    """The version registered last, unless it is the champion."""
    taken = decisions(snapshot)
    registered = taken.filter(pl.col("action") == "registered") if taken.height else taken
    newest = str(registered["model_version"][-1]) if registered.height else None
    return newest if newest != champion_version(snapshot) else None


def validation(snapshot: Snapshot, version: str) -> pl.DataFrame:
    """Every figure of a version's validation; empty where it was not validated."""
    if not snapshot.has(MODEL_VALIDATION):
        return pl.DataFrame()
    return snapshot.frame(MODEL_VALIDATION).filter(pl.col("model_version") == version)


def curve(figures: pl.DataFrame, subject: str, metric: str, item: str | None = None) -> pl.DataFrame:
    """The points of a curve in order: `position`, `value`, `lower`, `upper`."""
    if figures.height == 0:
        return figures
    kept = figures.filter(
        pl.col("analysis") == "curve",
        pl.col("subject") == subject,
        pl.col("metric") == metric,
        pl.lit(item is None) | (pl.col("item") == (item or "")),
    )
    return kept.select("item", "position", "value", "lower", "upper").sort("position", "value")


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a version: every criterion, and what keeps it from being promoted."""

    criteria: Sequence[Criterion]
    objections: Sequence[str]


def verdict(snapshot: Snapshot, settings: ModelSettings, version: str) -> Verdict | None:
    """The gate's criteria by the figures that gold keeps; None where the version was not validated."""
    found = validation(snapshot, version)
    measured = snapshot.frame(MODEL_PERFORMANCE).filter(pl.col("model_version") == version)
    tested = next((name for name in measured["data_set"].unique().to_list() if name.startswith("out_of")), None)
    if found.height == 0 or tested is None:
        return None
    from credit_risk_assets.modelling.evaluate import Metric
    from credit_risk_assets.modelling.figures import Figure
    from credit_risk_assets.modelling.gate import Evidence, judge, objections

    metrics: dict[str, dict[str, Metric]] = {}
    for data_set, name, *values in measured.select("data_set", "metric", "value", "lower", "upper").iter_rows():
        metrics.setdefault(data_set, {})[name] = Metric(*values)
    columns = ("analysis", "subject", "item", "metric", "value", "lower", "upper", "position")
    evidence = Evidence(version, tested, metrics, [Figure(*row) for row in found.select(columns).iter_rows()])
    try:
        criteria = judge(evidence, settings)
    except KeyError:  # an older version lacks a metric that the gate asks for now
        return None
    return Verdict(criteria, objections(criteria, champion_reigns=evidence.champion is not None))


def against_champion(figures: pl.DataFrame) -> dict[str, tuple[float, float | None, float | None]]:
    """The figures of the champion that a version was compared with, on the version's own test rows.

    `auc_difference` is the version's AUC less the champion's. Empty where no champion reigned.
    """
    if figures.height == 0:
        return {}
    rows = figures.filter(pl.col("analysis") == "champion").select("metric", "value", "lower", "upper")
    return {metric: (value, lower, upper) for metric, value, lower, upper in rows.iter_rows()}


def groups(figures: pl.DataFrame) -> pl.DataFrame:
    """One row per protected attribute and group, a column per fairness figure and its bounds, in order."""
    if figures.height == 0:
        return figures
    kept = figures.filter(pl.col("analysis") == "fairness", pl.col("item") != "")
    if kept.height == 0:
        return pl.DataFrame()
    keys = ["subject", "item", "position"]
    wide = kept.pivot("metric", index=keys, values=["value", "lower", "upper"])
    known = kept["metric"].unique().to_list()
    named = {f"value_{name}": name for name in known if f"value_{name}" in wide.columns}
    return wide.rename(named).sort("subject", "position")


def benchmarks(figures: pl.DataFrame) -> list[dict[str, object]]:
    """One entry per compared model: its name and its figures as (value, lower, upper)."""
    if figures.height == 0:
        return []
    entries: dict[str, dict[str, object]] = {}
    for name, metric, *values in (
        figures.filter(pl.col("analysis") == "benchmark")
        .select("subject", "metric", "value", "lower", "upper")
        .iter_rows()
    ):
        entries.setdefault(name, {"name": name})[metric] = tuple(values)
    return list(entries.values())


def drift_periods(snapshot: Snapshot, version: str) -> pl.DataFrame:
    """How far the version's features, score and segments have moved: gold/feature_drift of the version."""
    if not snapshot.has(FEATURE_DRIFT):
        return pl.DataFrame()
    return snapshot.frame(FEATURE_DRIFT).filter(pl.col("model_version") == version).sort("period", "kind", "feature")


def newest_drift(drift: pl.DataFrame, limit: int = 10) -> tuple[date | None, pl.DataFrame]:
    """The newest period, and its score and features by index over critical value, the farthest first."""
    if drift.height == 0:
        return None, drift
    period = drift["period"].max()
    rows = drift.filter(pl.col("period") == period, pl.col("kind") != "segment")
    ranked = rows.sort(pl.col("psi") / pl.col("critical"), descending=True, nulls_last=True)
    score = ranked.filter(pl.col("kind") == "score")
    return (
        period if isinstance(period, date) else None,
        pl.concat([score, ranked.filter(pl.col("kind") != "score").head(limit)]),
    )


def realised(snapshot: Snapshot, version: str) -> pl.DataFrame:
    """Predicted beside realised default rate of all loans, by observation date; null until it is known."""
    if not snapshot.has(MODEL_MONITORING):
        return pl.DataFrame()
    frame = snapshot.frame(MODEL_MONITORING)
    return frame.filter(pl.col("model_version") == version, pl.col("dimension") == "all").sort("observation_date")
