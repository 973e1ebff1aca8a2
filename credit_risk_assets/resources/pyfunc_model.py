"""The registered model as MLflow serves it: feature preparation, trees and calibrator behind one predict.

MLflow runs this file to load a version; the artifact beside it holds what was trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import yaml
from mlflow.pyfunc import PythonModel

from credit_risk_assets.modelling.score import load_model, score_new_loans

UNREGISTERED = "unregistered"


def registered_version(model_folder: Path) -> str:
    """Which version of the registry a loaded model is: MLflow notes it beside what it takes from there."""
    note = model_folder / "registered_model_meta"
    found = yaml.safe_load(note.read_text(encoding="utf-8")) if note.is_file() else {}
    return str(found.get("model_version", UNREGISTERED))


class CreditDefault(PythonModel):
    """Loans in (tape columns, most of them optional); probability, rating, reasons and the model's version out."""

    def load_context(self, context: Any) -> None:
        """Unpack the trained model."""
        packed = Path(context.artifacts["model"])
        self.model, self.encoders = load_model(packed.read_bytes())
        self.version = registered_version(packed.parent.parent)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """Score each row; a row that breaks the contract comes back with its reason."""
        scored = score_new_loans(model_input, self.model, self.encoders, explain=True)
        scored["default_prediction"] = scored["default_prediction"].astype("float64")
        scored["model_version"] = self.version
        return scored.astype({"risk_rating": object})


mlflow.models.set_model(CreditDefault())
