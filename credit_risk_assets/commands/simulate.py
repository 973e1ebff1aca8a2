"""`credit-risk simulate`: tapes of a portfolio whose truth is known."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer

from credit_risk_assets.commands.console import console, current_settings, fail

DEMO_LOANS = 50_000
SEED = 20_240_131


def as_of_date(value: str | None) -> date:
    """The as-of date of an option; the last month-end where it was left out."""
    if value is None:
        return datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise fail(f"--as-of {value!r}: expected a date as yyyy-mm-dd") from None


app = typer.Typer(help="Write the yearly tapes of a simulated portfolio, or continue it in change files.")


@app.callback(invoke_without_command=True)
def simulate(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option(help="Folder for the tapes.")] = None,
    loans: Annotated[int, typer.Option(min=1, help="Loans on the latest tape.")] = DEMO_LOANS,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = SEED,
    as_of: Annotated[str | None, typer.Option(help="Latest as-of date; by default the last month-end.")] = None,
    tapes: Annotated[int, typer.Option(min=1, max=6, help="Yearly tapes.")] = 3,
    format: Annotated[Literal["csv", "parquet"], typer.Option(help="File format.")] = "csv",
    parts: Annotated[int, typer.Option(min=1, help="Files for each tape.")] = 1,
    truth: Annotated[Path | None, typer.Option(help="Folder for the true PD and LGD, apart from the tapes.")] = None,
    defects: Annotated[Path | None, typer.Option(help="YAML file of defects to inject (CSV tapes only).")] = None,
    report: Annotated[bool, typer.Option(help="Measure the portfolio against its targets instead.")] = False,
) -> None:
    """Write the yearly tapes of a simulated portfolio, and a sample of 1,000 loans."""
    if context.invoked_subcommand is not None:
        return
    from credit_risk_assets.tape.simulate import SimulationError
    from credit_risk_assets.tape.simulate import simulate as write_tapes

    began = time.monotonic()
    if report:
        from credit_risk_assets.tape.simulation.report import report as measure

        console.print(f"measuring {loans:,} loans of seed {seed} against the targets …")
        try:
            measured = measure(loans, seed=seed, as_of=as_of_date(as_of))
        except SimulationError as error:
            raise fail(str(error)) from None
        console.print("\n".join(measured.lines()), markup=False)
        if not measured.holds:
            raise typer.Exit(1)
        return
    if out is None:
        raise fail("--out: expected a folder for the tapes")
    try:
        result = write_tapes(
            loans,
            out,
            seed=seed,
            as_of=as_of_date(as_of),
            tapes=tapes,
            format=format,
            parts=parts,
            truth=truth,
            defects=defects,
        )
    except SimulationError as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or out}: cannot be written ({error.strerror or error})") from None
    for day, rows in sorted(result.rows.items()):
        rate = result.default_rates.get(day)
        shown = f", {rate:.1%} default within the next twelve months" if rate is not None else ""
        console.print(f"  {day}  {rows:>10,} loans{shown}")
    console.print(f"{len(result.files)} files in {out} ({time.monotonic() - began:.1f} s)", markup=False)
    if result.truth_files:
        console.print(f"{len(result.truth_files)} files of the truth in {truth}; no lake may hold them", markup=False)
    if result.defects is not None:
        spoilt = ", ".join(f"{count:,} {kind}" for kind, count in result.defects.counts.items())
        console.print(f"defects: {spoilt or 'none'}; each noted in {result.defects.ledger}", markup=False)


@app.command()
def changes(
    home: Annotated[Path | None, typer.Option(help="Home of the portfolio; by default CREDIT_RISK_HOME.")] = None,
    hours: Annotated[int, typer.Option(min=1, help="Hours that one change file covers.")] = 4,
    windows: Annotated[int, typer.Option(min=1, help="How many change files to write.")] = 1,
) -> None:
    """Continue the demo's portfolio: new, changed and closed loans as files in the landing folder."""
    from credit_risk_assets.config.settings import read_settings
    from credit_risk_assets.tape.simulate import SimulationError, simulate_changes

    settings = read_settings(home=home) if home else current_settings()
    settings.make_home()
    try:
        result = simulate_changes(settings.home, hours, windows=windows)
    except SimulationError as error:
        raise fail(str(error)) from None
    console.print(
        f"{result.rows:,} changed loans between {result.since:%Y-%m-%d %H:%M} and {result.until:%Y-%m-%d %H:%M} UTC "
        f"in {len(result.files)} files",
        markup=False,
    )
