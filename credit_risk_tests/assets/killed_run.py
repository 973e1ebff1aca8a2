"""A main job that is ended by SIGKILL at each commit boundary in turn, and started again until it gets through.

`python -m credit_risk_tests.assets.killed_run HOME DIED [ONLY]`: DIED is the file in which each try notes where it
died. With ONLY, it dies at boundaries of that pattern alone.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from credit_risk_assets.resources import ingestion
from credit_risk_assets.resources.commits import IdempotenceKey
from credit_risk_assets.resources.delta_rs import DeltaRsLibrary
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform
from credit_risk_tests.conftest import make_settings, run_job

MOST_TRIES = 300
FAILED = 2
ALIKE = {"roll_rates", "rating_migration"}
"""Tables of the step that vintage_curves dies in, written in the same way: their own boundaries would show no more."""


class Boundaries:
    """The places where this run may die, and where earlier ones have died."""

    def __init__(self, died: Path, only: str = "") -> None:
        self._file = died
        self._only = re.compile(only)
        self._known = set(died.read_text().splitlines()) if died.exists() else set()

    def cross(self, name: str) -> None:
        """Die here unless an earlier run has."""
        if name in self._known or not self._only.search(name):
            return
        with self._file.open("a") as out:
            out.write(name + "\n")
            out.flush()
            os.fsync(out.fileno())
        os.kill(os.getpid(), signal.SIGKILL)

    def after(self, owner: Any, name: str, label: Callable[..., str | None]) -> None:
        """Put a boundary after each call of a function, named by its arguments."""
        real = getattr(owner, name)

        def called(*arguments: Any, **options: Any) -> Any:
            what = label(*arguments, **options)
            done = real(*arguments, **options)
            if what is not None:
                self.cross(what)
            return done

        setattr(owner, name, called)


def _written(_: Any, path: str, *__: Any, **___: Any) -> str | None:
    return None if Path(path).name in ALIKE else f"files of {Path(path).name} written"


def _committed(_: Any, path: str, *__: Any, key: IdempotenceKey | None, **___: Any) -> str | None:
    if Path(path).name in ALIKE:
        return None
    # A run's own id, and a check's step, are others in each run.
    name = key.application.split("/")[0] + key.application[-8:] if key and "checks" not in key.application else ""
    return f"{Path(path).name} committed {name} {key.sequence if name and key else ''}".strip()


def attempt(home: Path, died: Path, only: str) -> int:
    """Run the main job over a home, dying where none has died before."""
    boundaries = Boundaries(died, only)
    boundaries.after(ingestion, "stage_tape", lambda file, *_, **__: f"{file.name} staged")
    boundaries.after(DeltaRsLibrary, "_written_files", _written)
    boundaries.after(DeltaRsLibrary, "_taken_files", _written)
    boundaries.after(DeltaRsLibrary, "create", lambda _, path, *__: f"{Path(path).name} made")
    boundaries.after(DeltaRsLibrary, "write", _committed)
    boundaries.after(DeltaRsLibrary, "write_rows", _committed)
    boundaries.after(DeltaRsLibrary, "write_files", _committed)
    boundaries.after(DeltaRsLibrary, "merge", _committed)
    boundaries.after(
        Lakehouse,
        "evolve",
        lambda lake, table, schema: (
            f"{table.name} evolved" if lake.exists(table) and set(schema.names) - set(lake.columns(table)) else None
        ),
    )
    boundaries.after(DeltaTable, "merge", lambda delta, *_, **__: f"merge of {delta.table_uri[-8:]} prepared")
    boundaries.after(shutil, "move", lambda file, _: f"{file.name} moved")
    boundaries.after(shutil, "rmtree", lambda path, **_: f"{Path(path).parent.name} cleared")
    platform = Platform(make_settings(home))
    result = run_job(platform)
    platform.close()
    return 0 if result.success else FAILED


def main(home: Path, died: Path, only: str = "") -> int:
    """Try until the job gets through; each try is a process of its own, which the operating system ends."""
    for _ in range(MOST_TRIES):
        # Forked from a process that has imported everything and started nothing: a try costs no start.
        child = os.fork()
        if not child:
            os._exit(attempt(home, died, only))
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return os.WEXITSTATUS(status)
    return FAILED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
