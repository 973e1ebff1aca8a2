"""The jobs: what runs together. Every job runs in one process, so that a run has one Spark session."""

from __future__ import annotations

import dagster as dg

from credit_risk_assets.config.tables import (
    CHALLENGER_SCORES,
    EXPECTED_CREDIT_LOSS,
    FEATURE_DRIFT,
    LOAN_SCORES,
    MODEL_MONITORING,
    QUALITY_RESULTS,
    TABLES,
    Cadence,
    Table,
)

MODEL_KEY = dg.AssetKey(["default_model"])
CHAMPION_KEY = dg.AssetKey(["champion_model"])


def _selection(*tables: Table) -> dg.AssetSelection:
    return dg.AssetSelection.assets(*[dg.AssetKey(table.key) for table in tables])


def _cadence(cadence: Cadence) -> dg.AssetSelection:
    return _selection(*[table for table in TABLES if table.cadence == cadence])


LAKE = _cadence("lake")
PORTFOLIO = _cadence("gold")
MODEL = _cadence("model") | dg.AssetSelection.assets(MODEL_KEY, CHAMPION_KEY)
SCORES = _selection(LOAN_SCORES, CHALLENGER_SCORES, EXPECTED_CREDIT_LOSS)
MONITORING = _selection(FEATURE_DRIFT, MODEL_MONITORING)
RESULTS = _selection(QUALITY_RESULTS)

main_job = dg.define_asset_job(
    "main",
    selection=LAKE | PORTFOLIO | MODEL,
    description="Everything: landed files to scores, with every check.",
)
lake_job = dg.define_asset_job(
    "refresh_lake",
    selection=LAKE,
    description="Landed files to bronze and silver, with their checks.",
)
gold_job = dg.define_asset_job(
    "refresh_gold",
    selection=PORTFOLIO | RESULTS,
    description="Key figures, cube, delinquency, scores, expected losses and monitoring from silver as it stands.",
)
model_job = dg.define_asset_job(
    "train_model",
    selection=MODEL | SCORES | MONITORING | RESULTS,
    description="Development sample, default model, scores and losses by its champion, and how well it fits.",
)
maintenance_job = dg.define_asset_job(
    "maintain_lake",
    selection=dg.AssetSelection.groups("maintenance"),
    description="Small files put together, files that no kept version needs removed; no row changes.",
)

JOBS = (main_job, lake_job, gold_job, model_job, maintenance_job)
