"""Brings the stores of Dagster and MLflow to the schemas of the installed releases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from credit_risk_assets.config.settings import Settings, with_driver
from credit_risk_assets.resources.database import DatabaseError, backend, problem_of
from credit_risk_assets.resources.instance import open_instance


def migrate(settings: Settings) -> Iterator[str]:
    """Migrate the stores that these settings own, saying a line for each; running it again changes nothing.

    An MLflow server of somebody else's is theirs to migrate. Raises `DatabaseError` where a store does not answer.
    """
    with open_instance(settings) as instance:
        instance.upgrade()
    yield "Dagster's run history is of the installed release's schema"
    own = backend(settings)
    if own and (problem := problem_of(own)):
        raise DatabaseError(problem)
    url = with_driver(own.url) if own else settings.mlflow_uri
    if not url.startswith(("postgresql", "sqlite")):
        yield "MLflow's store is a server's: migrate it there"
        return
    file = url.removeprefix("sqlite:///")
    if file != url and not Path(file).exists():
        yield "MLflow has no store yet"
        return
    from mlflow.db import upgrade

    upgrade.main([url], standalone_mode=False)
    yield "MLflow's store is of the installed release's schema"
