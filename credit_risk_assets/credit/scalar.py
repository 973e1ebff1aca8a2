"""The same definitions for one loan: Spark SQL text compiled to plain Python.

A table engine takes milliseconds to plan a hundred expressions, whatever the number of rows. One application is
computed sooner value by value. The compiler knows what `expressions` knows, computes the same bits and refuses the
rest by name; None is SQL's null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import add, eq, ge, gt, le, lt, mul, ne, sub, truediv
from typing import Any

from sqlglot import exp

from credit_risk_assets.credit.expressions import UnsupportedSqlError, parse, text_of, translation

Row = Mapping[str, Any]
Value = Callable[[Row], Any]
"""Computes one value of a loan from its columns and earlier features."""

_BINARY: dict[type[exp.Expression], Callable[[Any, Any], Any]] = {
    exp.Add: add,
    exp.Sub: sub,
    exp.Mul: mul,
    exp.Div: truediv,
    exp.EQ: eq,
    exp.NEQ: ne,
    exp.GT: gt,
    exp.GTE: ge,
    exp.LT: lt,
    exp.LTE: le,
}
_UNARY: dict[type[exp.Expression], Callable[[Any], Any]] = {
    exp.Neg: lambda a: -a,
    exp.Not: lambda a: not a,
    exp.Paren: lambda a: a,
    exp.Year: lambda a: a.year,
    exp.Month: lambda a: a.month,
    exp.Quarter: lambda a: (a.month + 2) // 3,
    exp.TsOrDsToDate: lambda a: a,
    exp.Length: len,
    exp.Abs: abs,
}
_CASTS: dict[str, Callable[[Any], Any]] = {"INT": int, "BIGINT": int, "DOUBLE": float}


def _refuse(node: exp.Expression) -> Value:
    raise UnsupportedSqlError(f"feature SQL: {type(node).__name__} in `{node.sql('spark')}`: not computed for one loan")


def _constant(value: Any) -> Value:
    return lambda _: value


def _of_both(operation: Callable[[Any, Any], Any], left: Value, right: Value) -> Value:
    def compute(row: Row) -> Any:
        a = left(row)
        if a is None:
            return None
        b = right(row)
        return None if b is None else operation(a, b)

    return compute


def _of_one(operation: Callable[[Any], Any], value: Value) -> Value:
    def compute(row: Row) -> Any:
        found = value(row)
        return None if found is None else operation(found)

    return compute


def _logic(left: Value, right: Value, *, decides: bool) -> Value:
    """AND (`decides` False) or OR (True) of three-valued logic: one deciding side settles it, else null stays null."""

    def compute(row: Row) -> bool | None:
        a, b = left(row), right(row)
        if a is decides or b is decides:
            return decides
        return None if a is None or b is None else not decides

    return compute


def _literal(node: exp.Literal) -> Value:
    if node.is_string:
        return _constant(node.this)
    return _constant(int(node.this)) if str(node.this).isdigit() else _refuse(node)


def _cast(node: exp.Cast) -> Value:
    if isinstance(node.this, exp.Literal) and node.to.sql("spark") == "DOUBLE":
        return _constant(float(node.this.this))
    target = node.to.sql()
    if target in ("TEXT", "VARCHAR"):
        return _of_one(lambda a: a if isinstance(a, str) else str(int(a)), _compile(node.this))
    return _of_one(_CASTS[target], _compile(node.this)) if target in _CASTS else _refuse(node)


def _case(node: exp.Case) -> Value:
    base = node.this
    branches = [
        (
            _compile(branch.this if base is None else exp.EQ(this=base, expression=branch.this)),
            _compile(branch.args["true"]),
        )
        for branch in node.args["ifs"]
    ]
    default = node.args.get("default")
    otherwise = _constant(None) if default is None else _compile(default)

    def compute(row: Row) -> Any:
        for condition, value in branches:
            if condition(row):
                return value(row)
        return otherwise(row)

    return compute


def _substring(node: exp.Substring) -> Value:
    start, length = node.args["start"], node.args.get("length")
    if not (isinstance(start, exp.Literal) and isinstance(length, exp.Literal) and int(start.this) >= 1):
        return _refuse(node)
    first = int(start.this) - 1
    last = first + int(length.this)
    return _of_one(lambda a: a[first:last], _compile(node.this))


def _extreme(node: exp.Expression, choose: Callable[[list[Any]], Any]) -> Value:
    values = [_compile(part) for part in (node.this, *node.expressions)]

    def compute(row: Row) -> Any:
        known = [found for value in values if (found := value(row)) is not None]
        return choose(known) if known else None

    return compute


def _coalesce(node: exp.Coalesce) -> Value:
    values = [_compile(part) for part in (node.this, *node.expressions)]

    def compute(row: Row) -> Any:
        for value in values:
            found = value(row)
            if found is not None:
                return found
        return None

    return compute


def _concat(node: exp.Concat) -> Value:
    values = [_compile(part) for part in node.expressions]

    def compute(row: Row) -> str | None:
        found = [value(row) for value in values]
        return None if any(part is None for part in found) else "".join(found)

    return compute


def _nullif(node: exp.Nullif) -> Value:
    value, other = _compile(node.this), _compile(node.expression)

    def compute(row: Row) -> Any:
        found = value(row)
        return None if found is not None and found == other(row) else found

    return compute


def _is_in(node: exp.In) -> Value:
    value, choices = _compile(node.this), [_compile(choice) for choice in node.expressions]

    def compute(row: Row) -> bool | None:
        found = value(row)
        if found is None:
            return None
        values = [choice(row) for choice in choices]
        return True if found in values else None if None in values else False

    return compute


def _function(node: exp.Expression) -> Value:
    if isinstance(node, exp.Coalesce):
        return _coalesce(node)
    if isinstance(node, exp.Greatest):
        return _extreme(node, max)
    if isinstance(node, exp.Least):
        return _extreme(node, min)
    if isinstance(node, exp.Concat):
        return _concat(node)
    if isinstance(node, exp.Nullif):
        return _nullif(node)
    if isinstance(node, exp.In) and node.expressions:
        return _is_in(node)
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        value = _compile(node.this)
        return lambda row: value(row) is None
    if isinstance(node, exp.Between):
        low = _of_both(ge, _compile(node.this), _compile(node.args["low"]))
        high = _of_both(le, _compile(node.this), _compile(node.args["high"]))
        return _logic(low, high, decides=False)
    if isinstance(node, exp.Contains):
        part = text_of(node.expression)
        return _of_one(lambda a: part in a, _compile(node.this))
    if isinstance(node, exp.StrPosition) and node.args.get("position") is None:
        sought = text_of(node.args["substr"])
        return _of_one(lambda a: a.find(sought) + 1, _compile(node.this))
    if isinstance(node, exp.Translate):
        table = str.maketrans(translation(node))
        return _of_one(lambda a: a.translate(table), _compile(node.this))
    return _refuse(node)


def _compile(node: exp.Expression) -> Value:
    if isinstance(node, exp.Column):
        name = node.name
        return lambda row: row[name]
    if isinstance(node, exp.Literal):
        return _literal(node)
    if isinstance(node, exp.Null):
        return _constant(None)
    if isinstance(node, exp.Boolean):
        return _constant(bool(node.this))
    if isinstance(node, exp.Cast):
        return _cast(node)
    if isinstance(node, exp.Case):
        return _case(node)
    if isinstance(node, exp.Substring):
        return _substring(node)
    if isinstance(node, exp.And | exp.Or):
        return _logic(_compile(node.this), _compile(node.expression), decides=isinstance(node, exp.Or))
    if type(node) in _BINARY:
        return _of_both(_BINARY[type(node)], _compile(node.this), _compile(node.expression))
    if type(node) in _UNARY:
        return _of_one(_UNARY[type(node)], _compile(node.this))
    return _function(node)


@lru_cache(maxsize=1024)
def to_python(sql: str) -> Value:
    """A function that computes from one loan's columns what Spark computes from the same SQL text.

    A division by zero, which no definition should reach, raises `ZeroDivisionError`. Raises `UnsupportedSqlError`
    naming the piece that is not known.
    """
    return _compile(parse(sql))
