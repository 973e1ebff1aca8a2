"""The registered model as MLflow serves it: feature preparation, trees and calibrator behind one predict.

MLflow runs this file to load a version; the artifact beside it holds what was trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from credit_risk_assets.modelling.score import load_model, score_new_loans


class CreditDefault(PythonModel):
    """Loans in (tape columns, most of them optional), probability, rating and reasons out."""

    def load_context(self, context: Any) -> None:
        """Unpack the trained model."""
        self.model, self.encoders = load_model(Path(context.artifacts["model"]).read_bytes())

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """Score each row; a row that breaks the contract comes back with its reason."""
        scored = score_new_loans(model_input, self.model, self.encoders, explain=True)
        scored["default_prediction"] = scored["default_prediction"].astype("float64")
        return scored.astype({"risk_rating": object})


mlflow.models.set_model(CreditDefault())
