"""One block of tape rows: values parsed to their types, every rule of the contract tried on every row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date

import polars as pl

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.contract import Column
from credit_risk_assets.tape.pseudonym import MARK, badly_marked, pseudonymise

ROW_NUMBER = "_row_number"
EARLIEST_DATE = date(1900, 1, 1)
BADLY_MARKED = "customer_id:badly_marked"
CATEGORIES = tuple(column.name for column in contract.COLUMNS if column.values)


@dataclass(frozen=True)
class Block:
    """Accepted rows (typed) and rejected rows (`loan_id, reasons, raw, _row_number`) of one block."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame


@dataclass(frozen=True)
class Rule:
    """A rule that a row can break: `broken` is true on the rows that do, null or false on the others."""

    columns: tuple[str, ...]
    broken: pl.Expr
    expected: str


def is_typed(column: Column | None, found: pl.DataType) -> bool:
    """Whether a file's values need no text between them and the contract's type."""
    if column is None or column.type == "string":
        return False
    return found == pl.Date if column.type == "date" else found == pl.Float64 or found.is_integer()


def as_text(values: pl.Series) -> pl.Series:
    """A column as the text that a CSV tape would hold: whole floats as integers, days without a time."""
    if values.dtype.is_float():
        whole = values.round(0).cast(pl.Int64, strict=False).cast(pl.String)
        text = values.cast(pl.String)
        is_whole = (values == values.round(0)) & (values.abs() < 2**53)
        frame = pl.DataFrame({"t": text, "w": whole, "i": is_whole, "n": values.is_nan()})
        picked = pl.when(~pl.col("n")).then(pl.when("i").then("w").otherwise("t"))
        return frame.select(picked.alias(values.name)).to_series()
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int8).cast(pl.String)
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.strftime("%Y-%m-%d %H:%M:%S")
    return values.cast(pl.String, strict=False)


def as_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of a tape with every column as text but their number."""
    return frame.with_columns([as_text(v) for v in frame if v.dtype != pl.String and v.name != ROW_NUMBER])


def parse_value(name: str, column: Column, *, typed: bool = False) -> pl.Expr:
    """A text, or a value of the file's own type, as the contract's; what does not fit becomes null."""
    text = pl.col(name)
    if column.type == "string":
        if column.name in CATEGORIES:
            return text.str.to_lowercase().str.replace_all(r"[\s\-]+", "_")
        return text
    if column.type == "date":
        if typed:
            return text
        day = text.str.replace(r"[T ]00:00:00(\.0+)?(Z|\+00:00)?$", "")
        return day.str.to_date("%Y-%m-%d", strict=False)
    number = text.cast(pl.Float64, strict=False)
    number = pl.when(number.is_finite()).then(number)
    if column.type == "int":
        whole = pl.when((number == number.round(0)) & (number.abs() < 2**31)).then(number)
        return whole.cast(pl.Int32, strict=False)
    return number


_TYPE_TEXT = {"date": "a date (yyyy-mm-dd)", "double": "a number", "int": "a whole number", "string": "text"}


def row_rules(today: date) -> list[Rule]:
    """Every rule of the contract, over columns parsed by `parse_value`; `NAME:text` is the file's own value."""
    rules: list[Rule] = []
    for column in contract.COLUMNS:
        value, text = pl.col(column.name), pl.col(f"{column.name}:text")
        if column.required:
            rules.append(Rule((column.name,), text.is_null(), "a value"))
        if column.type != "string":
            rules.append(Rule((column.name,), text.is_not_null() & value.is_null(), _TYPE_TEXT[column.type]))
        if column.values:
            unknown = value.is_not_null() & ~value.is_in(list(column.values))
            rules.append(Rule((column.name,), unknown, f"one of {', '.join(column.values)}"))
        if column.minimum is not None:
            low = value <= column.minimum if column.above else value < column.minimum
            outside = low if column.maximum is None else low | (value > column.maximum)
            rules.append(Rule((column.name,), outside, column.range_text))
        if column.type == "date":
            rules.append(Rule((column.name,), value < EARLIEST_DATE, f"{EARLIEST_DATE} or later"))
    origination, as_of = pl.col("origination_date"), pl.col("as_of_date")
    profile = pl.col("payment_history_profile")
    return [
        *rules,
        Rule(("customer_id",), pl.col(BADLY_MARKED), f"64 hexadecimal digits after {MARK}"),
        Rule(("origination_date", "as_of_date"), origination > as_of, "origination on or before as_of_date"),
        Rule(("as_of_date",), as_of > today, f"today ({today}, UTC) or earlier"),
        Rule(
            ("maturity_date", "origination_date"),
            pl.col("maturity_date") <= origination,
            "maturity after origination",
        ),
        Rule(
            ("current_dpd", "loan_status"),
            (pl.col("loan_status") == "paid_off") & (pl.col("current_dpd") > 0),
            "0 days past due on a paid_off loan",
        ),
        Rule(
            ("payment_history_profile",),
            ~profile.str.contains(f"^[{contract.PROFILE_CODES}]*$"),
            f"codes out of {contract.PROFILE_CODES}",
        ),
        Rule(
            ("payment_history_profile",),
            profile.str.len_chars() > contract.PROFILE_MAX_MONTHS,
            f"at most {contract.PROFILE_MAX_MONTHS} months",
        ),
    ]


