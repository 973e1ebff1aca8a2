"""Change files continue the same portfolio: their fold at a month's end is the next tape."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.simulate import Portfolio, SimulationError, simulate, simulate_changes
from credit_risk_assets.tape.simulation.changes import RECORD, Window, rows_at, window_rows
from credit_risk_assets.tape.simulation.events import month_events
from credit_risk_assets.tape.simulation.future import sources
from credit_risk_assets.tape.simulation.rows import on_tape, tape_rows
from credit_risk_assets.tape.simulation.standing import at_month_end
from credit_risk_assets.tape.simulation.timeline import month_end

AS_OF = date(2023, 1, 31)
NOW = datetime(2023, 3, 10, tzinfo=UTC)
PORTFOLIO = Portfolio(2_000, 4, AS_OF)
LEDGER = ("loan_status", "outstanding_balance", "total_paid", "recoveries", "charge_off_amount", "default_date")


def frame(table: pa.Table) -> pl.DataFrame:
    result = pl.from_arrow(table)
    assert isinstance(result, pl.DataFrame)
    return result


def read(file: Path) -> pl.DataFrame:
    types = {"string": pl.String, "date": pl.Date, "double": pl.Float64, "int": pl.Int32}
    return pl.read_csv(file, schema_overrides={c.name: types[c.type] for c in contract.COLUMNS})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a tape of January and every change of February in four-hour files."""
    home = tmp_path_factory.mktemp("home")
    simulate(PORTFOLIO.loans, home / "landing", seed=PORTFOLIO.seed, as_of=AS_OF, tapes=1, home=home)
    simulate_changes(home, 4, windows=28 * 6, now=NOW)
    return home


@pytest.mark.parametrize("month", [84, 85, 90])
def test_at_a_months_end_the_events_fold_into_the_chains_own_tape(month: int) -> None:
    end = month_end(AS_OF, month)
    midnight = datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1)
    for source in sources(PORTFOLIO, month):
        folded = rows_at(PORTFOLIO, source, month_events(source, end), Window(NOW, midnight), None)
        positions = on_tape(source.loans, source.after)
        positions = positions[source.loans.number[positions] <= source.last]
        chain = tape_rows(
            source.loans, source.history, positions, at_month_end(source.loans, source.after, positions),
            source.bureau(source.after), latest=AS_OF, day=end, first_loan=source.first_loan,
            parameters=PORTFOLIO.parameters,
        )  # fmt: skip
        assert folded.equals(chain)


def test_change_files_applied_to_a_tape_give_the_next_one(home: Path) -> None:
    january = read(home / "landing" / "loan_portfolio_data.csv")
    february = read(home / "landing" / "loan_portfolio_data_2023-02-28.csv")
    changes = pl.concat(read(file) for file in sorted((home / "landing" / "changes").iterdir()))
    state = pl.concat([january, changes]).group_by("loan_id", maintain_order=True).last().select("loan_id", *LEDGER)
    joined = february.join(state, on="loan_id", suffix="_folded")
    assert joined.height == february.height
    for name in LEDGER:
        assert joined[name].equals(joined[f"{name}_folded"].rename(name)), name


def test_a_month_brings_new_changed_paid_off_and_charged_off_loans(home: Path) -> None:
    before = set(read(home / "landing" / "loan_portfolio_data.csv")["loan_id"])
    changes = pl.concat(read(file) for file in sorted((home / "landing" / "changes").iterdir()))
    assert set(changes["loan_status"]) == set(contract.LOAN_STATUSES)
    new = changes.filter(~pl.col("loan_id").is_in(before))
    assert new.height > 20
    assert (new["origination_date"] > AS_OF).all()
    assert new["total_paid"].max() == 0


def test_what_did_not_change_is_in_no_change_file(home: Path) -> None:
    files = sorted((home / "landing" / "changes").iterdir())
    rows = [read(file).height for file in files]
    assert 100 < len(files) <= 168
    assert sum(rows) / len(rows) < 0.02 * PORTFOLIO.loans


