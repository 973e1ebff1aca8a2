"""The console script `credit-risk`: everything the platform does, from a shell."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from credit_risk_assets.commands import audit, benchmark, model, service, simulate, spark, user
from credit_risk_assets.commands.console import console, current_settings, errors, fail
from credit_risk_assets.config.settings import SettingsError

GARBAGE_LOOK_OBJECTS = 50_000

app = typer.Typer(
    name="credit-risk",
    help="Loan tapes in; Delta tables, checks, a default model, scores and a dashboard out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(simulate.app, name="simulate")
app.add_typer(model.app, name="model")
app.add_typer(user.app, name="user")
app.add_typer(audit.app, name="audit")
app.add_typer(spark.app, name="spark")
app.command()(benchmark.benchmark)


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

    settings = current_settings()
    settings.make_home()
    known = known_contents(LakeLog.of(settings))
    refused = 0
    try:
        chosen = load_mapping(mapping) if mapping else None
    except MappingError as error:
        raise fail(str(error)) from None
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

    settings = current_settings()
    if file and export:
        raise fail("requeue: expected a repaired file or --export, not both")
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
        raise fail(str(error)) from None
    for problem in done.problems:
        errors.print(problem, markup=False)
    if not done.landed:
        advice = "repair them, or land the others with --partial"
        raise fail(f"{file}: {len(done.problems):,} rows are not right yet, so nothing was landed; {advice}")
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
        done = run(current_settings(), select, console)
    except (SelectionError, LakeBusyError) as error:
        raise fail(str(error)) from None
    if not done:
        raise typer.Exit(1)


@app.command()
def demo(
    loans: Annotated[int, typer.Option(min=1_000, help="Loans on the latest tape.")] = simulate.DEMO_LOANS,
) -> None:
    """Simulate a portfolio, land it and run the main job: the whole platform in one command."""
    from credit_risk_assets.commands.demo import run_demo
    from credit_risk_assets.resources.writer_lock import LakeBusyError

    settings = current_settings()
    settings.make_home()
    try:
        done = run_demo(settings, loans, simulate.as_of_date(None), console)
    except LakeBusyError as error:
        raise fail(str(error)) from None
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
        for line in run_restore(current_settings(), table, version, to):
            console.print(line, markup=False)
    except (LakehouseError, LakeBusyError) as error:
        raise fail(str(error)) from None


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
        summary = score_file(current_settings(), input, output)
    except (ModelDataError, NoChampionError, OSError) as error:
        raise fail(str(error)) from None
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
        report = evaluate_table(file, label, bad, dropped, folds, current_settings().model)
    except (ModelDataError, OSError) as error:
        raise fail(str(error)) from None
    for line in report.lines():
        console.print(line, markup=False)
    if json is not None:
        json.write_text(writer.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")


@app.command()
def up(
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Dashboard without log-in; on a loopback host only.")
    ] = False,
) -> None:
    """Serve the Dagster UI with its daemon and the dashboard until interrupted."""
    from credit_risk_assets.automation.serve import serve
    from credit_risk_assets.config.settings import read_settings

    try:
        serve(read_settings(dashboard={"auth": "none"}) if no_auth else current_settings(), console)
    except RuntimeError as error:
        raise fail(str(error)) from None


@app.command()
def jvm() -> None:
    """Resolve Delta's JARs once, for the engines that need Java; S3's too where the lake lies there."""
    from credit_risk_assets.resources.spark import EngineError, resolve_jars

    try:
        jars = resolve_jars(s3=current_settings().storage.is_s3)
    except EngineError as error:
        raise fail(str(error)) from None
    console.print(f"{len(jars)} JARs in {jars[0].parent}", markup=False)


@app.command()
def doctor() -> None:
    """Say what is missing for the engine of the settings, and the one command that mends it."""
    from credit_risk_assets.automation.doctor import diagnose

    settings = current_settings()
    problems = 0
    for finding in diagnose(settings):
        console.print(f"{'ok' if finding.ok else 'MISSING':8}{finding.what}", markup=False)
        problems += not finding.ok and finding.needed
    if problems:
        raise typer.Exit(1)


app.command()(service.serve)
app.command()(service.health)
app.command()(service.migrate)


def main() -> NoReturn:
    """Run the command line; every expected error is one line on stderr and exit code 1."""
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    # What the libraries make at their import stays: looking through it for garbage every 700 objects takes a quarter
    # of the time that a command needs to start.
    gc.set_threshold(GARBAGE_LOOK_OBJECTS)
    try:
        app()
        code: int | str | None = 0
    except SettingsError as error:
        errors.print(f"error {error}", markup=False)
        code = 1
    except RuntimeError as error:
        from credit_risk_assets.resources.lake_store import StorageError

        if not isinstance(error, StorageError):
            raise
        errors.print(f"error {error}", markup=False)
        code = 1
    except SystemExit as ended:
        code = ended.code
    # Taking the engine and its libraries apart in order takes seconds and changes nothing any more.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
