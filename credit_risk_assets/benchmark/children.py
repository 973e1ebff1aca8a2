"""The parts of a benchmark, each run by a fresh process so that its memory is its own.

`python -m credit_risk_assets.benchmark.children PART RESULT ARGUMENTS`: ARGUMENTS are JSON, and so is RESULT, the file
that the part leaves behind. The home is that of the settings.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any

from credit_risk_assets.commands.console import console
from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_assets.tape.simulation.writers import TapeFormat

PHASES = {
    "train_default_model": "fit, calibrate and test",
    "validate": "validate",
    "register": "register in MLflow",
}
"""Functions that the asset default_model calls in its own process, each a stage of its own."""
SHOWN_LOANS = 20


def simulated(
    settings: Settings, *, loans: int, tapes: int, format: TapeFormat, out: str, as_of: str
) -> dict[str, Any]:
    """Write the tapes of a portfolio into `out`."""
    from credit_risk_assets.tape.simulate import simulate

    shown = [0.0]

    def progress(_: str, share: float) -> None:
        if share >= shown[0] + 0.2:
            shown[0] = share
            console.print(f"    {share:.0%} of the loans simulated")

    processes = len(os.sched_getaffinity(0)) if format == "csv" else 1
    began = time.time()
    result = simulate(
        loans, Path(out), as_of=date.fromisoformat(as_of), tapes=tapes, format=format, processes=processes,
        progress=progress, home=settings.home,
    )  # fmt: skip
    files = [str(file) for file in result.tapes]
    return {"began": began, "ended": time.time(), "files": files, "rows": sum(result.rows.values())}


def landed(settings: Settings, *, files: list[str], kind: str) -> dict[str, Any]:
    """Land the files as `credit-risk land` does."""
    from credit_risk_assets.resources.landing import land

    began = time.time()
    for file in files:
        land(settings, Path(file), "changes" if kind == "changes" else "full")
    return {"began": began, "ended": time.time()}


def refreshed(settings: Settings) -> dict[str, Any]:
    """The main job as `credit-risk refresh` runs it, with the phases of the training beside its steps."""
    from credit_risk_assets.automation.progress import StepSpan, StepTimes
    from credit_risk_assets.automation.refresh import refresh

    times = StepTimes()
    phases: list[StepSpan] = []
    _time_phases(phases)
    began = time.time()
    passed = refresh(settings, None, console, times)
    ended = time.time()
    return {
        "began": began,
        "ended": ended,
        "passed": passed,
        "spans": [asdict(span) for span in times.spans],
        "phases": [asdict(span) for span in phases],
    }


def _time_phases(phases: list[Any]) -> None:
    from credit_risk_assets.assets import model
    from credit_risk_assets.automation.progress import StepSpan

    def timed(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            began = time.time()
            try:
                return function(*arguments, **options)
            finally:
                phases.append(StepSpan(phase, began, time.time(), "done"))

        return call

    for name, phase in PHASES.items():
        setattr(model, name, timed(phase, getattr(model, name)))


def changed(settings: Settings, *, rows: int, out: str) -> dict[str, Any]:
    """Write a change file of `rows` loans that continue the home's portfolio, and say what a few of them hold."""
    import polars as pl

    from credit_risk_assets.tape.simulation.changes import recall, simulate_changes

    portfolio, _ = recall(settings.home)
    began = time.time()
    hours = max(1, round(rows / portfolio.loans * 1_000))
    folder = Path(out)
    while True:
        result = simulate_changes(folder / "draw", min(hours, 24 * 28), portfolio=portfolio)
        files = [file for file in result.files if file.parent.name == "changes"]
        drawn = pl.concat([pl.read_csv(file, infer_schema=False) for file in files]) if files else pl.DataFrame()
        if drawn.height >= rows or hours >= 24 * 28:
            break
        hours *= 2
    file = folder / "benchmark_changes.csv"
    picked = drawn.sample(min(rows, drawn.height), seed=1)
    picked.write_csv(file)
    shown = picked.head(SHOWN_LOANS).select("loan_id", pl.col("outstanding_balance").cast(pl.Float64))
    return {
        "began": began,
        "ended": time.time(),
        "files": [str(file)],
        "rows": picked.height,
        "as_of_month": str(picked["as_of_date"].max())[:7],
        "loans": dict(shown.iter_rows()),
    }


def dashboard(settings: Settings, *, result: str) -> dict[str, Any]:
    """A worker of the dashboard: it holds the lake as it stands, and looks again at each line that it is sent.

    A line names the month and the balances that the new figures must show.
    """
    from credit_risk_assets.config.tables import PORTFOLIO_CUBE
    from dash_app.data.cube import read_cube
    from dash_app.data.index import loan_index
    from dash_app.data.lake import Lake
    from dash_app.data.rated import rated_segments

    # Loaded here and now, where the served app would show the old figures until a background thread is done.
    lake = Lake(settings.lake, settings.home / "cache")
    found: dict[str, Any] = {}
    for name in ("cold", "changed"):
        expected = json.loads(sys.stdin.readline()) if name == "changed" else {}
        looked = time.time()
        snapshot = lake.snapshot()
        cube = read_cube(snapshot)
        cubed = time.time()
        rated_segments(snapshot)
        index = loan_index(snapshot)
        ended = time.time()
        found[name] = {"began": looked, "cube": cubed, "ended": ended, "rows": index.frame.height}
        if name == "cold":
            found["version"] = snapshot.versions[PORTFOLIO_CUBE.path]
            print("ready", flush=True)
            continue
        shown = index.frame.filter(index.frame["loan_id"].is_in(list(expected["loans"])))
        balances = dict(shown.select("loan_id", "outstanding_balance").iter_rows())
        found["shows"] = (
            cube.tapes[-1].month == expected["as_of_month"]
            and snapshot.versions[PORTFOLIO_CUBE.path] > found["version"]
            and balances == expected["loans"]
        )
    Path(result).write_text(json.dumps(found), encoding="utf-8")
    return found


def compared(settings: Settings, *, peer: str) -> dict[str, Any]:
    """Hold the peer's tables against the lake's."""
    from credit_risk_assets.benchmark.compare import compare_lakes

    began = time.time()
    report = compare_lakes(settings.lake, Path(peer), lambda line: console.print(f"    {line}", markup=False))
    return {"began": began, "ended": time.time(), **report}


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "simulate": simulated,
    "land": landed,
    "refresh": refreshed,
    "changes": changed,
    "dashboard": dashboard,
    "compare": compared,
}


def main() -> None:
    """Run one part and leave its result behind; an expected failure is one line on stderr and exit code 1."""
    from credit_risk_assets.benchmark.fit import BenchmarkError
    from credit_risk_assets.config.settings import SettingsError
    from credit_risk_assets.resources.spark import EngineError
    from credit_risk_assets.resources.writer_lock import LakeBusyError
    from credit_risk_assets.tape.readers import TapeRefused
    from credit_risk_assets.tape.simulate import SimulationError

    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    part, result, arguments = sys.argv[1:]
    try:
        found = PARTS[part](read_settings(), **json.loads(arguments))
    except (BenchmarkError, EngineError, LakeBusyError, SettingsError, SimulationError, TapeRefused, OSError) as error:
        sys.exit(f"error {part}: {error}")
    Path(result).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
