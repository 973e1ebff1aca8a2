"""Whatever is filtered, cube, ratings, list and export say what the loans themselves say; large lakes too."""

from __future__ import annotations

import threading
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from credit_risk_assets.config import tables as t
from credit_risk_assets.tape.contract import LOAN_PURPOSES, LOAN_STATUSES, ON_BOOK_STATUSES
from credit_risk_tests.dash_app import small_lake
from credit_risk_tests.dash_app.conftest import Portfolio, make_portfolio
from dash_app.data import index, lake
from dash_app.data.cube import read_cube
from dash_app.data.export import export_frames
from dash_app.data.filters import Filters
from dash_app.data.index import loan_index
from dash_app.data.kpis import portfolio_kpis
from dash_app.data.lake import Lake, Snapshot
from dash_app.data.loans import LoanRequest, loan_block
from dash_app.data.rated import prepare, rated_segments

QUARTERS = [f"{year}-Q{quarter}" for year in range(2021, 2027) for quarter in range(1, 5)]
ANY = {
    "risk": t.RISK_CATEGORIES,
    "rating": t.RISK_RATINGS,
    "purpose": LOAN_PURPOSES,
    "status": LOAN_STATUSES,
    "score": t.SCORE_BANDS,
    "dpd": t.DPD_BUCKETS,
    "region": ("North", "East", "South", "West", "unknown"),
}
views = st.builds(
    lambda as_of, chosen, since, until: Filters(as_of, {k: v for k, v in chosen.items() if v}, since, until),
    st.sampled_from(["", "", "", "2024-06", "2025-06", "2026-06"]),
    st.fixed_dictionaries(
        {},
        optional={
            key: st.lists(st.sampled_from(values), unique=True, max_size=4).map(tuple) for key, values in ANY.items()
        },
    ),
    st.sampled_from(["", "", *QUARTERS]),
    st.sampled_from(["", "", *QUARTERS]),
)


