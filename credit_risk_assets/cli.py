"""The console script `credit-risk`: everything the platform does, from a shell."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from credit_risk_assets.config.settings import Settings, SettingsError, load_settings

app = typer.Typer(
    name="credit-risk",
    help="Loan tapes in; Delta tables, checks, a default model, scores and a dashboard out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

DEMO_LOANS = 50_000
SEED = 20_240_131


def _fail(message: str) -> typer.Exit:
    errors.print(f"error {message}", markup=False)
    return typer.Exit(1)


def _settings() -> Settings:
    return load_settings()


def _as_of(value: str | None) -> date:
    if value is None:
        return datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise _fail(f"--as-of {value!r}: expected a date as yyyy-mm-dd") from None


simulate_app = typer.Typer(help="Write the yearly tapes of a simulated portfolio, or continue it in change files.")
app.add_typer(simulate_app, name="simulate")


@simulate_app.callback(invoke_without_command=True)
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
            measured = measure(loans, seed=seed, as_of=_as_of(as_of))
        except SimulationError as error:
            raise _fail(str(error)) from None
        console.print("\n".join(measured.lines()), markup=False)
        if not measured.holds:
            raise typer.Exit(1)
        return
    if out is None:
        raise _fail("--out: expected a folder for the tapes")
    try:
        result = write_tapes(
            loans,
            out,
            seed=seed,
            as_of=_as_of(as_of),
            tapes=tapes,
            format=format,
            parts=parts,
            truth=truth,
            defects=defects,
        )
    except SimulationError as error:
        raise _fail(str(error)) from None
    except OSError as error:
        raise _fail(f"{error.filename or out}: cannot be written ({error.strerror or error})") from None
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


@simulate_app.command()
def changes(
    home: Annotated[Path | None, typer.Option(help="Home of the portfolio; by default CREDIT_RISK_HOME.")] = None,
    hours: Annotated[int, typer.Option(min=1, help="Hours that one change file covers.")] = 4,
    windows: Annotated[int, typer.Option(min=1, help="How many change files to write.")] = 1,
) -> None:
    """Continue the demo's portfolio: new, changed and closed loans as files in the landing folder."""
    from credit_risk_assets.config.settings import read_settings
    from credit_risk_assets.tape.simulate import SimulationError, simulate_changes

    settings = read_settings(home=home) if home else _settings()
    settings.make_home()
    try:
        result = simulate_changes(settings.home, hours, windows=windows)
    except SimulationError as error:
        raise _fail(str(error)) from None
    console.print(
        f"{result.rows:,} changed loans between {result.since:%Y-%m-%d %H:%M} and {result.until:%Y-%m-%d %H:%M} UTC "
        f"in {len(result.files)} files",
        markup=False,
    )


@app.command()
def land(
    files: Annotated[list[Path], typer.Argument(help="Tapes to land: CSV (plain or gzip) or Parquet.")],
    mapping: Annotated[str | None, typer.Option(help="Name of a mapping, or a YAML file, for foreign tapes.")] = None,
    kind: Annotated[
        Literal["full", "changes"], typer.Option(help="Every loan on book, or only new and changed ones.")
    ] = "full",
) -> None:
    """Check that tapes can be read, translate foreign ones, and put them into the landing folder."""
    from credit_risk_assets.resources.ingestion import known_contents
    from credit_risk_assets.resources.lake_log import LakeLog
    from credit_risk_assets.resources.landing import land as put
    from credit_risk_assets.tape.intake import fingerprint
    from credit_risk_assets.tape.mapping import MappingError, load_mapping
    from credit_risk_assets.tape.readers import TapeRefused

    settings = _settings()
    settings.make_home()
    known = known_contents(LakeLog(settings.lake))
    refused = 0
    try:
        chosen = load_mapping(mapping) if mapping else None
    except MappingError as error:
        raise _fail(str(error)) from None
    for file in files:
        try:
            if chosen is None:
                target = put(settings, file, kind)
            else:
                from credit_risk_assets.resources.translation import translate

                translated = translate(settings, file, chosen)
                stem = file.name.removesuffix(".gz").rsplit(".", 1)[0]
                try:
                    target = put(settings, translated, kind, name=f"{stem}.parquet")
                finally:
                    translated.unlink()
                    translated.parent.rmdir()
        except TapeRefused as error:
            errors.print(f"refused {error}", markup=False)
            refused += 1
            continue
        held = known.get(fingerprint(target))
        note = f" (the lake holds this content already, as {held})" if held else ""
        console.print(f"landed {file.name} as {target.relative_to(settings.home)}{note}", markup=False)
    if refused:
        raise typer.Exit(1)


