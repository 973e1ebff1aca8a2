"""The default model and what it says of every loan on book."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql.types import DoubleType, StringType, StructField, StructType, TimestampType

from credit_risk_assets.assets.common import OWNERS, asset_attributes, materialized
from credit_risk_assets.assets.inputs import model_inputs, sample_suffices, score_inputs, shadow_inputs
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.automation.jobs import CHAMPION_KEY, MODEL_KEY
from credit_risk_assets.config.tables import (
    CHALLENGER,
    CHALLENGER_SCORES,
    CHAMPION,
    DEVELOPMENT_SAMPLE,
    INGESTION_LOG,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOANS,
    MODEL_DECISIONS,
    MODEL_NAME,
    MODEL_PERFORMANCE,
    MODEL_VALIDATION,
)
from credit_risk_assets.credit.features import model_features
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.modelling.benchmarks import benchmark_figures, compared_rows, train_rivals
from credit_risk_assets.modelling.champion import compare
from credit_risk_assets.modelling.evaluate import BOOTSTRAP_REPLICATES
from credit_risk_assets.modelling.exclusions import loans_at, sample_figures
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE, drawn_sql
from credit_risk_assets.modelling.score import SCORE_ARROW_SCHEMA, SCORE_SCHEMA, dump_model, make_scorer, scorer_columns
from credit_risk_assets.modelling.train import TrainingResult, analysed_columns, divide_sample, train_default_model
from credit_risk_assets.modelling.validation import validate
from credit_risk_assets.resources.commits import IdempotenceKey, arrow_rows
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.mlflow import LoadedModel, NoChampionError, load_version, log_figures, register
from credit_risk_assets.resources.model_document import FOLDER as DOCUMENT_FOLDER
from credit_risk_assets.resources.model_document import log_document
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.registry import (
    GATE,
    REGISTERED,
    RegistryError,
    champion_of,
    decisions,
    is_open,
    judged,
    newest_of,
    newest_version,
    promote,
    record,
    refuse,
)

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
VALIDATION_SCHEMA = StructType(
    [
        StructField("model_version", StringType()),
        StructField("analysis", StringType()),
        StructField("subject", StringType()),
        StructField("item", StringType()),
        StructField("metric", StringType()),
        StructField("value", DoubleType()),
        StructField("lower", DoubleType()),
        StructField("upper", DoubleType()),
        StructField("position", DoubleType()),
        StructField("computed_at", TimestampType()),
    ]
)
SHADOW_COLUMNS = ("loan_id", "as_of_date", "pd_12m", "risk_rating", "score_points", "model_version", "scored_at")


def training_frame(lakehouse: Lakehouse, most: int) -> Any:
    """The columns of the development sample that training reads, of about `most` rows at most, as an Arrow table."""
    keys = ["loan_id", "customer_id", OBSERVATION_DATE, LABEL]
    names = [feature.name for feature in model_features() if feature.name not in keys]
    names += [name for name in analysed_columns() if name not in keys]
    drawn = drawn_sql(lakehouse.row_count(DEVELOPMENT_SAMPLE), most)
    return lakehouse.read(DEVELOPMENT_SAMPLE).where(drawn).select(*keys, *names).toArrow()


def performance_rows(result: TrainingResult, version: str, now: datetime) -> list[tuple[Any, ...]]:
    """The rows of gold/model_performance for one version."""
    return [
        (version, data_set, name, float(m.value), _number(m.lower), _number(m.upper), now)
        for data_set, metrics in result.metrics.items()
        for name, m in metrics.items()
    ]


def validation_rows(figures: Sequence[Figure], version: str, now: datetime) -> list[tuple[Any, ...]]:
    """The rows of gold/model_validation for one version."""
    return [
        (
            version, figure.analysis, figure.subject, figure.item, figure.metric, float(figure.value),
            _number(figure.lower), _number(figure.upper), _number(figure.position), now,
        )
        for figure in figures
    ]  # fmt: skip


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _sample_figures(lakehouse: Lakehouse, result: TrainingResult) -> list[Figure]:
    """Whom the training looked at and whom it left out."""
    dates = {
        row[0]
        for frame in (result.development, result.tested)
        for row in frame.select(OBSERVATION_DATE).unique().rows()
    }
    population = [row.asDict() for row in loans_at(lakehouse.read(LOAN_HISTORY), dates).collect()]
    if lakehouse.row_count(DEVELOPMENT_SAMPLE) > len(result.development_label) + len(result.label):  # a part was drawn
        counted = lakehouse.read(DEVELOPMENT_SAMPLE).groupBy(OBSERVATION_DATE).count().collect()
        observed = {row[0]: row[1] for row in counted}
        population = [{**row, "observed": observed.get(row["as_of_date"])} for row in population]
    intake = lakehouse.rows(INGESTION_LOG, ["rows_read", "rows_rejected"])
    return sample_figures(result, population, intake)


def _reigning(platform: Platform) -> LoadedModel | None:
    """The champion in force, by MLflow's alias; None before the first."""
    try:
        return load_version(platform.settings)
    except NoChampionError:
        return None


