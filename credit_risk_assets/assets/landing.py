"""The landing folder as Dagster sees it: written by people, read by bronze."""

from __future__ import annotations

import dagster as dg

LANDING_KEY = dg.AssetKey(["landing", "loan_tapes"])

loan_tapes = dg.AssetSpec(
    LANDING_KEY,
    description="Loan tapes that analysts drop into the landing folder, as CSV or Parquet files.",
    group_name="landing",
    kinds={"file"},
    owners=["team:credit-risk"],
)
