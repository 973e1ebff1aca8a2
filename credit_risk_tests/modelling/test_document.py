"""The model document: complete, true to its figures, honest where one fails, and a page that loads nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling.benchmarks import benchmark_figures, compared_rows, train_rivals
from credit_risk_assets.modelling.document import Facts, Ruling, model_document, to_html
from credit_risk_assets.modelling.document_plots import Plot, plots
from credit_risk_assets.modelling.document_text import METRICS, by_item
from credit_risk_assets.modelling.exclusions import loans_at, sample_figures
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.gate import ADVISORY, Evidence
from credit_risk_assets.modelling.sample import OBSERVATION_DATE
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_assets.modelling.validation import validate
from credit_risk_tests.checks.damage import MODEL_DAMAGE, sound_evidence

NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.UTC)
SECTIONS = [
    "Summary",
    "1. Purpose and use",
    "2. Ownership and decisions",
    "3. Data",
    "4. Features",
    "5. Development",
    "6. Performance",
    "7. Benchmarks",
    "8. Calibration",
    "9. Segments and vintages",
    "10. Stability",
    "11. Explanation",
    "12. Fairness",
    "13. The gate",
    "14. Comparison with the champion",
    "15. Limits and known weaknesses",
    "16. Monitoring plan",
    "17. Reproduction",
    "Appendix A: the benchmark scorecard",
    "Appendix B: features of the version",
    "Appendix C: reasons",
]
FACTS = Facts("7", "credit_default", "team:credit-risk", "challenger", NOW, NOW, "2024-12-31", "abc")


@pytest.fixture(scope="module")
def evidence(trained: TrainingResult, model_settings: ModelSettings) -> Evidence:
    chosen = model_settings.model_copy(update={"benchmarks": ("logistic_regression", "scorecard")})
    compared = benchmark_figures(trained, train_rivals(compared_rows(trained, chosen), chosen), chosen)
    figures = [*validate(trained, chosen), *compared, *sample_figures(trained)]
    return Evidence("7", trained.test_set, trained.metrics, figures)


@pytest.fixture(scope="module")
def drawn(evidence: Evidence) -> dict[str, Plot]:
    return plots(evidence)


@pytest.fixture(scope="module")
def text(evidence: Evidence, drawn: dict[str, Plot], trained: TrainingResult, model_settings: ModelSettings) -> str:
    parameters = {name: str(value) for name, value in model_settings.model_dump().items()}
    parameters |= {f"rows_{name}": str(rows) for name, rows in trained.parts.items()}
    return model_document(evidence, dataclasses.replace(FACTS, parameters=parameters), model_settings, drawn)


def tables_of(markdown: str, section: str) -> list[list[list[str]]]:
    """The tables of a section as rows of cells, the header first and without the line of dashes."""
    part = re.split(r"^## ", markdown, flags=re.MULTILINE)
    body = next(piece for piece in part if piece.startswith(section))
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block.splitlines()]
        found.append([row for place, row in enumerate(rows) if place != 1])
    return found


def first_number(cell: str) -> float:
    value = re.match(r"[-+\d.,]+", cell)
    assert value, cell
    return float(value.group().replace(",", "")) / (100 if "%" in cell else 1)


def test_the_document_has_every_section_in_order(text: str) -> None:
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert "Not measured for this version" not in text
    assert "SR 26-2" in text


def test_the_performance_table_holds_every_metric_of_every_data_set(text: str, evidence: Evidence) -> None:
    header, *rows = tables_of(text, "6. Performance")[0]
    assert header[1:] == ["out of time", "calibration", "train"]
    shown = {row[0]: row[1:] for row in rows}
    assert set(shown) == {said for said, _ in METRICS.values()}
    for name, (said, _) in METRICS.items():
        for cell, data_set in zip(shown[said], ("out_of_time", "calibration", "train"), strict=True):
            assert first_number(cell) == pytest.approx(evidence.metrics[data_set][name].value, abs=6e-5)


def test_tables_of_groups_hold_the_figures_they_are_made_from(text: str, evidence: Evidence) -> None:
    ratings = by_item(evidence.of("rating", "master_scale"))
    for row in tables_of(text, "8. Calibration")[0][1:]:
        found = ratings[row[0]]
        assert first_number(row[2]) == found["n"].value
        assert first_number(row[6]) == pytest.approx(found["observed_rate"].value, abs=6e-5)
        assert (row[7] == "holds") == bool(found["holds"].value)
    for rows in tables_of(text, "9. Segments and vintages")[:5]:
        assert sum(first_number(row[1]) for row in rows[1:]) == evidence.tested["n"].value
        assert sum(first_number(row[2]) for row in rows[1:]) == round(
            evidence.tested["observed_rate"].value * evidence.tested["n"].value
        )
    groups = by_item(evidence.of("fairness", "region"))
    region = next(rows for rows in tables_of(text, "12. Fairness") if rows[0][0] == "region")
    assert {row[0] for row in region[1:]} == {name for name in groups if name}
    for row in region[1:]:
        if "approval_rate" in groups[row[0]]:
            assert first_number(row[2]) == pytest.approx(groups[row[0]]["approval_rate"].value, abs=6e-5)


def test_the_sample_table_ties_with_the_training(text: str, trained: TrainingResult) -> None:
    rows = tables_of(text, "3. Data")[0][1:]
    assert sum(first_number(row[7]) for row in rows) == len(trained.development) + len(trained.tested)
    assert sum(first_number(row[9]) for row in rows) == trained.development_label.sum() + trained.label.sum()


def test_who_was_left_out_is_counted_by_reason(
    sail: object, tapes: dict[dt.date, pl.DataFrame], trained: TrainingResult
) -> None:
    history = sail.createDataFrame(  # type: ignore[attr-defined]
        pl.concat(tapes.values())
        .select("as_of_date", "loan_status", "current_dpd", "payment_history_profile")
        .to_arrow()
    )
    dates = sorted({*trained.development[OBSERVATION_DATE], *trained.tested[OBSERVATION_DATE]})
    population = [row.asDict() for row in loans_at(history, dates).collect()]
    population = [{**row, "observed": row["performing"] - 5} for row in population]
    figures = sample_figures(trained, population, [{"rows_read": 10, "rows_rejected": 1}])
    for day in dates:
        of = {figure.metric: figure.value for figure in figures if figure.subject == str(day)}
        assert of["tape_loans"] == len(tapes[day])
        assert of["closed"] == (tapes[day]["loan_status"] == "paid_off").sum()
        assert of["in_default"] > 0
        assert of["without_outcome"] == 5
        left = ("closed", "in_default", "without_outcome", "not_drawn")
        assert of["tape_loans"] == sum(of[name] for name in left) + of["n"]
    assert {f.metric: f.value for f in figures if f.subject == "intake"} == {
        "files": 1,
        "rows_read": 10,
        "rows_rejected": 1,
    }


def test_the_page_loads_nothing_and_holds_every_plot_once(text: str, drawn: dict[str, Plot]) -> None:
    page = to_html(text, drawn)
    assert len(drawn) == 10
    assert page.count("<svg") == len(drawn) == text.count("](plots/")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith("#") for source in sources), sources
    assert "<script" not in page
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    for plot in drawn.values():
        root = ElementTree.fromstring(plot.svg)
        assert root.attrib["viewBox"]
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "an id that two plots share would clip one by the other's frame"


def test_foreign_text_has_no_power(evidence: Evidence, model_settings: ModelSettings) -> None:
    text = "![x](https://example.org/x.png) <script>alert(1)</script> | **bold** [a](https://example.org)"
    facts = Facts("7", "credit_default", "me", "", NOW, rulings=[Ruling(NOW, "promoted", "eve", text, "7")])
    markdown = model_document(evidence, facts, model_settings)
    page = to_html(markdown, {})
    assert "<img" not in page
    assert "<script" not in page
    assert not re.search(r'href="(?!#)', page)
    rows = tables_of(markdown, "2. Ownership")[0]
    assert len(rows) == 2
    assert "alert(1)" in page, "shown as it was written"


@pytest.mark.parametrize("damage", MODEL_DAMAGE, ids=lambda damage: damage[0].name)
def test_a_criterion_that_fails_is_shown_as_failing(damage: tuple, model_settings: ModelSettings) -> None:
    check, _, change = damage
    markdown = model_document(change(sound_evidence()), FACTS, model_settings)
    verdicts = {row[0].strip("`"): row[3] for row in tables_of(markdown, "13. The gate")[0][1:]}
    failing = {name for name, said in verdicts.items() if "**fails**" in said}
    assert failing - ADVISORY == {check.name} - ADVISORY
    assert check.name in failing
    assert re.search(rf"^\| gate \| \*\*fails\*\*: .*\b{check.name}\b", markdown, re.MULTILINE)
    assert f"The gate's criterion {check.name} fails" in markdown


def test_a_sound_version_with_few_figures_says_what_is_missing(model_settings: ModelSettings) -> None:
    markdown = model_document(sound_evidence(champion=None), FACTS, model_settings)
    assert re.findall(r"^## (.*)$", markdown, re.MULTILINE) == SECTIONS
    assert "**fails**" not in markdown
    assert "No benchmark was trained beside this version." in markdown
    assert "Not measured for this version." in markdown
    assert "There was no champion to compare with." in markdown


def test_segments_that_do_not_hold_are_named_among_the_weaknesses(
    evidence: Evidence, model_settings: ModelSettings
) -> None:
    metrics = {"n": 5_000.0, "defaults": 500.0, "mean_pd": 0.15, "observed_rate": 0.10, "auc": 0.55}
    bad = [Figure("segment", "loan_purpose", "yachts", name, value, value, value) for name, value in metrics.items()]
    bad.append(Figure("segment", "loan_purpose", "yachts", "calibration_gap", 0.05, 0.04, 0.06))
    worse = Evidence("7", evidence.test_set, evidence.metrics, [*evidence.figures, *bad])
    markdown = model_document(worse, FACTS, model_settings)
    weak = markdown.split("## 15.")[1].split("## 16.")[0]
    assert "purpose yachts (overstated: 15.00\N{NO-BREAK SPACE}% against 10.00\N{NO-BREAK SPACE}%)" in weak
    assert "purpose yachts (0.550)" in weak
    row = next(row for row in tables_of(markdown, "9. Segments")[0] if row[0] == "yachts")
    assert row[5] == "**fails** (overstated)"


def implied_default_rate(accuracy: float, precision: float, recall: float) -> float:
    """The one default rate at which the three hold together: errors = defaults missed + good loans declined."""
    return (1 - accuracy) / (1 - recall + recall * (1 - precision) / precision)


@given(*[st.integers(1, 10_000) for _ in range(4)])
def test_accuracy_precision_and_recall_imply_the_default_rate(hit: int, alarm: int, quiet: int, missed: int) -> None:
    total = hit + alarm + quiet + missed
    found = implied_default_rate((hit + quiet) / total, hit / (hit + alarm), hit / (hit + missed))
    assert found == pytest.approx((hit + missed) / total)


def test_the_docs_say_what_the_arithmetic_gives() -> None:
    ranges = ((0.85, 0.87), (0.72, 0.76), (0.68, 0.73))
    corners = [implied_default_rate(a, p, r) for a in ranges[0] for p in ranges[1] for r in ranges[2]]
    rates = [1 - rate * (1 - r + r * (1 - p) / p) for rate in (0.08, 0.12) for p in ranges[1] for r in ranges[2]]
    assert min(corners) > 0.12
    page = (Path(__file__).parents[2] / "docs" / "model.md").read_text(encoding="utf-8")
    assert f"{min(corners):.1%} to {max(corners):.1%}".replace("%", " %") in page
    assert f"{min(rates):.1%} to {max(rates):.1%}".replace("%", " %") in page
