"""Checks of silver/loan_history: every state of bronze once, and each tape steady beside the one before."""

from __future__ import annotations

import calendar
from datetime import date
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from credit_risk_assets.assets.gold import full_tape_dates
from credit_risk_assets.assets.silver import distinct_states
from credit_risk_assets.checks import contract_rules
from credit_risk_assets.checks.distributions import figures, gap_changes, stability
from credit_risk_assets.checks.framework import Check, Finding, counted, error_of, tied, warn_of
from credit_risk_assets.checks.rules import RowRule, aggregates, rule_counts, rule_findings
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import LOAN_HISTORY, LOAN_TAPE
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.tape import contract

REBUILD = "Restore the table to the version before the run and refresh again."
CONTRADICTS = (
    "Both tapes are kept and the newer one is what the loans show: ask which of the two is right, "
    "and land a corrected tape of that date."
)
MOVED = "Key figures and scores use the newest tape as it is: the details say which column moved; ask whether it may."

HISTORY_ONCE = error_of(LOAN_HISTORY, "one_row_per_loan_and_date", "A loan stands once per as-of date.", REBUILD)
HISTORY_COMPLETE = error_of(LOAN_HISTORY, "every_state_of_bronze", "Each loan and date of bronze is here.", REBUILD)
HISTORY_PSEUDONYMS = error_of(
    LOAN_HISTORY,
    "customers_pseudonymised",
    "Every customer id is a keyed hash of 64 hexadecimal digits.",
    "Treat it as a data breach: restore the table and vacuum it.",
)
MONTH_FITS_DATE = error_of(
    LOAN_HISTORY, "month_fits_date", "Each state lies in the partition of its as-of month.", REBUILD
)
VOLUME_STEADY = warn_of(
    LOAN_HISTORY,
    "volume_steady",
    "The newest full tape has about as many loans as the one before.",
    "Loans that it lacks keep their last state: ask whether the tape is whole.",
)
DISTRIBUTION_STEADY = warn_of(
    LOAN_HISTORY,
    "distribution_steady",
    "The newest full tape's scores, ratios, amounts and categories are spread as on the one before.",
    MOVED,
)
COMPLETENESS_STEADY = warn_of(
    LOAN_HISTORY,
    "completeness_steady",
    "No column of the newest full tape has many more gaps than on the one before.",
    MOVED,
)
PROFILE_KEPT = warn_of(
    LOAN_HISTORY,
    "profile_history_kept",
    "The payment profiles of the two newest full tapes agree on the months that both tell of.",
    CONTRADICTS,
)
ORIGINATION_KEPT = warn_of(
    LOAN_HISTORY,
    "origination_facts_kept",
    "Amount, origination date and term of a loan are the same on the two newest full tapes.",
    CONTRADICTS,
)
CLOSED_STAYS_CLOSED = warn_of(
    LOAN_HISTORY,
    "closed_stays_closed",
    "No loan that the full tape before had as closed is back on book.",
    CONTRADICTS,
)
CHECKS: tuple[Check, ...] = (
    HISTORY_ONCE,
    HISTORY_COMPLETE,
    HISTORY_PSEUDONYMS,
    MONTH_FITS_DATE,
    VOLUME_STEADY,
    DISTRIBUTION_STEADY,
    COMPLETENESS_STEADY,
    PROFILE_KEPT,
    ORIGINATION_KEPT,
    CLOSED_STAYS_CLOSED,
)
ONE_TAPE = "fewer than two full tapes"
ROW_RULES: tuple[RowRule, ...] = (
    *contract_rules.pseudonymised(HISTORY_PSEUDONYMS),
    RowRule(
        MONTH_FITS_DATE,
        ("as_of_month", "as_of_date"),
        "not coalesce(as_of_month = date_format(as_of_date, 'yyyy-MM'), false)",
        "the month of the as-of date",
    ),
)


def newest_full_tape(lakehouse: Lakehouse) -> date | None:
    """The as-of date of the newest full tape."""
    return max(full_tape_dates(lakehouse), default=None)


def history_findings(lakehouse: Lakehouse, settings: Settings) -> list[Finding]:
    """The findings of the loan history.

    One pass over all rows, one over its keys and one over bronze's; then one over the two newest full tapes, and
    one join of them.
    """
    rows = lakehouse.read(LOAN_HISTORY)
    by = ["tape_kind", "as_of_date", "as_of_month"]
    tapes = aggregates(rows, rule_counts(ROW_RULES, by), by)
    states, bronze = (distinct_states(lakehouse, table) for table in (LOAN_HISTORY, LOAN_TAPE))
    total = int(tapes["rows"].sum())
    full = tapes.filter(tapes["tape_kind"] == "full")["as_of_date"].drop_nulls().unique().sort().tail(2)
    return [
        counted(HISTORY_ONCE, total - states, total, "one row per loan and date"),
        tied(HISTORY_COMPLETE, total, bronze, "distinct loans and dates in bronze"),
        *rule_findings(lakehouse, rows, ROW_RULES, tapes),
        *_beside_the_tape_before(lakehouse, settings, list(full), rows),
    ]


