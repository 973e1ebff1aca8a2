"""One definition for every engine: Spark SQL text compiled to a polars expression.

Training and batch features run on Spark; a single application is scored in process without Spark. Both use
the same text, so this compiler knows only what behaves the same on both sides and refuses the rest by name.
Nulls follow SQL; NaN is no value of a tape and must be null before it comes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import polars as pl
import sqlglot
from sqlglot import exp


class UnsupportedSqlError(ValueError):
    """A piece of SQL that the online path cannot compute as Spark does; the message names it."""


_TYPES: dict[str, Any] = {
    "INT": pl.Int32,
    "BIGINT": pl.Int64,
    "DOUBLE": pl.Float64,
    "TEXT": pl.String,
    "VARCHAR": pl.String,
}

_Pair = Callable[[pl.Expr, pl.Expr], pl.Expr]
_BINARY: dict[type[exp.Expression], _Pair] = {
    exp.Add: lambda a, b: a + b,
    exp.Sub: lambda a, b: a - b,
    exp.Mul: lambda a, b: a * b,
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
    exp.And: lambda a, b: a & b,
    exp.Or: lambda a, b: a | b,
}
_UNARY: dict[type[exp.Expression], Callable[[pl.Expr], pl.Expr]] = {
    exp.Neg: lambda a: -a,
    exp.Not: lambda a: ~a,
    exp.Paren: lambda a: a,
    exp.Year: lambda a: a.dt.year(),
    exp.Month: lambda a: a.dt.month().cast(pl.Int32),
    exp.Quarter: lambda a: a.dt.quarter().cast(pl.Int32),
    exp.TsOrDsToDate: lambda a: a,
    exp.Length: lambda a: a.str.len_chars().cast(pl.Int32),
    exp.Abs: lambda a: a.abs(),
}


def _refuse(node: exp.Expression, why: str = "no equivalent that is equal to the last bit") -> pl.Expr:
    raise UnsupportedSqlError(f"feature SQL: {type(node).__name__} in `{node.sql('spark')}`: {why}")


def _literal(node: exp.Literal) -> pl.Expr:
    if node.is_string:
        return pl.lit(node.this)
    if not str(node.this).isdigit():
        return _refuse(node, "a decimal literal in Spark; write it as a double, such as 0.5D")
    return pl.lit(int(node.this), dtype=pl.Int32)


def _cast(node: exp.Cast) -> pl.Expr:
    target = node.to.sql("spark")
    if isinstance(node.this, exp.Literal) and target == "DOUBLE":
        return pl.lit(float(node.this.this))
    dtype = _TYPES.get(node.to.sql())
    return _refuse(node, f"cast to {target}") if dtype is None else _compile(node.this).cast(dtype)


def text_of(node: exp.Expression | None) -> str:
    """The text of a string literal; another expression is refused."""
    if not isinstance(node, exp.Literal) or not node.is_string:
        _refuse(node or exp.Null(), "a string literal is needed here")
    return str(node.this) if node is not None else ""


def translation(node: exp.Translate) -> dict[str, str]:
    """What TRANSLATE puts in the place of each character: the first of two same ones counts, as in Spark."""
    old, new = text_of(node.args["from_"]), text_of(node.args["to"])
    partners: dict[str, str] = {}
    for place, character in enumerate(old):
        # Spark drops the characters that have no partner in the replacement.
        partners.setdefault(character, new[place : place + 1])
    return partners


def _translate(node: exp.Translate) -> pl.Expr:
    column, partners = _compile(node.this), translation(node)
    old, new = list(partners), list(partners.values())
    if len(set(new)) == 1 and not new[0].startswith("$"):
        # one target for all: a compiled character class is kept, an automaton is built anew for each call
        runs = "" if new[0] else "+"  # what is dropped may be dropped a run at a time
        return column.str.replace_all(f"[{re.escape(''.join(old))}]{runs}", new[0])
    return column.str.replace_many(old, new)


def _divide(node: exp.Div) -> pl.Expr:
    divisor = node.expression
    if isinstance(divisor, exp.Cast) and isinstance(divisor.this, exp.Literal):
        # polars multiplies by a scalar divisor's reciprocal, which moves the last bit: use a column
        column = pl.int_range(pl.len()) * 0.0 + float(divisor.this.this)
        return _compile(node.this) / column
    if isinstance(divisor, exp.Literal):
        return _refuse(node, "division by a whole-number literal; write it as a double, such as 12D")
    return _compile(node.this) / _compile(divisor)


def _position(node: exp.StrPosition) -> pl.Expr:
    if node.args.get("position") is not None:
        return _refuse(node, "a start position")
    found = _compile(node.this).str.find(text_of(node.args["substr"]), literal=True)
    # find counts bytes; payment codes are ASCII
    return pl.when(_compile(node.this).is_null()).then(None).otherwise(found.cast(pl.Int32).fill_null(-1) + 1)


def _substring(node: exp.Substring) -> pl.Expr:
    start, length = node.args["start"], node.args.get("length")
    if not (isinstance(start, exp.Literal) and isinstance(length, exp.Literal) and int(start.this) >= 1):
        return _refuse(node, "start and length are needed as positive literals")
    return _compile(node.this).str.slice(int(start.this) - 1, int(length.this))


def _case(node: exp.Case) -> pl.Expr:
    base = node.this
    chain: Any = pl
    for branch in node.args["ifs"]:
        condition = _compile(branch.this) if base is None else _compile(base) == _compile(branch.this)
        chain = chain.when(condition).then(_compile(branch.args["true"]))
    default = node.args.get("default")
    result: pl.Expr = chain.otherwise(None if default is None else _compile(default))
    return result


def _function(node: exp.Expression) -> pl.Expr:
    if isinstance(node, exp.Coalesce):
        return pl.coalesce([_compile(part) for part in (node.this, *node.expressions)])
    if isinstance(node, exp.Greatest):
        return pl.max_horizontal([_compile(part) for part in (node.this, *node.expressions)])
    if isinstance(node, exp.Least):
        return pl.min_horizontal([_compile(part) for part in (node.this, *node.expressions)])
    if isinstance(node, exp.Concat):
        return pl.concat_str([_compile(part) for part in node.expressions])
    if isinstance(node, exp.Nullif):
        value = _compile(node.this)
        equal = value == _compile(node.expression)
        return pl.when(equal.fill_null(value=False)).then(None).otherwise(value)
    if isinstance(node, exp.In) and node.expressions:
        value = _compile(node.this)
        hits = [value == _compile(choice) for choice in node.expressions]
        return pl.any_horizontal(hits)
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return _compile(node.this).is_null()
    if isinstance(node, exp.Between):
        value = _compile(node.this)
        return (value >= _compile(node.args["low"])) & (value <= _compile(node.args["high"]))
    if isinstance(node, exp.Contains):
        return _compile(node.this).str.contains(text_of(node.expression), literal=True)
    if isinstance(node, exp.Translate):
        return _translate(node)
    return _refuse(node)


def _compile(node: exp.Expression) -> pl.Expr:
    if isinstance(node, exp.Column):
        return pl.col(node.name)
    if isinstance(node, exp.Literal):
        return _literal(node)
    if isinstance(node, exp.Null):
        return pl.lit(None)
    if isinstance(node, exp.Boolean):
        return pl.lit(bool(node.this))
    if isinstance(node, exp.Cast):
        return _cast(node)
    if isinstance(node, exp.Case):
        return _case(node)
    if isinstance(node, exp.Div):
        return _divide(node)
    if isinstance(node, exp.Substring):
        return _substring(node)
    if isinstance(node, exp.StrPosition):
        return _position(node)
    if type(node) in _BINARY:
        return _BINARY[type(node)](_compile(node.this), _compile(node.expression))
    if type(node) in _UNARY:
        return _UNARY[type(node)](_compile(node.this))
    return _function(node)


@lru_cache(maxsize=1024)
def parse(sql: str) -> exp.Expression:
    """Spark SQL text as a tree; raises `UnsupportedSqlError` where it is none."""
    try:
        tree: exp.Expression = sqlglot.parse_one(sql, read="spark")  # type: ignore[assignment]
    except sqlglot.ParseError as error:
        raise UnsupportedSqlError(f"feature SQL `{sql}`: {str(error).splitlines()[0]}") from None
    return tree


@lru_cache(maxsize=1024)
def to_polars(sql: str) -> pl.Expr:
    """The polars expression that computes what Spark computes from the same SQL text.

    Raises `UnsupportedSqlError` naming the piece that has no equal counterpart.
    """
    return _compile(parse(sql))


def columns_of(sql: str) -> frozenset[str]:
    """The columns that an SQL expression reads."""
    return frozenset(column.name for column in parse(sql).find_all(exp.Column))
