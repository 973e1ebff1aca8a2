"""The ways in which a tape goes wrong: each spoils a value, a row or the way it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from credit_risk_assets.tape import contract

Row = dict[str, str | None]
BROKEN_BYTE = "\ue000"
"""Stands for a byte that is no UTF-8 until the file is written."""


@dataclass(frozen=True)
class Kind:
    """One kind of defect: which columns it takes by default, and what it does to a row's texts.

    `spoil(row, columns, generator)` changes the row in place, returns the column it names in the ledger, or None
    where the row offers nothing to spoil. `again` puts the spoilt row after the original instead of in its place.
    """

    description: str
    columns: tuple[str, ...]
    spoil: Callable[[Row, tuple[str, ...], np.random.Generator], str | None]
    again: bool = False


def _pick(row: Row, columns: tuple[str, ...], generator: np.random.Generator) -> str | None:
    filled = [name for name in columns if row[name] is not None]
    return filled[int(generator.integers(len(filled)))] if filled else None


def _one(change: Callable[[str, str, np.random.Generator], str | None]) -> Callable[..., str | None]:
    def spoil(row: Row, columns: tuple[str, ...], generator: np.random.Generator) -> str | None:
        name = _pick(row, columns, generator)
        if name is None:
            return None
        value = row[name]
        assert value is not None
        row[name] = change(name, value, generator)
        return name if row[name] != value else None

    return spoil


def _outside(name: str, _value: str, generator: np.random.Generator) -> str:
    column = contract.BY_NAME[name]
    if column.maximum is not None and generator.random() < 0.5:
        return f"{column.maximum + 1 + generator.integers(50):g}"
    low = column.minimum or 0
    return "0" if column.above and generator.random() < 0.3 else f"{low - 1 - generator.integers(50):g}"


def _category(_name: str, value: str, generator: np.random.Generator) -> str:
    return str(generator.choice(["n/a", "UNKNOWN_9", f"{value}_x", "7"]))


def _wrong_type(name: str, value: str, generator: np.random.Generator) -> str:
    if contract.BY_NAME[name].type == "date":
        return str(generator.choice([value.replace("-", "/"), "not a date", "2026-13-45"]))
    return str(generator.choice(["abc", f"{value} USD", "1.2.3", "#REF!"]))


def _broken_byte(_name: str, value: str, generator: np.random.Generator) -> str:
    place = int(generator.integers(len(value) + 1))
    return value[:place] + BROKEN_BYTE + value[place:]


def _times(value: str, factor: int, form: str) -> str:
    return format(float(value) * factor, form) if float(value) else value


def _malformed(_name: str, value: str, generator: np.random.Generator) -> str:
    place = int(generator.integers(max(len(value), 1)))
    return value[:place] + str(generator.choice(list("X?9z-"))) + value[place + 1 :]


def _impossible_date(row: Row, columns: tuple[str, ...], generator: np.random.Generator) -> str | None:
    name = _pick(row, columns, generator)
    if name is None:
        return None
    as_of = date.fromisoformat(row["as_of_date"] or "")
    origin = date.fromisoformat(row["origination_date"] or "")
    days = int(generator.integers(1, 400))
    row[name] = {
        "origination_date": as_of + timedelta(days=days),
        "maturity_date": origin - timedelta(days=days),
        "as_of_date": date(2999, 1, 1) + timedelta(days=days),
    }.get(name, date(1899, 12, 31)).isoformat()
    return name


def _swap(row: Row, columns: tuple[str, ...], _generator: np.random.Generator) -> str | None:
    first, second = columns[:2]
    if row[first] is None or row[second] is None or row[first] == row[second]:
        return None
    row[first], row[second] = row[second], row[first]
    return f"{first}+{second}"


def _against_status(row: Row, _columns: tuple[str, ...], _generator: np.random.Generator) -> str | None:
    profile = row["payment_history_profile"]
    if row["loan_status"] != "current" or not profile or len(profile) < 2:
        return None
    row["payment_history_profile"] = "4" + profile[1:]
    return "payment_history_profile"


def _rewrite(row: Row, _columns: tuple[str, ...], generator: np.random.Generator) -> str | None:
    profile = row["payment_history_profile"]
    if not profile or len(profile) < 18:
        return None
    place = int(generator.integers(13, len(profile)))
    row["payment_history_profile"] = profile[:place] + ("2" if profile[place] == "0" else "0") + profile[place + 1 :]
    return "payment_history_profile"


def _conflict(row: Row, _columns: tuple[str, ...], generator: np.random.Generator) -> str | None:
    row["outstanding_balance"] = f"{float(row['outstanding_balance'] or 0) + 100 + generator.integers(900):.2f}"
    return "outstanding_balance"


_RANGED = tuple(c.name for c in contract.COLUMNS if c.minimum is not None and c.name != "default_flag")
_TYPED = tuple(c.name for c in contract.COLUMNS if c.type != "string" and c.name != "default_flag")
_REQUIRED_VALUES = tuple(name for name in contract.REQUIRED if name != "as_of_date")

KINDS: dict[str, Kind] = {
    "missing_value": Kind("a value left empty", _REQUIRED_VALUES, _one(lambda *_: None)),
    "duplicate_row": Kind("the same row twice", (), lambda *_: "", again=True),
    "key_conflict": Kind("a second, different row of the same loan and date", (), _conflict, again=True),
    "impossible_date": Kind(
        "origination after the tape, maturity before origination, or a tape of the far future",
        ("origination_date", "maturity_date"), _impossible_date,
    ),
    "out_of_range": Kind("a number outside the contract's range", _RANGED, _one(_outside)),
    "unknown_category": Kind("a category the contract does not know", ("loan_purpose", "loan_status"), _one(_category)),
    "wrong_type": Kind("text where a number or date belongs", _TYPED, _one(_wrong_type)),
    "encoding_error": Kind("a byte that is no UTF-8", ("region", "education", "employment_type"), _one(_broken_byte)),
    "swapped_columns": Kind("two columns' values exchanged", ("origination_date", "maturity_date"), _swap),
    "malformed_profile": Kind("a code outside Metro 2", ("payment_history_profile",), _one(_malformed)),
    "profile_against_status": Kind("a current loan whose profile says 120 days late", (), _against_status),
    "rewritten_history": Kind("a month of last year's profile changed", (), _rewrite),
    "sentinel": Kind("a code for unknown in a numeric column", ("credit_score",), _one(lambda *_: "999")),
    "percent_for_ratio": Kind(
        "a ratio written in percent", ("credit_utilization",), _one(lambda _n, v, _g: _times(v, 100, "g"))
    ),
    "balance_jump": Kind(
        "a balance ten times too high", ("outstanding_balance",), _one(lambda _n, v, _g: _times(v, 10, ".2f"))
    ),
    "casing": Kind("other capitals and spaces", ("loan_purpose",), _one(lambda _n, v, _g: v.replace("_", " ").upper())),
}  # fmt: skip
