"""A benchmark's result as people read it."""

from __future__ import annotations

from typing import Any


def gigabytes(size: float) -> str:
    """Bytes as GB."""
    return f"{size / 1e9:.2f} GB"


def summary_lines(result: dict[str, Any]) -> list[str]:
    """What was measured, in a few lines; what failed comes last."""
    totals, engine, machine = result["totals"], result["engine"], result["machine"]
    lines = [
        "",
        f"{result['loans']:,} loans, {result['rows']:,} rows on {result['tapes']} tapes ({result['tape_format']}), "
        f"{engine['engine']}: {engine['computes']} computes, {engine['commits']} commits",
        f"{machine['processor']}, {machine['cores']} cores, {gigabytes(machine['memory_bytes'])}",
        f"main job    {totals['main_seconds']:,.1f} s, {totals['main_processor_seconds']:,.1f} processor s, "
        f"peak {gigabytes(totals['peak_bytes'])}{_java(totals)}, {result['checks']['evaluated']} checks, "
        f"{result['checks']['failed_errors']} errors",
        f"table work  {totals['table_work_seconds']:,.1f} s (bronze, silver, gold and their checks); between steps "
        f"{totals['between_steps_seconds']:,.1f} s (imports, start of the engine, Dagster)",
    ]
    if peer := result.get("peer"):
        same = "every table equal" if not peer["differences"] else f"{len(peer['differences'])} differences"
        lines.append(
            f"peer        {peer['seconds']:,.1f} s, peak {gigabytes(peer['peak_bytes'])}: ours over peer "
            f"{peer['ratio']:.2f} with checks, {peer['ratio_without_checks']:.2f} without; {same} "
            f"({peer['compared_rows']:,} rows)"
        )
    if change := result.get("incremental"):
        lines.append(
            f"{change['percent']:g} % changed   {change['changed_loans']:,} loans: "
            f"{change['table_work_seconds']:,.1f} s of table work to the dashboard's cube, "
            f"{change['all_seconds']:,.1f} s in all with scores, start-ups and the loan index"
        )
    return lines + [f"FAILED  {failure}" for failure in result["failures"]]


def _java(totals: dict[str, Any]) -> str:
    if not totals["peak_java_bytes"]:
        return ""
    return f" (JVM {gigabytes(totals['peak_java_bytes'])}, Python {gigabytes(totals['peak_python_bytes'])})"