def same(found: float | None, wanted: float | None) -> bool:
    return (found or 0) == pytest.approx(wanted or 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(views)
def test_every_view_sums_to_its_loans(snapshot: Snapshot, portfolio: Portfolio, view: Filters) -> None:
    cube, loans = read_cube(snapshot), small_lake.in_view(portfolio.states, view)
    balance, dpd = loans["outstanding_balance"].sum(), pl.col("current_dpd")
    for column in ("risk_category", "score_band", "origination_quarter"):
        sums = cube.by(view, column)
        assert sums["loans"].sum() == loans.height
        assert same(sums["balance"].sum(), balance)
    kpis = portfolio_kpis(cube, view)
    assert kpis["active_loans"].value == loans.height
    assert same(kpis["expected_loss"].value, loans["expected_loss_proxy"].sum())
    assert same(kpis["average_dpd"].value, loans["current_dpd"].mean())
    assert same(kpis["delinquent_30_share"].value, loans.select((dpd >= 30).mean()).item())
    assert same(kpis["delinquent_90_share"].value, loans.select((dpd >= 90).mean()).item())
    block = loan_block(snapshot, LoanRequest(view, 0, 50))
    assert (block.total, same(block.balance, balance)) == (loans.height, True)
    first = loans["outstanding_balance"].sort(descending=True).head(50)
    assert [row["outstanding_balance"] for row in block.rows] == first.to_list()
    exported = pl.concat(export_frames(snapshot, view))
    assert sorted(exported["loan_id"]) == sorted(loans["loan_id"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(views)
def test_the_expected_loss_by_rating_is_pd_times_lgd_times_exposure(
    snapshot: Snapshot, portfolio: Portfolio, view: Filters
) -> None:
    view = Filters("", view.chosen, view.since, view.until)
    loans = small_lake.in_view(portfolio.states, view).filter(pl.col("loan_status").is_in(ON_BOOK_STATUSES))
    loans = loans.with_columns(loss=small_lake.pd_12m() * pl.col("lgd_estimate") * pl.col("exposure_at_default"))
    wanted = dict(loans.group_by("risk_rating").agg(pl.col("loss").sum()).iter_rows())
    rated = rated_segments(snapshot)
    assert rated is not None
    found = dict(rated.by_rating(view).select("risk_rating", "model_loss").iter_rows())
    assert found == pytest.approx(wanted)
    gold = snapshot.frame(t.EXPECTED_CREDIT_LOSS).filter(pl.col("loan_id").is_in(loans["loan_id"].implode()))
    assert sum(found.values()) == pytest.approx(gold["expected_loss_12m"].sum())
    assert rated.by_rating(view)["ecl"].sum() == pytest.approx(gold["ecl"].sum())


def test_a_rating_describes_the_newest_tape_only(snapshot: Snapshot) -> None:
    cube = read_cube(snapshot)
    kpis = portfolio_kpis(cube, Filters.from_query("rating=High"))
    assert kpis["active_loans"].value
    assert kpis["active_loans"].previous is None
    assert len(kpis["active_loans"].history) == 1
    assert kpis["default_rate"].value is None
    assert "outcome" in kpis["default_rate"].note
    assert portfolio_kpis(cube, Filters.from_query("rating=High&as_of=2025-06"))["active_loans"].value == 0


def test_the_first_tape_of_a_view_bounds_its_history_and_not_its_change(snapshot: Snapshot) -> None:
    cube = read_cube(snapshot)
    whole = portfolio_kpis(cube, Filters())["portfolio_value"]
    short = portfolio_kpis(cube, Filters.from_query("as_of_from=2025-06"))["portfolio_value"]
    alone = portfolio_kpis(cube, Filters.from_query("as_of_from=2026-06"))["portfolio_value"]
    assert (short.history, alone.history) == (whole.history[1:], whole.history[2:])
    assert short.change == alone.change == whole.change
    assert set(cube.by(Filters.from_query("as_of_from=2025-06"), "region", all_tapes=True)["as_of_month"]) == {
        "2025-06",
        "2026-06",
    }


def test_the_index_of_a_large_lake_is_a_file_that_says_the_same(
    portfolio: Portfolio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Lake(portfolio.settings.lake).snapshot()
    monkeypatch.setattr(index, "MEMORY_ROWS", 100)
    monkeypatch.setattr(index, "BATCH_ROWS", 128)
    large = Lake(portfolio.settings.lake, tmp_path / "cache").snapshot()
    rated = rated_segments(large)
    found = loan_index(large)
    assert found.words(found.frame).equals((known := loan_index(small)).words(known.frame))
    assert rated is not None
    known_sums = rated_segments(small)
    assert known_sums is not None
    assert_frame_equal(rated.by_rating(Filters()), known_sums.by_rating(Filters()), check_row_order=False)
    files = {file.suffix for file in (tmp_path / "cache").iterdir()}
    assert files == {".arrow", ".json", ".parquet", ".lock"}
    # another process, or the next start, reads the file and makes no new one
    monkeypatch.setattr(index, "_write", lambda *_: pytest.fail("the index was written again"))
    again = Lake(portfolio.settings.lake, tmp_path / "cache").snapshot()
    assert loan_block(again, LoanRequest(Filters(), 0, 5)).rows == loan_block(small, LoanRequest(Filters(), 0, 5)).rows
    assert list((tmp_path / "cache").glob("*.partial")) == []


def test_a_large_lakes_new_versions_are_shown_when_they_are_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake, "LARGE_ROWS", 10)
    made = make_portfolio(tmp_path, loans=60)
    go, done = threading.Event(), threading.Event()

    def slow(snapshot: Snapshot) -> None:
        assert go.wait(30)
        prepare(snapshot)
        done.set()

    large = Lake(made.settings.lake, None, slow)
    first = large.snapshot()
    small_lake.write_portfolio(made.settings.lake, small_lake.loan_states(80))
    assert large.snapshot().versions == first.versions
    go.set()
    assert done.wait(30)
    for thread in threading.enumerate():
        if thread.name.startswith("prepare"):
            thread.join(30)
    assert large.snapshot().versions == large.versions() != first.versions
    assert loan_index(large.snapshot()).frame.height == loan_index(first).frame.height + 20
