"""Every feature of a loan, defined once for training, batch and single scoring."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import polars as pl

from credit_risk_assets.credit.expressions import columns_of, to_polars
from credit_risk_assets.credit.families import borrower, bureau, loan, repayment, risk
from credit_risk_assets.credit.feature import Feature
from credit_risk_assets.credit.scalar import Value, to_python
from credit_risk_assets.tape import contract

FEATURES: tuple[Feature, ...] = (
    *bureau.FEATURES,
    *loan.FEATURES,
    *repayment.FEATURES,
    *borrower.FEATURES,
    *risk.FEATURES,
)
BY_NAME: dict[str, Feature] = {feature.name: feature for feature in FEATURES}
DERIVED: tuple[Feature, ...] = tuple(feature for feature in FEATURES if not feature.from_tape)
"""Features that are computed; the others are tape columns used as they stand."""

FEW_ROWS = 256
_SPARK_TYPES = {"string": "string", "double": "double", "int": "int"}


def model_features(*, protected: bool = False) -> tuple[Feature, ...]:
    """The features that may enter the model; with `protected`, the protected ones beside them.

    The second set is for measuring what leaving them out costs, never for a decision.
    """
    return tuple(feature for feature in FEATURES if feature.in_model or (protected and feature.protected))


@lru_cache(maxsize=1)
def _layers() -> tuple[tuple[Feature, ...], ...]:
    known = set(contract.NAMES)
    waiting = list(DERIVED)
    layers: list[tuple[Feature, ...]] = []
    while waiting:
        layer = tuple(feature for feature in waiting if columns_of(feature.sql) <= known)
        if not layer:
            names = ", ".join(feature.name for feature in waiting)
            raise ValueError(f"features {names}: they read a column that no tape and no other feature has")
        layers.append(layer)
        known.update(feature.name for feature in layer)
        waiting = [feature for feature in waiting if feature.name not in known]
    return tuple(layers)


def feature_layers() -> list[dict[str, str]]:
    """Computed features as ordered groups of name -> Spark SQL; a group reads only what stands before it.

    Each text is cast to the feature's type, so that every engine makes the same column type.
    """
    return [
        {feature.name: f"cast({feature.sql} as {_SPARK_TYPES[feature.type]})" for feature in layer}
        for layer in _layers()
    ]


def _needed(wanted: frozenset[str]) -> list[dict[str, str]]:
    """The layers without what the wanted features do not need."""
    needed = set(wanted)
    for layer in reversed(feature_layers()):
        for name, sql in layer.items():
            if name in needed:
                needed |= columns_of(sql)
    layers = [{name: sql for name, sql in layer.items() if name in needed} for layer in feature_layers()]
    return [layer for layer in layers if layer]


@lru_cache(maxsize=8)
def _expressions(wanted: frozenset[str]) -> tuple[tuple[pl.Expr, ...], ...]:
    return tuple(tuple(to_polars(sql).alias(name) for name, sql in layer.items()) for layer in _needed(wanted))


@lru_cache(maxsize=8)
def _functions(wanted: frozenset[str]) -> tuple[tuple[str, Value], ...]:
    return tuple((name, to_python(sql)) for layer in _needed(wanted) for name, sql in layer.items())


def add_features(tape: pl.DataFrame, wanted: Iterable[str] = BY_NAME) -> pl.DataFrame:
    """The tape rows with computed features (all, or those wanted), without Spark; typed as the contract says."""
    frame = tape
    for layer in _expressions(frozenset(wanted)):
        # a few rows are computed sooner by one thread than shared out among several
        frame = frame.with_columns_seq(layer) if len(frame) < FEW_ROWS else frame.with_columns(layer)
    return frame


def add_loan_features(loan: dict[str, Any], wanted: Iterable[str] = BY_NAME) -> None:
    """Put the computed features (all, or those wanted) into one loan's typed values: the bits of `add_features`.

    `loan` holds every tape column, None where there is no value. Raises `ZeroDivisionError` where a table would
    hold an infinity.
    """
    for name, compute in _functions(frozenset(wanted)):
        loan[name] = compute(loan)