@settings(max_examples=12, deadline=None)
@given(start=st.integers(0, 27 * 24), hours=st.integers(1, 24))
def test_rows_agree_with_themselves_at_any_moment(start: int, hours: int) -> None:
    begin = datetime(2023, 2, 1, tzinfo=UTC) + timedelta(hours=start)
    window = Window(begin, begin + timedelta(hours=hours))
    for source in sources(Portfolio(300, 4, AS_OF), 84):
        events = month_events(source, date(2023, 2, 28))
        rows = frame(window_rows(PORTFOLIO, source, events, window))
        dpd, status = pl.col("current_dpd"), pl.col("loan_status")
        closed = status.is_in(contract.CLOSED_STATUSES)
        by_dpd = pl.when(dpd < 30).then(pl.lit("current")).when(dpd < 90).then(pl.lit("delinquent"))
        code = pl.col("payment_history_profile").str.slice(0, 1)
        rules = {
            "status": closed | (by_dpd.otherwise(pl.lit("default")) == status),
            "code": closed | (code == "B") | (code == (dpd // 30).cast(pl.String)),
            "day": pl.col("as_of_date") == window.day,
            "originated": pl.col("origination_date") <= window.day,
            "default date": pl.col("default_date").is_null() | (pl.col("default_date") <= window.day),
            "dated default": status.is_in(["default", "charged_off"]) == pl.col("default_date").is_not_null(),
        }
        assert rows.filter(~pl.all_horizontal(rules.values())).is_empty()


def test_no_default_inside_a_month_is_unknown_to_the_month_end_codes() -> None:
    for source in sources(PORTFOLIO, 84):
        events = month_events(source, date(2023, 2, 28))
        begin = datetime(2023, 2, 1, tzinfo=UTC)
        for day in range(28):
            end = begin + timedelta(days=day, hours=20)
            rows = frame(rows_at(PORTFOLIO, source, events, Window(begin, end), None))
            defaults = rows.filter(pl.col("loan_status") == "default")["loan_id"]
            final = frame(rows_at(PORTFOLIO, source, events, Window(begin, begin + timedelta(days=28)), None))
            start = final.filter(pl.col("loan_id").is_in(defaults.implode()))["payment_history_profile"]
            assert start.str.slice(0, 2).str.contains("[3-6L]").all()


def test_time_goes_on_from_call_to_call_whatever_the_length_of_the_stretch(tmp_path: Path, home: Path) -> None:
    first = simulate_changes(tmp_path, 4, portfolio=PORTFOLIO, now=NOW)
    second = simulate_changes(tmp_path, 8, now=NOW)
    assert (first.until, second.since) == (second.since, first.until)
    assert second.until == datetime(2023, 2, 1, 12, tzinfo=UTC)
    name = "loan_portfolio_changes_20230201T0400Z.csv"
    same = home / "landing" / "changes" / name
    assert (tmp_path / "landing" / "changes" / name).read_bytes() == same.read_bytes()


def test_the_future_is_not_simulated(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="already stands at 2023-02-01 00:00 UTC") as caught:
        simulate_changes(tmp_path, 4, portfolio=PORTFOLIO, now=datetime(2023, 2, 1, 3, tzinfo=UTC))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "landing").exists()


def test_a_home_without_a_portfolio_or_with_a_broken_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="no simulated portfolio to continue"):
        simulate_changes(tmp_path, 4)
    (tmp_path / RECORD).parent.mkdir()
    (tmp_path / RECORD).write_text(json.dumps({"loans": 5}))
    with pytest.raises(SimulationError, match="expected loans, seed, as_of and until"):
        simulate_changes(tmp_path, 4)
    with pytest.raises(SimulationError, match="hours 0"):
        simulate_changes(tmp_path, 0)
