"""The ids that callbacks, tests and styles share."""

from __future__ import annotations

from dash_app.data.filters import DIMENSIONS

FILTER_STATE = "filter-state"
"""Store: the view as a URL query; every page is computed from it."""
VERSIONS = "table-versions"
"""Store: the token of the table versions on screen."""
TICK = "refresh-tick"
DRILLED = "drilled"
"""Store: nothing; the output that the call-back of a mark's click must have."""
FOLLOWED = "followed"
"""Store: nothing, likewise, for marks that open the loan list."""
FILTER_BAR = "filter-bar"
RESET = "filter-reset"
AS_OF = "filter-as_of"
AS_OF_FROM = "filter-as_of_from"
CHIPS = "filter-chips"
"""The filters that are set, each with a cross that takes it away."""
PACE = "refresh-pace"
"""The user's choice of how often to ask for new table versions."""
SINCE = "filter-from"
UNTIL = "filter-to"
SCHEME = "colour-scheme"

FILTER_KEYS = tuple(dimension.key for dimension in DIMENSIONS)


def control(key: str) -> str:
    """The control of a filter dimension."""
    return f"filter-{key}"


def pill(key: str) -> str:
    """The button that opens a filter's choices and says what is chosen."""
    return f"filter-{key}-pill"


def nav(name: str) -> str:
    """The link to a page in the header."""
    return f"nav-{name}"
