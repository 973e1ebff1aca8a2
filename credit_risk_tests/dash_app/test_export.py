"""Exports: the rows in view, in pieces, and nothing that a spreadsheet would run."""

from __future__ import annotations

import io

import polars as pl
import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.config import tables as t
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.tape.contract import ON_BOOK_STATUSES
from credit_risk_tests.dash_app import small_lake
from credit_risk_tests.dash_app.conftest import Portfolio
from dash_app.app import create_app
from dash_app.data.export import escape_formulas, high_risk, stream_csv, stream_parquet
from dash_app.data.filters import Filters
from dash_app.data.lake import Snapshot


def table(content: bytes) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(content), infer_schema_length=None)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "risk=High&purpose=home",
        "rating=High&risk=High",
        "score=unknown",
        "region=unknown",
        "from=2024-Q1&to=2024-Q4",
        "as_of=2024-06",
        "as_of=2024-06&rating=Low",
    ],
)
def test_the_export_is_the_loans_in_view(snapshot: Snapshot, portfolio: Portfolio, query: str) -> None:
    filters = Filters.from_query(query)
    wanted = small_lake.in_view(portfolio.states, filters)
    for found in (
        table(b"".join(stream_csv(snapshot, filters))),
        pl.read_parquet(io.BytesIO(b"".join(stream_parquet(snapshot, filters)))),
    ):
        assert sorted(found["loan_id"]) == sorted(wanted["loan_id"])
        balance = found["outstanding_balance"].cast(pl.Float64)  # an empty CSV has no types
        assert balance.sum() == pytest.approx(wanted["outstanding_balance"].sum())


def test_scores_are_exported_beside_their_loans(snapshot: Snapshot) -> None:
    columns = ["loan_id", "pd_12m", "risk_rating", "reason_1"]
    scores = snapshot.frame(t.LOAN_SCORES).filter(pl.col("risk_rating") == "High").select(columns).sort("loan_id")
    found = pl.read_parquet(io.BytesIO(b"".join(stream_parquet(snapshot, Filters.from_query("rating=High")))))
    assert found.select(columns).sort("loan_id").equals(scores)
    closed = table(b"".join(stream_csv(snapshot, Filters.from_query("status=paid_off"))))
    assert closed.height > 0
    assert closed["risk_rating"].null_count() == closed["pd_12m"].null_count() == closed.height


def test_a_parquet_file_comes_in_pieces_with_the_lakes_types(snapshot: Snapshot, portfolio: Portfolio) -> None:
    pieces = list(stream_parquet(snapshot, Filters()))
    found = pl.read_parquet(io.BytesIO(b"".join(pieces)))
    assert len(pieces) > 2
    assert pieces[-1].endswith(b"PAR1")
    kept = [name for name in found.columns if name in portfolio.states.columns]
    assert found.select(kept).schema == portfolio.states.select(kept).schema
    assert set(found["employment_type"]) == set(portfolio.states["employment_type"])  # no apostrophes in Parquet


def test_an_empty_view_is_a_header(snapshot: Snapshot) -> None:
    pieces = list(stream_csv(snapshot, Filters.from_query("from=2099-Q1")))
    assert len(pieces) == 1
    assert pieces[0].startswith(b"loan_id,")


def test_pseudonyms_and_provenance_stay_in_the_lake(snapshot: Snapshot) -> None:
    columns = table(b"".join(stream_csv(snapshot, Filters()))).columns
    assert "customer_id" not in columns
    assert not [name for name in columns if name.startswith("_")]
    assert {"loan_id", "loan_amount", "risk_category", "region"} <= set(columns)


def test_formulas_in_the_lake_leave_it_as_text(snapshot: Snapshot) -> None:
    jobs = set(table(b"".join(stream_csv(snapshot, Filters())))["employment_type"])
    assert jobs == {"salaried", "'=cmd|' /C calc'!A0", "'-self", "'@home"}


@given(st.lists(st.text(alphabet="=+-@\t\r\n \"',aé0", max_size=6), min_size=1), st.sampled_from("=+-@"))
def test_no_cell_and_no_heading_begins_like_a_formula(cells: list[str], sign: str) -> None:
    safe = escape_formulas(pl.DataFrame({f"{sign}name": cells, "number": [-1.5] * len(cells)}))
    assert safe.columns[0] == f"'{sign}name"
    assert safe["number"].to_list() == [-1.5] * len(cells)
    for before, after in zip(cells, safe.to_series(0), strict=True):
        assert after.lstrip()[:1] not in set("=+-@") or not after
        assert after[:1] not in {"\t", "\r", "\n"}
        assert after in (before, f"'{before}")


def test_high_risk_narrows_what_was_chosen() -> None:
    assert high_risk(Filters()).values("risk") == ("High", "Very High")
    assert high_risk(Filters.from_query("risk=High&risk=Low")).values("risk") == ("High",)
    assert high_risk(Filters.from_query("risk=Low&purpose=home")).values("purpose") == ("home",)


def test_the_routes_name_the_file_and_stream_it(server: Flask, portfolio: Portfolio) -> None:
    response = server.test_client().get("/export/high-risk.csv?purpose=home")
    assert response.status_code == 200
    assert response.headers["Content-Disposition"] == 'attachment; filename="high_risk_loans_2026-06-30_filtered.csv"'
    wanted = small_lake.latest(portfolio.states).filter(
        pl.col("loan_status").is_in(ON_BOOK_STATUSES),
        pl.col("risk_category").is_in(["High", "Very High"]),
        pl.col("loan_purpose") == "home",
    )
    assert table(response.data).height == wanted.height
    assert response.headers.get("Content-Length") is None


def test_without_a_lake_the_export_says_what_to_do(empty_home: Settings) -> None:
    client = create_app(empty_home).server.test_client()
    for path in ("/export/loans.csv", "/export/high-risk.parquet"):
        response = client.get(path)
        assert response.status_code == 503
        assert "credit-risk refresh" in response.text
