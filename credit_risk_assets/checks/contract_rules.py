"""The row rules that the tape contract generates: what a bronze row must be, column by column."""

from __future__ import annotations

from datetime import date

from credit_risk_assets.checks.framework import Check
from credit_risk_assets.checks.rules import RowRule
from credit_risk_assets.tape import contract
from credit_risk_assets.tape.contract import Column
from credit_risk_assets.tape.rows import EARLIEST_DATE


def completeness(check: Check) -> list[RowRule]:
    """A rule for each required column: a value, and not a blank one."""
    return [RowRule(check, (name,), _missing(contract.BY_NAME[name]), "a value") for name in contract.REQUIRED]


def _missing(column: Column) -> str:
    gap = f"{column.name} is null"
    return f"{gap} or trim({column.name}) = ''" if column.type == "string" else gap


def ranges(check: Check) -> list[RowRule]:
    """A rule for each number with a range."""
    return [
        RowRule(check, (column.name,), _outside(column), column.range_text)
        for column in contract.COLUMNS
        if column.minimum is not None
    ]


def _outside(column: Column) -> str:
    low = f"{column.name} {'<=' if column.above else '<'} {column.minimum:g}"
    return low if column.maximum is None else f"{low} or {column.name} > {column.maximum:g}"


def enumerations(check: Check) -> list[RowRule]:
    """A rule for each column of known categories."""
    return [
        RowRule(
            check,
            (column.name,),
            f"{column.name} not in ({', '.join(repr(value) for value in column.values)})",
            f"one of {', '.join(column.values)}",
        )
        for column in contract.COLUMNS
        if column.values
    ]


def dates_in_order(check: Check) -> list[RowRule]:
    """Origination up to the as-of date and before maturity, nothing before the first date a tape may hold."""
    dates = [column.name for column in contract.COLUMNS if column.type == "date"]
    return [
        RowRule(
            check,
            ("origination_date", "as_of_date"),
            "origination_date > as_of_date",
            "origination on or before the as-of date",
        ),
        RowRule(
            check,
            ("maturity_date", "origination_date"),
            "maturity_date <= origination_date",
            "maturity after origination",
        ),
        *[RowRule(check, (name,), f"{name} < date'{EARLIEST_DATE}'", f"{EARLIEST_DATE} or later") for name in dates],
    ]


def dates_past(check: Check, today: date) -> list[RowRule]:
    """No as-of date after today."""
    return [RowRule(check, ("as_of_date",), f"as_of_date > date'{today}'", "the day of the check or earlier")]


def profile_well_formed(check: Check) -> list[RowRule]:
    """Known codes alone, and not more months than a profile holds."""
    profile, most = "payment_history_profile", contract.PROFILE_MAX_MONTHS
    unknown = f"length(translate({profile}, '{contract.PROFILE_CODES}', '')) > 0"
    return [
        RowRule(check, (profile,), unknown, f"codes out of {contract.PROFILE_CODES}"),
        RowRule(check, (profile,), f"length({profile}) > {most}", f"at most {most} months"),
    ]


def paid_off_without_dpd(check: Check) -> list[RowRule]:
    """A loan that is paid off owes no day."""
    return [
        RowRule(
            check,
            ("loan_status", "current_dpd"),
            "loan_status = 'paid_off' and current_dpd > 0",
            "0 days past due on a paid_off loan",
        )
    ]


def _fingerprint(column: str) -> str:
    """64 hexadecimal digits and nothing else; a pattern's `$` would let a line's end stand behind them."""
    return f"coalesce(length({column}) = 64 and not {column} rlike '[^0-9a-f]', false)"


def pseudonymised(check: Check) -> list[RowRule]:
    """A keyed hash, and nothing else, in place of each customer id."""
    return [
        RowRule(
            check,
            ("customer_id",),
            f"not {_fingerprint('customer_id')}",
            "64 hexadecimal digits",
        )
    ]


def provenance(check: Check) -> list[RowRule]:
    """Every row says which file, row, time and run it came from."""
    known = {
        "_source_file": ("coalesce(_source_file, '') = ''", "a file name"),
        "_source_sha256": (f"not {_fingerprint('_source_sha256')}", "a fingerprint"),
        "_row_number": ("coalesce(_row_number, 0) < 1", "1 or more"),
        "_ingested_at": ("_ingested_at is null", "a time"),
        "_run_id": ("coalesce(_run_id, '') = ''", "a run"),
    }
    return [RowRule(check, (name,), broken, expected) for name, (broken, expected) in known.items()]
