"""The one definition of a feature gives the same bits on Sail, on JVM Spark and without Spark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from credit_risk_assets.credit.expressions import UnsupportedSqlError, columns_of, to_polars
from credit_risk_assets.credit.features import add_features, add_loan_features, feature_layers
from credit_risk_assets.credit.scalar import to_python
from credit_risk_tests.credit.tapes import random_tape, tapes


def spark_features(frame: Any) -> pl.DataFrame:
    for layer in feature_layers():
        frame = frame.selectExpr("*", *[f"{sql} AS `{name}`" for name, sql in layer.items()])
    return pl.DataFrame(pl.from_arrow(frame.toArrow()))


def assert_same_bits(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert found.columns == expected.columns
    for name in expected.columns:
        assert found[name].dtype == expected[name].dtype, name
        different = ~found[name].eq_missing(expected[name])
        assert not different.any(), (
            name,
            found[name].filter(different)[0],
            expected[name].filter(different)[0],
        )


def test_features_are_equal_to_the_last_bit_on_a_big_tape(sail: Any) -> None:
    tape = random_tape(5_000)
    assert_same_bits(spark_features(sail.createDataFrame(tape.to_arrow())), add_features(tape))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(tape=tapes())
def test_features_are_equal_to_the_last_bit_on_odd_tapes(sail: Any, tape: pl.DataFrame) -> None:
    assert_same_bits(spark_features(sail.createDataFrame(tape.to_arrow())), add_features(tape))


@settings(max_examples=30, deadline=None)
@given(tape=tapes(max_rows=8))
def test_a_loan_scored_alone_has_the_features_it_has_in_a_batch(tape: pl.DataFrame) -> None:
    batch = add_features(tape)
    for index in range(tape.height):
        assert_same_bits(add_features(tape.slice(index, 1)), batch.slice(index, 1))


def of_single_loans(tape: pl.DataFrame) -> pl.DataFrame:
    loans = tape.to_dicts()
    for loan in loans:
        add_loan_features(loan)
    return pl.DataFrame(loans, schema=add_features(tape.clear()).schema)


def test_one_loan_computed_value_by_value_has_the_bits_of_a_table() -> None:
    tape = random_tape(2_000, seed=3)
    assert_same_bits(of_single_loans(tape), add_features(tape))


@settings(max_examples=20, deadline=None)
@given(tape=tapes())
def test_an_odd_loan_computed_value_by_value_has_the_bits_of_a_table(tape: pl.DataFrame) -> None:
    assert_same_bits(of_single_loans(tape), add_features(tape))


_ON_JVM = """
import sys
import polars as pl
from pyspark.sql import SparkSession
from credit_risk_tests.credit.test_expressions import assert_same_bits, spark_features
session = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
           .config("spark.sql.shuffle.partitions", "1").getOrCreate())
tape, expected = sys.argv[1:]
assert_same_bits(spark_features(session.read.parquet(tape)), pl.read_parquet(expected))
print("same bits")
"""


@pytest.mark.jvm
@pytest.mark.slow
def test_features_are_equal_to_the_last_bit_on_the_reference_engine(tmp_path: Path) -> None:
    tape = random_tape(5_000)
    tape.write_parquet(tmp_path / "tape.parquet")
    add_features(tape).write_parquet(tmp_path / "expected.parquet")
    # a process holds a Connect session or a classic one, not both, and its children inherit the choice
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARK")}
    done = subprocess.run(
        [sys.executable, "-c", _ON_JVM, str(tmp_path / "tape.parquet"), str(tmp_path / "expected.parquet")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )
    assert "same bits" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("round(loan_amount, 2)", "Round"),
        ("loan_amount * 0.5", "0.5D"),
        ("loan_amount / 12", "12D"),
        ("regexp_replace(region, 'a', 'b')", "Regexp"),
        ("cast(months_between(as_of_date, origination_date) as int)", "MonthsBetween"),
        ("exp(loan_amount)", "Exp"),
        ("case when", "case when"),
    ],
)
def test_sql_without_an_equal_counterpart_is_refused_by_name(sql: str, named: str) -> None:
    with pytest.raises(UnsupportedSqlError, match=named):
        to_polars(sql)


@pytest.mark.parametrize("sql", ["round(loan_amount, 2)", "loan_amount * 0.5", "cast(loan_amount as date)"])
def test_sql_that_one_loan_is_not_computed_by_is_refused(sql: str) -> None:
    with pytest.raises(UnsupportedSqlError):
        to_python(sql)


def test_columns_of_names_what_an_expression_reads() -> None:
    assert columns_of("case when a > 1 then b else nullif(c, 0D) end") == {"a", "b", "c"}


_NULL_LOGIC = {
    "ratio": "1D / nullif(a, 0D)",
    "chosen": "case when a > 0D then 'up' else 'not up' end",
    "worst": "greatest(a, 0.5D)",
    "place": "instr(p, 'L')",
    "missing": "a is null",
    "either": "a in (0D, 7D) or p is null",
    "both": "a > 0D and p is not null",
    "within": "a between 0.5D and 2D",
    "marked": "translate(p, '0L', '1')",
    "kind": "case p when '0L' then 1 else 2 end",
}


def test_null_logic_follows_sql() -> None:
    frame = pl.DataFrame({"a": [1.0, None, 0.0], "p": ["0L", None, ""]})
    found = frame.select(**{name: to_polars(sql) for name, sql in _NULL_LOGIC.items()})
    for loan, expected in zip(frame.to_dicts(), found.to_dicts(), strict=True):
        assert {name: to_python(sql)(loan) for name, sql in _NULL_LOGIC.items()} == expected
    assert found["place"].to_list() == [2, None, 0]
    assert found["missing"].to_list() == [False, True, False]
    assert found["either"].to_list() == [False, True, True]
