"""Training, judging, explaining and using the default model; imports are put off until a name is used."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "DefaultModel": "model",
    "Encoders": "encode",
    "ModelDataError": "errors",
    "TrainingResult": "train",
    "development_sample": "sample",
    "evaluate_table": "tabular",
    "make_scorer": "score",
    "score_new_loans": "score",
    "train_default_model": "train",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
