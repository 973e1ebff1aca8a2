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


def _fail(message: str) -> typer.Exit:
    errors.print(f"[red]error[/red] {message}", markup=True) if "[" not in message else errors.print(
        "error " + message, markup=False
    )
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


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the tapes.")],
    loans: Annotated[int, typer.Option(min=1, help="Loans on the latest tape.")] = DEMO_LOANS,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 20_240_131,
    as_of: Annotated[str | None, typer.Option(help="Latest as-of date; by default the last month-end.")] = None,
    tapes: Annotated[int, typer.Option(min=1, max=3, help="Yearly tapes.")] = 3,
    format: Annotated[Literal["csv", "parquet"], typer.Option(help="File format.")] = "csv",  # noqa: A002
    truth: Annotated[Path | None, typer.Option(help="Folder for the true PD and LGD, apart from the tapes.")] = None,
) -> None:
    """Write the yearly tapes of a simulated portfolio, and a sample of 1,000 loans."""
    from credit_risk_assets.tape.simulate import simulate as write_tapes

    began = time.monotonic()
    result = write_tapes(loans, out, seed=seed, as_of=_as_of(as_of), tapes=tapes, format=format, truth=truth)
    for day, rows in sorted(result.rows.items()):
        rate = result.default_rates.get(day)
        shown = f", {rate:.1%} default within the next twelve months" if rate is not None else ""
        console.print(f"  {day}  {rows:>10,} loans{shown}")
    console.print(f"{len(result.files)} files in {out} ({time.monotonic() - began:.1f} s)")


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
    from credit_risk_assets.resources.lakehouse import LakeLog
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
                target = put(settings, translated, kind, name=f"{stem}.parquet")
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
def refresh(
    select: Annotated[
        str | None, typer.Option(help="Assets to materialise, such as 'silver/loans' or '+gold/loan_scores'.")
    ] = None,
) -> None:
    """Materialise what is stale, in one Dagster run; exit 1 when an asset or an ERROR check fails."""
    from credit_risk_assets.automation.refresh import refresh as run

    if not run(_settings(), select, console):
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
    result = write_tapes(loans, folder, as_of=_as_of(None))
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
