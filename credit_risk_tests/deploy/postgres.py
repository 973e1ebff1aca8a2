"""A PostgreSQL server of a test's own, from the system's packages, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

INIT_SCRIPT = Path(__file__).parents[2] / "deploy" / "postgres-init.sh"
# What a person may choose and an address must escape.
PASSWORDS = {"dagster": "d@g/st#r %41:'x", "mlflow": 'ml?f&l"ow\\y'}


def binaries() -> Path:
    """The folder of the server's programs; skips the test where there is none."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "psql").exists():
            return folder
    pytest.skip("PostgreSQL: no initdb found; install your system's package postgresql")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Postgres:
    folder: Path
    port: int
    programs: Path
    user: str | None

    def run(self, *arguments: str, **variables: str) -> str:
        """Run a program of the server's as its user."""
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env={"PATH": f"{self.programs}:{os.environ['PATH']}", "LC_ALL": "C", **variables},
            user=self.user,
            group=pwd.getpwnam(self.user).pw_gid if self.user else None,
            extra_groups=[] if self.user else None,
            # not a pipe: the server would keep it open
            stdout=(self.folder / "out").open("w"),
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = (self.folder / "out").read_text()
        assert done.returncode == 0, said
        return said

    def url(self, name: str, password: str | None = None) -> str:
        """The address of a database for the role that owns it."""
        shown = quote(PASSWORDS[name] if password is None else password, safe="")
        return f"postgresql://{name}:{shown}@127.0.0.1:{self.port}/{name}"

    def dump(self, name: str) -> str:
        """Everything a database holds, as SQL."""
        return self.run(
            "pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", name, name, PGPASSWORD=PASSWORDS[name]
        )


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server with the databases `dagster` and `mlflow`, made by the script that a deployment uses."""
    programs = binaries()
    user = None
    if os.geteuid() == 0:
        # It refuses to run as root.
        user = next((name for name in ("postgres", "nobody") if _is_user(name)), None)
        if user is None:
            pytest.skip("PostgreSQL: it refuses to run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="credit-risk-postgres-"))
    server = Postgres(folder, free_port(), programs, user)
    try:
        for name, password in PASSWORDS.items():
            (folder / f"{name}_password").write_text(password)
        (folder / "postgres_password").write_text("postgres")
        (folder / "postgres-init.sh").write_text(INIT_SCRIPT.read_text())
        if user:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, user)
        data = str(folder / "data")
        options = f"-p {server.port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        server.run(
            "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", "postgres_password",
            "-E", "UTF8", "--no-sync",
        )  # fmt: skip
        server.run("pg_ctl", "-D", data, "-l", str(folder / "log"), "-o", options, "-w", "start")
        try:
            server.run(
                "sh", "postgres-init.sh",
                SECRETS=str(folder), PGHOST="127.0.0.1", PGPORT=str(server.port), PGPASSWORD="postgres",
            )  # fmt: skip
            yield server
        finally:
            server.run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _is_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False
