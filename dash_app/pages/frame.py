"""What the pages share: reading the view from the URL, the page head, and turning a failure into a notice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from dash import dcc, html

from credit_risk_assets.config.tables import PORTFOLIO_CUBE
from dash_app.components import ids, states
from dash_app.components.aria import aria
from dash_app.components.filter_bar import filter_controls
from dash_app.data.cube import Cube, read_cube
from dash_app.data.filters import Filters
from dash_app.data.lake import LakeError, NotPermittedError, Snapshot
from dash_app.security.access import current_access
from dash_app.services import services

log = logging.getLogger(__name__)


def filters_from(query: dict[str, Any]) -> Filters:
    """The view that a page's URL asks for."""
    return Filters.from_query(urlencode(query, doseq=True))


def cube_of(snapshot: Snapshot) -> Cube | None:
    """The cube, or None where there is none yet or it is empty."""
    if not snapshot.has(PORTFOLIO_CUBE):
        return None
    cube = read_cube(snapshot)
    return cube if cube.tapes else None


def audited_filter(snapshot: Snapshot, filters: Filters) -> str:
    """The view as the audit log keeps it: only values that the data holds, for an address may carry anything."""
    cube = cube_of(snapshot)
    regions = [value for value in filters.values("region") if cube and value in cube.regions]
    quarters = cube.quarters if cube else ()
    months = [tape.month for tape in cube.tapes] if cube else []
    plain = replace(
        filters.with_values("region", regions),
        as_of=filters.as_of if filters.as_of in months else "",
        since=filters.since if filters.since in quarters else "",
        until=filters.until if filters.until in quarters else "",
        as_of_from=filters.as_of_from if filters.as_of_from in months else "",
    )
    return plain.to_query()


def page(name: str, title: str, body: list[Any], *, filters: Filters | None = None, actions: Any = None) -> html.Div:
    """A page: head with data stamp, filters where it has any, a notice that is empty as a rule, and the body."""
    snapshot = services().lake.snapshot()
    parts: list[Any] = [
        dcc.Store(id=ids.VERSIONS, data=snapshot.token()),
        dcc.Store(id=ids.FILTER_STATE),
        html.Div(
            [
                html.Div([html.H1(title), html.Div(id=f"{name}-stamp", className="stamp-place")]),
                html.Div(actions, className="page-actions"),
            ],
            className="page-head",
        ),
    ]
    # pages without filters keep an empty bar, so that the callback that fills it always finds it
    controls = [] if filters is None else filter_controls(_quiet_cube(snapshot), filters)
    parts.append(
        html.Div(
            controls,
            id=ids.FILTER_BAR,
            className="filter-bar" if filters is not None else "hidden",
            role="group",
            **aria(label="Filters"),
        )
    )
    parts += [html.Div(id=f"{name}-notice"), html.Div(body, id=f"{name}-body", className="page-body")]
    return html.Div(parts, className="page")


def _quiet_cube(snapshot: Snapshot) -> Cube | None:
    try:
        return cube_of(snapshot)
    except LakeError:  # the page itself says what is wrong
        return None


def guarded(render: Callable[[], list[Any]], outputs: int) -> list[Any]:
    """What `render` returns, led by an empty notice and the body's class.

    Where the lake cannot be read it is a notice, a hidden body and nothing else: a page never breaks.
    """
    try:
        return [None, "page-body", *render()]
    except NoLakeError:
        return [states.no_lake(), "hidden", *[None] * outputs]
    except NotAvailableError as error:
        return [states.missing(error.title, str(error)), "hidden", *[None] * outputs]
    except NotPermittedError:
        access = current_access()
        return [states.not_permitted(access.role if access else "none"), "hidden", *[None] * outputs]
    except LakeError as error:
        log.warning("page not rendered: %s", error)
        return [states.unreadable(str(error)), "hidden", *[None] * outputs]


class NoLakeError(LakeError):
    """There are no gold tables yet."""


class NotAvailableError(LakeError):
    """This portfolio has no such thing, and the message says why."""

    def __init__(self, title: str, reason: str) -> None:
        super().__init__(reason)
        self.title = title


def needed_cube(snapshot: Snapshot) -> Cube:
    """The cube; raises `NoLakeError` where there is none."""
    cube = cube_of(snapshot)
    if cube is None:
        raise NoLakeError("gold/portfolio_cube: not there yet; run `credit-risk refresh`")
    return cube
