"""Any labelled table through the platform's own training, calibration and evaluation, cross-validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.evaluate import choose_threshold, delong_interval, evaluate, leak_findings
from credit_risk_assets.modelling.frames import is_text
from credit_risk_assets.modelling.train import fit

MINIMUM_ROWS = 200
MINIMUM_PER_OUTCOME = 20
MOSTLY = 0.95
"""A text column of which this share reads as numbers is a column of numbers with spoilt entries."""
IDENTIFIER_SHARE = 0.5
"""A text column with more different words than this share of its rows names rows, not kinds."""
JSON_KEYS = (
    "auc_mean",
    "auc_sd",
    "gini",
    "ks",
    "brier",
    "ece",
    "log_loss",
    "pr_auc",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "n",
    "bad_rate",
)
BAD_WORDS = (
    "bad",
    "default",
    "defaulted",
    "charged_off",
    "charged off",
    "chargeoff",
    "charge-off",
    "charge_off",
    "1",
    "1.0",
    "yes",
    "y",
    "true",
    "t",
    "delinquent",
    "late",
    "fraud",
    "loss",
    "non-performing",
    "npl",
    "write-off",
)
GOOD_WORDS = (
    "good",
    "0",
    "0.0",
    "no",
    "n",
    "false",
    "f",
    "paid",
    "fully paid",
    "fully_paid",
    "paid_off",
    "current",
    "ok",
    "performing",
    "repaid",
    "non-default",
    "no default",
    "not default",
    "nodefault",
)


@dataclass(frozen=True)
class TableReport:
    """Cross-validated figures of the platform's model on one table; AUC with the spread over folds."""

    auc_mean: float
    auc_sd: float
    gini: float
    ks: float
    brier: float
    ece: float
    log_loss: float
    pr_auc: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    n: int
    bad_rate: float
    label: str
    bad_value: str
    bad_value_guessed: bool
    features: tuple[str, ...]
    dropped: dict[str, str]
    leaks: tuple[str, ...]
    auc_interval: tuple[float, float]
    mean_pd: float
    fold_aucs: tuple[float, ...]

    def to_json(self) -> dict[str, float | int]:
        """The figures that machines read, by their fixed names."""
        everything = asdict(self)
        return {name: everything[name] for name in JSON_KEYS}

    def lines(self) -> list[str]:
        """The report as people read it."""
        guess = " (guessed; name it with --bad)" if self.bad_value_guessed else ""
        low, high = self.auc_interval
        lines = [
            f"{self.n:,} rows, {len(self.features)} features, {self.bad_rate:.1%} bad",
            f"bad: {self.label} = {self.bad_value}{guess}",
            f"AUC        {self.auc_mean:.4f} ± {self.auc_sd:.4f} over folds (pooled 95 % {low:.4f} to {high:.4f})",
            f"Gini       {self.gini:.4f}    KS {self.ks:.4f}    PR-AUC {self.pr_auc:.4f}",
            f"Brier      {self.brier:.4f}    log loss {self.log_loss:.4f}    ECE {self.ece:.4f}",
            f"mean PD    {self.mean_pd:.4f}    observed {self.bad_rate:.4f}",
            f"at the threshold: accuracy {self.accuracy:.4f}, precision {self.precision:.4f}, "
            f"recall {self.recall:.4f}, F1 {self.f1:.4f}",
        ]
        lines += [f"left out   {name}: {why}" for name, why in self.dropped.items()]
        lines += [f"LOOK OUT   {finding}" for finding in self.leaks]
        return lines


def read_table(path: Path) -> pd.DataFrame:
    """A CSV (plain, gz, bz2, zip, xz) or Parquet file as a table; raises `ModelDataError` in one line."""
    if not path.is_file():
        raise ModelDataError(f"{path}: no such file")
    try:
        if path.name.endswith((".parquet", ".pq")):
            return pd.read_parquet(path)
        table = pd.read_csv(path, low_memory=False, encoding="utf-8-sig")
        if len(table.columns) == 1 and any(mark in str(table.columns[0]) for mark in ";\t|"):
            table = pd.read_csv(path, sep=None, engine="python", encoding="utf-8-sig")
        return table
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelDataError(f"{path}: cannot be read as a table: {first}") from None


