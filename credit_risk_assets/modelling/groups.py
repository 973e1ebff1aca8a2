"""Rows with their outcome and their PD, and how a validation parts them into groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from credit_risk_assets.modelling.evaluate import Metric, delong_interval

if TYPE_CHECKING:
    from credit_risk_assets.modelling.train import TrainingResult

MISSING = "missing"
"""The group of rows whose column has no value."""
MINIMUM_OUTCOMES = 10
"""An AUC is given from this many rows of either outcome on; its interval means nothing with fewer."""


@dataclass(frozen=True)
class Judged:
    """Loans with what happened to them (1 = default) and the PD that was predicted, row for row."""

    frame: pl.DataFrame
    label: NDArray[np.int64]
    predicted: NDArray[np.float64]

    def where(self, rows: NDArray[np.bool_]) -> Judged:
        """The rows chosen."""
        return Judged(self.frame.filter(pl.Series(rows)), self.label[rows], self.predicted[rows])

    def by_risk(self) -> Judged:
        """The rows by their PD: the ranks of any part of them are then found without sorting."""
        order = np.argsort(self.predicted, kind="stable")
        return Judged(self.frame[order], self.label[order], self.predicted[order])

    def __len__(self) -> int:
        return len(self.label)


def tested_rows(result: TrainingResult) -> Judged:
    """The rows that decided nothing."""
    return Judged(result.tested, result.label, result.predicted)


def held_out_rows(result: TrainingResult) -> Judged:
    """Development rows as predicted by the member that left them to calibration; without those that none left."""
    known = ~np.isnan(result.trained.held_out)
    return Judged(result.development, result.development_label, result.trained.held_out).where(known)


def group_names(column: pl.Series) -> NDArray[np.object_]:
    """Each row's group as a word; `missing` where the column has no value."""
    words = column.cast(pl.String)
    return words.set(words.str.strip_chars() == "", None).fill_null(MISSING).to_numpy().astype(object)


def parted(names: NDArray[np.object_], order: Sequence[str] = ()) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each group with its rows: in the order given, the others by name, `missing` last."""
    codes, kinds = pd.factorize(names)  # numbers compare faster than words
    found = {str(name): code for code, name in enumerate(kinds)}
    known = [name for name in order if name in found]
    others = sorted(set(found) - set(known) - {MISSING})
    for name in (*known, *others, *([MISSING] if MISSING in found and MISSING not in known else [])):
        yield name, codes == found[name]


def group_auc(label: NDArray[np.int64], predicted: NDArray[np.float64]) -> Metric | None:
    """AUC with DeLong's interval; None where an outcome occurs too seldom."""
    bad = int(label.sum())
    if min(bad, len(label) - bad) < MINIMUM_OUTCOMES:
        return None
    return delong_interval(label, predicted)
