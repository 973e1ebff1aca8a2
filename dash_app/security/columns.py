"""Which columns of the lake a role may see, and whether it may see single loans at all.

The policy stands in the snapshot that pages read through, so that what is hidden reaches no cache, chart or export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dash_app.security.roles import Role

PSEUDONYM = frozenset({"customer_id"})
"""Seen by nobody: it joins a person's loans, and nothing on a page needs it."""
REJECTED_VALUES = frozenset({"raw"})
"""Seen by nobody: a refused row's values as they came; `credit-risk requeue` is the way to them."""
PROTECTED = frozenset({"age", "age_band", "family_size", "education", "income_per_head", "disposable_per_head"})
"""Seen by admins alone: protected attributes, and what is computed from them.

The region is protected in the model, and no reason; here it is a segment that every page filters by, and hiding a
value that one can filter by would hide nothing.
"""
LOAN_EXAMPLES = frozenset({"examples"})
"""Seen by those who may see single loans: a failed check's loan numbers."""


@dataclass(frozen=True)
class ColumnPolicy:
    """What is hidden, and whether single loans may be seen."""

    hidden: frozenset[str]
    loan_rows: bool


POLICIES: Mapping[Role, ColumnPolicy] = {
    Role.VIEWER: ColumnPolicy(PSEUDONYM | REJECTED_VALUES | PROTECTED | LOAN_EXAMPLES, loan_rows=False),
    Role.ANALYST: ColumnPolicy(PSEUDONYM | REJECTED_VALUES | PROTECTED, loan_rows=True),
    Role.ADMIN: ColumnPolicy(PSEUDONYM | REJECTED_VALUES, loan_rows=True),
}
UNSTATED = POLICIES[Role.ANALYST]
"""For a lake that is read outside a request, by a script or a test."""
