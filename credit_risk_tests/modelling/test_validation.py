"""The whole validation: every figure is its own, explained, and a plain number."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling.benchmarks import benchmark_figures, compared_rows, train_rivals
from credit_risk_assets.modelling.definitions import METRICS, SECTIONS
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_assets.modelling.validation import validate


def test_every_figure_is_its_own_explained_and_a_plain_number(
    trained: TrainingResult, model_settings: ModelSettings
) -> None:
    rivals = train_rivals(compared_rows(trained, model_settings), model_settings)
    compared = benchmark_figures(trained, rivals, model_settings)
    figures = validate(trained, model_settings) + compared
    counted = Counter((f.analysis, f.subject, f.item, f.metric, f.position, f.value) for f in figures)
    assert [key for key, count in counted.items() if count > 1] == []
    named = Counter(
        (f.analysis, f.subject, f.item, f.metric) for f in figures if f.analysis not in ("curve", "dependence")
    )
    assert [key for key, count in named.items() if count > 1] == []
    assert {f.analysis for f in figures} == set(SECTIONS)
    # said only of a group below four fifths, of which this portfolio may have none
    assert {f.metric for f in figures} | {"explained_by_risk"} == set(METRICS)
    for figure in figures:
        for name in ("value", "lower", "upper", "position"):
            number = dataclasses.asdict(figure)[name]
            assert number is None or (type(number) is float and math.isfinite(number)), figure
        assert (figure.lower is None) == (figure.upper is None), figure