def _word(value: Any) -> str:
    text = str(value).strip().lower()
    return text[:-2] if text.endswith(".0") else text


def find_outcome(column: pd.Series, bad: str | None) -> tuple[NDArray[np.int64], str, bool]:
    """Outcome per row (1 = bad), the bad value as written, and whether it was guessed.

    Without `bad`, the value whose word says bad is taken, else the one beside a word that says good, else the
    rarer one. No value may be missing. Raises `ModelDataError` where the column holds no two values or lacks
    `bad`.
    """
    name = column.name
    if column.empty:
        raise ModelDataError(f"label {name}: no row has a value")
    words = column.map(_word)
    counts = words.value_counts()
    if len(counts) == 1:
        raise ModelDataError(f"label {name}: every row is {column.iloc[0]}; two outcomes are needed")
    shown = ", ".join(sorted(str(value) for value in column.unique())[:6])
    if bad is not None:
        chosen = _word(bad)
        if chosen not in counts.index:
            raise ModelDataError(f"label {name}: no row is {bad!r}; its values are {shown}")
        return (words == chosen).to_numpy().astype(np.int64), str(bad), False
    if len(counts) > 2:
        raise ModelDataError(f"label {name}: {len(counts)} values ({shown}); name the bad one with --bad")
    values = list(counts.index)
    # 1 means bad beside 0 only: 1 and 2, or -1 and 1, say nothing, and the rarer one is taken
    said_bad = [value for value in values if value in BAD_WORDS and (value != "1" or "0" in values)]
    said_good = [value for value in values if value in GOOD_WORDS]
    if len(said_bad) == 1:
        chosen = said_bad[0]
    elif len(said_good) == 1:
        chosen = next(value for value in values if value != said_good[0])
    else:
        chosen = str(counts.index[-1])
    written = str(column[words == chosen].iloc[0])
    return (words == chosen).to_numpy().astype(np.int64), written, True


