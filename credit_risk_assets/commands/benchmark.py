"""`credit-risk benchmark`: the main job at scale, measured stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from credit_risk_assets.commands.console import console, fail


def benchmark(
    files: Annotated[list[Path] | None, typer.Argument(help="With --fit: results to fit over.")] = None,
    records: Annotated[
        int | None,
        typer.Option(
            min=1_000,
            help="Loans on the newest tape, as of `simulate --loans`; the older tapes come on top (2.75 times as "
            "many rows over three tapes), and rows a second count all of them.",
        ),
    ] = None,
    tapes: Annotated[
        int, typer.Option(help="3: yearly tapes, with a model. 1: one tape, and so the table work alone.")
    ] = 3,
    format: Annotated[Literal["csv", "parquet"], typer.Option(help="Format of the tapes.")] = "parquet",
    json: Annotated[Path | None, typer.Option(help="Write the result as JSON too.")] = None,
    incremental: Annotated[
        float | None,
        typer.Option(
            min=0.001, max=20, metavar="PERCENT", help="Then land a change file of so many per cent of the loans."
        ),
    ] = None,
    peer: Annotated[
        bool, typer.Option("--peer", help="Then let polars and delta-rs do the same table work; compare the tables.")
    ] = False,
    note: Annotated[str, typer.Option(help="What is special about this run, for the result.")] = "",
    home: Annotated[
        Path | None, typer.Option(help="New folder for the benchmark's home; by default one under the home.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the benchmark's home in place.")] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Run nothing: fit how the seconds grow over the results in FILES.")
    ] = False,
) -> None:
    """Measure the main job: seconds, rows a second, memory and bytes of each stage; exit 1 where anything failed.

    The engine and all else follow the settings. Simulating and landing are stages of their own, no part of the main
    job's time.
    """
    from credit_risk_assets.benchmark.fit import BenchmarkError, fit_lines

    def say(line: str) -> None:
        console.print(line, markup=False)

    try:
        if fit:
            for line in fit_lines(files or []):
                say(line)
            return
        if records is None or files:
            raise BenchmarkError("--records: expected the number of loans (or --fit with result files)")
        if tapes not in (1, 3):
            raise BenchmarkError(f"--tapes {tapes}: expected 1 or 3")
        from credit_risk_assets.benchmark.report import summary_lines
        from credit_risk_assets.benchmark.run import Plan, run_benchmark

        plan = Plan(records, 1 if tapes == 1 else 3, format, incremental, peer, note)
        result = run_benchmark(plan, home=home, keep=keep, json_file=json, say=say)
    except BenchmarkError as error:
        raise fail(str(error)) from None
    for line in summary_lines(result):
        say(line)
    if not result["passed"]:
        raise typer.Exit(1)
