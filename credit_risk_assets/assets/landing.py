"""The landing folder as Dagster sees it: written by people, read by bronze."""

from __future__ import annotations

import dagster as dg

from credit_risk_assets.tape import contract

LANDING_KEY = dg.AssetKey(["landing", "loan_tapes"])

loan_tapes = dg.AssetSpec(
    LANDING_KEY,
    description="Loan tapes that analysts drop into the landing folder, as CSV or Parquet files.",
    group_name="landing",
    kinds={"file"},
    owners=["team:credit-risk"],
    metadata={
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn(
                    column.name,
                    column.type,
                    # Here alone, before the intake, it is the borrower's own id.
                    "Identifier of the borrower." if column.name == "customer_id" else column.description,
                    dg.TableColumnConstraints(nullable=not column.required),
                )
                for column in contract.COLUMNS
            ]
        )
    },
)
