"""The numbers that judge a default model, from outcomes, probabilities and row weights.

Rows are sorted once; a bootstrap replicate is the same rows, or cells of rows of about one probability, with other
weights, so that hundreds of replicates cost little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ECE_BINS = 10
CELLS = 1_000
_EPSILON = 1e-15


@dataclass(frozen=True)
class Ranked:
    """Outcomes and probabilities from the riskiest row to the safest; `ends` closes each run of equal ones.

    `losses` are the rows' log losses, `squares` their squared errors.
    """

    bad: Floats
    pd: Floats
    ends: NDArray[np.intp]
    losses: Floats
    squares: Floats


def ranked(label: NDArray[np.int64], pd_12m: Floats) -> Ranked:
    """Sort rows from the riskiest to the safest."""
    order = np.argsort(-pd_12m, kind="stable")
    sorted_pd = pd_12m[order]
    ends = np.flatnonzero(np.append(np.diff(sorted_pd) != 0, True))
    bad = label[order].astype(float)
    clipped = np.clip(sorted_pd, _EPSILON, 1 - _EPSILON)
    losses = -np.where(bad > 0, np.log(clipped), np.log1p(-clipped))
    return Ranked(bad, sorted_pd, ends, losses, (sorted_pd - bad) ** 2)


def cells(rows: Ranked, threshold: float, most: int = CELLS) -> tuple[Ranked, NDArray[np.int64]]:
    """The rows in at most `most` (and one more) runs of neighbours, as one row a run and outcome, and how many each is.

    Equal probabilities stay together and no run crosses the threshold; with fewer different probabilities than
    `most` nothing is lost. A run's rows count as having its mean probability.
    """
    size = len(rows.pd)
    ends = rows.ends
    if len(ends) > most:
        wanted = np.searchsorted(ends + 1, np.arange(1, most + 1) * size / most, side="left")
        above = int(np.searchsorted(-rows.pd, -threshold, side="right"))
        ends = np.unique(np.concatenate((ends[np.minimum(wanted, len(ends) - 1)], [above - 1] if above else [])))
        ends = ends.astype(np.intp)
    starts = np.concatenate(([0], ends[:-1] + 1))

    def parted(values: Floats) -> Floats:
        """The sums over each run's bad and good rows, one after the other."""
        bads = np.add.reduceat(values * rows.bad, starts)
        return np.column_stack((bads, np.add.reduceat(values, starts) - bads)).ravel()

    counts = np.rint(parted(np.ones(size)))
    held = counts > 0
    means = np.repeat(np.add.reduceat(rows.pd, starts) / np.diff(np.append(starts, size)), 2)
    closing = np.cumsum(held)[1::2] - 1
    found = Ranked(
        np.tile([1.0, 0.0], len(starts))[held],
        means[held],
        closing,
        parted(rows.losses)[held] / counts[held],
        parted(rows.squares)[held] / counts[held],
    )
    return found, counts[held].astype(np.int64)


def measure(
    rows: Ranked, threshold: float, weights: Floats | None = None, *, costs: tuple[float, float] | None = None
) -> dict[str, float]:
    """Every metric of the model on these rows; at `threshold` and above a loan is predicted to default.

    auc, gini = 2 auc - 1, ks = max |F_bad - F_good|, pr_auc (average precision), brier, log_loss, ece (weighted
    mean |observed - predicted| over ten equal-count bins), mean_pd and observed_rate and their ratio,
    accuracy, precision, recall, specificity, f1 and the share predicted bad at the threshold, capture_10 and
    lift_10 (share of defaults, and rate over average, among the riskiest tenth); precision_at_recall_70,
    accuracy_at_recall_70 and threshold_at_recall_70, where the riskiest loans with 70 % of the defaults are declined;
    the threshold's counts true_positives, false_positives, true_negatives and false_negatives (positive: predicted to
    default). With `costs` (what a granted default and what a declined good loan cost, as shares of the amount):
    expected_cost per loan at the threshold, and expected_cost_grant_all where nothing is declined.
    """
    bad, pd = rows.bad, rows.pd
    weight = np.ones_like(pd) if weights is None else weights
    bads, alls = np.cumsum(weight * bad), np.cumsum(weight)
    goods = alls - bads
    total, total_bad, total_good = float(alls[-1]), float(bads[-1]), float(goods[-1])
    tp = np.concatenate(([0.0], bads[rows.ends])) / total_bad
    fp = np.concatenate(([0.0], goods[rows.ends])) / total_good
    auc = float(np.sum(np.diff(fp) * (tp[1:] + tp[:-1]) / 2))
    precision_curve = bads[rows.ends] / np.maximum(alls[rows.ends], _EPSILON)

    reached_alls, reached_bads = alls[rows.ends], bads[rows.ends]
    edges = np.searchsorted(reached_alls, np.arange(1, ECE_BINS) * total / ECE_BINS, side="left")
    starts = np.unique(np.concatenate(([0], rows.ends[np.minimum(edges, len(rows.ends) - 1)] + 1)))
    starts = starts[starts < len(pd)]
    gaps = np.add.reduceat(weight * (bad - pd), starts)

    cut = int(np.searchsorted(-pd, -threshold, side="right"))
    true_bad = float(bads[cut - 1]) if cut else 0.0
    flagged = float(alls[cut - 1]) if cut else 0.0
    true_good = total_good - (flagged - true_bad)
    precision = true_bad / flagged if flagged else 0.0
    recall = true_bad / total_bad
    mean_pd, observed = float(np.dot(weight, pd)) / total, total_bad / total
    capture = float(np.interp(0.1 * total, np.append(0.0, reached_alls), np.append(0.0, reached_bads))) / total_bad
    # loans of one probability are declined together
    reached = int(np.searchsorted(bads[rows.ends], 0.7 * total_bad * (1 - _EPSILON), side="left"))
    at_70 = int(rows.ends[min(reached, len(rows.ends) - 1)])
    cost = {}
    if costs is not None:
        lgd, margin = costs
        cost = {
            "expected_cost": ((total_bad - true_bad) * lgd + (flagged - true_bad) * margin) / total,
            "expected_cost_grant_all": observed * lgd,
        }
    return {
        "auc": auc,
        "gini": 2 * auc - 1,
        "ks": float(np.max(np.abs(tp - fp))),
        "pr_auc": float(np.sum(np.diff(tp) * precision_curve)),
        "brier": float(np.dot(weight, rows.squares)) / total,
        "log_loss": float(np.dot(weight, rows.losses)) / total,
        "ece": float(np.abs(gaps).sum()) / total,
        "mean_pd": mean_pd,
        "observed_rate": observed,
        "pd_to_observed": mean_pd / observed,
        "accuracy": (true_bad + true_good) / total,
        "precision": precision,
        "recall": recall,
        "specificity": true_good / total_good,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "predicted_bad_share": flagged / total,
        "capture_10": capture,
        "lift_10": capture / 0.1,
        "precision_at_recall_70": float(bads[at_70] / alls[at_70]),
        "accuracy_at_recall_70": float((bads[at_70] + total_good - goods[at_70]) / total),
        "threshold_at_recall_70": float(pd[at_70]),
        "true_positives": true_bad,
        "false_positives": flagged - true_bad,
        "true_negatives": true_good,
        "false_negatives": total_bad - true_bad,
        **cost,
    }
