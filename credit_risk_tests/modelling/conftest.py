"""A Sail session for the tests of this folder."""

from credit_risk_tests.credit.conftest import sail  # noqa: F401
