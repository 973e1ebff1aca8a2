"""A new version beside the champion in force, on the same rows that decided about neither."""

from __future__ import annotations

from credit_risk_assets.modelling.encode import Encoders
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.evaluate import delong_difference, evaluate
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.model import DefaultModel
from credit_risk_assets.modelling.train import TrainingResult

COMPARED = ("auc", "brier", "log_loss", "ece", "ks", "mean_pd")
NOT_COMPARABLE = "not_comparable"


def compare(result: TrainingResult, version: str, model: DefaultModel, encoders: Encoders) -> list[Figure]:
    """The champion's metrics on the test rows of a new version, and the difference in AUC (new minus champion).

    A champion that reads columns which the sample no longer has cannot be compared: the one figure says so.
    """
    try:
        predicted = model.probability(encoders.transform(result.tested))
    except ModelDataError:
        return [Figure("champion", version, "", NOT_COMPARABLE, 1.0)]
    found = evaluate(result.label, predicted, model.threshold, bounds=model.rating_bounds)
    difference = delong_difference(result.label, result.predicted, predicted)
    return [
        Figure("champion", version, "", "auc_difference", difference.value, difference.lower, difference.upper),
        *(
            Figure("champion", version, "", name, found[name].value, found[name].lower, found[name].upper)
            for name in COMPARED
        ),
    ]