@app.command()
def requeue(
    file: Annotated[Path | None, typer.Argument(help="An export whose rows are repaired: lands them again.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the open rejected rows to this CSV, to repair.")] = None,
    source: Annotated[str | None, typer.Option(help="Export the rows of this source file alone.")] = None,
    partial: Annotated[bool, typer.Option(help="Land the right rows and leave the others open.")] = False,
) -> None:
    """Show rejected rows, export them for repair, or land the repaired ones."""
    from credit_risk_assets.resources.rejected import RequeueError, summary
    from credit_risk_assets.resources.requeue import export_rejected, requeue_repaired

    settings = _settings()
    if file and export:
        raise _fail("requeue: expected a repaired file or --export, not both")
    try:
        if export:
            records = export_rejected(settings, export, source)
            console.print(f"{len(records):,} rejected rows in {export}, readable by you alone", markup=False)
            console.print(f"next: repair the rows, then `credit-risk requeue {export}`", markup=False)
            return
        if file is None:
            console.print("\n".join(summary(settings)), markup=False)
            return
        done = requeue_repaired(settings, file, partial=partial)
    except RequeueError as error:
        raise _fail(str(error)) from None
    for problem in done.problems:
        errors.print(problem, markup=False)
    if not done.landed:
        advice = "repair them, or land the others with --partial"
        raise _fail(f"{file}: {len(done.problems):,} rows are not right yet, so nothing was landed; {advice}")
    for target in done.landed:
        console.print(f"landed {target.relative_to(settings.home)}", markup=False)
    changed = ", ".join(f"{name} in {count:,}" for name, count in done.changed.most_common()) or "none"
    console.print(f"{done.rows:,} rows requeued; values changed: {changed}", markup=False)
    if done.problems:
        console.print(f"{len(done.problems):,} rows were left as they are", markup=False)
    console.print("next: `credit-risk refresh` ingests them", markup=False)


@app.command()
def refresh(
    select: Annotated[
        str | None, typer.Option(help="Assets to materialise, such as 'silver/loans' or '+gold/loan_scores'.")
    ] = None,
) -> None:
    """Materialise what is stale, in one Dagster run; exit 1 when an asset or an ERROR check fails."""
    from credit_risk_assets.automation.refresh import SelectionError
    from credit_risk_assets.automation.refresh import refresh as run
    from credit_risk_assets.resources.writer_lock import LakeBusyError

    try:
        done = run(_settings(), select, console)
    except (SelectionError, LakeBusyError) as error:
        raise _fail(str(error)) from None
    if not done:
        raise typer.Exit(1)


@app.command()
def demo(
    loans: Annotated[int, typer.Option(min=1_000, help="Loans on the latest tape.")] = DEMO_LOANS,
) -> None:
    """Simulate a portfolio, land it and run the main job: the whole platform in one command."""
    from credit_risk_assets.automation.refresh import refresh as run
    from credit_risk_assets.resources.landing import land as put
    from credit_risk_assets.tape.simulate import simulate as write_tapes

    settings = _settings()
    settings.make_home()
    began = time.monotonic()
    folder = settings.home / "simulated"
    console.print(f"simulating {loans:,} loans on three yearly tapes …")
    result = write_tapes(loans, folder, as_of=_as_of(None), home=settings.home)
    tapes = [file for file in result.files if "sample" not in file.name]
    for file in tapes:
        put(settings, file)
    console.print(f"  done    {'simulate and land':24}{time.monotonic() - began:7.1f} s")
    done = run(settings, None, console)
    console.print(f"\ndemo finished in {time.monotonic() - began:.1f} s")
    console.print("next: `make up` serves the Dagster UI and the dashboard", markup=False)
    if not done:
        raise typer.Exit(1)


