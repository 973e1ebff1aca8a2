"""Writes a small lake whose tables tie with one another, as the pipeline's would."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import write_deltalake

from credit_risk_assets.config import tables as t
from credit_risk_assets.tape.contract import LOAN_PURPOSES, ON_BOOK_STATUSES
from dash_app.data.filters import BY_KEY, Filters

TAPES = (date(2024, 6, 30), date(2025, 6, 30), date(2026, 6, 30))
REGIONS = ("North", "East", "South", "West", None)
BANDS = (
    (300, "300-579"),
    (580, "580-619"),
    (620, "620-659"),
    (660, "660-699"),
    (700, "700-739"),
    (740, "740-799"),
)
SCHOOL = "evening school"
"""The education of everybody, so that a test finds it wherever it comes out."""
ON_BOOK = pl.col("loan_status").is_in(ON_BOOK_STATUSES)


def loan_states(loans: int, tapes: tuple[date, ...] = TAPES, seed: int = 7) -> pl.DataFrame:
    """One row per loan and tape; a third of the loans starts between two tapes."""
    rng = np.random.default_rng(seed)
    starts = [date(2021, 1, 15) + timedelta(days=int(d)) for d in rng.integers(0, 1950, loans)]
    score = np.where(rng.random(loans) < 0.05, np.nan, rng.normal(690, 70, loans).clip(300, 900).round())
    weak = np.where(np.isnan(score), 0.3, (760 - score) / 300).clip(0.02, 0.9)
    amount = rng.lognormal(9.6, 0.8, loans).round(2)
    purposes = rng.choice(LOAN_PURPOSES, loans, p=[0.2, 0.2, 0.12, 0.14, 0.08, 0.06, 0.16, 0.04])
    regions = rng.choice(len(REGIONS), loans, p=[0.3, 0.25, 0.25, 0.17, 0.03])
    parts, alive = [], np.ones(loans, dtype=bool)
    for as_of in tapes:
        born = np.array([start <= as_of for start in starts])
        luck = rng.random(loans)
        dpd = np.where(luck < 0.82 - 0.3 * weak, 0, rng.integers(1, 240, loans))
        status = np.select(
            [dpd >= 180, dpd >= 90, dpd > 0, luck < 0.05],
            ["charged_off", "default", "delinquent", "paid_off"],
            "current",
        )
        open_before = alive & born
        risk = (weak * 60 + dpd / 3).clip(0, 100).round(2)
        names = ["Low", "Medium", "High", "Very High"]
        category = np.array(names)[np.digitize(risk, [15, 30, 55])]
        months = np.array([(as_of - start).days // 30 for start in starts])
        balance = np.where(np.isin(status, ["paid_off", "charged_off"]), 0.0, amount * (1 - months / 90).clip(0.05, 1))
        keep = open_before
        frame = pl.DataFrame(
            {
                "loan_id": [f"L{i:06d}" for i in range(loans)],
                "customer_id": [f"pseudonym{i:06d}" for i in range(loans)],
                "as_of_date": [as_of] * loans,
                "origination_date": starts,
                "loan_purpose": purposes,
                "loan_status": status,
                "loan_amount": amount,
                "interest_rate": (4 + 18 * weak).round(2),
                "term_months": [60] * loans,
                "outstanding_balance": balance.round(2),
                "current_dpd": np.where(status == "paid_off", 0, dpd),
                "credit_score": score,
                "region": [REGIONS[i] for i in regions],
                "employment_type": rng.choice(["salaried", "=cmd|' /C calc'!A0", "-self", "@home"], loans),
                "age": [44] * loans,
                "education": [SCHOOL] * loans,
                "risk_category": category,
                "risk_score": risk,
                "months_on_book": months,
                "debt_to_income": (0.1 + weak * 0.5).round(4),
                "loan_to_value": np.where(purposes == "home", 0.8, np.nan),
                "lgd_estimate": [0.45] * loans,
                "payment_history_profile": ["0010" if late else "0000" for late in dpd > 30],
                "early_warning": (dpd > 0).astype(int),
                "_row_number": list(range(loans)),
            },
            schema_overrides={"loan_to_value": pl.Float64},
            nan_to_null=True,
        ).filter(pl.Series(keep))
        parts.append(frame)
        alive &= ~(born & np.isin(status, ["paid_off", "charged_off"]))
    return _features(pl.concat(parts))


def _features(frame: pl.DataFrame) -> pl.DataFrame:
    band = pl.when(pl.col("credit_score").is_null()).then(pl.lit("unknown"))
    for low, name in ((800, "800-900"), *reversed(BANDS)):
        band = band.when(pl.col("credit_score") >= low).then(pl.lit(name))
    bucket = pl.when(pl.col("current_dpd") == 0).then(pl.lit("0"))
    for high, name in ((30, "1-29"), (60, "30-59"), (90, "60-89"), (120, "90-119"), (180, "120-179")):
        bucket = bucket.when(pl.col("current_dpd") < high).then(pl.lit(name))
    day = pl.col("origination_date")
    pd = (pl.col("risk_score") / 100 * 0.4).clip(0.001, 0.95)
    return frame.with_columns(
        score_band=band,
        dpd_bucket=bucket.otherwise(pl.lit("180+")),
        origination_quarter=day.dt.year().cast(pl.String) + "-Q" + day.dt.quarter().cast(pl.String),
        as_of_month=pl.col("as_of_date").dt.strftime("%Y-%m"),
        exposure_at_default=pl.col("outstanding_balance"),
        expected_loss_proxy=pl.when(ON_BOOK).then(pd * 0.45 * pl.col("outstanding_balance")).otherwise(0.0),
        tape_kind=pl.lit("full"),
    )


def outcomes(states: pl.DataFrame) -> pl.DataFrame:
    """The states with whether the loan could default since the tape before (`started`) and did (`defaulted`)."""
    before = states.filter(ON_BOOK, pl.col("current_dpd") < 90).select(
        "loan_id", pl.col("as_of_date").dt.offset_by("1y").alias("as_of_date"), started=pl.lit(1)
    )
    joined = states.join(before, on=["loan_id", "as_of_date"], how="left").with_columns(pl.col("started").fill_null(0))
    bad = (pl.col("current_dpd") >= 90) | (pl.col("loan_status") == "charged_off")
    return joined.with_columns(defaulted=(pl.col("started") == 1) & bad)


def snapshots(states: pl.DataFrame) -> pl.DataFrame:
    """The states at each tape; at the newest one every loan as it stands now, closed long ago or not."""
    newest = states["as_of_date"].max()
    now = latest(states).with_columns(as_of_date=pl.lit(newest), as_of_month=pl.lit(f"{newest:%Y-%m}"))
    return pl.concat([states.filter(pl.col("as_of_date") < newest), now])


def cube_of(states: pl.DataFrame) -> pl.DataFrame:
    """gold/portfolio_cube."""
    keys = [
        "as_of_month",
        "as_of_date",
        "risk_category",
        "loan_purpose",
        "loan_status",
        "score_band",
        "dpd_bucket",
    ]
    return (
        outcomes(snapshots(states))
        .group_by(*keys, "origination_quarter", "region")
        .agg(
            loans=pl.len().cast(pl.Int64),
            balance=pl.col("outstanding_balance").sum(),
            loan_amount=pl.col("loan_amount").sum(),
            dpd_days=pl.col("current_dpd").sum().cast(pl.Float64),
            expected_loss=pl.col("expected_loss_proxy").sum(),
            interest_balance=(pl.col("interest_rate") * pl.col("outstanding_balance")).sum(),
            high_risk_loans=(ON_BOOK & pl.col("risk_category").is_in(t.RISK_CATEGORIES[2:])).sum().cast(pl.Int64),
            observed_start_loans=pl.col("started").sum().cast(pl.Int64),
            observed_defaults=pl.col("defaulted").sum().cast(pl.Int64),
            default_balance=pl.col("outstanding_balance").filter(pl.col("current_dpd") >= 90).sum(),
        )
    )


def kpis_of(states: pl.DataFrame) -> pl.DataFrame:
    """gold/portfolio_kpis, from the loans and not from the cube."""
    book = states.filter(ON_BOOK)
    dpd, balance = pl.col("current_dpd"), pl.col("outstanding_balance")
    stock = book.group_by("as_of_date").agg(
        active_loans=pl.len().cast(pl.Int64),
        portfolio_value=balance.sum(),
        npl_ratio=balance.filter(dpd >= 90).sum() / balance.sum(),
        average_dpd=dpd.mean(),
        high_risk_loans=pl.col("risk_category").is_in(t.RISK_CATEGORIES[2:]).sum().cast(pl.Int64),
        expected_loss=pl.col("expected_loss_proxy").sum(),
        delinquent_30_share=(dpd >= 30).mean(),
        delinquent_90_share=(dpd >= 90).mean(),
    )
    flow = (
        outcomes(snapshots(states))
        .group_by("as_of_date")
        .agg(
            loans=pl.len().cast(pl.Int64),
            default_rate=pl.when(pl.col("started").sum() > 0).then(pl.col("defaulted").sum() / pl.col("started").sum()),
        )
    )
    joined = stock.join(flow, on="as_of_date").sort("as_of_date")
    return joined.with_columns(is_current_state=pl.col("as_of_date") == pl.col("as_of_date").max())


def latest(states: pl.DataFrame) -> pl.DataFrame:
    """silver/loans: the newest state of each loan."""
    return states.sort("as_of_date").group_by("loan_id", maintain_order=True).last()


def pd_12m() -> pl.Expr:
    """The PD that the small lake's model gives a loan."""
    return (pl.col("risk_score") / 100 * 0.5).clip(0.002, 1.0)


