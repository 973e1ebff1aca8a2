"""The data layer gives what the gold tables say, at versions that stay put."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from credit_risk_assets.config import tables as t
from credit_risk_assets.resources.lake_store import store_at
from credit_risk_assets.tape.contract import LOAN_STATUSES, ON_BOOK_STATUSES
from credit_risk_tests.dash_app import small_lake
from credit_risk_tests.dash_app.conftest import Portfolio, make_portfolio
from dash_app.data import model, quality
from dash_app.data.cube import read_cube
from dash_app.data.filters import Filters
from dash_app.data.kpis import portfolio_kpis
from dash_app.data.lake import Lake, LakeError, Snapshot
from dash_app.data.loan import payment_months, read_loan
from dash_app.data.loans import LoanRequest, grid_filter, loan_block

KPIS = (
    "portfolio_value",
    "active_loans",
    "default_rate",
    "average_dpd",
    "high_risk_loans",
    "expected_loss",
    "delinquent_30_share",
    "delinquent_90_share",
)


@pytest.mark.parametrize("tape", range(3))
def test_every_key_figure_of_every_tape_is_the_gold_tables(snapshot: Snapshot, tape: int) -> None:
    gold = snapshot.frame(t.PORTFOLIO_KPIS).sort("as_of_date").row(tape, named=True)
    kpis = portfolio_kpis(read_cube(snapshot), Filters(as_of=f"{gold['as_of_date']:%Y-%m}"))
    for key in KPIS:
        expected = None if gold[key] is None else pytest.approx(gold[key])
        assert kpis[key].value == expected, key


def test_a_change_is_against_the_tape_before_and_knows_what_is_good(snapshot: Snapshot) -> None:
    gold = snapshot.frame(t.PORTFOLIO_KPIS).sort("as_of_date")
    kpis = portfolio_kpis(read_cube(snapshot), Filters())
    for key in ("portfolio_value", "average_dpd"):
        kpi = kpis[key]
        assert kpi.previous == pytest.approx(gold[key][-2])
        assert kpi.previous_as_of == date(2025, 6, 30)
        rose = gold[key][-1] > gold[key][-2]
        assert kpi.verdict == ("better" if rose == (key == "portfolio_value") else "worse")


def test_the_first_tape_has_no_default_rate_and_says_why(snapshot: Snapshot) -> None:
    kpi = portfolio_kpis(read_cube(snapshot), Filters(as_of="2024-06"))["default_rate"]
    assert kpi.value is None
    assert kpi.previous is None
    assert "12 months before" in kpi.note


def test_a_default_rate_by_status_is_not_shown_because_the_status_is_the_outcome(snapshot: Snapshot) -> None:
    kpi = portfolio_kpis(read_cube(snapshot), Filters.from_query("status=current"))["default_rate"]
    assert kpi.value is None
    assert "outcome" in kpi.note


def test_sums_over_any_segment_add_up_to_the_whole(snapshot: Snapshot) -> None:
    cube = read_cube(snapshot)
    whole = portfolio_kpis(cube, Filters())["portfolio_value"].value
    for column in ("risk_category", "loan_purpose", "score_band", "dpd_bucket", "region", "origination_quarter"):
        assert cube.by(Filters(), column)["balance"].sum() == pytest.approx(whole), column


def test_an_unknown_month_is_the_newest(snapshot: Snapshot) -> None:
    assert read_cube(snapshot).tape("1999-01").month == "2026-06"


def test_a_snapshot_keeps_its_versions_while_the_table_moves_on(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    frame = pl.DataFrame({"a": [1]})
    small_lake.write(tmp_path, t.QUALITY_RESULTS, frame)
    before = lake.snapshot()
    small_lake.write(tmp_path, t.QUALITY_RESULTS, frame, mode="append")
    after = lake.snapshot()
    assert (before.rows(t.QUALITY_RESULTS), after.rows(t.QUALITY_RESULTS)) == (1, 2)
    assert before.frame(t.QUALITY_RESULTS).height == 1
    assert after.frame(t.QUALITY_RESULTS).height == 2
    assert before.token() != after.token()


def test_a_frame_is_read_once_per_version(snapshot: Snapshot) -> None:
    assert snapshot.frame(t.PORTFOLIO_KPIS) is snapshot.frame(t.PORTFOLIO_KPIS)


def test_a_checkpoint_alone_still_tells_the_version(tmp_path: Path) -> None:
    log = tmp_path / "gold" / "x" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{7:020d}.checkpoint.parquet").touch()
    (log / "_last_checkpoint").touch()
    assert store_at(tmp_path).last_versions(["gold/x", "gold/nothing"]) == {"gold/x": 7}


def test_a_broken_table_is_one_line_that_names_it(tmp_path: Path) -> None:
    small_lake.write(tmp_path, t.PORTFOLIO_CUBE, pl.DataFrame({"a": [1]}))
    (tmp_path / t.PORTFOLIO_CUBE.path / "_delta_log" / f"{0:020d}.json").write_text("{broken")
    with pytest.raises(LakeError, match=r"^gold/portfolio_cube: ") as error:
        Lake(tmp_path).snapshot().frame(t.PORTFOLIO_CUBE)
    assert "\n" not in str(error.value)


def on_book(states: pl.DataFrame) -> pl.DataFrame:
    return small_lake.latest(states).filter(pl.col("loan_status").is_in(ON_BOOK_STATUSES))


def test_the_loan_list_is_filtered_sorted_and_paged(snapshot: Snapshot, portfolio: Portfolio) -> None:
    wanted = on_book(portfolio.states).filter(pl.col("risk_category") == "High")
    wanted = wanted.sort("interest_rate", "loan_id", descending=[True, False])
    request = LoanRequest(Filters.from_query("risk=High"), 10, 30, sort=[{"colId": "interest_rate", "sort": "desc"}])
    block = loan_block(snapshot, request)
    assert block.total == wanted.height
    assert block.balance == pytest.approx(wanted["outstanding_balance"].sum())
    assert [row["interest_rate"] for row in block.rows] == wanted["interest_rate"].slice(10, 20).to_list()


def test_blocks_cover_every_loan_once(snapshot: Snapshot, portfolio: Portfolio) -> None:
    seen: list[str] = []
    for start in range(0, 1000, 100):
        request = LoanRequest(Filters(), start, start + 100, sort=[{"colId": "loan_status", "sort": "asc"}])
        seen += [row["loan_id"] for row in loan_block(snapshot, request).rows]
    assert sorted(seen) == sorted(on_book(portfolio.states)["loan_id"])


def test_scores_stand_beside_their_loans(snapshot: Snapshot) -> None:
    scores = dict(snapshot.frame(t.LOAN_SCORES).select("loan_id", "pd_12m").iter_rows())
    rows = loan_block(snapshot, LoanRequest(Filters(), 0, 50)).rows
    assert [row["pd_12m"] for row in rows] == [scores[row["loan_id"]] for row in rows]


def test_an_older_tape_lists_its_own_states(snapshot: Snapshot, portfolio: Portfolio) -> None:
    then = portfolio.states.filter(pl.col("as_of_month") == "2024-06", pl.col("loan_status").is_in(ON_BOOK_STATUSES))
    block = loan_block(snapshot, LoanRequest(Filters(as_of="2024-06"), 0, 5))
    assert (block.total, block.balance) == (then.height, pytest.approx(then["outstanding_balance"].sum()))


@pytest.mark.parametrize("search", ["L000001", "debt consolidation", "NORTH high"])
def test_the_search_finds_words_in_any_column(snapshot: Snapshot, portfolio: Portfolio, search: str) -> None:
    text = pl.concat_str(
        "loan_id", "loan_purpose", "region", "loan_status", "risk_category", separator=" ", ignore_nulls=True
    )
    found = on_book(portfolio.states)
    for word in search.lower().split():
        found = found.filter(text.str.to_lowercase().str.contains(word, literal=True))
    assert loan_block(snapshot, LoanRequest(Filters(), 0, 1, search)).total == found.height > 0


@pytest.mark.parametrize(
    ("name", "asked", "kept"),
    [
        ("n", {"filterType": "number", "type": "greaterThan", "filter": 1}, [2, 3]),
        ("n", {"filterType": "number", "type": "inRange", "filter": 1, "filterTo": 2}, [1, 2]),
        ("n", {"filterType": "number", "type": "blank"}, []),
        ("w", {"filterType": "text", "type": "contains", "filter": "B"}, [2]),
        ("w", {"filterType": "text", "type": "notEqual", "filter": "ab"}, [1, 3]),
        ("d", {"filterType": "date", "type": "lessThan", "dateFrom": "2024-01-02 00:00:00"}, [1]),
        (
            "n",
            {
                "operator": "OR",
                "conditions": [
                    {"filterType": "number", "type": "equals", "filter": 1},
                    {"filterType": "number", "type": "equals", "filter": 3},
                ],
            },
            [1, 3],
        ),
        ("n", {"filterType": "number", "type": "greaterThan", "filter": "drop table"}, [1, 2, 3]),
    ],
)
def test_a_column_filter_of_the_grid_keeps_what_it_says(name: str, asked: dict, kept: list[int]) -> None:
    days = [date(2024, 1, n) for n in (1, 2, 3)]
    frame = pl.DataFrame({"n": [1, 2, 3], "w": ["a", "ab", None], "d": days})
    assert frame.filter(grid_filter(name, asked))["n"].to_list() == kept


def test_layers_tie_and_a_lost_row_is_seen(tmp_path: Path) -> None:
    made = make_portfolio(tmp_path, loans=60)
    ties = quality.reconciliation(Lake(made.settings.lake).snapshot())
    assert len(ties) == 10
    assert all(tie.holds for tie in ties)
    small_lake.write(
        made.settings.lake, t.LOAN_TAPE, made.states.select("loan_id", "as_of_date", "loan_status").head(-1)
    )
    broken = {tie.name for tie in quality.reconciliation(Lake(made.settings.lake).snapshot()) if not tie.holds}
    assert "Bronze" in broken


def test_a_check_shows_its_newest_result_and_its_history(snapshot: Snapshot) -> None:
    checks = quality.checks(snapshot)
    assert checks.height == 3
    first = checks.row(0, named=True)
    assert (first["check_name"], first["passed"], first["history"]) == (
        "balance_not_above_amount",
        False,
        [True, False],
    )


def test_reasons_count_rows(snapshot: Snapshot) -> None:
    assert dict(quality.rejected_reasons(snapshot).iter_rows()) == {
        "loan_amount: expected a number above 0": 9,
        "as_of_date: no such day": 2,
    }


def test_ratings_cover_the_scored_loans(snapshot: Snapshot) -> None:
    found = model.ratings(snapshot)
    assert found is not None
    assert found["risk_rating"].to_list() == list(t.RISK_RATINGS)
    assert found["loans"].sum() == snapshot.rows(t.LOAN_SCORES)
    performance = model.performance(snapshot)
    assert performance is not None
    assert performance.data_sets == ("out_of_time", "calibration", "train")
    assert performance.metric("out_of_time", "auc") == (0.812, 0.795, 0.829)


def test_a_portfolio_of_one_tape_has_no_model_and_says_why(tmp_path: Path) -> None:
    made = make_portfolio(tmp_path, loans=50, tapes=(date(2026, 6, 30),))
    found = Lake(made.settings.lake).snapshot()
    assert model.performance(found) is None
    assert model.ratings(found) is None
    assert "one tape" in model.missing_reason(len(read_cube(found).tapes))
    assert loan_block(found, LoanRequest(Filters(), 0, 5)).total == on_book(made.states).height


def test_statuses_of_the_cube_are_those_of_the_contract(snapshot: Snapshot) -> None:
    assert set(read_cube(snapshot).codes.words["loan_status"]) == set(LOAN_STATUSES)


def test_one_loan_has_its_states_its_score_and_its_peers(snapshot: Snapshot, portfolio: Portfolio) -> None:
    book = on_book(portfolio.states)
    wanted = book.row(book.height // 3, named=True)
    loan = read_loan(snapshot, wanted["loan_id"])
    assert loan is not None
    assert loan.state["outstanding_balance"] == wanted["outstanding_balance"]
    assert loan.history.height == portfolio.states.filter(pl.col("loan_id") == wanted["loan_id"]).height
    assert loan.score is not None
    alike = book.filter(pl.col("loan_purpose") == wanted["loan_purpose"], pl.col("score_band") == wanted["score_band"])
    assert loan.peers == alike.height
    assert loan.compared["interest_rate"].median == alike["interest_rate"].median()
    assert not {"customer_id", "age", "education", "family_size"} & set(loan.state)


def test_an_unknown_loan_is_none(snapshot: Snapshot) -> None:
    assert read_loan(snapshot, "' OR 1=1") is None


def test_the_first_code_of_a_profile_is_the_month_of_the_tape() -> None:
    months = payment_months("210", date(2026, 1, 31))
    assert [(m.code, m.start) for m in months] == [
        ("0", date(2025, 11, 1)),
        ("1", date(2025, 12, 1)),
        ("2", date(2026, 1, 1)),
    ]