@app.command()
def restore(
    table: Annotated[str | None, typer.Argument(help="A silver or gold table, such as silver/loans.")] = None,
    version: Annotated[int | None, typer.Option(min=0, help="Give the table the rows of this version again.")] = None,
    to: Annotated[str | None, typer.Option(help="Take bronze and silver back to this time (UTC).")] = None,
) -> None:
    """List a table's versions, or take a table, or bronze and silver together, back to an earlier one."""
    from credit_risk_assets.resources.lake_log import LakehouseError
    from credit_risk_assets.resources.restore import run_restore
    from credit_risk_assets.resources.writer_lock import LakeBusyError

    try:
        for line in run_restore(_settings(), table, version, to):
            console.print(line, markup=False)
    except (LakehouseError, LakeBusyError) as error:
        raise _fail(str(error)) from None


@app.command()
def score(
    input: Annotated[Path, typer.Option(help="Loans to score, in the tape's columns: CSV or Parquet.")],
    output: Annotated[Path, typer.Option(help="Where the scores go: CSV or Parquet by its name.")],
) -> None:
    """Score new loans with the champion; a row that cannot be scored comes back with its reason."""
    from credit_risk_assets.automation.scoring import score_file
    from credit_risk_assets.modelling.errors import ModelDataError
    from credit_risk_assets.resources.mlflow import NoChampionError

    try:
        summary = score_file(_settings(), input, output)
    except (ModelDataError, NoChampionError, OSError) as error:
        raise _fail(str(error)) from None
    console.print(summary, markup=False)


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="A labelled table: CSV or Parquet, gzip too.")],
    label: Annotated[str, typer.Option(help="The column that holds the outcome.")],
    bad: Annotated[str | None, typer.Option(help="The value of the label that means bad.")] = None,
    drop: Annotated[str, typer.Option(help="Columns to leave out, separated by commas.")] = "",
    folds: Annotated[int, typer.Option(min=2, max=20, help="Cross-validation folds.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON too.")] = None,
) -> None:
    """Train, calibrate and test the platform's model on any labelled table, cross-validated."""
    import json as writer

    from credit_risk_assets.modelling.errors import ModelDataError
    from credit_risk_assets.modelling.tabular import evaluate_table

    dropped = [name.strip() for name in drop.split(",") if name.strip()]
    try:
        report = evaluate_table(file, label, bad, dropped, folds, _settings().model)
    except (ModelDataError, OSError) as error:
        raise _fail(str(error)) from None
    for line in report.lines():
        console.print(line, markup=False)
    if json is not None:
        json.write_text(writer.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")


@app.command()
def up() -> None:
    """Serve the Dagster UI with its daemon and the dashboard until interrupted."""
    from credit_risk_assets.automation.serve import serve

    try:
        serve(_settings(), console)
    except RuntimeError as error:
        raise _fail(str(error)) from None


@app.command()
def jvm() -> None:
    """Resolve Delta's JARs once, for the engines that need Java."""
    from credit_risk_assets.resources.spark import EngineError, resolve_jars

    try:
        jars = resolve_jars()
    except EngineError as error:
        raise _fail(str(error)) from None
    console.print(f"{len(jars)} JARs in {jars[0].parent}", markup=False)


@app.command()
def doctor() -> None:
    """Say what is missing for the engine of the settings, and the one command that mends it."""
    from credit_risk_assets.automation.doctor import diagnose

    settings = _settings()
    problems = 0
    for finding in diagnose(settings):
        console.print(f"{'ok' if finding.ok else 'MISSING':8}{finding.what}", markup=False)
        problems += not finding.ok and finding.needed
    if problems:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; every expected error is one line on stderr and exit code 1."""
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    try:
        app()
    except SettingsError as error:
        errors.print(f"error {error}", markup=False)
        sys.exit(1)