def rating(pd: pl.Expr) -> pl.Expr:
    """The rating of a PD."""
    return pd.cut([0.02, 0.05, 0.12, 0.30], labels=list(t.RISK_RATINGS)).cast(pl.String)


def in_view(states: pl.DataFrame, filters: Filters) -> pl.DataFrame:
    """The loans of a view, straight from the loan states; only loans on book of the newest tape have ratings."""
    newest = states["as_of_month"].max()
    month = filters.as_of if filters.as_of in states["as_of_month"].unique() else newest
    # the newest state is silver/loans, whatever tape it came from
    loans = latest(states) if month == newest else states.filter(pl.col("as_of_month") == month)
    rated = ON_BOOK & pl.lit(month == newest)
    loans = loans.with_columns(risk_rating=pl.when(rated).then(rating(pd_12m())))
    for key, values in filters.chosen.items():
        loans = loans.filter(pl.col(BY_KEY[key].column).fill_null("unknown").is_in(values))
    if not filters.values("status"):
        loans = loans.filter(ON_BOOK)
    if filters.since:
        loans = loans.filter(pl.col("origination_quarter") >= filters.since)
    return loans.filter(pl.col("origination_quarter") <= filters.until) if filters.until else loans


def write(lake: Path, table: t.Table, frame: pl.DataFrame, mode: str = "overwrite") -> None:
    """Write one table as the pipeline would, partitions included."""
    write_deltalake(str(lake / table.path), frame, mode=mode, partition_by=list(table.partition_by) or None)


