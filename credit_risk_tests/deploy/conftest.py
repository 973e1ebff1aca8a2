"""What the tests of a deployment share: a PostgreSQL server for each module, and an environment left as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from credit_risk_tests.deploy.postgres import Postgres, postgres_server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A module's own: two homes never share a database."""
    with postgres_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _environment_comes_back() -> Iterator[None]:
    """Preparing an instance hands its database's address to the processes it will start."""
    mine = ("CREDIT_RISK", "MLFLOW_TRACKING_URI", "DAGSTER_HOME")
    before = {name: value for name, value in os.environ.items() if name.startswith(mine)}
    yield
    for name in [name for name in os.environ if name.startswith(mine)]:
        # only these: the session of Spark, which other tests share, keeps its address in the environment too
        os.environ.pop(name)
    os.environ.update(before)
