"""Whether the champion still fits: drift since its development, and predicted against realised default rates."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from credit_risk_assets.assets.common import asset_attributes, materialized
from credit_risk_assets.assets.gold import full_tape_dates
from credit_risk_assets.assets.inputs import monitoring_inputs
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.checks.rules import aggregates
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import (
    CHALLENGER,
    CHAMPION,
    DEVELOPMENT_SAMPLE,
    FEATURE_DRIFT,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOANS,
    MODEL_MONITORING,
)
from credit_risk_assets.modelling.population import (
    REFERENCE_ROWS,
    bin_figures,
    drift_rows,
    reference_bins,
    segment_bins,
)
from credit_risk_assets.modelling.realised import (
    PERIOD,
    SILVER_DIMENSIONS,
    Followed,
    make_watcher,
    realised_rows,
    scored_schema,
    with_ratings,
)
from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE, PERFORMING_SQL, observation_pairs
from credit_risk_assets.modelling.score import dump_model
from credit_risk_assets.resources.commits import arrow_rows
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.mlflow import LoadedModel, NoChampionError, load_version, version_tags
from credit_risk_assets.resources.platform import Platform

_PARTS = 1_000_000
"""A loan is measured where the hash of its id, modulo this, lies below the sample's share of it."""
_TYPES: dict[str, DataType] = {
    **dict.fromkeys(("model_version", "alias", "kind", "feature", "dimension", "segment"), StringType()),
    **dict.fromkeys(("period", PERIOD), DateType()),
    **dict.fromkeys(("loans", "defaults", "reference_rows", "rows", "bins"), LongType()),
    **dict.fromkeys(("drifted", "in_training", "matured"), BooleanType()),
    "computed_at": TimestampType(),
}
DRIFT_SCHEMA, MONITORING_SCHEMA = (
    StructType([StructField(name, _TYPES.get(name, DoubleType())) for name in table.columns])
    for table in (FEATURE_DRIFT, MODEL_MONITORING)
)


def training_dates(tags: dict[str, str], matured: Sequence[date]) -> tuple[date, ...]:
    """The observation dates that trained a version: those before the date it was tested on.

    A version tested on customers that it had left out (`out_of_sample`) was trained on the others of that date.
    """
    tested = date.fromisoformat(tags["test_date"])
    return tuple(day for day in matured if day < tested or (day == tested and tags["test_set"] == "out_of_sample"))


def _versions(settings: Settings) -> dict[str, LoadedModel]:
    """The champion and, where there is another version, the challenger, by alias."""
    found = {CHAMPION: load_version(settings)}
    try:
        challenger = load_version(settings, CHALLENGER)
    except NoChampionError:
        return found
    return found if challenger.version == found[CHAMPION].version else {**found, CHALLENGER: challenger}


def _loans(
    lakehouse: Lakehouse, columns: Sequence[str], tapes: Sequence[date], matured: Sequence[date]
) -> tuple[DataFrame, int]:
    """Performing loans at each date: those whose outcome is known, those of later tapes, and as they stand now.

    Beside them how many rows they are at most.
    """
    newest = lakehouse.read(LOANS).agg(F.max("as_of_date")).collect()[0][0]
    unknown = F.lit(None).cast("int").alias(LABEL)
    sample = lakehouse.read(DEVELOPMENT_SAMPLE)
    found = sample.select(F.col(OBSERVATION_DATE).alias(PERIOD), "loan_id", LABEL, *columns)
    now = lakehouse.read(LOANS).where(PERFORMING_SQL)
    found = found.unionByName(now.select(F.lit(newest).alias(PERIOD), "loan_id", unknown, *columns))
    between = [day for day in tapes if day not in matured and day < newest]
    if between:
        # The partition is named too, so that no older month is read.
        months = ", ".join(f"'{day:%Y-%m}'" for day in between)
        days = ", ".join(f"date'{day}'" for day in between)
        chosen = f"as_of_month in ({months}) and as_of_date in ({days}) and tape_kind = 'full' and {PERFORMING_SQL}"
        later = lakehouse.read(LOAN_HISTORY).where(chosen)
        found = found.unionByName(later.select(F.col("as_of_date").alias(PERIOD), "loan_id", unknown, *columns))
    rows = lakehouse.row_count(DEVELOPMENT_SAMPLE) + lakehouse.row_count(LOANS) * (1 + len(between))
    return found, rows


