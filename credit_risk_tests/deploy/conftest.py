"""What the tests of a deployment share: a PostgreSQL server for each module, since two homes never share a database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from credit_risk_tests.deploy.postgres import Postgres, postgres_server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server
