"""How the cost grows with the portfolio: seconds = c × loans^b, fitted on logarithms."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "credit-risk benchmark 1"


class BenchmarkError(ValueError):
    """A benchmark that cannot be run, or a file that holds none; the message is one line that says what to do."""


def exponent(loans: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope b of the least-squares line through the logarithms: 1 is linear growth.

    Raises `BenchmarkError` without two different portfolio sizes, or where a figure is not above 0.
    """
    if len(set(loans)) < 2:
        raise BenchmarkError(f"a fit over {len(set(loans))} portfolio sizes: expected two or more different ones")
    if min(*loans, *seconds) <= 0:
        raise BenchmarkError("a fit over a figure of 0 or less: expected loans and seconds above 0")
    slope, _ = np.polyfit(np.log(np.asarray(loans, float)), np.log(np.asarray(seconds, float)), 1)
    return float(slope)


def read_result(file: Path) -> dict[str, Any]:
    """What `credit-risk benchmark --json` wrote. Raises `BenchmarkError` where the file is none of these."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BenchmarkError(
            f"{file}: cannot be read ({error}); give files of `credit-risk benchmark --json`"
        ) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BenchmarkError(f"{file}: no result of a benchmark; give files of `credit-risk benchmark --json`")
    return found


def fit_lines(files: Iterable[Path]) -> list[str]:
    """The exponents of main job, table work and stages over the results in the files, one line each."""
    results = sorted((read_result(file) for file in files), key=lambda result: result["loans"])
    kinds = {(r["engine"]["engine"], r["tapes"], r["tape_format"]) for r in results}
    if len(kinds) > 1:
        shown = "; ".join(f"{engine}, {tapes} tapes, {kind}" for engine, tapes, kind in sorted(kinds))
        raise BenchmarkError(f"a fit over different runs ({shown}): expected one engine, tapes and format")
    loans = [result["loans"] for result in results]
    if len(set(loans)) < 2:
        raise BenchmarkError(f"a fit over {len(set(loans))} portfolio sizes: expected two or more different ones")
    lines = [f"fitted over {', '.join(f'{n:,}' for n in loans)} loans: seconds grow with loans to the power of"]
    series = {"main job": [r["totals"]["main_seconds"] for r in results]}
    series["table work"] = [r["totals"]["table_work_seconds"] for r in results]
    job = [[stage for stage in result["stages"] if stage["part"] == "main job"] for result in results]
    for name in dict.fromkeys(stage["name"] for stages in job for stage in stages):
        found = [stage["seconds"] for stages in job for stage in stages if stage["name"] == name]
        if len(found) == len(results):
            series[name] = found
    lines += [
        f"  {name:20}{exponent(loans, found):6.2f}   {' → '.join(f'{s:,.1f}' for s in found)} s"
        for name, found in series.items()
        if min(found) > 0
    ]
    return lines
