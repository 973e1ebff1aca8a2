"""What a validation team asks of a trained default model, as figures of gold/model_validation.

The benchmarks, which train models of their own, are a part by themselves (see `modelling.benchmarks`), so that they
can be computed beside the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from credit_risk_assets.modelling.canary import canary_figures
from credit_risk_assets.modelling.curves import curve_figures
from credit_risk_assets.modelling.fairness import fairness_figures
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.importance import importance_figures
from credit_risk_assets.modelling.segments import rating_figures, segment_figures
from credit_risk_assets.modelling.stability import stability_figures

if TYPE_CHECKING:
    from credit_risk_assets.config.settings import ModelSettings
    from credit_risk_assets.modelling.train import TrainingResult


def validate(result: TrainingResult, settings: ModelSettings) -> list[Figure]:
    """The figures of every analysis but the benchmarks.

    No two share analysis, subject, item, metric, position and value.
    """
    return [
        *segment_figures(result),
        *rating_figures(result, settings),
        *curve_figures(result),
        *stability_figures(result, settings),
        *fairness_figures(result),
        *importance_figures(result, settings),
        *canary_figures(result, settings),
    ]