def _beside_the_tape_before(
    lakehouse: Lakehouse, settings: Settings, dates: list[date], rows: DataFrame
) -> list[Finding]:
    quality = settings.quality
    if len(dates) < 2:
        compared = CHECKS[CHECKS.index(VOLUME_STEADY) :]
        return [Finding(check, True, ONE_TAPE, "two full tapes to compare") for check in compared]
    days = ", ".join(f"date'{day}'" for day in dates)
    # The partition is named too, so that no older month is read.
    months = ", ".join(f"'{day:%Y-%m}'" for day in dates)
    pair = rows.where(f"as_of_month in ({months}) and as_of_date in ({days}) and tape_kind = 'full'")
    both, rules = joined(pair, *dates), joined_rules(*dates)
    before, now = aggregates(pair, figures(), by=["as_of_date"]).sort("as_of_date").rows(named=True)
    return [
        _volume(int(before["rows"]), int(now["rows"]), quality.max_volume_change_share),
        _distribution(stability(before, now), quality.max_stability_index, int(now["rows"])),
        _completeness(gap_changes(before, now), quality.max_gap_rise, int(now["rows"])),
        *rule_findings(lakehouse, both, rules, aggregates(both, rule_counts(rules))),
    ]


def _volume(before: int, now: int, limit: float) -> Finding:
    change = now / before - 1
    return Finding(
        VOLUME_STEADY,
        abs(change) <= limit,
        f"{now:,} loans, {change:+.1%} against the tape before",
        f"a change of at most {limit:.0%}",
        0,
        now,
    )


def _distribution(indices: list[dict[str, Any]], limit: float, rows: int) -> Finding:
    moved = [row for row in indices if row["PSI"] > limit and row["PSI"] > row["critical value"]]
    shown = ", ".join(f"{row['column']} {row['PSI']:.2f}" for row in moved or indices[:1])
    return Finding(
        DISTRIBUTION_STEADY,
        not moved,
        f"stability index: {shown}" if moved else f"highest stability index: {shown or 'none'}",
        f"at most {limit:.2f}, or what chance alone explains",
        0,
        rows,
        details=indices,
    )


def _completeness(changes: list[dict[str, Any]], limit: float, rows: int) -> Finding:
    risen = [row for row in changes if row["rise"] > limit]
    shown = ", ".join(f"{row['column']} {row['gaps before']:.1%} to {row['gaps now']:.1%}" for row in risen)
    return Finding(
        COMPLETENESS_STEADY,
        not risen,
        f"gaps: {shown}" if risen else f"largest rise of gaps: {changes[0]['rise']:.1%} ({changes[0]['column']})",
        f"a rise of at most {limit:.0%}",
        0,
        rows,
        details=changes,
    )


_FACTS = ("loan_amount", "origination_date", "term_months")
_COMPARED = ("payment_history_profile", "loan_status", *_FACTS)


def joined(pair: DataFrame, before: date, now: date) -> DataFrame:
    """The loans that stand on both tapes, the newer state with what is compared of the older one beside it."""
    earlier = pair.where(f"as_of_date = date'{before}'").select(
        "loan_id", *[F.col(name).alias(f"{name}_before") for name in _COMPARED]
    )
    later = pair.where(f"as_of_date = date'{now}'").select(
        "loan_id", "as_of_date", "_source_sha256", "_row_number", *_COMPARED
    )
    return later.join(earlier, "loan_id")


def joined_rules(before: date, now: date) -> list[RowRule]:
    """The rules of a loan that stands on both tapes."""
    closed = ", ".join(repr(status) for status in contract.CLOSED_STATUSES)
    return [
        RowRule(
            PROFILE_KEPT,
            ("payment_history_profile", "payment_history_profile_before"),
            profiles_differ_sql("payment_history_profile_before", "payment_history_profile", before, now),
            "what the older tape says of the months that both tell of; a D may be filled in later",
        ),
        *[
            RowRule(ORIGINATION_KEPT, (name, f"{name}_before"), _differs(name), "as on the older tape")
            for name in _FACTS
        ],
        RowRule(
            CLOSED_STAYS_CLOSED,
            ("loan_status", "loan_status_before"),
            f"loan_status_before in ({closed}) and {ON_BOOK_SQL}",
            "a closed loan stays closed",
        ),
    ]


def _differs(name: str) -> str:
    if contract.BY_NAME[name].type == "double":
        return f"abs({name} - {name}_before) >= 0.01D"
    return f"{name} <> {name}_before"


def profiles_differ_sql(earlier: str, later: str, before: date, now: date) -> str:
    """Whether two profiles tell the same months differently; months without data in the earlier one match any.

    The month that runs at the earlier date is compared only where that date ends it.
    """
    months = (now.year - before.year) * 12 + now.month - before.month
    skipped = 0 if before.day == calendar.monthrange(before.year, before.month)[1] else 1
    first, second = (
        f"substring({name}, {start})" for name, start in ((earlier, 1 + skipped), (later, 1 + skipped + months))
    )
    length = f"least(length({first}), length({second}))"
    pattern = f"translate(substring({first}, 1, {length}), 'DB', '__')"
    return f"not (substring({second}, 1, {length}) like {pattern})"
