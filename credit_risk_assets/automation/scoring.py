"""A file of loans through the champion."""

from __future__ import annotations

from pathlib import Path

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.modelling.score import score_new_loans
from credit_risk_assets.modelling.tabular import read_table
from credit_risk_assets.resources.mlflow import load_version


def score_file(settings: Settings, source: Path, target: Path) -> str:
    """Score each row of `source` and write the scores to `target`, in the same order; return a line about it.

    Raises `ModelDataError` where the file cannot be read or lacks a needed column, `NoChampionError` without a
    trained model.
    """
    champion = load_version(settings)
    loans = read_table(source)
    scores = score_new_loans(loans, champion.model, champion.encoders, explain=True)
    scores["model_version"] = champion.version
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".parquet":
        scores.to_parquet(target, index=False)
    else:
        scores.to_csv(target, index=False)
    unusable = int(scores["default_probability"].isna().sum())
    note = f", {unusable:,} of them not scored (see column reason)" if unusable else ""
    return f"{len(scores):,} loans in {target}{note}, model version {champion.version}"
