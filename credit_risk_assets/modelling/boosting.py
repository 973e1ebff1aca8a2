"""Gradient-boosted trees and a line beside them: several members on parts of the data, merged into one model.

Each member trains on three of five folds, stops early on the fourth and leaves the fifth to calibration, so that
every row serves all three purposes in different members and no purpose twice in one. The merged booster is the
mean of the members' margins: steadier than one member, and read, scored and explained like any booster.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling.linear import LinearPart, fit_linear, fit_scale

FOLDS = 5
SINGLE_MEMBER_FROM_ROWS = 300_000
"""With this many rows one member is steady enough, and five would take their time."""
ROWS_PER_CHILD_WEIGHT = 60.0
"""On small tables the least weight of a leaf shrinks to the rows divided by this."""
EVALUATED_EVERY = 4
"""Rounds between two looks at the early-stopping folds: a look costs about as much as a round, and from one round to
the next hardly anything changes."""


@dataclass(frozen=True)
class Member:
    """One trained member and the fold it left to calibration."""

    booster: xgb.Booster
    line: LinearPart
    trees: int
    calibration_fold: int


def _parameters(settings: ModelSettings, label: NDArray[np.int64], member: int, threads: int) -> dict[str, Any]:
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
        "nthread": threads,
        "seed": settings.seed + member,
        "seed_per_iteration": True,  # chance depends on member and round, not on who else grows in this thread
    }


def _boost(
    matrix: NDArray[np.float32],
    label: NDArray[np.int64],
    folds: NDArray[np.int64],
    count: int,
    settings: ModelSettings,
    monotone: tuple[int, ...] | None,
) -> list[xgb.Booster]:
    """Grow all members and stop them together, where their early-stopping folds agree on average.

    One fold of a small table holds few defaults, and stopping by it alone would stop anywhere. The folds are looked at
    every `EVALUATED_EVERY` rounds (at least once in `early_stopping_rounds`) and after the last one; the best of these
    rounds is kept, and growing ends once `early_stopping_rounds` have brought no better one. Several members grow
    side by side, each on one thread, and a single one on all threads: threads that share a small table wait for each
    other longer than they compute.
    """
    threads = settings.threads if count == 1 else 1
    every = min(EVALUATED_EVERY, settings.early_stopping_rounds)
    sign = 1.0 if settings.balance_classes else -1.0

    def begin(member: int) -> _Growing:
        training, stopping = _training_rows(folds, member), folds == member
        parameters = _parameters(settings, label[training], member, threads)
        if monotone is not None:
            parameters["monotone_constraints"] = monotone
        train = xgb.QuantileDMatrix(matrix[training], label[training], nthread=threads)
        # plain rows, not quantised ones: the trees read them three times as fast
        check = xgb.DMatrix(matrix[stopping], label[stopping], nthread=threads)
        return _Growing(xgb.Booster(parameters, [train, check]), train, check)

    with ThreadPoolExecutor(min(settings.threads, count)) as pool:
        growing = list(pool.map(begin, range(count)))
        best, best_rounds, rounds = -np.inf, 0, 0
        while rounds < settings.n_estimators and rounds - best_rounds < settings.early_stopping_rounds:
            grown = range(rounds, min(rounds + every, settings.n_estimators))
            rounds = grown.stop
            reached = sign * sum(pool.map(lambda member, g=grown: member.grow(g), growing)) / count
            if reached > best:
                best, best_rounds = reached, rounds
    return [member.booster[:best_rounds] for member in growing]


@dataclass(frozen=True)
class _Growing:
    """A member that grows, with the rows it learns from and those that tell when to stop."""

    booster: xgb.Booster
    train: xgb.QuantileDMatrix
    check: xgb.DMatrix

    def grow(self, rounds: range) -> float:
        """Grow these rounds; the metric on the early-stopping rows after the last of them."""
        for number in rounds:
            self.booster.update(self.train, number)
        return float(str(self.booster.eval(self.check)).rsplit(":", 1)[1])


def _training_rows(folds: NDArray[np.int64], member: int) -> NDArray[np.bool_]:
    training: NDArray[np.bool_] = (folds != member) & (folds != (member + 1) % FOLDS)
    return training


def fit_members(
    matrix: NDArray[np.float32],
    label: NDArray[np.int64],
    folds: NDArray[np.int64],
    settings: ModelSettings,
    monotone: tuple[int, ...] | None = None,
    count: int | None = None,
) -> list[Member]:
    """Train the members; `folds` numbers each row's fold 0 to 4 and every fold holds both outcomes.

    `count` is how many, by default all five, or one where the table is large.
    """
    count = count or (FOLDS if len(label) < SINGLE_MEMBER_FROM_ROWS else 1)
    scale = fit_scale(matrix, settings.seed)
    members: list[Member] = []
    for member, booster in enumerate(_boost(matrix, label, folds, count, settings, monotone)):
        training = np.flatnonzero(_training_rows(folds, member))
        near = members[0].line if members else None
        line = fit_linear(scale, matrix, label, settings.seed, monotone, training, near)
        members.append(Member(booster, line, booster.num_boosted_rounds(), (member + 1) % FOLDS))
    return members


def held_out_margins(
    members: list[Member], matrix: NDArray[np.float32], folds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """For each row both margins (trees, line) of the member that left it to calibration; NaN where there is none."""
    margins = np.full((len(folds), 2), np.nan)
    for member in members:
        rows = folds == member.calibration_fold
        margins[rows, 0] = member.booster.inplace_predict(matrix[rows], predict_type="margin")
        margins[rows, 1] = member.line.margin(matrix[rows])
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
