"""Whether the model treats groups of people alike: approvals, chances of the good, calibration and ranking.

The four-fifths rule: a selection rate below 80 % of that of the group with the highest rate is taken as evidence of
adverse impact (29 CFR 1607.4(D), the Uniform Guidelines on Employee Selection Procedures, 1978; in credit it is a
customary yardstick under the Equal Credit Opportunity Act's effects test, not a limit that the law sets).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from credit_risk_assets.modelling.evaluate import Metric
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.groups import MISSING, Judged, group_auc, group_names, parted, tested_rows
from credit_risk_assets.modelling.intervals import difference_interval, jeffreys_interval, ratio_interval

if TYPE_CHECKING:
    from credit_risk_assets.modelling.train import TrainingResult

FAIRNESS = "fairness"
ATTRIBUTES = ("age_band", "family_size", "education", "region")
FOUR_FIFTHS = 0.80
MINIMUM_GROUP_LOANS = 200
"""Groups with fewer test loans are counted and not judged: their rates move by chance."""
LARGEST_FAMILY = 5
"""Families of this size and above are one band."""


@dataclass(frozen=True)
class _Group:
    """One group's test loans and how the model's threshold decides on them."""

    name: str
    label: NDArray[np.int64]
    predicted: NDArray[np.float64]
    approved: NDArray[np.bool_]
    place: float

    def __len__(self) -> int:
        return len(self.label)

    @property
    def approvals(self) -> int:
        return int(self.approved.sum())

    @property
    def rate(self) -> float:
        return self.approvals / len(self)

    @property
    def defaults(self) -> int:
        return int(self.label.sum())

    @property
    def default_rate(self) -> float:
        return self.defaults / len(self)

    @property
    def goods(self) -> int:
        return len(self) - self.defaults

    @property
    def good_approvals(self) -> int:
        return int(self.approved[self.label == 0].sum())


def fairness_figures(result: TrainingResult) -> list[Figure]:
    """Figures of each group of each protected attribute on the test rows, none of which the model reads.

    A loan counts as approved where its PD lies below the model's threshold. The reference is the judged group with
    the highest approval rate, as the rule has it; `adverse_impact_ratio_to_largest` compares with the largest group
    instead, which a small group's luck cannot move. Groups below `MINIMUM_GROUP_LOANS` are reported as `too_small`.

    - `approval_rate`, `adverse_impact_ratio` (its interval by Katz's logarithms), `below_four_fifths`
    - `base_rate_ratio`: the group's observed default rate over the reference's
    - `explained_by_risk` of a group below four fifths: 1 where it really defaults more often than the reference (the
      Jeffreys intervals do not meet) and its risk is not overstated (the mean PD is not above its own interval), so
      that the ratio follows from base rates; 0 calls for a closer look. An explanation, not an acquittal.
    - `equal_opportunity`: the share of good loans that is approved, and its difference to the reference's
    - `mean_pd` against `observed_rate` with its Jeffreys interval, `calibration_gap`, `holds`
    - `auc`, and `auc_gap`: the group's AUC minus that of all other rows

    Of each attribute (item empty): the least ratio, the largest distance in equal opportunity, the widest AUC gap,
    and how many groups were judged, lie below four fifths unexplained, or were too small.
    """
    rows = tested_rows(result)
    rows = replace(rows, frame=rows.frame.select(name for name in ATTRIBUTES if name in rows.frame.columns)).by_risk()
    figures: list[Figure] = []
    for attribute in ATTRIBUTES:
        if attribute in rows.frame.columns:
            names = group_names(rows.frame[attribute])
            if attribute == "family_size":
                names = _banded(names)
            figures += _attribute(attribute, rows, names, result.model.threshold)
    return figures


def _banded(names: NDArray[np.object_]) -> NDArray[np.object_]:
    def band(name: str) -> str:
        return name if name == MISSING or float(name) < LARGEST_FAMILY else f"{LARGEST_FAMILY}+"

    bands = {name: band(str(name)) for name in set(names.tolist())}
    return np.array([bands[name] for name in names], dtype=object)


def _attribute(attribute: str, rows: Judged, names: NDArray[np.object_], threshold: float) -> list[Figure]:
    figures: list[Figure] = []
    groups: list[_Group] = []
    outside: list[NDArray[np.bool_]] = []
    small = 0
    for place, (name, inside) in enumerate(parted(names)):
        size = int(inside.sum())
        figures.append(Figure(FAIRNESS, attribute, name, "n", float(size), position=float(place)))
        too_small = size < MINIMUM_GROUP_LOANS
        figures.append(Figure(FAIRNESS, attribute, name, "too_small", float(too_small), position=float(place)))
        small += too_small
        if not too_small:
            predicted = rows.predicted[inside]
            groups.append(_Group(name, rows.label[inside], predicted, predicted < threshold, float(place)))
            outside.append(~inside)
    # who gave no value is no group of people to compare others with
    candidates = [group for group in groups if group.name != MISSING]
    if not candidates:
        return [*figures, Figure(FAIRNESS, attribute, "", "groups_judged", 0.0)]
    reference = max(candidates, key=lambda group: (group.rate, len(group), group.name))
    largest = max(candidates, key=lambda group: (len(group), group.name))
    judged: list[Figure] = []
    for group, others in zip(groups, outside, strict=True):
        judged += _decisions(attribute, group, reference, largest)
        judged += _predictions(attribute, group, group_auc(rows.label[others], rows.predicted[others]))
    return figures + judged + _summary(attribute, judged, len(groups), small)


def _decisions(attribute: str, group: _Group, reference: _Group, largest: _Group) -> list[Figure]:
    size = len(group)

    def figure(metric: str, value: float, interval: tuple[float, float] | None = None) -> Figure:
        low, high = interval or (None, None)
        return Figure(FAIRNESS, attribute, group.name, metric, value, low, high, group.place)

    found = [
        figure("approval_rate", group.rate, jeffreys_interval(group.approvals, size)),
        figure("is_reference", float(group is reference)),
    ]
    for metric, other in (("adverse_impact_ratio", reference), ("adverse_impact_ratio_to_largest", largest)):
        if other.approvals:
            interval = ratio_interval(group.approvals, size, other.approvals, len(other))
            found.append(figure(metric, group.rate / other.rate, None if group is other else interval))
    if reference.defaults:
        interval = ratio_interval(group.defaults, size, reference.defaults, len(reference))
        ratio = group.default_rate / reference.default_rate
        found.append(figure("base_rate_ratio", ratio, None if group is reference else interval))
    if reference.approvals:
        below = group.rate / reference.rate < FOUR_FIFTHS
        found.append(figure("below_four_fifths", float(below)))
        if below:
            found.append(figure("explained_by_risk", float(_explained(group, reference))))
    if group.goods and reference.goods:
        granted, chances = group.good_approvals, (reference.good_approvals, reference.goods)
        found.append(figure("equal_opportunity", granted / group.goods, jeffreys_interval(granted, group.goods)))
        difference = granted / group.goods - chances[0] / chances[1]
        interval = difference_interval(granted, group.goods, *chances)
        found.append(figure("equal_opportunity_difference", difference, None if group is reference else interval))
    return found


def _explained(group: _Group, reference: _Group) -> bool:
    low, high = jeffreys_interval(group.defaults, len(group))
    _, reference_high = jeffreys_interval(reference.defaults, len(reference))
    return low > reference_high and float(group.predicted.mean()) <= high


def _predictions(attribute: str, group: _Group, rest: Metric | None) -> list[Figure]:
    def figure(metric: str, value: float, lower: float | None = None, upper: float | None = None) -> Figure:
        return Figure(FAIRNESS, attribute, group.name, metric, value, lower, upper, group.place)

    low, high = jeffreys_interval(group.defaults, len(group))
    mean_pd, observed = float(group.predicted.mean()), group.default_rate
    found = [
        figure("defaults", float(group.defaults)),
        figure("observed_rate", observed, low, high),
        figure("mean_pd", mean_pd),
        figure("calibration_gap", mean_pd - observed, mean_pd - high, mean_pd - low),
        figure("holds", float(low <= mean_pd <= high)),
    ]
    auc = group_auc(group.label, group.predicted)
    if auc is not None:
        found.append(figure("auc", auc.value, auc.lower, auc.upper))
    if auc is not None and rest is not None:
        gap = auc.value - rest.value
        # other loans, so that the variances of the two add up; before the bounds were cut at 0 and 1
        reach = float(np.hypot(_reach(auc.value, auc.lower, auc.upper), _reach(rest.value, rest.lower, rest.upper)))
        found.append(figure("auc_gap", gap, gap - reach, gap + reach))
    return found


def _reach(value: float, lower: float | None, upper: float | None) -> float:
    return max(value - (lower or 0.0), (upper or 0.0) - value)


def _summary(attribute: str, judged: list[Figure], groups: int, small: int) -> list[Figure]:
    def values(metric: str) -> list[float]:
        return [figure.value for figure in judged if figure.metric == metric]

    found = {"groups_judged": float(groups), "groups_too_small": float(small)}
    if ratios := values("adverse_impact_ratio"):
        found["least_adverse_impact_ratio"] = min(ratios)
        found["groups_below_four_fifths"] = sum(values("below_four_fifths"))
        explained = values("explained_by_risk")
        found["groups_unexplained"] = float(len(explained)) - sum(explained)
    if distances := values("equal_opportunity_difference"):
        found["largest_equal_opportunity_difference"] = max(distances, key=abs)
    if aucs := values("auc"):
        found["auc_range"] = max(aucs) - min(aucs)
    if holds := values("holds"):
        found["groups_outside"] = float(len(holds)) - sum(holds)
    return [Figure(FAIRNESS, attribute, "", metric, value) for metric, value in found.items()]
