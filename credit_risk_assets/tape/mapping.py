"""Mappings translate a foreign tape into the contract: constants, renamed columns, value maps, SQL expressions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from credit_risk_assets.tape import contract

MAPPINGS_FOLDER = Path(__file__).parent.parent / "config" / "mappings"


class MappingError(ValueError):
    """A mapping file that cannot be used; the message names the file and the column."""


class ColumnMapping(BaseModel):
    """Where one contract column comes from: exactly one of `constant`, `column` and `expr`.

    `values` translates the values of `column`; one that it does not list becomes `otherwise`.
    """

    model_config = ConfigDict(extra="forbid")

    constant: str | int | float | None = None
    column: str | None = None
    values: dict[str, str] = {}
    otherwise: str | None = None
    expr: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ColumnMapping:
        stated = [name for name in ("constant", "column", "expr") if getattr(self, name) is not None]
        if len(stated) != 1:
            raise ValueError(f"exactly one of constant, column and expr is expected, found {stated or 'none'}")
        if self.values and self.column is None:
            raise ValueError("values translate a column: expected `column` beside them")
        return self

    def sql(self) -> str:
        """The column as Spark SQL over the foreign tape's text columns."""
        if self.constant is not None:
            return _literal(str(self.constant))
        if self.expr is not None:
            return self.expr
        if not self.values:
            return f"`{self.column}`"
        cases = " ".join(f"when {_literal(old)} then {_literal(new)}" for old, new in self.values.items())
        rest = _literal(self.otherwise) if self.otherwise is not None else f"`{self.column}`"
        return f"case `{self.column}` {cases} when null then null else {rest} end"


class Mapping(BaseModel):
    """How a foreign tape becomes a loan tape, column by column, and which of its own columns to keep."""

    model_config = ConfigDict(extra="forbid")

    description: str
    columns: dict[str, ColumnMapping]
    keep: list[str] = []

    @model_validator(mode="after")
    def _covers_contract(self) -> Mapping:
        unknown = sorted(set(self.columns) - set(contract.NAMES))
        if unknown:
            raise ValueError(f"columns: {', '.join(unknown)} are no columns of the tape contract")
        missing = [name for name in contract.REQUIRED if name not in self.columns]
        if missing:
            raise ValueError(f"columns: required {', '.join(missing)} are not mapped")
        customer = self.columns["customer_id"].sql()
        if named := [name for name in self.keep if re.search(rf"\b{re.escape(name)}\b", customer)]:
            raise ValueError(f"keep: {', '.join(named)} tells the customer id, which the lake must not hold")
        return self

    def select(self) -> dict[str, str]:
        """Column name -> Spark SQL, contract columns first, kept ones after them."""
        kept = {name: f"`{name}`" for name in self.keep if name not in self.columns}
        return {name: mapped.sql() for name, mapped in self.columns.items()} | kept

    def source_columns(self) -> set[str]:
        """The foreign columns that the mapping names outright."""
        return {m.column for m in self.columns.values() if m.column is not None} | set(self.keep)


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def mapping_names() -> list[str]:
    """The mappings that come with the platform."""
    return sorted(file.stem for file in MAPPINGS_FOLDER.glob("*.yaml"))


def load_mapping(name_or_file: str) -> Mapping:
    """Read a mapping by name or from a YAML file. Raises `MappingError` in one line where it does not fit."""
    file = Path(name_or_file)
    if file.suffix not in (".yaml", ".yml"):
        file = MAPPINGS_FOLDER / f"{name_or_file}.yaml"
        if not file.is_file():
            known = ", ".join(mapping_names())
            raise MappingError(f"mapping {name_or_file!r}: not found; known are {known}, or give a YAML file")
    if not file.is_file():
        raise MappingError(f"mapping {file}: no such file")
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        return Mapping.model_validate(content)
    except yaml.YAMLError as error:
        raise MappingError(f"mapping {file.name}: no valid YAML ({str(error).splitlines()[0]})") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "file"
        raise MappingError(f"mapping {file.name}: {where}: {problem['msg']}") from None
