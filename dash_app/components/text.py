"""Numbers, dates and names as people read them."""

from __future__ import annotations

from datetime import UTC, date, datetime

SPACE = "\u00a0"
"""A space that does not break, between a number and its unit."""
NONE = "–"

_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}
_LABELS = {
    "debt_consolidation": "Debt consolidation",
    "charged_off": "Charged off",
    "paid_off": "Paid off",
    "out_of_time": "Out of time",
}


def money(value: float | None, currency: str = "USD") -> str:
    """An amount to four digits: 612_400_000 is $612.4 M."""
    if value is None:
        return NONE
    sign = _SIGNS.get(currency, f"{currency}{SPACE}")
    minus = "−" if value < 0 else ""
    size = abs(value)
    # the limits lie where rounding would write 1,000.0 of the smaller unit
    for factor, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if size >= factor * 0.99995:
            return f"{minus}{sign}{size / factor:,.1f}{SPACE}{unit}"
    return f"{minus}{sign}{size:,.0f}"


def exact_money(value: float | None, currency: str = "USD") -> str:
    """An amount to the cent, for a single loan: 1234.5 is $1,234.50."""
    if value is None:
        return NONE
    sign = _SIGNS.get(currency, f"{currency}{SPACE}")
    return f"{'−' if value < 0 else ''}{sign}{abs(value):,.2f}"


def count(value: float | None) -> str:
    """A number of things: 50000 is 50,000."""
    return NONE if value is None else f"{value:,.0f}".replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in per cent: 0.109 is 10.9 %."""
    return NONE if value is None else f"{value * 100:.{digits}f}{SPACE}%".replace("-", "−")


def days(value: float | None) -> str:
    """A number of days: 4.26 is 4.3 days."""
    return NONE if value is None else f"{value:,.1f}{SPACE}days".replace("-", "−")


def quantity(value: float | None, unit: str, currency: str = "USD") -> str:
    """A key figure in its unit."""
    if unit == "money":
        return money(value, currency)
    return {"share": percent, "days": days}.get(unit, count)(value)


def change(now: float, before: float, unit: str) -> str:
    """A difference without its sign: points for shares, days for days, else per cent of what was."""
    if unit == "share":
        return f"{abs(now - before) * 100:.1f}{SPACE}pp"
    if unit == "days":
        return days(abs(now - before))
    if before == 0:
        return "new" if now else percent(0)
    return percent(abs(now / before - 1))


def label(value: str) -> str:
    """A stored value as a word: debt_consolidation is Debt consolidation."""
    if value in _LABELS:
        return _LABELS[value]
    return value.replace("_", " ").capitalize() if value.islower() else value


def day(value: date | None) -> str:
    """A date: 30 Jun 2026."""
    return NONE if value is None else f"{value.day} {value:%b %Y}"


def moment(value: datetime | None) -> str:
    """A moment in UTC: 30 Jun 2026, 14:05 UTC."""
    if value is None:
        return NONE
    utc = value.astimezone(UTC) if value.tzinfo else value
    return f"{day(utc.date())}, {utc:%H:%M} UTC"


def age(since: datetime | None, now: datetime | None = None) -> str:
    """How long ago: just now, 5 min ago, 3 h ago, 2 days ago."""
    if since is None:
        return "unknown"
    seconds = ((now or datetime.now(UTC)) - (since if since.tzinfo else since.replace(tzinfo=UTC))).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h ago"
    return f"{int(seconds // 86400)} days ago"
