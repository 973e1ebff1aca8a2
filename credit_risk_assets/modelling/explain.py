"""Reason codes: why a loan's probability of default is high, in sentences that are true of the loan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_risk_assets.credit.features import BY_NAME
from credit_risk_assets.credit.reasons import REASONS
from credit_risk_assets.modelling.frames import Frame, words
from credit_risk_assets.modelling.model import DefaultModel

MAX_REASONS = 4
MIN_CONTRIBUTION = 0.03
"""A feature that adds less than this to the log-odds is no reason."""


@dataclass(frozen=True)
class _Speech:
    """What may be said of each model column: arrays by place, texts None where nothing may be said."""

    sentences: NDArray[np.object_]
    missing: NDArray[np.object_]
    directions: NDArray[np.float64]
    categorical: tuple[int, ...]
    concepts: tuple[tuple[int, ...], ...]


@lru_cache(maxsize=8)
def _speech(columns: tuple[str, ...]) -> _Speech:
    size = len(columns)
    sentences, missing = np.full(size, None), np.full(size, None)
    directions = np.zeros(size)
    categorical: list[int] = []
    concepts: dict[str, list[int]] = {}
    for place, name in enumerate(columns):
        reason, feature = REASONS.get(name), BY_NAME.get(name)
        concepts.setdefault(reason.concept if reason else name, []).append(place)
        if reason is None or feature is None or feature.protected:
            continue
        sentences[place], missing[place] = reason.sentence, reason.missing or None
        directions[place] = feature.direction
        if feature.type == "string":
            categorical.append(place)
    return _Speech(sentences, missing, directions, tuple(categorical), tuple(map(tuple, concepts.values())))


def reasons(
    model: DefaultModel, matrix: NDArray[np.float32], frame: Frame | Mapping[str, Any], *, exact: bool = False
) -> NDArray[np.object_]:
    """Rows x four texts, the strongest first; fewer, or none, where fewer raise the risk (None in their place).

    `frame` holds the categorical features as words, row for row with `matrix`. Only features that raise this
    loan's log-odds count; features of one concept are summed and the strongest speaks for them; protected
    attributes never appear. Contributions are approximate unless `exact`.
    """
    speech = _speech(model.columns)
    told = np.full((len(matrix), MAX_REASONS), None)
    if not len(matrix):
        return told
    contributions = model.contributions(matrix, exact=exact).astype(float)
    texts = {place: _category_texts(model.columns[place], speech, place, frame) for place in speech.categorical}
    speakers, totals = _speakers(contributions, _can_speak(speech, matrix, contributions, model.usual, texts), speech)
    order = np.argsort(-totals, axis=1, kind="stable")[:, :MAX_REASONS]
    rows = np.arange(len(matrix))
    for rank in range(order.shape[1]):
        concept = order[:, rank]
        place = speakers[rows, concept]
        found = np.where(np.isnan(matrix[rows, place]), speech.missing[place], speech.sentences[place])
        for categorical, own in texts.items():
            here = place == categorical
            found[here] = own[here]
        found[totals[rows, concept] <= 0] = None
        told[:, rank] = found
    return told


def _category_texts(name: str, speech: _Speech, place: int, frame: Frame | Mapping[str, Any]) -> NDArray[np.object_]:
    sentence, missing = speech.sentences[place], speech.missing[place]
    found = words(frame[name])
    known = {word: sentence.format(value=word.replace("_", " ")) for word in set(found) if word is not None}
    return np.array([known.get(word, missing) for word in found], dtype=object)


def _can_speak(
    speech: _Speech,
    matrix: NDArray[np.float32],
    contributions: NDArray[np.float64],
    usual: NDArray[np.float64],
    texts: Mapping[int, NDArray[np.object_]],
) -> NDArray[np.bool_]:
    """Whether a column's sentence is true of the row: the value lies on the risky side of the usual one."""
    risky = speech.directions * (matrix - usual) > 0
    risky |= speech.directions == 0
    sayable = np.array([text is not None for text in speech.sentences])
    gaps_sayable = np.array([text is not None for text in speech.missing])
    able: NDArray[np.bool_] = np.where(np.isnan(matrix), gaps_sayable, risky & sayable)
    for place, own in texts.items():
        able[:, place] = [text is not None for text in own]
    return able & (contributions >= MIN_CONTRIBUTION)


def _speakers(
    contributions: NDArray[np.float64], able: NDArray[np.bool_], speech: _Speech
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each row and concept the column that speaks for it, and the concept's total; -inf where none may speak."""
    shape = (len(contributions), len(speech.concepts))
    speakers, totals = np.empty(shape, dtype=np.intp), np.zeros(shape)
    strength = np.where(able, contributions, -np.inf)
    for concept, places in enumerate(speech.concepts):
        best = np.full(len(contributions), places[0])
        strongest = strength[:, places[0]]
        total = contributions[:, places[0]]
        for place in places[1:]:
            stronger = strength[:, place] > strongest
            best = np.where(stronger, place, best)
            strongest = np.where(stronger, strength[:, place], strongest)
            total = total + contributions[:, place]
        speakers[:, concept] = best
        totals[:, concept] = np.where(np.isneginf(strongest), -np.inf, total)
    return speakers, totals


def as_lists(told: NDArray[np.object_]) -> list[list[str]]:
    """The reasons of each row without the empty places."""
    return [[text for text in row if text is not None] for row in told]


def overlap(first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> tuple[float, float]:
    """How far two explanations of the same loans agree: share with the same first reason, mean overlap of the sets.

    The overlap of two sets is the size of their intersection over that of their union (Jaccard). Loans without a
    reason on either side are left out.
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a or b]
    same = sum(bool(a) and bool(b) and a[0] == b[0] for a, b in pairs)
    shared = sum(len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in pairs)
    return same / len(pairs), shared / len(pairs)