def reason(rule: Rule, texts: dict[str, str | None]) -> str:
    """Why a row of these values, as text, is rejected; the customer is not shown."""

    def shown(name: str) -> str:
        value = texts.get(name)
        if value is None:
            return f"{name} is missing"
        # A pseudonym is not shown either: a reason is read by more people than the table.
        return name if name == "customer_id" else f"{name} is {value[:80]!r}"

    return f"{' and '.join(shown(name) for name in rule.columns)}: expected {rule.expected}"


def check_rows(
    values: pl.DataFrame,
    key: bytes,
    today: date,
    undecodable: dict[int, list[str]] | None = None,
) -> Block:
    """Parse a block of values and part the rows that keep the contract from those that break it.

    `values`: one column per tape column by its contract or foreign name, as text or typed (`is_typed`), blanks as
    null, and `_row_number`. Contract columns the tape lacks come out as null columns. `undecodable` names, per row
    number, the columns whose bytes were no UTF-8. The customer id leaves this function as a pseudonym alone.
    """
    extra = [name for name in values.columns if name not in contract.BY_NAME and name != ROW_NUMBER]
    missing = [name for name in contract.NAMES if name not in values.columns]
    values = values.with_columns([pl.lit(None, pl.String).alias(name) for name in missing])
    badly = values.select(badly_marked(pl.col("customer_id")).alias(BADLY_MARKED)).to_series()
    values = values.with_columns(pseudonymise(values["customer_id"], key).alias("customer_id"))

    frame = values.select(
        [
            parse_value(column.name, column, typed=is_typed(column, values.schema[column.name])).alias(column.name)
            for column in contract.COLUMNS
        ]
        + [pl.col(column.name).alias(f"{column.name}:text") for column in contract.COLUMNS]
        + [pl.col(name) for name in extra]
        + [badly, pl.col(ROW_NUMBER)]
    )
    rules = row_rules(today)
    broken = frame.select([rule.broken.fill_null(False).alias(str(i)) for i, rule in enumerate(rules)])
    bad = broken.select(pl.any_horizontal(pl.all())).to_series()
    undecodable = undecodable or {}
    if undecodable:
        bad = bad | frame[ROW_NUMBER].is_in(list(undecodable))
    accepted = frame.select([*contract.NAMES, *extra, ROW_NUMBER])
    if not bad.any():
        return Block(accepted, rejected_frame([]))
    accepted = accepted.filter(~bad)

    rejected = []
    kept = [name for name in values.columns if name not in missing and name != ROW_NUMBER]
    refused = as_texts(values.filter(bad))
    for texts, flags in zip(refused.iter_rows(named=True), broken.filter(bad).iter_rows(), strict=True):
        number = texts[ROW_NUMBER]
        reasons = [f"{name} is not UTF-8 text: expected UTF-8" for name in undecodable.get(number, [])] + [
            reason(rules[i], texts) for i, flag in enumerate(flags) if flag
        ]
        raw = json.dumps({name: texts[name] for name in kept}, ensure_ascii=False)
        rejected.append((texts["loan_id"], reasons, raw, number))
    return Block(accepted, rejected_frame(rejected))


def rejected_frame(rows: list[tuple[str | None, list[str], str, int]]) -> pl.DataFrame:
    """Rejected rows as a frame: `loan_id, reasons, raw, _row_number`."""
    return pl.DataFrame(
        rows,
        schema={"loan_id": pl.String, "reasons": pl.List(pl.String), "raw": pl.String, ROW_NUMBER: pl.Int64},
        orient="row",
    )
