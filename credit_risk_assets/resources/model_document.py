"""The model document of a version: facts from gold and MLflow, files for a folder and for the version's run."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import MODEL_NAME, MODEL_PERFORMANCE
from credit_risk_assets.modelling.document import PLOTS_FOLDER, Facts, Ruling, model_document, to_html
from credit_risk_assets.modelling.document_plots import plots
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.mlflow import client
from credit_risk_assets.resources.registry import champion_of, decisions, evidence_of, newest_of

FOLDER = "document"
OWNER = "team:credit-risk"
_IDENTITY = {
    "development_sample_version": "version of gold/development_sample",
    "model_sha256": "SHA-256 of the model file",
    "platform": "platform",
    "python": "Python",
    "packages": "packages",
}


def facts_of(settings: Settings, lake: LakeLog, version: str) -> Facts:
    """What gold and MLflow know of a version beside its figures; what MLflow no longer knows is left empty."""
    from mlflow.exceptions import MlflowException

    store = client(settings)
    tags: dict[str, str] = {}
    parameters: dict[str, str] = {}
    try:
        tags = dict(store.get_model_version(MODEL_NAME, version).tags)
        parameters = dict(store.get_run(tags["run_id"]).data.params) if "run_id" in tags else {}
    except MlflowException:
        pass  # the store was emptied or moved: the figures in gold still stand
    taken = decisions(lake)
    trained = [
        row["computed_at"]
        for row in lake.rows(MODEL_PERFORMANCE, ["model_version", "computed_at"])
        if row["model_version"] == version
    ]
    champion = champion_of(taken)
    role = "champion" if version == champion else "challenger" if version == newest_of(taken) else ""
    return Facts(
        version=version,
        model=MODEL_NAME,
        owner=OWNER,
        role=role,
        written_at=datetime.now(UTC),
        trained_at=min(trained, default=None),
        test_date=tags.get("test_date", ""),
        run_id=tags.get("run_id", ""),
        rulings=[
            Ruling(taking.decided_at, taking.action, taking.decided_by, taking.reasons, taking.champion)
            for taking in taken
            if taking.version == version
        ],
        parameters=parameters,
        identity={said: tags[name] for name, said in _IDENTITY.items() if name in tags},
    )


def write_document(settings: Settings, lake: LakeLog, version: str, folder: Path) -> list[Path]:
    """Write `model_document.md`, `.html` and the plots into a folder; return the files, the page first.

    Raises `RegistryError` where gold knows no such version.
    """
    evidence = evidence_of(lake, version)
    facts = facts_of(settings, lake, version)
    drawn = plots(evidence)
    text = model_document(evidence, facts, settings.model, drawn)
    contents = {"model_document.html": to_html(text, drawn), "model_document.md": text}
    contents |= {f"{PLOTS_FOLDER}/{name}.svg": plot.svg for name, plot in drawn.items()}
    files = []
    for name, content in contents.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        files.append(file)
    return files


def log_document(settings: Settings, lake: LakeLog, version: str) -> str:
    """Write the document into the version's MLflow run, folder `document`; return the run's id."""
    run_id = str(client(settings).get_model_version(MODEL_NAME, version).tags["run_id"])
    with tempfile.TemporaryDirectory() as folder:
        write_document(settings, lake, version, Path(folder))
        client(settings).log_artifacts(run_id, folder, FOLDER)
    return run_id
