"""Writes the measured part of docs/performance.md from the results in docs/benchmarks.

    python docs/benchmarks/make_performance.py

A result is a file of `credit-risk benchmark --json docs/benchmarks/NAME.json`; its name is the run's name on the page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from credit_risk_assets.benchmark.fit import exponent, read_result  # noqa: E402

FOLDER, PAGE = ROOT / "docs" / "benchmarks", ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PARTS = ("preparation", "main job", "main job, within train", "peer", "incremental")

Result = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *[f"| {' | '.join(row)} |" for row in rows], ""]


def seconds(value: float) -> str:
    """Seconds with the digits that mean something."""
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def gigabytes(size: float) -> str:
    """Bytes as GB."""
    return f"{size / 1e9:.2f}"


def peak(figures: dict[str, Any]) -> str:
    """Peak memory, with the JVM's part."""
    java = figures.get("peak_java_bytes")
    return gigabytes(figures["peak_bytes"]) + (f" ({gigabytes(java)})" if java else "")


def machines(results: dict[str, Result]) -> list[str]:
    """The machines, each once, with the runs made on it."""
    found: dict[str, list[str]] = {}
    for name, result in results.items():
        facts = result["machine"]
        libraries = ", ".join(f"{library} {version}" for library, version in facts["libraries"].items())
        text = (
            f"{facts['processor']}, {facts['cores']} cores, {facts['memory_bytes'] / 2**30:.0f} GiB; "
            f"{facts['system']}; Python {facts['python']}, {libraries}"
        )
        found.setdefault(text, []).append(name)
    return [f"- {', '.join(f'`{name}`' for name in names)}: {text}" for text, names in found.items()] + [""]


def runs(results: dict[str, Result]) -> list[str]:
    """One line a run: what it was, and its totals."""
    rows = []
    for name, result in results.items():
        totals, settings = result["totals"], result["settings"]
        changed = [f"{key} = {value}" for key, value in settings.items() if key != "spark.engine"]
        notes = "; ".join([*([note] if (note := result.get("note")) else []), *changed, *result["failures"]])
        rows.append(
            [
                f"`{name}`",
                f"{result['loans']:,}",
                f"{result['rows']:,} on {result['tapes']} {result['tape_format']}",
                result["engine"]["engine"],
                seconds(totals["main_seconds"]),
                seconds(totals["main_processor_seconds"]),
                seconds(totals["table_work_seconds"]),
                seconds(totals["between_steps_seconds"]),
                peak(totals),
                gigabytes(totals["lake_bytes"]),
                f"{result['checks']['evaluated']} ({result['checks']['failed']} failed)",
                f"{result['model']['auc']:.3f}" if "auc" in result["model"] else "",
                f"{result['finished_at'][:10]} {result['machine']['commit'] or ''}",
                notes,
            ]
        )
    head = [
        "run",
        "loans",
        "rows on tapes",
        "engine",
        "main job, s",
        "processor, s",
        "table work, s",
        "between steps, s",
    ]
    return table([*head, "peak, GB", "lake, GB", "checks", "AUC", "made", "notes"], rows)


def stages(result: Result) -> list[str]:
    """The stages of one run."""
    rows = []
    for part in PARTS:
        for stage in (stage for stage in result["stages"] if stage["part"] == part):
            rows.append(
                [
                    part,
                    stage["name"],
                    seconds(stage["seconds"]),
                    seconds(stage["processor_seconds"]),
                    f"{stage['rows_per_second']:,}",
                    peak(stage),
                    gigabytes(stage["peak_own_bytes"]),
                    f"{stage['written_bytes'] / 1e6:,.1f}",
                ]
            )
    return table(["part", "stage", "s", "processor, s", "rows/s", "peak, GB", "own, GB", "written, MB"], rows)


def peers(results: dict[str, Result]) -> list[str]:
    """Ours beside the peer, run by run."""
    rows = []
    for name, result in results.items():
        if peer := result.get("peer"):
            same = f"{len(peer['differences'])} differences" if peer["differences"] else "equal"
            rows.append(
                [
                    f"`{name}`",
                    seconds(result["totals"]["table_work_seconds"]),
                    seconds(peer["seconds"]),
                    f"{peer['ratio']:.2f}",
                    f"{peer['ratio_without_checks']:.2f}",
                    peak(result["totals"]),
                    gigabytes(peer["peak_bytes"]),
                    f"{same} ({peer['compared_rows']:,} rows)",
                ]
            )
    head = ["run", "table work, s", "peer, s", "ratio", "ratio without checks", "peak, GB", "peer's peak, GB", "tables"]
    return table(head, rows) if rows else ["No run with a peer.", ""]


def changes(results: dict[str, Result]) -> list[str]:
    """What a change file took."""
    rows = [
        [
            f"`{name}`",
            f"{change['changed_loans']:,} ({change['percent']:g} %)",
            seconds(change["table_work_seconds"]),
            seconds(change["all_seconds"]),
            seconds(change["dashboard_cold_seconds"]),
            gigabytes(change["dashboard_peak_own_bytes"]),
        ]
        for name, result in results.items()
        if (change := result.get("incremental"))
    ]
    head = ["run", "changed loans", "table work to the cube, s", "in all, s", "dashboard's first load, s"]
    return table([*head, "dashboard's own peak, GB"], rows) if rows else ["No run with a change file.", ""]


def growth(results: dict[str, Result]) -> list[str]:
    """Fitted exponents of the runs that differ in size alone."""

    def kind(result: Result) -> tuple[str, int, str, str]:
        return result["engine"]["engine"], result["tapes"], result["tape_format"], result.get("note", "")

    rows = []
    for (engine, tapes, form, note), group in groupby(sorted(results.values(), key=kind), key=kind):
        found = sorted(group, key=lambda result: result["loans"])
        sizes = [result["loans"] for result in found]
        if len(set(sizes)) > 1:
            fitted = [
                f"{exponent(sizes, [result['totals'][f'{what}_seconds'] for result in found]):.2f}"
                for what in ("main", "main_processor", "table_work", "table_work_processor")
            ]
            over = ", ".join(f"{size:,}" for size in sizes)
            rows.append([f"{engine}, {tapes} {form}{f', {note}' if note else ''}", over, *fitted])
    head = ["runs", "loans", "main job", "its processor seconds", "table work", "its processor seconds"]
    return table(head, rows) if rows else ["No two sizes of one kind.", ""]


def measured(folder: Path = FOLDER) -> str:
    """The measured part of the page, from every result in the folder."""
    read = [(file.stem, read_result(file)) for file in sorted(folder.glob("*.json"))]
    read.sort(key=lambda pair: (pair[1]["tapes"], pair[1]["engine"]["engine"], pair[1]["loans"], pair[0]))
    results = dict(read)
    lines = ["### Runs", "", *machines(results), *runs(results)]
    lines += ["### Beside the peer", "", *peers(results), "### After a change file", "", *changes(results)]
    lines += ["### Growth", "", "Exponents b of seconds ~ loans^b.", "", *growth(results), "### Stages", ""]
    for name, result in results.items():
        lines += [f"`{name}`", "", *stages(result)]
    return "\n".join(lines).rstrip() + "\n"


def page(text: str, folder: Path = FOLDER) -> str:
    """The page with its measured part written anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{measured(folder)}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
