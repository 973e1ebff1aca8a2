"""The default model and what it says of every loan on book."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql.types import DoubleType, StringType, StructField, StructType, TimestampType

from credit_risk_assets.assets.common import OWNERS, asset_attributes, materialized
from credit_risk_assets.assets.inputs import model_inputs, sample_suffices, score_inputs
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.automation.jobs import MODEL_KEY
from credit_risk_assets.config.tables import DEVELOPMENT_SAMPLE, LOAN_SCORES, LOANS, MODEL_NAME, MODEL_PERFORMANCE
from credit_risk_assets.credit.features import model_features
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.modelling.evaluate import BOOTSTRAP_REPLICATES
from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE
from credit_risk_assets.modelling.score import SCORE_SCHEMA, dump_model, make_scorer, scorer_columns
from credit_risk_assets.modelling.train import TrainingResult, analysed_columns, train_default_model
from credit_risk_assets.resources.commits import IdempotenceKey
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.mlflow import Registered, load_version, register, version_tags
from credit_risk_assets.resources.platform import Platform

PERFORMANCE_SCHEMA = StructType(
    [
        StructField("model_version", StringType()),
        StructField("data_set", StringType()),
        StructField("metric", StringType()),
        StructField("value", DoubleType()),
        StructField("lower", DoubleType()),
        StructField("upper", DoubleType()),
        StructField("computed_at", TimestampType()),
    ]
)
LEAKS_METRIC = "leak_findings"


def training_frame(lakehouse: Lakehouse) -> Any:
    """The columns of the development sample that training reads, as an Arrow table."""
    keys = ["loan_id", "customer_id", OBSERVATION_DATE, LABEL]
    names = [feature.name for feature in model_features() if feature.name not in keys]
    names += [name for name in analysed_columns() if name not in keys]
    return lakehouse.read(DEVELOPMENT_SAMPLE).select(*keys, *names).toArrow()


def performance_rows(result: TrainingResult, version: str, now: datetime) -> list[tuple[Any, ...]]:
    """The rows of gold/model_performance for one version."""
    rows: list[tuple[Any, ...]] = [
        (version, data_set, name, float(m.value), _number(m.lower), _number(m.upper), now)
        for data_set, metrics in result.metrics.items()
        for name, m in metrics.items()
    ]
    return [*rows, (version, result.test_set, LEAKS_METRIC, float(len(result.leaks)), None, None, now)]


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _registered_metadata(result: TrainingResult, registered: Registered) -> dict[str, Any]:
    rows = [
        f"| {name} | {m.value:.4f} | {'' if m.lower is None else f'{m.lower:.4f} to {m.upper:.4f}'} |"
        for name, m in result.test_metrics.items()
    ]
    return {
        "model_version": registered.version,
        "alias": registered.alias,
        "mlflow_run_id": registered.run_id,
        "tested_on": f"{result.test_set} ({result.test_date})",
        "auc": float(result.test_metrics["auc"].value),
        "gate": "; ".join(registered.findings) or "nothing against promotion",
        "metrics": dg.MetadataValue.md("\n".join(["| metric | value | 95 % interval |", "|---|---|---|", *rows])),
    }


@dg.multi_asset(
    name="default_model",
    specs=[
        dg.AssetSpec(
            MODEL_KEY,
            deps=[DEVELOPMENT_SAMPLE.key],
            description=f"The calibrated default model, registered in MLflow as `{MODEL_NAME}`.",
            group_name="model",
            kinds={"xgboost", "mlflow"},
            owners=[OWNERS["model"]],
            skippable=True,
        ),
        dg.AssetSpec(**asset_attributes(MODEL_PERFORMANCE), deps=[DEVELOPMENT_SAMPLE.key], skippable=True),
    ],
    retry_policy=RETRIES,
)
@retried
def default_model(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform], mlflow: dg.ResourceParam[Any]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Train, calibrate and test on the development sample; register the result and record its performance."""
    lakehouse, settings = platform.lakehouse, platform.settings
    if reason := sample_suffices(lakehouse, settings.model):
        context.log.warning(f"no model: {reason}")
        _forget_run(mlflow)
        return
    inputs = model_inputs(lakehouse, settings.model)
    if lakehouse.inputs(MODEL_PERFORMANCE) == inputs:
        _forget_run(mlflow)
        tags = version_tags(settings)
        yield dg.MaterializeResult(asset_key=MODEL_KEY, metadata={"unchanged": True, "gate": tags.get("gate", "")})
        yield materialized(lakehouse, MODEL_PERFORMANCE)
        return
    result = train_default_model(training_frame(lakehouse), settings.model, replicates=BOOTSTRAP_REPLICATES)
    registered = register(result, settings, {"development_sample_version": str(inputs[DEVELOPMENT_SAMPLE.path])})
    rows = performance_rows(result, registered.version, datetime.now(UTC))
    frame = lakehouse.session.createDataFrame(rows, PERFORMANCE_SCHEMA)
    lakehouse.append(MODEL_PERFORMANCE, frame, key=IdempotenceKey(f"model/{registered.version}"), inputs=inputs)
    yield dg.MaterializeResult(asset_key=MODEL_KEY, metadata=_registered_metadata(result, registered))
    yield materialized(lakehouse, MODEL_PERFORMANCE, model_version=registered.version)


def _forget_run(mlflow: Any) -> None:
    """A run that trained nothing leaves nothing in MLflow."""
    run = mlflow.active_run()
    if run is not None:
        mlflow.end_run()
        mlflow.delete_run(run.info.run_id)


def _scored(lakehouse: Lakehouse, platform: Platform) -> DataFrame:
    champion = load_version(platform.settings)
    book = lakehouse.read(LOANS).where(ON_BOOK_SQL).select(*scorer_columns(champion.model))
    scorer = make_scorer(dump_model(champion.model, champion.encoders), datetime.now(UTC))
    return book.mapInArrow(scorer, SCORE_SCHEMA)


@dg.asset(
    **asset_attributes(LOAN_SCORES),
    deps=[LOANS.key, MODEL_KEY, MODEL_PERFORMANCE.key],
    output_required=False,
    retry_policy=RETRIES,
)
@retried
def loan_scores(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Probability, rating, points and reasons of every loan on book, by the champion."""
    lakehouse = platform.lakehouse
    if not lakehouse.exists(MODEL_PERFORMANCE):
        context.log.warning("no scores: no model has been trained yet")
        return
    inputs = score_inputs(lakehouse)
    if lakehouse.inputs(LOAN_SCORES) != inputs:
        lakehouse.overwrite(LOAN_SCORES, _scored(lakehouse, platform), inputs=inputs)
    yield materialized(lakehouse, LOAN_SCORES)
