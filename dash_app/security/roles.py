"""Who may do what: the permissions, the roles, and which role holds which permission."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Permission(StrEnum):
    """What a route, a page or a callback asks of whoever calls it."""

    PUBLIC = "public"
    """Anybody, without a log-in: the log-in page, its styles, whether the server is up."""
    SIGNED_IN = "signed in"
    """Any user: what carries no data of its own."""
    VIEW_PORTFOLIO = "view portfolio"
    VIEW_DELINQUENCY = "view delinquency"
    VIEW_MODEL = "view model"
    VIEW_QUALITY = "view data quality"
    VIEW_LOANS = "view loans"
    VIEW_LOAN = "view one loan"
    SCORE_LOANS = "score loans"
    EXPORT_LOANS = "export loans"
    VIEW_AUDIT = "view audit log"
    LIST_USERS = "list users"


class Role(StrEnum):
    """The roles of local users; each may do what the one before it may, and more."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    ADMIN = "admin"

    def permits(self, permission: Permission) -> bool:
        """Whether the role holds the permission."""
        return permission in GRANTS[self]


_VIEWER = frozenset(
    {
        Permission.PUBLIC,
        Permission.SIGNED_IN,
        Permission.VIEW_PORTFOLIO,
        Permission.VIEW_DELINQUENCY,
        Permission.VIEW_MODEL,
        Permission.VIEW_QUALITY,
    }
)
_ANALYST = _VIEWER | {
    Permission.VIEW_LOANS,
    Permission.VIEW_LOAN,
    Permission.SCORE_LOANS,
    Permission.EXPORT_LOANS,
}
GRANTS: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.ANALYST: _ANALYST,
    Role.ADMIN: _ANALYST | {Permission.VIEW_AUDIT, Permission.LIST_USERS},
}
