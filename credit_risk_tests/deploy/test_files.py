"""The files of deploy/ name only what exists: commands, settings, ports, sources, secrets; units are hardened."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from credit_risk_assets.automation.services import LOCATION, WORKSPACE, Service, command_of
from credit_risk_assets.cli import app
from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_assets.resources.database import shared_problem
from credit_risk_tests.deploy.files import DEPLOY, ROOT, UNITS, compose, environment_file, platform_services, unit
from credit_risk_tests.deploy.postgres import binaries

BIN = Path(sys.executable).parent
SERVICES = {service.value for service in Service}
DOCKERFILE = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text())
INSTRUCTIONS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]


def parses(arguments: list[str]) -> bool:
    """Whether the command line knows the command with these arguments."""
    typer.main.get_command(app).make_context("credit-risk", list(arguments), resilient_parsing=False).close()
    name, *rest = arguments
    group = typer.main.get_command(app)
    group.commands[name].make_context(name, rest).close()  # type: ignore[attr-defined]
    return True


def settings_of(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> Settings:
    """The settings that an environment gives; an unknown or a wrong one raises."""
    for name in os.environ:
        if name.startswith("CREDIT_RISK"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        if name != "CREDIT_RISK_SECRETS":
            monkeypatch.setenv(name, str(value))
    return read_settings()


# --- compose.yaml


def test_compose_runs_every_service_of_the_platform_and_its_database() -> None:
    services = compose()["services"]
    assert set(services) == SERVICES | {"postgres"}
    for name, service in platform_services().items():
        program, *arguments = service["command"]
        assert program == "credit-risk"
        assert arguments == ["serve", name]
        assert parses(arguments)
        shell, program, *arguments = service["healthcheck"]["test"]
        assert (shell, program, arguments) == ("CMD", "credit-risk", ["health", name])
        assert parses(arguments)
        assert (ROOT / "deploy" / service["build"]["context"] / service["build"]["dockerfile"]).exists()


def test_every_variable_of_compose_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, service in platform_services().items():
        found = settings_of(monkeypatch, service["environment"])
        assert str(found.home) == service["volumes"][0].split(":")[1], name
    monkeypatch.setenv("CREDIT_RISK__DASHBOARD__AUTH", "none")
    assert "CREDIT_RISK__DASHBOARD__AUTH" in compose()["services"]["dashboard"]["environment"], "no .env may open it"
    assert settings_of(monkeypatch, platform_services()["dashboard"]["environment"]).dashboard.auth == "local"


def test_the_example_states_every_variable_of_compose_with_its_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    named = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert re.findall(r"\$\{\w+\}", text) == [], "each has a default"
    example = environment_file(DEPLOY / ".env.example")
    assert named == {name: value for name, value in example.items() if "__" not in name}


def test_compose_publishes_only_what_people_open_and_only_on_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    services = compose()["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    ports = settings_of(monkeypatch, {})
    expected = {"mlflow": ports.mlflow.port, "webserver": ports.dagster.port, "dashboard": ports.dashboard.port}
    assert published == {name: [f"127.0.0.1:{port}:{port}"] for name, port in expected.items()}
    for name, host in (("mlflow", "mlflow"), ("webserver", "dagster"), ("dashboard", "dashboard")):
        found = settings_of(monkeypatch, platform_services()[name]["environment"])
        assert getattr(found, host).host == "0.0.0.0", f"{name} must be reached from outside its container"


def test_services_find_each_other_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    services = platform_services()
    for name in ("webserver", "daemon"):
        assert services[name]["environment"]["CREDIT_RISK__DAGSTER__CODE_SERVER_HOST"] == "code-server"
    for name in SERVICES:
        found = settings_of(monkeypatch, services[name]["environment"])
        assert found.mlflow_uri == f"http://mlflow:{found.mlflow.port}"
    allowed = settings_of(monkeypatch, services["mlflow"]["environment"]).mlflow.allowed_hosts
    assert f"mlflow:{found.mlflow.port}" in allowed
    networks = compose()["networks"]
    for name, service in compose()["services"].items():
        assert set(service["networks"]) <= set(networks), name
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in compose()["services"][other]
            assert set(service["networks"]) & set(compose()["services"][other]["networks"])


def test_containers_are_confined_and_come_back() -> None:
    for name, service in compose()["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged")
    for name, service in platform_services().items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"], name
    volumes = compose()["volumes"]
    for name, service in compose()["services"].items():
        for source in (volume.split(":")[0] for volume in service["volumes"]):
            assert source in volumes or (DEPLOY / source).exists(), (name, source)


def test_secrets_are_files_that_the_script_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "secrets"
    done = subprocess.run([DEPLOY / "make-secrets.sh", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = subprocess.run([DEPLOY / "make-secrets.sh", folder], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    stated = compose({"CREDIT_RISK_SECRETS_FOLDER": str(folder)})
    for name, secret in stated["secrets"].items():
        assert secret["file"] == str(folder / name)
        assert Path(secret["file"]).read_text(), name
    used = {secret for service in stated["services"].values() for secret in service.get("secrets", [])}
    assert used == set(stated["secrets"]) == {file.name for file in folder.iterdir()}
    # in the platform's containers each is a setting
    own = {secret for service in platform_services().values() for secret in service.get("secrets", [])}
    for name in {file.name for file in folder.iterdir()} - own:
        (folder / name).unlink()
    monkeypatch.setenv("CREDIT_RISK_SECRETS", str(folder))
    settings = read_settings()
    assert settings.dagster.postgres_url.get_secret_value().endswith("@postgres:5432/dagster")
    assert settings.mlflow.backend_url.get_secret_value().endswith("@postgres:5432/mlflow")
    assert settings.privacy.key.get_secret_value()
    assert shared_problem(settings) == ""


def test_no_secret_stands_in_a_committed_file() -> None:
    for file in DEPLOY.rglob("*"):
        if file.is_file() and "secrets" not in file.parts and file.name != ".env":
            for found in re.findall(r"://[^/\s\"']*:([^@/\s\"']+)@", file.read_text()):
                assert found.startswith("$("), f"{file.name}: {found}"


# --- Dockerfile


def test_every_source_of_the_image_exists_and_is_sent() -> None:
    rules = [
        line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    sent = [rule[1:] for rule in rules if rule.startswith("!")]
    copies = [rest.split() for name, rest in INSTRUCTIONS if name == "COPY"]
    sources = [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, rule) for rule in sent), f"{source} is ignored"
    assert set(sent) == set(sources)


def test_the_image_is_pinned_runs_as_nobody_and_says_how_it_is() -> None:
    stages: list[list[list[str]]] = []
    for instruction in INSTRUCTIONS:
        if instruction[0] == "FROM":
            stages.append([])
        stages[-1].append(instruction)
    names = {stage[0][1].split(" AS ")[1]: stage for stage in stages}
    for stage in stages:
        image = stage[0][1].split()[0]
        assert image in names or re.fullmatch(r"[a-z]+:\d[\w.-]+", image), f"{image}: no version"
    assert compose()["services"]["dashboard"]["build"]["target"] in names
    for name in ("runtime", "jvm"):
        users = [rest for word, rest in names[name] if word == "USER"]
        assert users[-1] == "10001:10001"
        (check,) = [rest for word, rest in names[name] if word == "HEALTHCHECK"]
        for form in (check.partition("CMD ")[2], *[rest for word, rest in names[name] if word == "CMD"]):
            program, *arguments = yaml.safe_load(form)
            assert program == "credit-risk"
            assert parses(arguments)
    assert stages[-1] is names["runtime"], "what is built without --target"
    assert not [rest for word, rest in INSTRUCTIONS if word == "ADD" or "latest" in rest or "sudo" in rest]
    assert not re.search(r"(ENV|ARG) [^\n]*(PASSWORD|SECRET|KEY)", DOCKERFILE)


# --- systemd


def test_there_is_a_unit_for_every_service() -> None:
    names = {file.stem.removeprefix("credit-risk-") for file in UNITS}
    assert names == SERVICES
    wanted = unit(DEPLOY / "systemd" / "credit-risk.target")["Wants"][0].split()
    assert set(wanted) == {file.name for file in UNITS}
    for file in UNITS:
        program, *arguments = unit(file)["ExecStart"][0].split()
        assert program == "/opt/credit-risk/.venv/bin/credit-risk"
        assert arguments == ["serve", file.stem.removeprefix("credit-risk-")]
        assert parses(arguments)
        assert (ROOT / unit(file)["Documentation"][0].removeprefix("file:///opt/credit-risk/")).exists()


def test_every_variable_of_the_units_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings_of(monkeypatch, environment_file(DEPLOY / "systemd" / "environment.example"))
    assert found.mlflow_uri == f"http://{found.mlflow.host}:{found.mlflow.port}"
    assert shared_problem(found) == ""
    for file in UNITS:
        assert unit(file)["ReadWritePaths"] == [str(found.home)]
        assert unit(file)["WorkingDirectory"] == [str(found.home)]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze: install your system's systemd")
def test_systemd_accepts_the_units_and_finds_them_hardened(tmp_path: Path) -> None:
    for file in [*UNITS, DEPLOY / "systemd" / "credit-risk.target"]:
        # where the program would be installed on a server
        (tmp_path / file.name).write_text(file.read_text().replace("/opt/credit-risk/.venv/bin", str(BIN)))
    files = [str(file) for file in sorted(tmp_path.iterdir())]
    checked = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    # about units of this machine too, which are none of ours
    assert [line for line in checked.stderr.splitlines() if "credit-risk" in line] == []
    for file in UNITS:
        judged = subprocess.run(
            [
                "systemd-analyze",
                "security",
                "--offline=true",
                "--threshold=20",
                "--no-pager",
                str(tmp_path / file.name),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert judged.returncode == 0, judged.stdout.splitlines()[-1:]


# --- commands


@pytest.mark.parametrize("service", list(Service))
def test_a_service_becomes_a_program_that_is_installed_and_shows_no_secret(service: Service, tmp_path: Path) -> None:
    settings = read_settings(
        home=tmp_path,
        dagster={"postgres_url": "postgresql://u:hush@db/dagster"},
        mlflow={"backend_url": "postgresql://u:hush@db/mlflow", "tracking_uri": "http://u:hush@tracking:5000"},
    )
    command = command_of(service, settings)
    assert os.access(command.arguments[0], os.X_OK)
    assert "hush" not in " ".join(command.arguments)


def test_the_workspace_names_the_same_location_as_the_code() -> None:
    (served,) = yaml.safe_load(WORKSPACE.read_text())["load_from"]
    here = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]["location_name"]
    assert served["grpc_server"]["location_name"] == here == LOCATION
    variables = {value["env"] for value in served["grpc_server"].values() if isinstance(value, dict)}
    assert variables <= set(command_of(Service.WEBSERVER, read_settings()).environment)


@pytest.mark.parametrize("script", sorted(DEPLOY.glob("*.sh")), ids=lambda script: script.name)
def test_scripts_are_plain_shell(script: Path) -> None:
    assert os.access(script, os.X_OK)
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_database_script_ends_at_the_first_error(tmp_path: Path) -> None:
    binaries()
    (tmp_path / "dagster_password").write_text("x")
    environment = {**os.environ, "SECRETS": str(tmp_path), "PGHOST": str(tmp_path)}
    done = subprocess.run([DEPLOY / "postgres-init.sh"], env=environment, capture_output=True, check=False)
    assert done.returncode != 0
