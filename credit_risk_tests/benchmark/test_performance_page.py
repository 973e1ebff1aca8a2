"""The page of measurements holds what the committed results say."""

from __future__ import annotations

import runpy
from pathlib import Path

from credit_risk_assets.benchmark.fit import read_result

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_what_the_results_make_of_it() -> None:
    made = runpy.run_path(str(DOCS / "benchmarks" / "make_performance.py"))["page"]
    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert text == made(text), "run python docs/benchmarks/make_performance.py"


def test_the_results_are_whole_and_name_no_folder() -> None:
    files = sorted((DOCS / "benchmarks").glob("*.json"))
    assert files
    for file in files:
        result = read_result(file)
        assert result["passed"], file.name
        assert "/" not in str(result["settings"]).replace("://…", ""), file.name
        assert result["machine"]["commit"], file.name
