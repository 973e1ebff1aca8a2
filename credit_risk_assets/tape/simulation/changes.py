"""Change files: what became new or different in a few hours of the same simulated portfolio."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from credit_risk_assets.tape.simulation.events import Events, month_events, on_tape_at, standing_at
from credit_risk_assets.tape.simulation.future import Portfolio, Source, sources
from credit_risk_assets.tape.simulation.parameters import HISTORY_MONTHS, LATEST, MAX_FUTURE_MONTHS
from credit_risk_assets.tape.simulation.rows import SCHEMA, tape_rows
from credit_risk_assets.tape.simulation.timeline import SimulationError, check_as_of, month_end
from credit_risk_assets.tape.simulation.writers import TapeFile, TapeFormat

RECORD = Path("simulator") / "portfolio.json"
MAX_WINDOWS = 1_000


@dataclass(frozen=True)
class ChangesResult:
    """Files written (change files, and full tapes where a month ended), rows in them, and how far time has come."""

    files: tuple[Path, ...]
    rows: int
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Window:
    """A stretch of time inside one month; what happened in (start, end] is reported at its end."""

    start: datetime
    end: datetime

    @property
    def day(self) -> date:
        """The as-of date of the window's end: midnight belongs to the day that it closes."""
        return (self.end - timedelta(microseconds=1)).date()

    @property
    def closes_month(self) -> bool:
        """Whether the month is over at the window's end."""
        return self.end.day == 1 and self.end.hour == 0 and self.end.minute == 0


def remember(home: Path, portfolio: Portfolio, until: datetime | None = None) -> Path:
    """Note under the home which simulated portfolio lives there and up to when it has been told."""
    until = until or _midnight_after(portfolio.as_of)
    file = home / RECORD
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "loans": portfolio.loans,
        "seed": portfolio.seed,
        "as_of": portfolio.as_of.isoformat(),
        "until": until.isoformat(),
    }
    temporary = file.with_suffix(".part")
    temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return temporary.replace(file)


