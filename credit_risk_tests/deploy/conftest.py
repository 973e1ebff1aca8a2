"""What the tests of a deployment share: one PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from credit_risk_tests.deploy.postgres import Postgres, postgres_server


@pytest.fixture(scope="package")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server
