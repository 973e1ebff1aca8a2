"""What the README and the Makefile name exists, and nothing else stands at the top of the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer

from credit_risk_assets.cli import app
from credit_risk_assets.tape.contract import REQUIRED

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_command_the_readme_names_is_one() -> None:
    named = set(re.findall(r"credit-risk ([a-z]+)", README))
    group = typer.main.get_command(app)
    known = set(group.commands)  # type: ignore[attr-defined]
    assert named
    assert named <= known, named - known


def test_every_make_target_the_readme_names_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)\b", " ".join(re.findall(r"`[^`]+`|```.*?```", README, re.DOTALL))))
    assert {"demo", "up", "test", "help", "jvm"} <= named <= targets


def test_the_readme_names_the_columns_that_are_required() -> None:
    for name in REQUIRED:
        assert f"`{name}`" in README
    assert "eleven are required" in README
    assert len(REQUIRED) == 11


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_link_and_picture_of_a_page_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_no_committed_text_names_a_registry_or_this_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    hosts = re.compile(r"(pypi|pythonhosted|npmjs|maven(\.apache)?)\.(org|com)", re.IGNORECASE)
    for name in listed.stdout.split():
        file = ROOT / name
        if file.suffix in (".png", ".gz", ".parquet") or file == Path(__file__) or not file.exists():
            continue
        assert not hosts.search(file.read_text(errors="replace")), name


def test_the_top_of_the_repository_is_what_the_layout_says() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    top = {name.split("/")[0] for name in listed.stdout.split()}
    assert top <= set(
        "credit_risk_assets credit_risk_tests dash_app workspace.yaml pyproject.toml setup.cfg README.md Makefile "  # noqa: SIM905
        "LICENSE requirements.lock docs deploy .ci .github .gitignore".split()
    )
