"""What is worth a second attempt, and what is not."""

from __future__ import annotations

import errno
import sqlite3

import grpc
import pytest
import requests
import sqlalchemy.exc
from deltalake.exceptions import CommitFailedError, SchemaMismatchError
from pyspark.errors.exceptions.connect import SparkConnectGrpcException

from credit_risk_assets.resources.lake_log import LakehouseError
from credit_risk_assets.resources.transient import is_transient, one_line
from credit_risk_assets.tape.readers import TapeRefused


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


LOCKED = sqlite3.OperationalError("database is locked")


@pytest.mark.parametrize(
    "error",
    [
        CommitFailedError("a concurrent transaction deleted data"),
        OSError(errno.EBUSY, "busy"),
        BlockingIOError(errno.EAGAIN, "try again"),
        ConnectionResetError("reset by peer"),
        TimeoutError("timed out"),
        requests.exceptions.ConnectionError("MLflow does not answer"),
        SparkConnectGrpcException("gone", grpc_status_code=grpc.StatusCode.UNAVAILABLE),
        LOCKED,
        sqlalchemy.exc.OperationalError("insert", {}, LOCKED),
        raised_from(RuntimeError("could not register"), ConnectionRefusedError("refused")),
    ],
    ids=repr,
)
def test_what_passes_by_itself_is_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        LakehouseError("silver/loans: unknown columns x"),
        TapeRefused("a.csv: no column loan_id"),
        SchemaMismatchError("columns differ"),
        OSError(errno.ENOSPC, "no space left"),
        PermissionError(errno.EACCES, "not yours"),
        FileNotFoundError(errno.ENOENT, "gone"),
        sqlite3.OperationalError("no such table: runs"),
        SparkConnectGrpcException("cannot resolve column", grpc_status_code=grpc.StatusCode.INTERNAL),
        ValueError("timeout must be positive"),
        KeyError("loan_id"),
    ],
    ids=repr,
)
def test_bad_data_and_mistakes_are_not_transient(error: Exception) -> None:
    assert not is_transient(error)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "no message"),
        ("silver/loans: no such table\n  at x\n", "silver/loans: no such table"),
        (
            "An error occurred\njava.lang.IllegalStateException: disk full\n\tat a.b.C",
            "java.lang.IllegalStateException: disk full",
        ),
        ("dagster._core.definitions.events.Failure: a.csv: no column loan_id", "a.csv: no column loan_id"),
    ],
)
def test_an_error_is_told_in_one_line(text: str, line: str) -> None:
    assert one_line(text) == line
