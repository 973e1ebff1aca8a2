"""Gradient-boosted trees: several members on parts of the data, merged into one booster.

Each member trains on three of five folds, stops early on the fourth and leaves the fifth to calibration, so that
every row serves all three purposes in different members and no purpose twice in one. The merged booster is the
mean of the members' margins: steadier than one member, and read, scored and explained like any booster.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from credit_risk_assets.config.settings import ModelSettings

FOLDS = 5
SINGLE_MEMBER_FROM_ROWS = 300_000
"""With this many rows one member is steady enough, and five would take their time."""
ROWS_PER_CHILD_WEIGHT = 60.0
"""On small tables the least weight of a leaf shrinks to the rows divided by this."""


@dataclass(frozen=True)
class Member:
    """One trained member and the fold it left to calibration."""

    booster: xgb.Booster
    trees: int
    calibration_fold: int


def _parameters(settings: ModelSettings, label: NDArray[np.int64], member: int) -> dict[str, Any]:
    bad = int(label.sum())
    weight = (len(label) - bad) / bad if settings.balance_classes else 1.0
    return {
        "objective": "binary:logistic",
        "eval_metric": "auc" if settings.balance_classes else "logloss",
        "tree_method": "hist",
        "max_depth": settings.max_depth,
        "learning_rate": settings.learning_rate,
        "min_child_weight": min(settings.min_child_weight, len(label) / ROWS_PER_CHILD_WEIGHT),
        "reg_lambda": settings.reg_lambda,
        "gamma": settings.gamma,
        "subsample": settings.subsample,
        "colsample_bytree": settings.colsample_bytree,
        "scale_pos_weight": weight,
        "base_score": 0.5,  # a margin of 0 in every member, so that members can be merged
        "nthread": settings.threads,
        "seed": settings.seed + member,
    }


def _fit_member(
    matrix: NDArray[np.float32],
    label: NDArray[np.int64],
    folds: NDArray[np.int64],
    member: int,
    settings: ModelSettings,
    monotone: tuple[int, ...] | None,
) -> Member:
    stopping, calibration = member, (member + 1) % FOLDS
    training = (folds != stopping) & (folds != calibration)
    parameters = _parameters(settings, label[training], member)
    if monotone is not None:
        parameters["monotone_constraints"] = monotone
    train = xgb.QuantileDMatrix(matrix[training], label[training], nthread=settings.threads)
    early = xgb.QuantileDMatrix(
        matrix[folds == stopping], label[folds == stopping], ref=train, nthread=settings.threads
    )
    booster = xgb.train(
        parameters,
        train,
        num_boost_round=settings.n_estimators,
        evals=[(early, "early_stopping")],
        early_stopping_rounds=settings.early_stopping_rounds,
        verbose_eval=False,
    )
    trees = booster.best_iteration + 1
    return Member(booster[:trees], trees, calibration)


def fit_members(
    matrix: NDArray[np.float32],
    label: NDArray[np.int64],
    folds: NDArray[np.int64],
    settings: ModelSettings,
    monotone: tuple[int, ...] | None = None,
) -> list[Member]:
    """Train the members; `folds` numbers each row's fold 0 to 4 and every fold holds both outcomes."""
    count = FOLDS if len(label) < SINGLE_MEMBER_FROM_ROWS else 1
    return [_fit_member(matrix, label, folds, member, settings, monotone) for member in range(count)]


def held_out_margins(
    members: list[Member], matrix: NDArray[np.float32], folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """For each row the margin of the member that left it to calibration; NaN where there is none."""
    margins = np.full(len(folds), np.nan)
    for member in members:
        rows = folds == member.calibration_fold
        margins[rows] = member.booster.inplace_predict(matrix[rows], predict_type="margin")
    return margins


def merge(members: list[Member]) -> xgb.Booster:
    """One booster whose margin is the mean of the members' margins."""
    models = [json.loads(member.booster.save_raw("json")) for member in members]
    merged = models[0]
    trees: list[dict[str, Any]] = []
    for model in models:
        for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
            # a leaf keeps its value among the split conditions
            tree["split_conditions"] = [
                value / len(members) if left == -1 else value
                for value, left in zip(tree["split_conditions"], tree["left_children"], strict=True)
            ]
            tree["base_weights"] = [value / len(members) for value in tree["base_weights"]]
            tree["id"] = len(trees)
            trees.append(tree)
    forest = merged["learner"]["gradient_booster"]["model"]
    forest["trees"] = trees
    forest["tree_info"] = [0] * len(trees)
    forest["iteration_indptr"] = list(range(len(trees) + 1))
    forest["gbtree_model_param"]["num_trees"] = str(len(trees))
    merged["learner"]["attributes"] = {}
    booster = xgb.Booster()
    booster.load_model(bytearray(json.dumps(merged), "utf-8"))
    return booster
