"""Why the model gives one loan its probability of default: what each feature adds, by exact SHAP values.

MLflow and XGBoost are imported when the first loan is explained, never before, and each model version is loaded
once a process.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import LOANS, MODEL_NAME
from dash_app.data.lake import LakeError, Snapshot

if TYPE_CHECKING:
    from credit_risk_assets.resources.mlflow import LoadedModel

_LOADED: dict[tuple[str, str], LoadedModel] = {}
_LOADING = threading.Lock()


class NoModelError(LakeError):
    """The model version that scored the loan cannot be loaded; the message says why."""


@dataclass(frozen=True)
class Explanation:
    """A loan's log-odds of default as a sum: the model's constant and what each feature adds, the largest first.

    `values` are the features as the model read them; probabilities are between 0 and 1.
    """

    version: str
    base_odds: float
    odds: float
    base_pd: float
    pd_12m: float
    contributions: tuple[tuple[str, float], ...]
    values: Mapping[str, Any]


def model_version(settings: Settings, number: str) -> LoadedModel:
    """A registered version of the default model, kept once loaded. Raises `NoModelError` where it cannot be."""
    key = (str(settings.home), number)
    with _LOADING:
        if key not in _LOADED:
            store = settings.mlflow_uri.removeprefix("sqlite:///")
            if store != settings.mlflow_uri and not Path(store).exists():
                raise NoModelError(
                    f"model {MODEL_NAME}: no model is registered in this home; run `credit-risk refresh`"
                )
            from credit_risk_assets.resources.mlflow import load_version

            try:
                _LOADED[key] = load_version(settings, number=number)
            except Exception as error:
                lines = str(error).strip().splitlines()
                raise NoModelError(lines[0][:200] if lines else type(error).__name__) from error
            while len(_LOADED) > 2:
                _LOADED.pop(next(iter(_LOADED)))
        return _LOADED[key]


def explain(snapshot: Snapshot, settings: Settings, loan_id: str, number: str, partition: pl.Expr) -> Explanation:
    """The loan's explanation by a model version; `partition` says in which files of silver/loans the loan is."""
    champion = model_version(settings, number)
    model = champion.model
    rows = snapshot.scan(LOANS).filter(partition, pl.col("loan_id") == loan_id).select(model.columns)
    row = snapshot.collect(LOANS, rows.head(1))
    matrix = champion.encoders.transform(row)
    added = model.contributions(matrix, exact=True)[0]
    odds = model.calibrator.log_odds(
        model.booster.inplace_predict(matrix, predict_type="margin"), model.line.margin(matrix)
    )
    base = odds - added.sum()
    pairs = zip(model.columns, (float(value) for value in added), strict=True)
    return Explanation(
        champion.version,
        float(base[0]),
        float(odds[0]),
        float(model.calibrator.curve(base)[0]),
        float(model.probability(matrix)[0]),
        tuple(sorted(pairs, key=lambda pair: -abs(pair[1]))),
        row.row(0, named=True),
    )
