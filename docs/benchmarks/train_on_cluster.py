"""Train the default model's trees on a Spark cluster with `xgboost.spark`, beside the same training on one machine.

    credit-risk spark start cluster
    export CREDIT_RISK__SPARK__ENGINE=cluster CREDIT_RISK__SPARK__MASTER=spark://127.0.0.1:7077
    python docs/benchmarks/train_on_cluster.py --workers 2

Both trainings use the home's gold/development_sample, the same features, parts, parameters and rows, and are judged on
the same rows, which decided nothing. The trees alone are trained by the cluster: the line beside them and the
calibration take seconds on one machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from credit_risk_assets.assets.model import training_frame
from credit_risk_assets.config.settings import ModelSettings, load_settings
from credit_risk_assets.modelling.boosting import Member, _parameters, held_out_margins
from credit_risk_assets.modelling.calibrate import fit_calibrator
from credit_risk_assets.modelling.encode import fit_encoders
from credit_risk_assets.modelling.evaluate import choose_threshold_by_cost, evaluate
from credit_risk_assets.modelling.model import DefaultModel, monotone_directions
from credit_risk_assets.modelling.train import TrainingResult, business_directions, train_default_model
from credit_risk_assets.resources.lakehouse import open_lakehouse

SHOWN = ("auc", "gini", "ks", "brier", "log_loss", "ece", "mean_pd", "observed_rate")
STOPPING = "early_stopping"


def train_trees(
    session: SparkSession,
    matrix: NDArray[np.float32],
    label: NDArray[np.int64],
    folds: NDArray[np.int64],
    names: list[str],
    settings: ModelSettings,
    workers: int,
) -> Any:
    """Grow the first member's trees on the cluster; fold 0 stops them, fold 1 is left to calibration."""
    from xgboost.spark import SparkXGBClassifier

    used = folds != 1
    parameters = _parameters(settings, label[used & (folds != 0)], 0)
    parameters.pop("objective")
    if settings.monotone == "business":
        parameters["monotone_constraints"] = monotone_directions(names, business_directions(names))
    frame = pd.DataFrame(matrix[used], columns=names).assign(label=label[used], **{STOPPING: folds[used] == 0})
    estimator = SparkXGBClassifier(
        features_col=names,
        label_col="label",
        validation_indicator_col=STOPPING,
        num_workers=workers,
        n_estimators=settings.n_estimators,
        early_stopping_rounds=settings.early_stopping_rounds,
        random_state=parameters.pop("seed"),
        **{name: value for name, value in parameters.items() if name != "nthread"},
    )
    booster = estimator.fit(session.createDataFrame(frame)).get_booster()
    return booster[: booster.best_iteration + 1]


def measured(result: TrainingResult, booster: Any, settings: ModelSettings) -> dict[str, float]:
    """The metrics on the test rows of a model whose trees are these and whose other parts are the single-node ones."""
    fit = result.trained
    label = result.development_label
    _, matrix = fit_encoders(result.development, fit.model.columns, label, fit.folds, list(fit.encoders.categories))
    member = Member(booster, fit.members[0].line, booster.num_boosted_rounds(), 1)
    margins = held_out_margins([member], matrix, fit.folds)
    known = ~np.isnan(margins[:, 0])
    calibrator = fit_calibrator(settings.calibration, margins[known, 0], margins[known, 1], label[known])
    held_out = calibrator.probability(margins[known, 0], margins[known, 1])
    threshold = choose_threshold_by_cost(label[known], held_out, settings.cost_lgd, settings.cost_margin)
    model = DefaultModel(
        booster=booster,
        line=member.line,
        calibrator=calibrator,
        columns=fit.model.columns,
        usual=fit.model.usual,
        threshold=threshold,
        rating_bounds=settings.rating_pd_bounds,
    )
    metrics = evaluate(
        result.label,
        model.probability(fit.encoders.transform(result.tested)),
        threshold,
        bounds=settings.rating_pd_bounds,
        costs=(settings.cost_lgd, settings.cost_margin),
    )
    return {name: float(metrics[name].value) for name in SHOWN if name in metrics}


def main() -> None:
    """Train both ways and print their metrics side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="XGBoost processes; the cluster needs a core for each.")
    asked = parser.parse_args()
    settings = load_settings()
    if settings.spark.engine not in ("cluster", "local"):
        parser.error("spark.engine: xgboost.spark needs a classic session: set CREDIT_RISK__SPARK__ENGINE=cluster")
    lakehouse = open_lakehouse(settings)
    sample = training_frame(lakehouse)
    began = time.monotonic()
    result = train_default_model(sample, settings.model, members=1)
    single_seconds = time.monotonic() - began
    fit = result.trained
    names = list(fit.model.columns)
    _, matrix = fit_encoders(
        result.development, names, result.development_label, fit.folds, list(fit.encoders.categories)
    )
    began = time.monotonic()
    booster = train_trees(
        lakehouse.session, matrix, result.development_label, fit.folds, names, settings.model, asked.workers
    )
    spread_seconds = time.monotonic() - began
    report = {
        "rows": len(sample),
        "features": len(names),
        "workers": asked.workers,
        "single_node": {
            "seconds": round(single_seconds, 1),
            "trees": fit.members[0].trees,
            **measured(result, fit.members[0].booster, settings.model),
        },
        "cluster": {
            "seconds": round(spread_seconds, 1),
            "trees": booster.num_boosted_rounds(),
            **measured(result, booster, settings.model),
        },
        "driver_cpu_seconds": round(resource.getrusage(resource.RUSAGE_SELF).ru_utime, 1),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
