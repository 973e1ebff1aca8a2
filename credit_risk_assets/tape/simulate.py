"""A portfolio simulator whose truth is known: yearly tapes of one growing subprime-like consumer portfolio.

docs/simulator.md describes the mechanism, its assumptions and what was measured.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pyarrow as pa

from credit_risk_assets.tape.simulation import rows
from credit_risk_assets.tape.simulation.blocks import BlockResult, BlockTask, simulate_block, tape_months
from credit_risk_assets.tape.simulation.changes import ChangesResult, remember, simulate_changes
from credit_risk_assets.tape.simulation.defects import DefectResult, inject_defects, read_defects
from credit_risk_assets.tape.simulation.future import Portfolio
from credit_risk_assets.tape.simulation.parameters import LATEST, MAX_PARTS, MAX_TAPES
from credit_risk_assets.tape.simulation.sample import Sample
from credit_risk_assets.tape.simulation.timeline import (
    SimulationError,
    check_as_of,
    last_month_end,
    month_end,
)
from credit_risk_assets.tape.simulation.truth import SCHEMA as TRUTH_SCHEMA
from credit_risk_assets.tape.simulation.writers import PartedTape, TapeFile, TapeFormat, csv_bytes

__all__ = [
    "DEFAULT_SEED",
    "ChangesResult",
    "DefectResult",
    "Portfolio",
    "SimulationError",
    "SimulationResult",
    "inject_defects",
    "simulate",
    "simulate_changes",
]

DEFAULT_SEED = 20_240_131
TYPICAL_ROWS = 9_000
"""Rows that a block gives to the latest tape, a little below the mean: how far ahead to work."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class SimulationResult:
    """What was written: files, rows by as-of date, and the default rate in the year after each tape.

    The newest tape has no default rate: its year lies ahead.
    """

    files: tuple[Path, ...]
    rows: dict[date, int]
    default_rates: dict[date, float]
    truth_files: tuple[Path, ...] = ()
    defects: DefectResult | None = None

    @property
    def tapes(self) -> list[Path]:
        """The tapes themselves, without the small sample beside them."""
        return [file for file in self.files if "sample" not in file.name]


def simulate(
    loans: int,
    out: Path,
    *,
    seed: int = DEFAULT_SEED,
    as_of: date | None = None,
    tapes: int = 3,
    format: TapeFormat = "csv",
    parts: int = 1,
    truth: Path | None = None,
    sample_loans: int = 1000,
    progress: Progress | None = None,
    processes: int = 1,
    home: Path | None = None,
    defects: Path | None = None,
    ledger: Path | None = None,
) -> SimulationResult:
    """Write yearly tapes of one portfolio, the latest with exactly `loans` rows, and its truth if asked for.

    The same seed gives the same bytes whatever `processes` is, and a smaller portfolio is the beginning of a
    larger one. `as_of` is a month-end, by default the last one before today (UTC). With `parts`, each tape is
    written in that many files; the parts of a number hold the same loans on every tape. With `home`, the portfolio
    is noted there, so that `simulate_changes` can continue it. With `defects`, a YAML specification, the CSV tapes
    are then spoilt and `ledger` (by default `OUT-defects/ledger.csv`) says what was put where. Raises
    `SimulationError`, one line, for a value that cannot be simulated.
    """
    as_of = check_as_of(as_of or last_month_end())
    _check(loans, tapes, format, parts, seed, processes)
    if defects is not None:
        if format != "csv":
            raise SimulationError(f"format {format}: defects are put into CSV tapes; expected csv")
        read_defects(defects)
    if truth is not None and (truth.resolve() == out.resolve() or out.resolve() in truth.resolve().parents):
        raise SimulationError(f"truth folder {truth}: lies in the tapes' folder; give a folder of its own")
    for folder in (out, truth):
        _make(folder)
    months = tape_months(tapes)
    names = {
        month: "loan_portfolio_data" if month == LATEST else f"loan_portfolio_data_{month_end(as_of, month)}"
        for month in months
    }
    files = {month: PartedTape(out, name, format, rows.SCHEMA, parts) for month, name in names.items()}
    truths = _truth_files(truth, months, as_of, format)
    sample = Sample(min(sample_loans, loans))
    seen = dict.fromkeys(months, 0)
    bad = dict.fromkeys(months, 0)
    try:
        task = BlockTask(seed, 0, as_of, months, truth=truth is not None)
        for result, encoded in _blocks(task, loans, format, processes):
            breaks = _breaks(result.tapes[LATEST], files[LATEST].rows, loans, parts)
            for month in months:
                files[month].append(result.tapes[month], encoded.get(month), breaks)
                if truth is not None:
                    truths[month].append(result.truths[month], result.truths[month].num_rows)
                good, defaults = result.outcomes.get(month, (0, 0))
                seen[month] += good
                bad[month] += defaults
            sample.offer(result.tapes[LATEST])
            if progress is not None:
                progress("simulating loans", files[LATEST].rows / loans)
        written = [file for month in months for file in files[month].commit()]
        truth_written = tuple(file.commit() for file in truths.values())
    except BaseException:
        for tape in files.values():
            tape.discard()
        for file in truths.values():
            file.discard()
        raise
    small = TapeFile(out / f"loan_portfolio_sample.{format}", rows.SCHEMA)
    table = sample.rows()
    small.append(table, table.num_rows)
    written.append(small.commit())
    if home is not None:
        remember(home, Portfolio(loans, seed, as_of))
    spoilt = None
    if defects is not None:
        ledger = ledger or out.with_name(f"{out.name}-defects") / "ledger.csv"
        spoilt = inject_defects(written, defects, ledger)
        written = [*spoilt.files, written[-1]]
    return SimulationResult(
        files=tuple(written),
        rows={month_end(as_of, month): files[month].rows for month in months},
        default_rates={month_end(as_of, m): bad[m] / seen[m] for m in months if seen[m]},
        truth_files=truth_written,
        defects=spoilt,
    )