def _trained_metadata(result: TrainingResult, version: str, run_id: str) -> dict[str, Any]:
    rows = [
        f"| {name} | {m.value:.4f} | {'' if m.lower is None else f'{m.lower:.4f} to {m.upper:.4f}'} |"
        for name, m in result.test_metrics.items()
    ]
    return {
        "model_version": version,
        "mlflow_run_id": run_id,
        "model_document": f"{DOCUMENT_FOLDER}/model_document.html among the artifacts of the MLflow run",
        "tested_on": f"{result.test_set} ({result.test_date})",
        "auc": float(result.test_metrics["auc"].value),
        "metrics": dg.MetadataValue.md("\n".join(["| metric | value | 95 % interval |", "|---|---|---|", *rows])),
    }


@dg.multi_asset(
    name="default_model",
    specs=[
        dg.AssetSpec(
            MODEL_KEY,
            deps=[DEVELOPMENT_SAMPLE.key],
            description=f"The calibrated default model: each training is a new challenger, `{MODEL_NAME}` in MLflow.",
            group_name="model",
            kinds={"xgboost", "mlflow"},
            owners=[OWNERS["model"]],
            skippable=True,
        ),
        dg.AssetSpec(**asset_attributes(MODEL_PERFORMANCE), deps=[DEVELOPMENT_SAMPLE.key], skippable=True),
        dg.AssetSpec(**asset_attributes(MODEL_VALIDATION), deps=[DEVELOPMENT_SAMPLE.key], skippable=True),
    ],
    retry_policy=RETRIES,
)
@retried
def default_model(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform], mlflow: dg.ResourceParam[Any]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Train, calibrate, test and validate on the development sample; register the result as the challenger."""
    lakehouse, settings = platform.lakehouse, platform.settings
    if reason := sample_suffices(lakehouse, settings.model):
        context.log.warning(f"no model: {reason}")
        _forget_run(mlflow)
        return
    inputs = model_inputs(lakehouse, settings.model)
    tables = (MODEL_PERFORMANCE, MODEL_VALIDATION)
    if all(lakehouse.inputs(table) == inputs for table in tables):
        _forget_run(mlflow)
        yield dg.MaterializeResult(
            asset_key=MODEL_KEY, metadata={"unchanged": True, "model_version": newest_version(lakehouse) or ""}
        )
        for table in tables:
            yield materialized(lakehouse, table)
        return
    sample = divide_sample(training_frame(lakehouse, settings.model.maximum_sample_rows), settings.model)
    rivals = platform.beside(train_rivals, compared_rows(sample, settings.model), settings.model)
    result = train_default_model(sample, settings.model, replicates=BOOTSTRAP_REPLICATES)
    figures = validate(result, settings.model)
    figures += _sample_figures(lakehouse, result)
    figures += [Figure("leak", finding, "", "finding", 1.0) for finding in result.leaks]
    # Begun now: what is registered belongs to it, and the second process has made the store meanwhile.
    mlflow.active_run()
    champion = _reigning(platform)
    if champion is not None:
        figures += compare(result, champion.version, champion.model, champion.encoders)
    tags = {"development_sample_version": str(inputs[DEVELOPMENT_SAMPLE.path])}
    registered = register(result, settings, tags)
    version, now = registered.version, datetime.now(UTC)
    figures += benchmark_figures(result, rivals(), settings.model)
    log_figures(settings, registered.run_id, figures)
    record(
        lakehouse,
        version,
        REGISTERED,
        champion.version if champion else None,
        by=GATE,
        reasons=f"AUC {result.test_metrics['auc'].value:.4f} on {result.test_set} ({result.test_date})",
        run_id=context.run_id,
    )
    key = IdempotenceKey(f"model/{version}")
    lakehouse.ensure(MODEL_VALIDATION, VALIDATION_SCHEMA)
    shown = arrow_rows(validation_rows(figures, version, now), VALIDATION_SCHEMA)
    lakehouse.append(MODEL_VALIDATION, shown, key=key, inputs=inputs)
    measured = arrow_rows(performance_rows(result, version, now), PERFORMANCE_SCHEMA)
    lakehouse.append(MODEL_PERFORMANCE, measured, key=key, inputs=inputs)
    platform.finish_later(platform.beside(log_document, settings, platform.lake_log, version))
    yield dg.MaterializeResult(asset_key=MODEL_KEY, metadata=_trained_metadata(result, version, registered.run_id))
    for table in tables:
        yield materialized(lakehouse, table, model_version=version)


def _forget_run(mlflow: Any) -> None:
    """A run that trained nothing leaves nothing in MLflow."""
    if not getattr(mlflow, "begun", True):
        return
    run = mlflow.active_run()
    if run is not None:
        mlflow.end_run()
        mlflow.delete_run(run.info.run_id)


@dg.multi_asset(
    name="champion_model",
    specs=[
        dg.AssetSpec(
            CHAMPION_KEY,
            deps=[MODEL_KEY, MODEL_PERFORMANCE.key, MODEL_VALIDATION.key],
            description="The version in force: the newest one where the gate let it through, else the one before.",
            group_name="model",
            kinds={"mlflow"},
            owners=[OWNERS["model"]],
            skippable=True,
        ),
        dg.AssetSpec(
            **asset_attributes(MODEL_DECISIONS),
            deps=[MODEL_KEY, MODEL_PERFORMANCE.key, MODEL_VALIDATION.key],
            skippable=True,
        ),
    ],
    retry_policy=RETRIES,
)
@retried
def champion_model(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Promote the newest version where nobody has decided on it yet and the gate has nothing against it."""
    platform.finish()
    lakehouse, settings = platform.lakehouse, platform.settings
    taken = decisions(lakehouse)
    newest = newest_of(taken)
    if newest is not None and is_open(taken, newest):
        # The gate's checks stop this step only inside the run that trained: here it is asked again.
        _, against = judged(lakehouse, settings.model, newest)
        if against:
            refuse(lakehouse, newest, against, run_id=context.run_id)
            context.log.warning(f"version {newest} is not promoted: {'; '.join(against)}")
        else:
            promote(
                lakehouse,
                settings,
                newest,
                by=GATE,
                reasons="nothing against promotion",
                run_id=context.run_id,
            )
        taken = decisions(lakehouse)
    champion = champion_of(taken)
    if champion is None:
        context.log.warning("no champion: no version has passed the gate yet")
        return
    last = taken[-1]
    yield dg.MaterializeResult(
        asset_key=CHAMPION_KEY,
        metadata={
            "model_version": champion,
            "last_decision": f"version {last.version} {last.action} by {last.decided_by}: {last.reasons}",
        },
        data_version=dg.DataVersion(champion),
    )
    yield materialized(lakehouse, MODEL_DECISIONS)


