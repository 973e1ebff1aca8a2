"""`credit-risk serve` and `credit-risk health`: one process of a server, and whether it is well."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from credit_risk_assets.commands.console import console, current_settings, fail
from credit_risk_assets.config.settings import SettingsError

ServiceName = Annotated[
    Literal["code-server", "webserver", "daemon", "mlflow", "dashboard"], typer.Argument(help="The service.")
]


def serve(service: ServiceName) -> None:
    """Become one service of a server, for systemd or compose to supervise; `up` is all of them on one desk."""
    from credit_risk_assets.automation.services import Service, run

    try:
        run(Service(service), current_settings())
    except SettingsError as error:
        raise fail(str(error)) from None


def health(service: ServiceName) -> None:
    """Say whether a service on this machine is well; exit code 1 and the reason where it is not."""
    from credit_risk_assets.automation.services import Service
    from credit_risk_assets.automation.services import health as problem_of

    try:
        problem = problem_of(Service(service), current_settings())
    except SettingsError as error:
        raise fail(str(error)) from None
    if problem:
        raise fail(problem)
    console.print(f"{service} ok", markup=False)


def migrate() -> None:
    """Bring Dagster's and MLflow's stores to the installed releases' schemas; back them up first."""
    import logging

    from credit_risk_assets.automation import migrate as stores

    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        for line in stores.migrate(current_settings()):
            console.print(line, markup=False)
    except SettingsError as error:
        raise fail(str(error)) from None