def _make(folder: Path | None) -> None:
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SimulationError(f"{folder}: cannot be made a folder ({error.strerror}); choose another one") from None


def _breaks(latest: pa.Table, done: int, loans: int, parts: int) -> list[str]:
    """The loans of a block of the latest tape, `done` rows in, at which its parts of equal size begin."""
    rows = [loans * number // parts - done for number in range(1, parts)]
    return [latest["loan_id"][row].as_py() for row in rows if 0 <= row < latest.num_rows]


def _check(loans: int, tapes: int, format: str, parts: int, seed: int, processes: int) -> None:
    if loans < 1:
        raise SimulationError(f"loans {loans}: expected 1 or more")
    if not 1 <= tapes <= MAX_TAPES:
        raise SimulationError(f"tapes {tapes}: expected 1 to {MAX_TAPES}, one a year back from the latest")
    if format not in ("csv", "parquet"):
        raise SimulationError(f"format {format}: expected csv or parquet")
    if not 1 <= parts <= min(MAX_PARTS, loans):
        raise SimulationError(f"parts {parts}: expected 1 to {MAX_PARTS}, and no more than loans ({loans})")
    if seed < 0:
        raise SimulationError(f"seed {seed}: expected 0 or more")
    if processes < 1:
        raise SimulationError(f"processes {processes}: expected 1 or more")


def _truth_files(folder: Path | None, months: tuple[int, ...], as_of: date, format: str) -> dict[int, TapeFile]:
    if folder is None:
        return {}
    name = "loan_portfolio_truth_{}.{}"
    return {m: TapeFile(folder / name.format(month_end(as_of, m), format), TRUTH_SCHEMA) for m in months}


Encoded = dict[int, bytes]


def _work(task: BlockTask, encode: bool) -> tuple[BlockResult, Encoded]:
    result = simulate_block(task)
    return result, {month: csv_bytes(table) for month, table in result.tapes.items()} if encode else {}


def _blocks(task: BlockTask, loans: int, format: TapeFormat, processes: int) -> Iterator[tuple[BlockResult, Encoded]]:
    """The blocks in order until the latest tape is full; the last one is cut to the rows still wanted."""
    done, block = 0, 0
    if processes == 1:
        while done < loans:
            result = simulate_block(replace(task, block=block, limit=loans - done))
            done, block = done + result.latest_rows, block + 1
            yield result, {}
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        queue: deque[Future[tuple[BlockResult, Encoded]]] = deque()
        while done < loans:
            ahead = done + len(queue) * TYPICAL_ROWS
            while len(queue) <= processes and (ahead < loans or not queue):
                queue.append(pool.submit(_work, replace(task, block=block + len(queue)), format == "csv"))
                ahead += TYPICAL_ROWS
            result, encoded = queue.popleft().result()
            if done + result.latest_rows > loans:
                # Only now is it known how much of this block is wanted.
                result, encoded = _work(replace(task, block=block, limit=loans - done), format == "csv")
            done, block = done + result.latest_rows, block + 1
            yield result, encoded
        for unused in queue:
            unused.cancel()
