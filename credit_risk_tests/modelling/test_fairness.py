"""Fairness figures, by hand and by their invariants."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_risk_assets.modelling.fairness import ATTRIBUTES, fairness_figures
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_tests.modelling.lookup import assert_same, by_key, shuffled, values, with_test_rows


def lent(
    trained: TrainingResult, groups: dict[str | None, tuple[int, int, int, int]], attribute: str = "region"
) -> TrainingResult:
    """Test rows of groups, each with so many good and bad loans approved and good and bad loans declined."""
    names: list[str | None] = []
    label: list[int] = []
    predicted: list[float] = []
    threshold = trained.model.threshold
    for name, counts in groups.items():
        kinds = ((0, threshold / 2), (1, threshold / 2), (0, threshold), (1, (1 + threshold) / 2))
        for (outcome, pd), count in zip(kinds, counts, strict=True):
            names += [name] * count
            label += [outcome] * count
            predicted += [pd] * count
    return with_test_rows(trained, {attribute: names}, label, predicted)


def test_ratios_and_chances_of_two_groups_are_those_computed_by_hand(trained: TrainingResult) -> None:
    # North: 320 of 400 approved, 40 bad. South: 240 of 400 approved, 80 bad.
    found = by_key(fairness_figures(lent(trained, {"North": (310, 10, 50, 30), "South": (220, 20, 100, 60)})))

    def value(item: str, metric: str) -> float:
        return found["region", item, metric].value

    assert value("North", "approval_rate") == 0.8
    assert value("South", "approval_rate") == 0.6
    assert value("North", "is_reference") == value("North", "adverse_impact_ratio") == 1
    assert value("South", "adverse_impact_ratio") == pytest.approx(0.75)
    assert value("South", "below_four_fifths") == 1
    assert value("South", "base_rate_ratio") == pytest.approx(2)
    assert value("North", "equal_opportunity") == pytest.approx(310 / 360)
    assert value("South", "equal_opportunity_difference") == pytest.approx(220 / 320 - 310 / 360)
    assert value("", "least_adverse_impact_ratio") == pytest.approx(0.75)
    assert value("", "groups_below_four_fifths") == 1
    ratio = found["region", "South", "adverse_impact_ratio"]
    assert ratio.lower is not None
    assert ratio.upper is not None
    assert ratio.lower < 0.75 < ratio.upper < 0.85


def test_a_ratio_is_explained_only_by_risk_that_is_real_and_not_overstated(trained: TrainingResult) -> None:
    def explained(south: tuple[int, int, int, int]) -> float:
        found = fairness_figures(lent(trained, {"North": (310, 10, 50, 30), "South": south}))
        return by_key(found)["region", "South", "explained_by_risk"].value

    assert explained((180, 20, 20, 180)) == 1  # half of them default, and the PD says as much
    assert explained((200, 4, 160, 36)) == 0  # they default as often as the others
    # they do default more often, a third of them, but by its PDs every declined one would
    overstated = lent(trained, {"North": (310, 10, 50, 30), "South": (170, 30, 100, 100)})
    declined = overstated.predicted >= trained.model.threshold
    overstated = dataclasses.replace(overstated, predicted=np.where(declined, 0.99, overstated.predicted))
    found = by_key(fairness_figures(overstated))
    assert found["region", "South", "below_four_fifths"].value == 1
    assert found["region", "South", "explained_by_risk"].value == 0


def test_a_small_group_is_counted_and_not_judged(trained: TrainingResult) -> None:
    found = by_key(
        fairness_figures(lent(trained, {"Big": (300, 10, 80, 10), "Small": (20, 0, 0, 0), None: (390, 10, 0, 0)}))
    )
    assert found["region", "Small", "too_small"].value == 1
    assert found["region", "Small", "n"].value == 20
    assert ("region", "Small", "adverse_impact_ratio") not in found
    # who gave no value is judged, and never the yardstick
    assert found["region", "Big", "is_reference"].value == 1
    assert found["region", "missing", "adverse_impact_ratio"].value > 1
    assert found["region", "", "groups_too_small"].value == 1
    assert found["region", "", "groups_judged"].value == 2


def test_the_largest_group_is_the_second_yardstick(trained: TrainingResult) -> None:
    groups = {"Lucky": (240, 5, 5, 0), "Large": (700, 20, 250, 30)}
    found = by_key(fairness_figures(lent(trained, groups)))
    assert found["region", "Large", "adverse_impact_ratio"].value == pytest.approx(0.72 / 0.98)
    assert found["region", "Large", "adverse_impact_ratio_to_largest"].value == 1
    assert found["region", "Lucky", "adverse_impact_ratio_to_largest"].value == pytest.approx(0.98 / 0.72)


def test_large_families_are_one_band(trained: TrainingResult) -> None:
    rows = 250
    sizes = [1, 2, 3, 4, 5, 6, 9] * rows
    found = fairness_figures(
        with_test_rows(trained, {"family_size": sizes}, [0, 1] * (7 * rows // 2), [0.05, 0.3] * (7 * rows // 2))
    )
    assert values(found, "family_size", "n") == {"1": rows, "2": rows, "3": rows, "4": rows, "5+": 3 * rows}


def test_every_protected_attribute_is_reported_and_adds_up(trained: TrainingResult) -> None:
    figures = fairness_figures(trained)
    for attribute in ATTRIBUTES:
        sizes = values(figures, attribute, "n")
        assert sum(sizes.values()) == len(trained.label)
        assert max(values(figures, attribute, "adverse_impact_ratio").values()) == 1
        for metric, lowest, highest in (
            ("adverse_impact_ratio", 0, 1),
            ("equal_opportunity", 0, 1),
            ("auc", 0.5, 1),
            ("equal_opportunity_difference", -1, 1),
        ):
            assert all(lowest < value <= highest for value in values(figures, attribute, metric).values()), metric
    assert_same(figures, fairness_figures(shuffled(trained)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_ratios_lie_between_nought_and_one(trained: TrainingResult, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pds = rng.beta(1, 5, 1_200)
    names = rng.choice(["a", "b", "c"], 1_200, p=[0.6, 0.22, 0.18])
    found = fairness_figures(
        with_test_rows(trained, {"region": names}, (rng.random(1_200) < pds).tolist(), pds.tolist())
    )
    ratios = values(found, "region", "adverse_impact_ratio")
    assert ratios
    assert all(0 < ratio <= 1 for ratio in ratios.values())
    assert sum(values(found, "region", "n").values()) == 1_200