def _sampled(frame: DataFrame, share: float) -> DataFrame:
    """A share of the loans, the same ones on every date and engine."""
    return frame if share >= 1 else frame.where(f"pmod(xxhash64(loan_id), {_PARTS}) < {round(share * _PARTS)}")


def measured(lakehouse: Lakehouse, settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of gold/feature_drift and gold/model_monitoring.

    Raises `NoChampionError` where there is no model yet. Two passes over the loans, one that scores them and one that
    counts bins, and a look at a sample of the reference for the bins' edges; above `monitoring.sample_loans` loans,
    on a sample of them.
    """
    versions = _versions(settings)
    tapes = full_tape_dates(lakehouse)
    matured = [start for start, _ in observation_pairs(tapes)]
    followed = {
        alias: Followed(
            found.version, alias, found.model.rating_bounds, training_dates(version_tags(settings, alias), matured)
        )
        for alias, found in versions.items()
    }
    champion, reference = versions[CHAMPION], followed[CHAMPION].training_dates
    columns = sorted({*SILVER_DIMENSIONS, *[name for found in versions.values() for name in found.model.columns]})
    everyone, size = _loans(lakehouse, columns, tapes, matured)
    share = min(1.0, settings.monitoring.sample_loans / max(size, 1))
    loans = _sampled(everyone, share)

    contents = {alias: dump_model(found.model, found.encoders) for alias, found in versions.items()}
    scored = pl.DataFrame(loans.mapInArrow(make_watcher(contents), scored_schema(list(contents))).toArrow())
    rated = {alias: with_ratings(scored, one) for alias, one in followed.items()}
    realised = [row for alias, one in followed.items() for row in realised_rows(rated[alias], one)]
    if not reference:
        return [], realised

    developed = rated[CHAMPION].filter(pl.col(PERIOD).is_in(list(reference))).height
    days = ", ".join(f"date'{day}'" for day in reference)
    older = _sampled(everyone.where(f"{PERIOD} in ({days})"), share * min(1.0, REFERENCE_ROWS / max(developed, 1)))
    inputs = list(champion.model.columns)
    bins = reference_bins(pl.DataFrame(older.select(*inputs).toArrow()), inputs, set(champion.encoders.categories))
    segments = segment_bins(bins)
    counted = aggregates(loans, bin_figures([*bins, *segments]), by=[PERIOD])
    counts = {row[PERIOD]: row for row in counted.iter_rows(named=True)}
    drifted = drift_rows(counts, bins, segments, rated[CHAMPION], reference, settings.monitoring.maximum_psi)
    return [{"model_version": champion.version, **row} for row in drifted], realised


def _table(rows: list[dict[str, Any]], schema: StructType) -> pa.Table:
    now = datetime.now(UTC)
    return arrow_rows([[{**row, "computed_at": now}.get(name) for name in schema.names] for row in rows], schema)


@dg.multi_asset(
    name="monitoring",
    specs=[
        dg.AssetSpec(
            **asset_attributes(table),
            deps=[LOAN_SCORES.key, DEVELOPMENT_SAMPLE.key, LOANS.key, LOAN_HISTORY.key],
            skippable=True,
        )
        for table in (FEATURE_DRIFT, MODEL_MONITORING)
    ],
    retry_policy=RETRIES,
)
@retried
def monitoring_tables(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Hold the loans as they were and are against those that the champion learnt from, and its PDs against outcomes."""
    lakehouse, settings = platform.lakehouse, platform.settings
    inputs = monitoring_inputs(lakehouse, settings.monitoring)
    if inputs is None:
        context.log.warning("nothing to monitor: no model has been promoted yet")
        return
    if any(lakehouse.inputs(table) != inputs for table in (FEATURE_DRIFT, MODEL_MONITORING)):
        drifted, realised = measured(lakehouse, settings)
        lakehouse.overwrite(FEATURE_DRIFT, _table(drifted, DRIFT_SCHEMA), inputs=inputs)
        lakehouse.overwrite(MODEL_MONITORING, _table(realised, MONITORING_SCHEMA), inputs=inputs)
    for table in (FEATURE_DRIFT, MODEL_MONITORING):
        yield materialized(lakehouse, table)
