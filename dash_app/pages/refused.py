"""What stands in the place of a page that the user's role may not see."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from dash import html

from dash_app.components import states
from dash_app.pages.frame import page
from dash_app.security.access import current_access, permits, refuse
from dash_app.security.roles import Permission


def permitted(layout: Callable[..., html.Div], permission: Permission, title: str) -> Callable[..., html.Div]:
    """The layout for those who hold the permission, a notice for all others."""

    @wraps(layout)
    def laid_out(**query: Any) -> html.Div:
        if permits(permission):
            return layout(**query)
        refuse("page", title)
        access = current_access()
        return page("refused", title, [states.not_permitted(access.role if access else "none")])

    return laid_out
