"""Turns features into the numbers the model reads, and keeps how it was done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.frames import Frame, is_text, numbers, words

PRIOR_ROWS = 20.0
"""A category's bad rate is drawn towards the average as if this many average rows had been added to it."""


def _rates(codes: NDArray[np.int64], bad: NDArray[np.float64], size: int, prior: float) -> NDArray[np.float64]:
    count = np.bincount(codes, minlength=size)
    bads = np.bincount(codes, weights=bad, minlength=size)
    rates: NDArray[np.float64] = (bads + PRIOR_ROWS * prior) / (count + PRIOR_ROWS)
    return rates


@dataclass(frozen=True)
class Encoders:
    """How each feature becomes one float32 number.

    Numbers stay as they are and gaps stay gaps, which the trees handle. A word becomes the smoothed bad rate of
    its category in the training data; a category never seen, and a gap where training had none, becomes the
    average.
    """

    columns: tuple[str, ...]
    categories: dict[str, dict[str | None, float]]
    prior: float

    def transform(self, frame: Frame) -> NDArray[np.float32]:
        """Rows x features, float32, C order. Raises `ModelDataError` naming columns that are missing."""
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            raise ModelDataError(f"the model needs the columns {', '.join(missing)}, which the table lacks")
        matrix = np.empty((len(frame), len(self.columns)), dtype=np.float32)
        for place, name in enumerate(self.columns):
            known = self.categories.get(name)
            if known is None:
                matrix[:, place] = numbers(frame[name])
            else:
                matrix[:, place] = self._rates_of(frame[name], known)
        return matrix

    def _rates_of(self, column: Any, known: Mapping[str | None, float]) -> NDArray[np.float64]:
        if isinstance(column, pl.Series):
            texts = column.cast(pl.String)
            distinct = texts.unique()
            rates = [known.get(word, self.prior) for word in words(distinct)]
            return texts.replace_strict(distinct, rates, return_dtype=pl.Float64).to_numpy()
        return np.array([known.get(word, self.prior) for word in words(column)], dtype=float)

    def transform_loans(self, loans: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """A few loans, each a mapping of typed values by column name: the same numbers as `transform`."""
        rows = [[self._number(name, loan[name]) for name in self.columns] for loan in loans]
        matrix = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.columns)).astype(np.float32)
        matrix[~np.isfinite(matrix)] = np.nan
        return matrix

    def _number(self, name: str, value: Any) -> float:
        known = self.categories.get(name)
        if known is not None:
            return known.get(value, self.prior)
        return math.nan if value is None else value


def fit_encoders(
    frame: Frame,
    columns: Sequence[str],
    label: NDArray[np.int64],
    folds: NDArray[np.int64],
    text: Sequence[str] | None = None,
) -> tuple[Encoders, NDArray[np.float32]]:
    """Encoders for new rows, and the matrix of the training rows themselves.

    A training row's category carries the bad rate of the other folds only: its own outcome must not reach its
    features. `text` names the categorical columns, by default those that hold words.
    """
    prior = float(label.mean())
    names = tuple(columns)
    chosen = set(text) if text is not None else {name for name in names if is_text(frame[name])}
    matrix = np.empty((len(frame), len(names)), dtype=np.float32)
    categories: dict[str, dict[str | None, float]] = {}
    bad = label.astype(float)
    for place, name in enumerate(names):
        if name not in chosen:
            matrix[:, place] = numbers(frame[name])
            continue
        codes, found = pd.factorize(words(frame[name]), use_na_sentinel=False)
        values = [None if pd.isna(value) else str(value) for value in found]
        rates = _rates(codes, bad, len(values), prior)
        categories[name] = dict(zip(values, rates.tolist(), strict=True))
        for fold in np.unique(folds):
            inside = folds == fold
            others = _rates(codes[~inside], bad[~inside], len(values), prior)
            matrix[inside, place] = others[codes[inside]]
    return Encoders(names, categories, prior), matrix
