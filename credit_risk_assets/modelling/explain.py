"""Reason codes: why a loan's probability of default is high, in sentences that are true of the loan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from credit_risk_assets.credit.features import BY_NAME
from credit_risk_assets.credit.reasons import REASONS
from credit_risk_assets.modelling.frames import Frame, words
from credit_risk_assets.modelling.model import DefaultModel

MAX_REASONS = 4
MIN_CONTRIBUTION = 0.03
"""A feature that adds less than this to the log-odds is no reason."""

Category = Callable[[str, int], str | None]


def _sentence(model: DefaultModel, place: int, value: float, row: int, category: Category) -> str | None:
    name = model.columns[place]
    reason, feature = REASONS.get(name), BY_NAME.get(name)
    if reason is None or feature is None or feature.protected:
        return None
    if feature.type == "string":
        word = category(name, row)
        if word is None:
            return reason.missing or None
        return reason.sentence.format(value=word.replace("_", " "))
    if np.isnan(value):
        return reason.missing or None
    # A sentence such as "is high" must be true: the value lies on the risky side of the usual one.
    if feature.direction * (value - model.usual[place]) > 0 or feature.direction == 0:
        return reason.sentence
    return None


def reasons(model: DefaultModel, matrix: NDArray[np.float32], frame: Frame, *, exact: bool = False) -> list[list[str]]:
    """At most four reasons for each row, the strongest first; fewer, or none, where fewer raise the risk.

    `frame` holds the features as words and numbers, row for row with `matrix`. Only features that raise this
    loan's log-odds count; features of one concept are summed and the strongest speaks for them; protected
    attributes never appear. Contributions are approximate unless `exact`.
    """
    contributions = model.contributions(matrix, exact=exact)
    texts: dict[str, NDArray[np.object_]] = {}

    def category(name: str, row: int) -> str | None:
        if name not in texts:
            texts[name] = words(frame[name])
        word: str | None = texts[name][row]
        return word

    concepts = [REASONS[name].concept if name in REASONS else name for name in model.columns]
    return [
        _reasons_of_row(model, matrix[row], contributions[row], row, concepts, category) for row in range(len(matrix))
    ]


def _reasons_of_row(
    model: DefaultModel,
    values: NDArray[np.float32],
    contributions: NDArray[np.float32],
    row: int,
    concepts: Sequence[str],
    category: Category,
) -> list[str]:
    totals: dict[str, float] = {}
    spoken: dict[str, str] = {}
    for place in np.argsort(-contributions, kind="stable"):
        contribution = float(contributions[place])
        concept = concepts[place]
        totals[concept] = totals.get(concept, 0.0) + contribution
        if contribution >= MIN_CONTRIBUTION and concept not in spoken:
            sentence = _sentence(model, int(place), float(values[place]), row, category)
            if sentence is not None:
                spoken[concept] = sentence
    ranking = sorted((concept for concept in spoken if totals[concept] > 0), key=lambda concept: -totals[concept])
    return list(dict.fromkeys(spoken[concept] for concept in ranking))[:MAX_REASONS]
