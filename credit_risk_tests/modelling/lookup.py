"""Figures by what they are of, and a training whose test rows are chosen by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.train import TrainingResult

Key = tuple[str, str, str]


def by_key(figures: Iterable[Figure]) -> dict[Key, Figure]:
    """Figures by subject, item and metric; two of one key are an error."""
    found: dict[Key, Figure] = {}
    for figure in figures:
        key = (figure.subject, figure.item, figure.metric)
        assert key not in found, key
        found[key] = figure
    return found


def values(figures: Iterable[Figure], subject: str, metric: str) -> dict[str, float]:
    """The metric of each of the subject's groups."""
    return {f.item: f.value for f in figures if f.subject == subject and f.metric == metric and f.item}


def with_test_rows(
    result: TrainingResult, columns: dict[str, Sequence[object]], label: Sequence[int], predicted: Sequence[float]
) -> TrainingResult:
    """The training with other test rows: those columns, outcomes and probabilities."""
    rows = len(label)
    frame = pl.DataFrame(
        {"loan_id": [f"L{row}" for row in range(rows)], "observation_date": [result.test_date] * rows, **columns}
    )
    return dataclasses.replace(
        result, tested=frame, label=np.array(label, dtype=np.int64), predicted=np.array(predicted, dtype=float)
    )


def shuffled(result: TrainingResult, seed: int = 5) -> TrainingResult:
    """The same test rows in another order."""
    order = np.random.default_rng(seed).permutation(len(result.label))
    return dataclasses.replace(
        result,
        tested=result.tested[order.tolist()],
        label=result.label[order],
        predicted=result.predicted[order],
    )


def assert_same(first: Sequence[Figure], second: Sequence[Figure]) -> None:
    """Equal figures but for rounding."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert dataclasses.astuple(one)[:4] == dataclasses.astuple(other)[:4]
        np.testing.assert_allclose(
            np.array(dataclasses.astuple(one)[4:], dtype=float),
            np.array(dataclasses.astuple(other)[4:], dtype=float),
            rtol=1e-9,
            atol=1e-12,
            err_msg=str(one),
        )
