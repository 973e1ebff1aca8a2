"""What a trained model has to show, as rows of gold/model_performance."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from credit_risk_assets.modelling.train import TrainingResult

PERFORMANCE_SCHEMA = pa.schema(
    [
        ("model_version", pa.string()),
        ("data_set", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("lower", pa.float64()),
        ("upper", pa.float64()),
        ("computed_at", pa.timestamp("us", tz="UTC")),
    ]
)


def performance_table(result: TrainingResult, version: str, computed_at: dt.datetime) -> pa.Table:
    """One row per data set and metric of a model version; bounds are null where a metric has no interval."""
    rows = [
        {
            "model_version": version,
            "data_set": data_set,
            "metric": name,
            "value": float(metric.value),
            "lower": None if metric.lower is None else float(metric.lower),
            "upper": None if metric.upper is None else float(metric.upper),
            "computed_at": computed_at,
        }
        for data_set, metrics in result.metrics.items()
        for name, metric in metrics.items()
    ]
    return pa.Table.from_pylist(rows, schema=PERFORMANCE_SCHEMA)
