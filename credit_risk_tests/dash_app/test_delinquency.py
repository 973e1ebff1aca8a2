"""Every number of the delinquency page is a sum of its gold table."""

from __future__ import annotations

import polars as pl
import pytest

from credit_risk_assets.config import tables as t
from dash_app.charts import delinquency as charts
from dash_app.data import delinquency
from dash_app.data.lake import Snapshot


@pytest.mark.parametrize("chosen", [[], ["auto"]])
@pytest.mark.parametrize("measure", ["ever_90", "ever_90_amount"])
def test_a_year_of_vintages_is_the_sum_of_its_quarters(snapshot: Snapshot, chosen: list[str], measure: str) -> None:
    table = snapshot.frame(t.VINTAGE_CURVES)
    table = table.filter(pl.col("loan_purpose").is_in(chosen)) if chosen else table
    observed = "amount_observed" if measure == "ever_90_amount" else "loans_observed"
    year = delinquency.vintages(snapshot, measure, "year", chosen).filter(pl.col("cohort") == "2025")
    for age, late, seen, rate in year.select("months_on_book", "late", "observed", "rate").iter_rows():
        rows = table.filter(pl.col("origination_quarter").str.starts_with("2025"), pl.col("months_on_book") == age)
        assert (late, seen) == (rows[measure].sum(), rows[observed].sum())
        assert rate == late / seen
    quarters = delinquency.vintages(snapshot, measure, "quarter", chosen)
    assert set(quarters["cohort"]) == set(table["origination_quarter"])
    # the youngest quarter of 2025 is mature up to month 6: no older point of the year is
    assert year.filter("mature")["months_on_book"].max() == 6
    assert quarters.filter(pl.col("cohort") == "2025-Q1", "mature")["months_on_book"].max() == 15


@pytest.mark.parametrize("months", [3, 12])
def test_roll_rates_are_the_newest_months_and_each_row_sums_to_one(snapshot: Snapshot, months: int) -> None:
    matrix = delinquency.roll_matrix(snapshot, months)
    assert matrix is not None
    table = snapshot.frame(t.ROLL_RATES)
    assert matrix.months == tuple(sorted(table["month"].unique())[-months:])
    kept = table.filter(pl.col("month").is_in(list(matrix.months)))
    for name, counts, rates in zip(matrix.rows, matrix.counts, matrix.rates, strict=True):
        assert sum(counts) == kept.filter(pl.col("from_bucket") == name)["loans"].sum()
        assert sum(rate or 0 for rate in rates) == pytest.approx(1)
    assert "closed" not in matrix.rows
    assert "not observed" not in matrix.rows
    drawn = charts.roll_matrix(matrix).figure
    assert drawn["data"][0]["z"] == matrix.rates
    assert [row[-2] for row in drawn["layout"]["meta"]["table"]["rows"]] == [n for c in matrix.counts for n in c]


def test_shares_over_time_are_of_the_loans_on_book(snapshot: Snapshot) -> None:
    found = delinquency.buckets_over_time(snapshot, ["home"])
    table = snapshot.frame(t.ROLL_RATES).filter(pl.col("loan_purpose") == "home")
    month = found["month"][-1]
    rows = table.filter(pl.col("month") == month, pl.col("to_bucket").is_in(list(delinquency.ON_BOOK_BUCKETS)))
    last = found.filter(pl.col("month") == month)
    assert last["share"].sum() == pytest.approx(1)
    assert last["loans"].sum() == rows["loans"].sum()


def test_migration_is_of_one_pair_of_tapes(snapshot: Snapshot) -> None:
    pairs = delinquency.tape_pairs(snapshot)
    assert len(pairs) == 2
    table = snapshot.frame(t.RATING_MIGRATION).filter(pl.col("to_date") == pairs[0][1])
    found = delinquency.migration(snapshot, pairs[0])
    assert found["loans"].sum() == table["loans"].sum()
    sankey = charts.migration_sankey(found, pairs[0]).figure["data"][0]
    assert sum(sankey["link"]["value"]) == table["loans"].sum()
    assert delinquency.migration(snapshot, None).height == 0
