"""The simulator's truth stays outside: no pipeline code reaches it, and no file brings it into the lake."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from credit_risk_assets.assets.model import training_frame
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import DEVELOPMENT_SAMPLE, INGESTION_LOG, LOAN_TAPE, LOANS, REJECTED_RECORDS
from credit_risk_assets.resources.ingestion import Ingestion
from credit_risk_assets.resources.landing import land
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.tape import contract
from credit_risk_assets.tape.readers import TapeRefused, check_header
from credit_risk_assets.tape.simulate import simulate
from credit_risk_assets.tape.simulation.truth import SCHEMA
from credit_risk_tests.conftest import run_job, table_rows

ROOT = Path(__file__).parents[2]
AS_OF = date(2022, 10, 31)
KEYS = ("loan_id", "as_of_date")
SIMULATOR = "credit_risk_assets.tape.simulat"
TRUTH_MARKS = ("pd_12m_observable", "loan_portfolio_truth", "truth_files")
COMPARISON = ("credit_risk_assets/modelling/oracle.py", "credit_risk_assets/commands/model_oracle.py")
"""What compares a finished model with the truth, by a command of its own; no step of the pipeline may use it."""


def pipeline_files() -> Iterator[Path]:
    """Every module of both packages but the simulator, what only starts it (shell, benchmark), and the comparison."""
    for folder in ("credit_risk_assets", "dash_app"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            name = file.relative_to(ROOT).as_posix()
            started = ("credit_risk_assets/tape/simulat", "credit_risk_assets/benchmark/")
            shell = ("credit_risk_assets/cli.py", "credit_risk_assets/commands/simulate.py")
            allowed = (*COMPARISON, *shell, "credit_risk_assets/commands/demo.py")
            if not name.startswith(started) and name not in allowed:
                yield file


def imported(tree: ast.AST) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports would hide from this test"
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_pipeline_module_imports_the_simulator_or_names_its_truth() -> None:
    files = list(pipeline_files())
    assert len(files) > 80
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert not {name for name in imported(tree) if name.startswith(SIMULATOR)}, file
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        if file.name != "contract.py":
            assert not [text for text in texts for mark in TRUTH_MARKS if mark in text], file


def test_only_the_command_itself_compares_with_the_truth() -> None:
    comparison = {name.removesuffix(".py").replace("/", ".") for name in COMPARISON}
    for file in pipeline_files():
        # commands/model.py puts the command into the shell and runs nothing of it
        if file.relative_to(ROOT).as_posix() != "credit_risk_assets/commands/model.py":
            names = imported(ast.parse(file.read_text(encoding="utf-8")))
            assert not {name for name in names if name.startswith(tuple(comparison))}, file
    for name in COMPARISON:
        assert (ROOT / name).is_file()


def test_every_column_of_the_truth_is_reserved_and_none_is_a_tapes_own() -> None:
    assert set(contract.RESERVED) == set(SCHEMA.names) - set(KEYS)
    assert not set(contract.RESERVED) & set(contract.NAMES)


@pytest.mark.parametrize("header", ["pd_12m", "PD_12M", " pd-12m ", '"Pd 12m Observable"', "lgd", "LGD "])
def test_a_reserved_column_is_refused_however_it_is_written(header: str) -> None:
    with pytest.raises(TapeRefused, match=r"tape\.csv: reserved column '(pd_12m|pd_12m_observable|lgd)'") as refusal:
        check_header(Path("tape.csv"), [*contract.REQUIRED, header])
    assert "remove the column" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_foreign_table_may_call_a_column_so_until_it_is_mapped() -> None:
    assert check_header(Path("foreign.csv"), ["id", "LGD"], required=()) == ["id", "lgd"]


@pytest.fixture(scope="module")
def leaked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A portfolio of two tapes and the ways in which its truth might be landed."""
    folder = tmp_path_factory.mktemp("leaked")
    result = simulate(600, folder / "tapes", as_of=AS_OF, tapes=2, truth=folder / "sealed")
    older, latest, _ = result.files
    tape = pl.read_csv(latest, infer_schema=False)
    truth = pl.concat(pl.read_csv(file, infer_schema=False) for file in result.truth_files)
    joined = tape.join(truth, on=KEYS, how="left", maintain_order="left")
    joined.write_csv(folder / "joined.csv")
    joined.write_parquet(folder / "joined.parquet")
    joined.drop("pd_12m", "pd_12m_observable").write_csv(folder / "losses.csv")
    renamed = {"pd_12m": "oracle", "pd_12m_observable": "best_guess", "lgd": "loss"}
    for name, file in (("renamed", latest), ("renamed_older", older)):
        frame = pl.read_csv(file, infer_schema=False).join(truth, on=KEYS, how="left", maintain_order="left")
        frame.rename(renamed).write_csv(folder / f"{name}.csv")
    named = {path.stem + path.suffix.replace(".", "_"): path for path in folder.glob("*.*")}
    return {**named, "alone": result.truth_files[-1], "latest": latest, "older": older}


@pytest.mark.parametrize("name", ["alone", "joined_csv", "joined_parquet", "losses_csv"])
def test_landing_the_truth_is_refused_and_leaves_nothing(
    settings: Settings, leaked: dict[str, Path], name: str
) -> None:
    with pytest.raises(TapeRefused, match=r"reserved column .*'lgd'"):
        land(settings, leaked[name])
    assert [path for path in settings.landing_folder.rglob("*") if path.is_file()] == []


def test_truth_dropped_into_the_landing_folder_never_reaches_a_table(
    platform: Platform, leaked: dict[str, Path]
) -> None:
    folder = platform.settings.landing_folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("alone", "joined_csv", "joined_parquet", "losses_csv", "older"):
        (folder / leaked[name].name).write_bytes(leaked[name].read_bytes())
    reports = {report.name: report for report in Ingestion(platform.lakehouse, platform.settings, "r").run()}
    refused = {name for name, report in reports.items() if report.outcome == "refused"}
    assert refused == {"joined.csv", "joined.parquet", "losses.csv", leaked["alone"].name}
    assert all("reserved column" in reports[name].message for name in refused)
    assert [path.name for path in folder.iterdir() if path.is_file()] == [leaked["older"].name]
    tape = table_rows(platform, LOAN_TAPE)
    assert tape["_source_file"].unique().to_list() == [leaked["older"].name]
    for table in (LOAN_TAPE, REJECTED_RECORDS, INGESTION_LOG):
        assert not set(table_rows(platform, table).columns) & set(contract.RESERVED)


def test_truth_under_another_name_is_a_column_of_silver_and_never_of_the_model(
    platform: Platform, leaked: dict[str, Path]
) -> None:
    for name in ("renamed_csv", "renamed_older_csv"):
        land(platform.settings, leaked[name])
    assert run_job(platform).success
    extras = {"oracle", "best_guess", "loss"}
    assert extras <= set(table_rows(platform, LOANS).columns)
    assert table_rows(platform, DEVELOPMENT_SAMPLE).height > 100
    assert not extras & set(training_frame(platform.lakehouse, 10_000).column_names)