def _scored(lakehouse: Lakehouse, platform: Platform, alias: str, version: str, *, explain: bool) -> DataFrame:
    loaded = load_version(platform.settings, alias)
    if loaded.version != version:
        raise RegistryError(
            f"{MODEL_NAME}@{alias} is version {loaded.version} in MLflow, but version {version} in "
            f"{MODEL_DECISIONS.path}: aliases follow `credit-risk model promote`; promote the version that you mean"
        )
    book = lakehouse.read(LOANS).where(ON_BOOK_SQL).select(*scorer_columns(loaded.model))
    scorer = make_scorer(dump_model(loaded.model, loaded.encoders), datetime.now(UTC), explain=explain)
    return book.mapInArrow(scorer, SCORE_SCHEMA)


@dg.asset(
    **asset_attributes(LOAN_SCORES),
    deps=[LOANS.key, CHAMPION_KEY, MODEL_DECISIONS.key],
    output_required=False,
    retry_policy=RETRIES,
)
@retried
def loan_scores(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Probability, rating, points and reasons of every loan on book, by the champion."""
    lakehouse = platform.lakehouse
    inputs = score_inputs(lakehouse)
    if inputs is None:
        context.log.warning("no scores: no model has been promoted yet")
        return
    if lakehouse.inputs(LOAN_SCORES) != inputs:
        scored = _scored(lakehouse, platform, CHAMPION, inputs["champion"], explain=True)
        lakehouse.overwrite(LOAN_SCORES, scored, inputs=inputs)
    yield materialized(lakehouse, LOAN_SCORES)


@dg.asset(
    **asset_attributes(CHALLENGER_SCORES),
    deps=[LOANS.key, CHAMPION_KEY, MODEL_DECISIONS.key],
    output_required=False,
    retry_policy=RETRIES,
)
@retried
def challenger_scores(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Shadow scores of every loan on book by the challenger; no row where there is none."""
    lakehouse = platform.lakehouse
    inputs = shadow_inputs(lakehouse)
    if inputs is None:
        context.log.warning("no shadow scores: no model has been promoted yet")
        return
    if lakehouse.inputs(CHALLENGER_SCORES) != inputs:
        if inputs["challenger"]:
            shadow = _scored(lakehouse, platform, CHALLENGER, inputs["challenger"], explain=False)
        else:
            shadow = SCORE_ARROW_SCHEMA.empty_table()
        lakehouse.overwrite(CHALLENGER_SCORES, shadow.select(list(SHADOW_COLUMNS)), inputs=inputs)
    yield materialized(lakehouse, CHALLENGER_SCORES)
