"""What is missing on this machine, and the one command that mends it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from credit_risk_assets.automation.serve import port_is_free
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.spark import missing_for_jvm

MINIMUM_FREE_BYTES = 2 * 2**30
JVM_ENGINES = ("local", "cluster")


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at: whether it is as it should be, and whether these settings need it."""

    ok: bool
    what: str
    needed: bool = True


def diagnose(settings: Settings) -> Iterator[Diagnosis]:
    """Look at everything a run or a server needs, in the order a user would mend it."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Diagnosis(sys.version_info >= (3, 11), f"Python {version}: 3.11 or later is needed")
    yield _engine(settings)
    yield _home(settings)
    yield _disk(settings)
    yield _key(settings)
    yield from _databases(settings)
    if settings.storage.lake:
        yield _storage(settings)
    for name, host, port in (
        ("Dagster UI", settings.dagster.host, settings.dagster.port),
        ("dashboard", settings.dashboard.host, settings.dashboard.port),
    ):
        free = port_is_free(host, port)
        section = "DAGSTER" if name.startswith("Dagster") else "DASHBOARD"
        advice = "" if free else f": in use; end what uses it or set CREDIT_RISK__{section}__PORT"
        yield Diagnosis(free, f"port {port} for the {name}{advice}", needed=False)


def _engine(settings: Settings) -> Diagnosis:
    engine = settings.spark.engine
    problem = missing_for_jvm()
    if engine in JVM_ENGINES:
        return Diagnosis(problem is None, problem or f"engine {engine}: Java and Delta's JARs are there")
    if engine == "remote":
        remote = settings.spark.remote
        return Diagnosis(bool(remote), f"engine remote: {remote or 'set CREDIT_RISK__SPARK__REMOTE to sc://host:port'}")
    also = "the local engine could start too" if problem is None else f"the local engine could not: {problem}"
    return Diagnosis(True, f"engine embedded: needs Python alone ({also})")


def _home(settings: Settings) -> Diagnosis:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    writable = os.access(folder, os.W_OK)
    advice = "" if writable else ": not writable; mend its rights or set CREDIT_RISK_HOME"
    return Diagnosis(writable, f"home {settings.home}{advice}")


def _disk(settings: Settings) -> Diagnosis:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    enough = free >= MINIMUM_FREE_BYTES
    advice = "" if enough else f": expected {MINIMUM_FREE_BYTES / 2**30:.0f} GiB; free some or set CREDIT_RISK_HOME"
    return Diagnosis(enough, f"disk {free / 2**30:.1f} GiB free under {folder}{advice}")


def _databases(settings: Settings) -> Iterator[Diagnosis]:
    from credit_risk_assets.resources.database import backend, databases, problem_of, shared_problem

    if problem := shared_problem(settings):
        yield Diagnosis(False, problem)
    own = backend(settings)
    for database in [*databases(settings), *([own] if own else [])]:
        problem = problem_of(database)
        yield Diagnosis(not problem, problem or f"{database.use}: {database.place} answers")


def _storage(settings: Settings) -> Diagnosis:
    from credit_risk_assets.resources.lake_store import StorageError, store_of

    try:
        store_of(settings).probe()
    except StorageError as error:
        return Diagnosis(False, str(error))
    return Diagnosis(True, f"storage {settings.storage.lake}: reachable, writable, and no writer overwrites another")


def _key(settings: Settings) -> Diagnosis:
    from credit_risk_assets.resources.privacy import KEY_FILE

    if settings.privacy.key.get_secret_value():
        return Diagnosis(True, "privacy key: from the settings")
    file = settings.home / KEY_FILE
    if not file.exists():
        return Diagnosis(True, "privacy key: made under the home at the first run")
    private = file.stat().st_mode & 0o077 == 0
    return Diagnosis(private, f"privacy key: {file}" + ("" if private else f"; others can read it: chmod 600 {file}"))
