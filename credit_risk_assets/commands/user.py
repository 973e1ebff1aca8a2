"""`credit-risk user`: the dashboard's local users. A password comes by prompt or stdin, never as an argument."""

from __future__ import annotations

import getpass
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from credit_risk_assets.commands.console import console, current_settings, fail

app = typer.Typer(help="The dashboard's users: add, list, remove, password, role.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The user's name.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make a random password and print it once.")]


class RoleName(StrEnum):
    """The roles, from the least to the most."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    ADMIN = "admin"


RoleOption = Annotated[RoleName, typer.Option(help="viewer: portfolios; analyst: loans too; admin: audit too.")]


def _users() -> Any:
    from dash_app.security.users import users_of

    settings = current_settings()
    try:
        return users_of(settings)
    except OSError as error:
        raise fail(f"{settings.dashboard_folder}: cannot be written ({error.strerror or error})") from None


def _password(generate: bool) -> str:
    from dash_app.security.users import new_password

    if generate:
        made = new_password()
        console.print(f"password {made} (shown this once)", markup=False)
        return made
    if sys.stdin.isatty():
        typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")


def _record(action: str, name: str, **facts: Any) -> None:
    from dash_app.security.audit import AuditError, audit_log

    try:
        audit_log(current_settings()).append(action, f"shell:{getpass.getuser()}", "operator", name=name, **facts)
    except AuditError as error:
        raise fail(f"{error}; the change was made") from None


@app.command()
def add(name: Name, role: RoleOption = RoleName.VIEWER, generate: Generate = False) -> None:
    """Add a user."""
    from dash_app.security.roles import Role
    from dash_app.security.users import UserError

    users = _users()
    try:
        if users.get(name):
            raise fail(f"user {name}: there is one already; `credit-risk user role` or `password` changes it")
        user = users.add(name, Role(role), _password(generate))
    except UserError as error:
        raise fail(str(error)) from None
    _record("user_added", user.name, new_role=user.role)
    console.print(f"added {user.name}, {user.role}", markup=False)


@app.command("list")
def show() -> None:
    """List the users with their roles and last log-ins."""
    users = _users().all()
    for user in users:
        last = f"{user.signed_in_at:%Y-%m-%d %H:%M} UTC" if user.signed_in_at else "never"
        console.print(f"{user.name:24} {user.role:8} last log-in {last}", markup=False)
    if not users:
        console.print("no users yet; the first start of the dashboard makes an admin", markup=False)


@app.command()
def remove(name: Name) -> None:
    """Remove a user and end the sessions."""
    from dash_app.security.users import UserError

    try:
        user = _users().remove(name)
    except UserError as error:
        raise fail(str(error)) from None
    _record("user_removed", user.name)
    console.print(f"removed {user.name}", markup=False)


@app.command()
def password(name: Name, generate: Generate = False) -> None:
    """Give a user another password and end the sessions."""
    from dash_app.security.users import UserError

    users = _users()
    try:
        if users.get(name) is None:
            raise fail(f"user {name!r}: no such user; `credit-risk user list` shows them")
        user = users.set_password(name, _password(generate))
    except UserError as error:
        raise fail(str(error)) from None
    _record("user_password", user.name)
    console.print(f"changed the password of {user.name}; the sessions have ended", markup=False)


@app.command()
def role(name: Name, role: Annotated[RoleName, typer.Argument(help="The new role.")]) -> None:
    """Give a user another role and end the sessions."""
    from dash_app.security.roles import Role
    from dash_app.security.users import UserError

    try:
        user = _users().set_role(name, Role(role))
    except UserError as error:
        raise fail(str(error)) from None
    _record("user_role", user.name, new_role=user.role)
    console.print(f"{user.name} is {user.role} now; the sessions have ended", markup=False)