def write_portfolio(lake: Path, states: pl.DataFrame) -> None:
    """The tables of the portfolio and loans pages."""
    write(lake, t.LOANS, latest(states).select(pl.all().exclude("as_of_month"), "as_of_month"))
    write(lake, t.LOAN_HISTORY, states)
    write(lake, t.PORTFOLIO_KPIS, kpis_of(states))
    write(lake, t.PORTFOLIO_CUBE, cube_of(states))


def write_model(lake: Path, states: pl.DataFrame) -> None:
    """The tables of the model page."""
    now = datetime(2026, 7, 1, 6, tzinfo=UTC)
    book = latest(states).filter(ON_BOOK)
    pd = pd_12m()
    scores = book.select(
        "loan_id",
        "as_of_date",
        pd_12m=pd,
        risk_rating=rating(pd),
        score_points=600 - 40 * pd,
        reason_1=pl.when(pd > 0.1).then(pl.lit("Payments were late in recent months")),
        reason_2=pl.lit(None, pl.String),
        reason_3=pl.lit(None, pl.String),
        reason_4=pl.lit(None, pl.String),
        model_version=pl.lit("1"),
        scored_at=pl.lit(now),
    )
    write(lake, t.LOAN_SCORES, scores)
    lgd, ead = pl.lit(0.45), pl.col("outstanding_balance")
    stage = pl.when(pl.col("current_dpd") >= 90).then(3).when(pl.col("current_dpd") >= 30).then(2).otherwise(1)
    losses = book.select(
        "loan_id",
        "as_of_date",
        stage=stage.cast(pl.Int32),
        pd_12m=pd,
        pd_lifetime=(pd * 1.6).clip(0, 1),
        lgd=lgd,
        ead=ead,
        expected_loss_12m=pd * lgd * ead,
        ecl_12m=pd * lgd * ead * 0.97,
        ecl_lifetime=(pd * 1.6).clip(0, 1) * lgd * ead,
        ecl=(pd * 1.2).clip(0, 1) * lgd * ead,
    )
    write(lake, t.EXPECTED_CREDIT_LOSS, losses)
    metrics = {
        "auc": (0.812, 0.795, 0.829),
        "gini": (0.624, 0.590, 0.658),
        "ks": (0.48, 0.45, 0.51),
        "brier": (0.061, 0.058, 0.064),
        "ece": (0.008, None, None),
        "n": (36000.0, None, None),
    }
    rows = [
        {
            "model_version": "1",
            "data_set": data_set,
            "metric": name,
            "value": value + shift,
            "lower": None if low is None else low + shift,
            "upper": None if high is None else high + shift,
            "computed_at": now,
        }
        for data_set, shift in (("out_of_time", 0.0), ("calibration", 0.01), ("train", 0.05))
        for name, (value, low, high) in metrics.items()
    ]
    write(
        lake,
        t.MODEL_PERFORMANCE,
        pl.DataFrame(rows, schema_overrides={"lower": pl.Float64, "upper": pl.Float64}),
    )