def recall(home: Path) -> tuple[Portfolio, datetime]:
    """The portfolio noted under the home and the time it has been told up to; `SimulationError` where none is."""
    file = home / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        portfolio = Portfolio(
            int(record["loans"]), int(record["seed"]), check_as_of(date.fromisoformat(record["as_of"]))
        )
        return portfolio, datetime.fromisoformat(record["until"])
    except FileNotFoundError:
        raise SimulationError(
            f"home {home}: no simulated portfolio to continue; run `credit-risk demo` first"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise SimulationError(
            f"{file}: found {error}, expected loans, seed, as_of and until; simulate the portfolio again"
        ) from None


def simulate_changes(
    home: Path,
    hours: int = 4,
    *,
    windows: int = 1,
    format: TapeFormat = "csv",
    portfolio: Portfolio | None = None,
    now: datetime | None = None,
) -> ChangesResult:
    """Continue the home's portfolio by `windows` stretches of `hours` hours, one change file each.

    Files land under `landing/changes/`; where a month ends, its full tape lands under `landing/` as well. A
    stretch without an event writes no file. `portfolio` starts afresh from a known one; otherwise the record under
    `HOME/simulator/` says which it is and how far it has come. Raises `SimulationError` when the stretch would
    end in the future, for then no tape could describe it yet.
    """
    if not 1 <= hours <= 24 * 31:
        raise SimulationError(f"hours {hours}: expected 1 to {24 * 31}")
    if not 1 <= windows <= MAX_WINDOWS:
        raise SimulationError(f"windows {windows}: expected 1 to {MAX_WINDOWS}")
    if portfolio is None:
        portfolio, since = recall(home)
    else:
        since = _midnight_after(portfolio.as_of)
    until = since + timedelta(hours=hours * windows)
    if until > (now or datetime.now(UTC)):
        raise SimulationError(
            f"hours {hours}: the portfolio already stands at {since:%Y-%m-%d %H:%M} UTC and the stretch would end "
            f"in the future, at {until:%Y-%m-%d %H:%M}; wait, or ask for fewer hours"
        )
    by_month: dict[int, list[Window]] = {}
    for number in range(windows):
        begin = since + timedelta(hours=hours * number)
        for window in _pieces(begin, begin + timedelta(hours=hours)):
            by_month.setdefault(_month_of(portfolio, window.day), []).append(window)
    written: list[Path] = []
    rows = 0
    for month, stretch in by_month.items():
        files, count = _write_month(home / "landing", portfolio, month, stretch, format)
        written += files
        rows += count
        remember(home, portfolio, stretch[-1].end)
    return ChangesResult(tuple(written), rows, since, until)


def _write_month(
    landing: Path, portfolio: Portfolio, month: int, windows: list[Window], format: str
) -> tuple[list[Path], int]:
    if month >= HISTORY_MONTHS + MAX_FUTURE_MONTHS:
        raise SimulationError(f"the portfolio is {MAX_FUTURE_MONTHS} months past its latest tape; simulate a new one")
    last_day = month_end(portfolio.as_of, month)
    files = [
        TapeFile(landing / "changes" / f"loan_portfolio_changes_{w.end:%Y%m%dT%H%M}Z.{format}", SCHEMA) for w in windows
    ]
    tape = None
    if windows[-1].closes_month:
        tape = TapeFile(landing / f"loan_portfolio_data_{last_day}.{format}", SCHEMA)
    try:
        for source in sources(portfolio, month):
            events = month_events(source, last_day)
            for window, file in zip(windows, files, strict=True):
                changed = window_rows(portfolio, source, events, window)
                file.append(changed, changed.num_rows)
            if tape is not None:
                whole = rows_at(portfolio, source, events, windows[-1], None)
                tape.append(whole, whole.num_rows)
    except BaseException:
        for file in (*files, *([tape] if tape else [])):
            file.discard()
        raise
    if tape is not None:
        files.append(tape)
    written = []
    for file in files:
        if file.rows:
            written.append(file.commit())
        else:
            file.discard()
    return written, sum(file.rows for file in files)


def window_rows(portfolio: Portfolio, source: Source, events: Events, window: Window) -> pa.Table:
    """The loans of a block with an event inside the window, as they stand at its end."""
    return rows_at(portfolio, source, events, window, _minutes(window.start))


def rows_at(portfolio: Portfolio, source: Source, events: Events, window: Window, after: int | None) -> pa.Table:
    """The block's tape rows at the window's end: the whole tape, or (with `after`) what changed since that minute.

    The bureau reports at month-ends: within a month its columns are those of the last one.
    """
    length = int((_midnight_after(window.day) - _month_begin(window.day)).total_seconds() // 60)
    minute = length if window.closes_month else _minutes(window.end)
    positions = on_tape_at(source, events, minute)
    if after is not None:
        positions = positions[np.isin(positions, events.within(after, minute))]
    return tape_rows(
        source.loans,
        source.history,
        positions,
        standing_at(source, events, positions, minute, window.day),
        source.bureau(source.after if window.closes_month else source.before),
        latest=portfolio.as_of,
        day=window.day,
        first_loan=source.first_loan,
        parameters=portfolio.parameters,
    )


def _pieces(start: datetime, end: datetime) -> list[Window]:
    """The stretch, cut where a month ends."""
    pieces = []
    while start < end:
        month_over = (_month_begin(start.date()) + timedelta(days=32)).replace(day=1)
        pieces.append(Window(start, min(end, month_over)))
        start = pieces[-1].end
    return pieces


def _month_of(portfolio: Portfolio, day: date) -> int:
    return LATEST + (day.year - portfolio.as_of.year) * 12 + day.month - portfolio.as_of.month


def _minutes(moment: datetime) -> int:
    return int((moment - _month_begin(moment.date())).total_seconds() // 60)


def _month_begin(day: date) -> datetime:
    return datetime(day.year, day.month, 1, tzinfo=UTC)


def _midnight_after(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
