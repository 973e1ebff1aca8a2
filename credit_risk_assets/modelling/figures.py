"""One figure of a model's validation, in the shape of gold/model_validation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value: of which analysis, about what, of which group or point.

    `analysis` is such as segment, rating, fairness, benchmark, importance, dependence, curve or stability; `subject`
    the dimension, model, feature or curve; `item` the group, empty where there is none; `position` the place on a
    curve's or a feature's axis. `lower` and `upper` bound the 95 % interval where one is given.
    """

    analysis: str
    subject: str
    item: str
    metric: str
    value: float
    lower: float | None = None
    upper: float | None = None
    position: float | None = None