def write_quality(lake: Path, states: pl.DataFrame) -> None:
    """The tables of the data quality page: three files, some refused rows, two runs of a few checks."""
    tape = states.select("loan_id", "as_of_date", "loan_status")
    write(lake, t.LOAN_TAPE, tape)
    start = datetime(2026, 7, 1, 5, tzinfo=UTC)
    log, refused = [], []
    for place, as_of in enumerate(sorted(set(states["as_of_date"]))):
        accepted, rejected = tape.filter(pl.col("as_of_date") == as_of).height, 3 * place
        log.append(
            {
                "source_file": f"tape_{as_of:%Y_%m}.csv",
                "source_sha256": f"{place:064d}",
                "kind": "full",
                "bytes": 250_000 + place,
                "rows_read": accepted + rejected,
                "rows_accepted": accepted,
                "rows_rejected": rejected,
                "new_columns": ["branch"] if place == 1 else [""],
                "started_at": start + timedelta(minutes=place),
                "finished_at": start + timedelta(minutes=place, seconds=4),
                "run_id": "run-1",
                "table_version": place,
                "outcome": "accepted",
                "message": "",
            }
        )
        refused += [
            {
                "reasons": ["loan_amount: expected a number above 0"] + (["as_of_date: no such day"] if i == 0 else []),
                "raw": json.dumps({"loan_amount": "-5"}),
                "loan_id": f"X{place}{i}",
                "_source_file": f"tape_{as_of:%Y_%m}.csv",
                "_row_number": i,
            }
            for i in range(rejected)
        ]
    write(lake, t.INGESTION_LOG, pl.DataFrame(log, schema_overrides={"new_columns": pl.List(pl.String)}))
    schema = {
        "reasons": pl.List(pl.String),
        "raw": pl.String,
        "loan_id": pl.String,
        "_source_file": pl.String,
        "_row_number": pl.Int64,
    }
    write(lake, t.REJECTED_RECORDS, pl.DataFrame(refused, schema=schema))
    checks = [
        ("silver/loans", "one_row_per_loan", "ERROR", [True, True], "0 repeated", "no loan twice", 0),
        (
            "silver/loans",
            "balance_not_above_amount",
            "WARN",
            [True, False],
            "12 loans",
            "balance ≤ amount",
            12,
        ),
        ("gold/portfolio_cube", "ties_with_silver", "ERROR", [True, True], "equal", "equal", 0),
    ]
    results = [
        {
            "run_id": f"run-{run}",
            "evaluated_at": start + timedelta(hours=4 * run),
            "asset": asset,
            "check_name": name,
            "severity": severity,
            "passed": passed[run],
            "observed": observed,
            "expected": expected,
            "failed_rows": 0 if passed[run] else failed,
            "total_rows": states.height,
            "examples": "" if passed[run] else "L000007",
        }
        for asset, name, severity, passed, observed, expected, failed in checks
        for run in (0, 1)
    ]
    write(lake, t.QUALITY_RESULTS, pl.DataFrame(results))


def write_lake(lake: Path, loans: int = 900, tapes: tuple[date, ...] = TAPES) -> pl.DataFrame:
    """A whole lake; returns the loan states that it was made from. One tape alone has no model."""
    states = loan_states(loans, tapes)
    write_portfolio(lake, states)
    write_quality(lake, states)
    if len(tapes) > 1:
        from credit_risk_tests.dash_app import small_gold

        write_model(lake, states)
        small_gold.write_validation(lake)
        small_gold.write_delinquency(lake, tapes)
    return states
