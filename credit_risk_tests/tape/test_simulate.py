"""The tapes keep every rule of the contract, agree with themselves over time, and are reproducible."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.simulate import SimulationError, SimulationResult, simulate
from credit_risk_assets.tape.simulation import columns
from credit_risk_assets.tape.simulation.blocks import BlockTask, simulate_block, tape_months
from credit_risk_assets.tape.simulation.timeline import last_month_end, month_end

AS_OF = date(2022, 10, 31)
LOANS = 4_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SimulationResult]:
    out = tmp_path_factory.mktemp("tapes")
    return out, simulate(LOANS, out, as_of=AS_OF)


@pytest.fixture(scope="module")
def tapes(made: tuple[Path, SimulationResult]) -> dict[date, pl.DataFrame]:
    frames = [read(file) for file in made[1].files if "sample" not in file.name]
    return {frame["as_of_date"][0]: frame for frame in frames}


def read(file: Path) -> pl.DataFrame:
    if file.suffix == ".parquet":
        return pl.read_parquet(file)
    types = {"string": pl.String, "date": pl.Date, "double": pl.Float64, "int": pl.Int32}
    return pl.read_csv(file, schema_overrides={c.name: types[c.type] for c in contract.COLUMNS})


def test_the_latest_tape_has_exactly_the_loans_asked_for(made: tuple[Path, SimulationResult]) -> None:
    out, result = made
    assert sorted(path.name for path in out.iterdir()) == [
        "loan_portfolio_data.csv",
        "loan_portfolio_data_2020-10-31.csv",
        "loan_portfolio_data_2021-10-31.csv",
        "loan_portfolio_sample.csv",
    ]
    assert result.rows[AS_OF] == LOANS == read(out / "loan_portfolio_data.csv").height
    assert result.rows[date(2020, 10, 31)] < result.rows[date(2021, 10, 31)] < LOANS


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loans=st.integers(1, 12_000))
def test_any_number_of_loans_is_met_and_is_the_beginning_of_a_larger_portfolio(loans: int) -> None:
    whole = simulate_block(BlockTask(3, 0, AS_OF, tape_months(2)))
    cut = simulate_block(BlockTask(3, 0, AS_OF, tape_months(2), limit=loans))
    assert cut.latest_rows == min(loans, whole.latest_rows)
    for month, table in cut.tapes.items():
        assert table.equals(whole.tapes[month].slice(0, table.num_rows))


def test_every_row_keeps_every_rule_of_the_contract(tapes: dict[date, pl.DataFrame]) -> None:
    for frame in tapes.values():
        assert frame.columns == [name for name in contract.NAMES if name != "default_flag"]
        assert frame.select(pl.struct("loan_id", "as_of_date").n_unique()).item() == frame.height
        for column in contract.COLUMNS:
            if column.name not in frame.columns:
                continue
            values = frame[column.name]
            if column.required:
                assert values.null_count() == 0, column.name
            if column.values:
                assert set(values.unique()) == set(column.values)
            if column.minimum is not None:
                low = values.min()
                assert low > column.minimum if column.above else low >= column.minimum, column.name
            if column.maximum is not None:
                assert values.max() <= column.maximum, column.name


def test_rows_agree_with_themselves(tapes: dict[date, pl.DataFrame]) -> None:
    status, dpd, profile = pl.col("loan_status"), pl.col("current_dpd"), pl.col("payment_history_profile")
    rate = pl.col("interest_rate") / 1200
    installment = pl.col("loan_amount") * rate / (1 - (1 + rate) ** -pl.col("term_months"))
    months = 12 * (pl.col("as_of_date").dt.year() - pl.col("origination_date").dt.year()) + (
        pl.col("as_of_date").dt.month().cast(pl.Int32) - pl.col("origination_date").dt.month()
    )
    code = profile.str.slice(0, 1)
    rules = {
        "dates": (pl.col("origination_date") <= pl.col("as_of_date"))
        & (pl.col("maturity_date") > pl.col("origination_date")),
        "maturity is the term after origination": pl.col("maturity_date")
        == pl.col("origination_date").dt.offset_by(pl.format("{}mo", "term_months")),
        "status from days past due": status.is_in(["charged_off", "paid_off"])
        | (pl.when(dpd < 30).then(pl.lit("current")).when(dpd < 90).then(pl.lit("delinquent"))
           .otherwise(pl.lit("default")) == status),
        "paid off": (status == "paid_off") == (pl.col("outstanding_balance") == 0),
        "paid off is not late": (status != "paid_off") | (dpd == 0),
        "code from days past due": status.is_in(["charged_off", "paid_off"])
        | (months == 0) | (code == (dpd // 30).cast(pl.String)),
        "code of closed loans": ~status.is_in(["charged_off", "paid_off"])
        | (code == pl.when(status == "paid_off").then(pl.lit("E")).otherwise(pl.lit("L"))),
        "profile length": profile.str.len_chars().cast(pl.Int32) == months.clip(1, 84),
        "no history yet": (months > 0) | (profile == "B"),
        "installment": (pl.col("installment") - installment).abs() < 0.006,
        "balance falls": pl.col("outstanding_balance") <= pl.col("loan_amount"),
        "default date": status.is_in(["default", "charged_off"]) == pl.col("default_date").is_not_null(),
        "default date in range": pl.col("default_date").is_null()
        | pl.col("default_date").is_between(pl.col("origination_date"), pl.col("as_of_date")),
        "charge-off": (status == "charged_off") == (pl.col("charge_off_amount") > 0),
        "recoveries": pl.col("recoveries") <= pl.col("charge_off_amount"),
        "collateral": ~pl.col("loan_purpose").is_in(["home", "auto"]) | (pl.col("collateral_value") > 0),
        "cents": pl.col("outstanding_balance").round(2) == pl.col("outstanding_balance"),
    }  # fmt: skip
    for frame in tapes.values():
        broken = frame.select(**{name: (~rule).sum() for name, rule in rules.items()}).row(0, named=True)
        assert {name: n for name, n in broken.items() if n} == {}


def test_a_loan_on_book_is_found_a_year_later_with_its_history_unchanged(
    tapes: dict[date, pl.DataFrame],
) -> None:
    days = sorted(tapes)
    for earlier, later in pairwise(days):
        before = tapes[earlier].filter(pl.col("loan_status").is_in(contract.ON_BOOK_STATUSES))
        joined = before.join(tapes[later], on="loan_id", suffix="_later")
        assert joined.height == before.height
        kept = pl.col("payment_history_profile_later").str.slice(12)
        same = joined.filter(pl.col("payment_history_profile") != "B").select(
            (kept == pl.col("payment_history_profile")).all()
        )
        assert same.item()
        assert joined.select((pl.col("total_paid_later") >= pl.col("total_paid")).all()).item()
        for name in ("customer_id", "origination_date", "maturity_date", "loan_amount", "interest_rate"):
            assert joined[name].equals(joined[f"{name}_later"].rename(name))


def test_closed_loans_stay_thirteen_months_and_no_longer(tapes: dict[date, pl.DataFrame]) -> None:
    closed = tapes[AS_OF].filter(pl.col("loan_status").is_in(contract.CLOSED_STATUSES))
    since = closed["payment_history_profile"].str.extract(r"^([EL]+)").str.len_chars()
    assert since.min() == 1
    assert since.max() == 14


def test_a_customer_has_one_bureau_record(tapes: dict[date, pl.DataFrame]) -> None:
    frame = tapes[AS_OF]
    per_customer = frame.group_by("customer_id").agg(
        pl.len().alias("loans"),
        pl.col("credit_score", "credit_utilization", "annual_income", "age").n_unique(),
    )
    assert 1.05 < per_customer["loans"].mean() < 1.3
    assert per_customer.select(pl.exclude("customer_id", "loans").max()).row(0) == (1, 1, 1, 1)


def test_the_sample_has_every_status_and_purpose(made: tuple[Path, SimulationResult]) -> None:
    sample = read(made[0] / "loan_portfolio_sample.csv")
    assert sample.height == 1_000
    assert set(sample["loan_status"]) == set(contract.LOAN_STATUSES)
    assert set(sample["loan_purpose"]) == set(contract.LOAN_PURPOSES)
    latest = read(made[0] / "loan_portfolio_data.csv")
    assert sample.join(latest, on=latest.columns, how="semi", nulls_equal=True).height == 1_000


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_processes(tmp_path: Path) -> None:
    for format in ("csv", "parquet"):
        alone, pooled = tmp_path / f"{format}1", tmp_path / f"{format}2"
        for out, processes in ((alone, 1), (pooled, 2)):
            simulate(12_000, out, seed=5, as_of=AS_OF, tapes=2, format=format, processes=processes,
                     truth=tmp_path / f"{out.name}_truth")  # fmt: skip
        for file in sorted(alone.iterdir()):
            assert file.read_bytes() == (pooled / file.name).read_bytes(), file.name
        for file in (tmp_path / f"{alone.name}_truth").iterdir():
            assert file.read_bytes() == (tmp_path / f"{pooled.name}_truth" / file.name).read_bytes()


def test_csv_and_parquet_hold_the_same_values_and_another_seed_others(
    made: tuple[Path, SimulationResult], tmp_path: Path
) -> None:
    simulate(LOANS, tmp_path, as_of=AS_OF, tapes=1, format="parquet")
    latest = read(made[0] / "loan_portfolio_data.csv")
    assert latest.equals(read(tmp_path / "loan_portfolio_data.parquet"))
    simulate(LOANS, tmp_path / "other", as_of=AS_OF, tapes=1, seed=1)
    assert not latest["loan_amount"].equals(read(tmp_path / "other" / "loan_portfolio_data.csv")["loan_amount"])


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_parts_hold_the_same_bytes_and_the_same_loans_on_every_tape(
    made: tuple[Path, SimulationResult], tmp_path: Path, parts: int
) -> None:
    simulate(LOANS, tmp_path, as_of=AS_OF, parts=parts)
    loans: dict[str, int] = {}
    for name in ("loan_portfolio_data_2020-10-31", "loan_portfolio_data_2021-10-31", "loan_portfolio_data"):
        files = [tmp_path / f"{name}_part-{number:04d}.csv" for number in range(1, parts + 1)]
        contents = [file.read_bytes().partition(b"\n") for file in files]
        assert len({header for header, _, _ in contents}) == 1
        header, _, _ = contents[0]
        whole = header + b"\n" + b"".join(body for _, _, body in contents)
        assert whole == (made[0] / f"{name}.csv").read_bytes()
        for number, file in enumerate(files):
            assert all(loans.setdefault(loan, number) == number for loan in read(file)["loan_id"])
    sizes = [read(file).height for file in sorted(tmp_path.glob("loan_portfolio_data_part-*"))]
    assert sum(sizes) == LOANS
    assert max(sizes) - min(sizes) <= 1
    sample = "loan_portfolio_sample.csv"
    assert (tmp_path / sample).read_bytes() == (made[0] / sample).read_bytes()


def test_parts_across_blocks_processes_and_formats_hold_the_same_rows(tmp_path: Path) -> None:
    loans = 25_000
    simulate(loans, tmp_path / "whole", as_of=AS_OF, tapes=2)
    simulate(loans, tmp_path / "csv", as_of=AS_OF, tapes=2, parts=3, processes=2)
    simulate(loans, tmp_path / "parquet", as_of=AS_OF, tapes=2, parts=3, format="parquet")
    for name in ("loan_portfolio_data", "loan_portfolio_data_2021-10-31"):
        whole = read(tmp_path / "whole" / f"{name}.csv")
        for format in ("csv", "parquet"):
            files = sorted((tmp_path / format).glob(f"{name}_part-*"))
            assert [file.name for file in files] == [f"{name}_part-000{n}.{format}" for n in (1, 2, 3)]
            assert pl.concat(read(file) for file in files).equals(whole)


def test_another_number_of_parts_replaces_the_files_of_the_last_run(tmp_path: Path) -> None:
    for parts in (4, 2, 1, 3):
        result = simulate(200, tmp_path, as_of=AS_OF, tapes=2, parts=parts)
        assert sorted(tmp_path.iterdir()) == sorted(result.files)
        assert len(result.files) == 2 * parts + 1


def test_a_part_without_rows_is_not_written(tmp_path: Path) -> None:
    result = simulate(30, tmp_path, as_of=AS_OF, tapes=6, parts=30)
    assert all(read(file).height for file in result.files)
    assert len(list(tmp_path.glob("loan_portfolio_data_part-*"))) == 30
    assert sum(read(file).height for file in result.files[:-1]) == sum(result.rows.values())


def test_asking_for_more_tapes_or_the_truth_changes_no_row(made: tuple[Path, SimulationResult], tmp_path: Path) -> None:
    simulate(LOANS, tmp_path / "t", as_of=AS_OF, tapes=5, truth=tmp_path / "sealed")
    for name in ("loan_portfolio_data.csv", "loan_portfolio_data_2020-10-31.csv"):
        assert (tmp_path / "t" / name).read_bytes() == (made[0] / name).read_bytes()


def test_default_rates_reported_are_those_read_from_the_next_tape(
    made: tuple[Path, SimulationResult], tapes: dict[date, pl.DataFrame]
) -> None:
    first, second, _ = sorted(tapes)
    start = tapes[first].filter((pl.col("current_dpd") < 90) & (pl.col("loan_status") != "paid_off"))
    later = start.select("loan_id").join(tapes[second], on="loan_id")["payment_history_profile"]
    bad = later.str.slice(0, 12).str.contains(f"[{contract.DEFAULT_CODES}]").mean()
    assert made[1].default_rates[first] == pytest.approx(bad)


def test_by_default_the_latest_tape_is_of_the_last_month_end() -> None:
    assert last_month_end(date(2024, 3, 1)) == date(2024, 2, 29)
    assert last_month_end(date(2026, 1, 31)) == date(2025, 12, 31)
    assert month_end(date(2025, 12, 31), 84) == date(2026, 1, 31)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loans": 0}, "loans 0: expected 1 or more"),
        ({"tapes": 9}, "tapes 9: expected 1 to 6"),
        ({"as_of": date(2022, 10, 30)}, "as-of 2022-10-30: no month-end; expected one such as 2022-10-31"),
        ({"as_of": date(2999, 12, 31)}, "in the future"),
        ({"format": "xlsx"}, "format xlsx: expected csv or parquet"),
        ({"seed": -1}, "seed -1"),
        ({"parts": 0}, "parts 0: expected 1 to 100"),
        ({"parts": 11}, r"parts 11: expected 1 to 100, and no more than loans \(10\)"),
        ({"processes": 0}, "processes 0"),
    ],
)
def test_what_cannot_be_simulated_is_one_clear_line(change: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=message) as caught:
        simulate(**({"loans": 10, "out": tmp_path, "as_of": AS_OF} | change))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(label: str, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(100, tmp_path, as_of=AS_OF, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_identifiers_are_unique_and_of_one_width() -> None:
    ids = columns.identifiers("L", np.array([0, 7, 16_384, 9_999_999_999])).to_pylist()
    assert ids == ["L0000000000", "L0000000007", "L0000016384", "L9999999999"]
