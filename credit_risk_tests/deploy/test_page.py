"""What docs/deployment.md tells people to type and set is what the platform knows; its database commands are run."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_assets.resources.database import Database, problem_of
from credit_risk_tests.deploy.files import ROOT
from credit_risk_tests.deploy.postgres import Postgres
from credit_risk_tests.deploy.test_files import SERVICES, parses, settings_of

PAGE = (ROOT / "docs" / "deployment.md").read_text()
SHELL = [
    line.split("   #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


def test_every_command_of_the_page_is_one() -> None:
    typed = [line for line in SHELL if not line.startswith(("alias", "sudo"))]
    typed += re.findall(r"`(credit-risk [a-z][^`]*)`", PAGE)
    found = [re.search(r"(?:^|[a-z] )credit(?:-risk)? ([a-z].*)", line) for line in typed]
    calls = [shlex.split(call[1].replace("SERVICE", "daemon")) for call in found if call]
    assert {"serve", "health", "doctor", "migrate", "refresh", "audit", "user", "land"} <= {call[0] for call in calls}
    for call in calls:
        # in prose the command is named without its file
        assert parses([*call, "tape.csv"] if call == ["land"] else call), call


def test_every_setting_of_the_page_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings()
    sections = {name: type(getattr(settings, name)) for name in Settings.model_fields if name != "home"}
    named = {(section, key) for section, key in re.findall(r"`(\w+)\.(\w+)(?::[^`]*)?`", PAGE) if section in sections}
    named -= {("dagster", "yaml")}  # a file
    assert len(named) > 15
    assert [name for name in named if name[1] not in sections[name[0]].model_fields] == []
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL):
        lines = [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("CREDIT_RISK__")]
        settings_of(monkeypatch, dict(line[0].split("=", 1) for line in lines))
    for service in SERVICES:
        assert f"`credit-risk serve {service}`" in PAGE


def test_databases_are_made_saved_and_brought_back_as_the_page_says(postgres: Postgres) -> None:
    commands = [shlex.split(line.removeprefix("sudo -u postgres ")) for line in SHELL if "sudo -u postgres" in line]
    assert [command[0] for command in commands] == [
        "createuser",
        *["createdb"] * 2,
        *["pg_dump"] * 2,
        *["pg_restore"] * 2,
    ]
    admin = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "postgres", "PGPASSWORD": "postgres"}
    for name in ("dagster", "mlflow"):
        postgres.run("dropdb", name, **admin)

    def sql(name: str, statement: str) -> str:
        return postgres.run("psql", "-Xqtc", statement, name, **admin).strip()

    for command in commands[:5]:
        postgres.run(*command, **admin)
        if command[0] == "createdb":
            sql(command[-1], f"SET ROLE \"credit-risk\"; CREATE TABLE kept AS SELECT '{command[-1]}' AS what")
    for name in ("dagster", "mlflow"):
        postgres.run("dropdb", name, **admin)
    for command in [*commands[1:3], *commands[5:]]:
        postgres.run(*command, **admin)
    for name in ("dagster", "mlflow"):
        assert sql(name, "SELECT what FROM kept") == name
        assert sql(name, "SELECT tableowner FROM pg_tables WHERE tablename = 'kept'") == "credit-risk"
    assert problem_of(Database("x", "y", f"postgresql://postgres:postgres@127.0.0.1:{postgres.port}/dagster")) == ""


def test_ports_of_the_page_are_the_defaults() -> None:
    settings = read_settings()
    for host, port in (
        (settings.dagster.code_server_host, settings.dagster.code_server_port),
        (settings.dagster.host, settings.dagster.port),
        (settings.mlflow.host, settings.mlflow.port),
        (settings.dashboard.host, settings.dashboard.port),
    ):
        assert f"({host}:{port})" in PAGE


def test_units_of_the_page_are_all_there_are() -> None:
    (enabled,) = [line for line in SHELL if "systemctl enable" in line]
    assert set(enabled.split()[4:]) == {"credit-risk.target", *[f"credit-risk-{name}" for name in SERVICES]}
    assert yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["name"] == "credit-risk"