def clean_features(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """The columns a model can use, and why each of the others is left out.

    Text that is mostly numbers or dates becomes so; constant columns and text that names rows are left out.
    """
    columns: dict[str, pd.Series] = {}
    dropped: dict[str, str] = {}
    for name in table.columns:
        column = table[name]
        if is_text(column):
            column = _as_numbers_or_dates(column)
        if column.isna().all():
            dropped[str(name)] = "empty"
        elif column.nunique(dropna=False) == 1:
            dropped[str(name)] = "the same in every row"
        elif is_text(column) and column.nunique() > max(IDENTIFIER_SHARE * column.notna().sum(), 20):
            dropped[str(name)] = "text that differs from row to row"
        else:
            columns[str(name)] = column
    return pd.DataFrame(columns, index=table.index), dropped


def _as_numbers_or_dates(column: pd.Series) -> pd.Series:
    given = column.dropna().astype(str).str.strip()
    given = given[given != ""]
    if given.empty:
        return column
    numbers = pd.to_numeric(given.str.rstrip("%").str.replace(",", "", regex=False), errors="coerce")
    if numbers.notna().mean() >= MOSTLY:
        return numbers.reindex(column.index)
    if given.str.match(r"^\d{4}-\d{2}-\d{2}").mean() >= MOSTLY:
        return pd.to_datetime(given, errors="coerce", format="ISO8601").reindex(column.index)
    return column


def evaluate_table(
    table: Path | str | pd.DataFrame,
    label: str,
    bad: str | None = None,
    drop: Sequence[str] = (),
    folds: int = 5,
    settings: ModelSettings | None = None,
    group: str | None = None,
) -> TableReport:
    """Train, calibrate and judge on each fold; the fold that judges decides nothing.

    `label` names the outcome column and `bad` its bad value (guessed where missing, see `find_outcome`); `group`
    names a column whose rows stay together. Every error (`ModelDataError`) is one line.
    """
    from credit_risk_assets.config.settings import load_settings

    chosen = settings or load_settings().model
    frame = table if isinstance(table, pd.DataFrame) else read_table(Path(table))
    for name in (label, *drop, *([group] if group else [])):
        if name not in frame.columns:
            near = ", ".join(str(column) for column in frame.columns[:12])
            raise ModelDataError(f"column {name}: not in the table, which has {near}")
    if folds < 2:
        raise ModelDataError(f"folds {folds}: at least 2 are needed")
    labelled = frame[label].notna() & (frame[label].astype(str).str.strip() != "")
    unlabelled = int((~labelled).sum())
    frame = frame[labelled].reset_index(drop=True)
    outcome, bad_value, guessed = find_outcome(frame[label], bad)
    few = min(int(outcome.sum()), len(outcome) - int(outcome.sum()))
    if len(frame) < MINIMUM_ROWS or few < max(MINIMUM_PER_OUTCOME, 2 * folds):
        raise ModelDataError(
            f"{len(frame)} rows with {int(outcome.sum())} bad ones are too few; at least {MINIMUM_ROWS} rows and "
            f"{max(MINIMUM_PER_OUTCOME, 2 * folds)} of each outcome are needed"
        )
    features, dropped = clean_features(frame.drop(columns=[label, *drop]))
    if unlabelled:
        dropped[f"{unlabelled} rows"] = f"{label} has no value"
    if group and group in features.columns:
        features = features.drop(columns=group)
    if features.empty:
        raise ModelDataError("no column is left to predict from")
    groups = frame[group].astype(str).to_numpy() if group else None
    text = [name for name in features.columns if is_text(features[name])]

    predicted = np.empty(len(frame))
    flagged = np.empty(len(frame))
    aucs: list[float] = []
    leaks: list[str] = []
    for train, test in _splits(outcome, groups, folds, chosen.seed):
        fitted = fit(
            features.iloc[train],
            outcome[train],
            list(features.columns),
            chosen,
            groups=None if groups is None else groups[train],
            text=text,
        )
        matrix = fitted.encoders.transform(features.iloc[test])
        predicted[test] = fitted.model.probability(matrix)
        # A foreign table says nothing of LGD and margin, so the best F1 decides. Thresholds differ a little from fold
        # to fold: keep each row's distance to its own.
        known = ~np.isnan(fitted.held_out)
        flagged[test] = predicted[test] - choose_threshold(outcome[train][known], fitted.held_out[known])
        aucs.append(delong_interval(outcome[test], predicted[test]).value)
        if not leaks:
            leaks = leak_findings(matrix, list(features.columns), outcome[test], aucs[-1], chosen)
    return _report(
        outcome, predicted, flagged, aucs, leaks, chosen,
        label=label, bad_value=bad_value, guessed=guessed, features=tuple(features.columns), dropped=dropped,
    )  # fmt: skip


def _splits(
    outcome: NDArray[np.int64], groups: NDArray[Any] | None, folds: int, seed: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if groups is None:
        return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(outcome, outcome))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return list(splitter.split(outcome, outcome, groups))


def _report(
    outcome: NDArray[np.int64],
    predicted: NDArray[np.float64],
    flagged: NDArray[np.float64],
    aucs: list[float],
    leaks: list[str],
    settings: ModelSettings,
    *,
    label: str,
    bad_value: str,
    guessed: bool,
    features: tuple[str, ...],
    dropped: dict[str, str],
) -> TableReport:
    threshold = choose_threshold(outcome, predicted)
    found = evaluate(outcome, predicted, threshold, bounds=settings.rating_pd_bounds)
    yes = flagged >= 0
    hits = int((yes & (outcome == 1)).sum())
    precision = hits / max(int(yes.sum()), 1)
    recall = hits / int(outcome.sum())
    auc = found["auc"]
    return TableReport(
        auc_mean=float(np.mean(aucs)),
        auc_sd=float(np.std(aucs)),
        gini=2 * float(np.mean(aucs)) - 1,
        ks=found["ks"].value,
        brier=found["brier"].value,
        ece=found["ece"].value,
        log_loss=found["log_loss"].value,
        pr_auc=found["pr_auc"].value,
        accuracy=float((yes == (outcome == 1)).mean()),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if hits else 0.0,
        n=len(outcome),
        bad_rate=float(outcome.mean()),
        label=label,
        bad_value=bad_value,
        bad_value_guessed=guessed,
        features=features,
        dropped=dropped,
        leaks=tuple(leaks),
        auc_interval=(float(auc.lower or 0), float(auc.upper or 1)),
        mean_pd=float(predicted.mean()),
        fold_aucs=tuple(aucs),
    )
