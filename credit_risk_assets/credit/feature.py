"""What a feature is: one definition in Spark SQL, with the facts a validator asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["credit", "loan", "repayment", "borrower", "risk"]
FeatureType = Literal["string", "double", "int"]


@dataclass(frozen=True)
class Feature:
    """One feature of a loan as known at its as_of_date.

    `sql` is Spark SQL text over tape columns and earlier features; where it is the feature's own name, the
    feature is a column of the tape. `direction` is +1 where a higher value means more risk, -1 where it means
    less and 0 where the business expects neither. `protected` marks attributes (and what is computed from
    them) that must not decide about a person: they never enter the model nor a reason. `label` is how a
    reason names the feature.
    """

    name: str
    family: Family
    label: str
    description: str
    sql: str
    type: FeatureType = "double"
    unit: str = ""
    direction: Literal[-1, 0, 1] = 0
    protected: bool = False
    in_model: bool = True

    @property
    def from_tape(self) -> bool:
        """Whether the feature is a tape column used as it stands."""
        return self.sql == self.name
