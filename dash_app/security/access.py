"""Who asks: the user of the current request, what the role permits, and the audit log that it is written to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import current_app, g
from flask_login import current_user

from credit_risk_assets.config.settings import Settings
from dash_app.security.audit import AuditLog, audit_log
from dash_app.security.registry import Registry
from dash_app.security.roles import Permission, Role
from dash_app.security.users import User, Users, users_of

EXTENSION = "credit_risk_access"
LOCAL = "local"
"""The name in the audit log of whoever uses a dashboard without log-in."""


@dataclass(frozen=True)
class Access:
    """A signed-in user: a name and a role."""

    name: str
    role: Role

    def permits(self, permission: Permission) -> bool:
        """Whether the user may do it."""
        return self.role.permits(permission)


@dataclass(frozen=True)
class Security:
    """What guards one app."""

    settings: Settings
    users: Users
    audit: AuditLog
    registry: Registry = field(default_factory=Registry)

    @classmethod
    def of(cls, settings: Settings) -> Security:
        """The users, audit log and an empty registry of a home."""
        return cls(settings, users_of(settings), audit_log(settings))

    @property
    def signs_in(self) -> bool:
        """Whether users sign in; else everybody on this machine is the admin."""
        return self.settings.dashboard.auth == "local"

    @property
    def lifetime(self) -> timedelta:
        """How long a session lasts at most."""
        return timedelta(hours=self.settings.dashboard.session_hours)

    def session_user(self, token: str, *, used: bool = True) -> User | None:
        """The user of a session within its lifetime."""
        idle = timedelta(minutes=self.settings.dashboard.session_idle_minutes)
        return self.users.session(token, self.lifetime, idle, used=used)


def security() -> Security:
    """What guards the app that serves the current request."""
    found: Security = current_app.extensions[EXTENSION]
    return found


def current_access() -> Access | None:
    """Who sent the current request; None for nobody."""
    if not security().signs_in:
        return Access(LOCAL, Role.ADMIN)
    if not current_user.is_authenticated:
        return None
    user: User = current_user.user
    return Access(user.name, user.role)


def permits(permission: Permission) -> bool:
    """Whether whoever sent the current request may do it."""
    access = current_access()
    return permission is Permission.PUBLIC or (access is not None and access.permits(permission))


def record(action: str, **facts: Any) -> None:
    """Write what the current user did to the audit log; see `audit` for what a record may hold."""
    access = current_access()
    security().audit.append(action, access.name if access else "nobody", access.role if access else "none", **facts)


def refuse(what: str, name: str) -> None:
    """Write to the audit log that the current user was refused; once a request."""
    if not g.get("refusal_recorded"):
        g.refusal_recorded = True
        record("refused", what=what, name=name)
