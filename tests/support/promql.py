# SPDX-License-Identifier: Apache-2.0
"""As much of PromQL as alert rules need, evaluated on series that a test writes down.

Parsed by `promql_parser`, which is Prometheus' own grammar. What is not here raises, so no rule passes by accident.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import promql_parser as grammar

Labels: TypeAlias = frozenset[tuple[str, str]]
Vector: TypeAlias = dict[Labels, float]
Points: TypeAlias = Sequence[tuple[float, float]]

LOOK_BACK_S = 300.0
COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
CALCULATE: Mapping[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
SETS = ("and", "or", "unless")


@dataclass(frozen=True)
class Series:
    """Values of one time series; one that has a single value has had it all along."""

    name: str
    labels: Labels
    points: Points


def series(name: str, *points: tuple[float, float], **labels: str) -> Series:
    return Series(name, frozenset(labels.items()), points)


def selectors_of(expression: str) -> list[grammar.VectorSelector]:
    """Return every series that an expression selects."""
    found = [node for node in _nodes(grammar.parse(expression)) if isinstance(node, grammar.VectorSelector)]
    assert found, f"the walk found no selector in {expression}: the parser has changed"
    return found


def _nodes(expression: Any) -> Iterator[Any]:
    yield expression
    inner = [getattr(expression, name, None) for name in ("lhs", "rhs", "expr", "vector_selector")]
    for child in [*inner, *getattr(expression, "args", [])]:
        if isinstance(child, grammar.Expr):
            yield from _nodes(child)


class Evaluator:
    """Evaluates expressions at one moment."""

    def __init__(self, known: Sequence[Series], at: float) -> None:
        self._known = known
        self._at = at

    def evaluate(self, expression: str) -> Vector:
        """Return what the expression finds; an alert fires for each element."""
        found = self._value(grammar.parse(expression))
        assert isinstance(found, dict), f"{expression} is a number, not a vector"
        return found

    def _value(self, node: object) -> Vector | float:
        match node:
            case grammar.NumberLiteral():
                return float(node.val)
            case grammar.ParenExpr():
                return self._value(node.expr)
            case grammar.VectorSelector():
                return {
                    series.labels: value for series in self._select(node) if (value := self._now(series)) is not None
                }
            case grammar.Call():
                return self._call(node)
            case grammar.AggregateExpr():
                return self._sum(node)
            case grammar.BinaryExpr():
                return self._binary(node)
        raise NotImplementedError(f"{type(node).__name__}: {node}")

    def _select(self, node: grammar.VectorSelector) -> list[Series]:
        return [series for series in self._known if series.name == node.name and matches(series.labels, node)]

    def _now(self, series: Series) -> float | None:
        fresh = [value for at, value in series.points if self._at - LOOK_BACK_S <= at <= self._at]
        return fresh[-1] if fresh else None

    def _call(self, node: grammar.Call) -> Vector | float:
        name, arguments = node.func.name, node.args
        if name == "time":
            return self._at
        if name == "absent":
            return {} if self._value(arguments[0]) else {frozenset(): 1.0}
        if name == "rate":
            return self._rate(arguments[0])
        raise NotImplementedError(name)

    def _rate(self, node: grammar.MatrixSelector) -> Vector:
        seconds = node.range.total_seconds()
        found: Vector = {}
        for series in self._select(node.vector_selector):
            inside = [(at, value) for at, value in series.points if self._at - seconds <= at <= self._at]
            if len(inside) > 1:
                found[series.labels] = (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])
        return found

    def _sum(self, node: grammar.AggregateExpr) -> Vector:
        assert str(node.op) == "sum", node.op
        inner, by = self._value(node.expr), set(node.modifier.labels if node.modifier else ())
        assert isinstance(inner, dict)
        found: Vector = {}
        for labels, value in inner.items():
            key = frozenset(pair for pair in labels if pair[0] in by)
            found[key] = found.get(key, 0.0) + value
        return found

    def _binary(self, node: grammar.BinaryExpr) -> Vector | float:
        left, right, word = self._value(node.lhs), self._value(node.rhs), str(node.op)
        matching = node.modifier.matching if node.modifier else None
        on = None if matching is None else set(matching.labels)
        if isinstance(left, float) and isinstance(right, float):
            return CALCULATE[word](left, right)
        if word in SETS:
            return _combined(word, left, right, on)
        found: Vector = {}
        for labels, value, other in _pairs(left, right, on):
            if word in CALCULATE:
                found[labels] = CALCULATE[word](value, other)
            elif COMPARE[word](value, other):
                found[labels] = value if isinstance(left, dict) else other
        return found


def matches(labels: Labels, node: grammar.VectorSelector) -> bool:
    """Return whether the labels are those of the selector."""
    values = dict(labels)
    for matcher in node.matchers.matchers:
        value, kind = values.get(matcher.name, ""), str(matcher.op).rsplit(".", 1)[-1]
        right = value in matcher.value.split("|") if kind == "Re" else value == matcher.value
        if kind not in ("Equal", "Re"):
            raise NotImplementedError(kind)
        if not right:
            return False
    return True


def _key(labels: Labels, on: set[str] | None) -> Labels:
    return labels if on is None else frozenset(pair for pair in labels if pair[0] in on)


def _pairs(left: Vector | float, right: Vector | float, on: set[str] | None) -> list[tuple[Labels, float, float]]:
    if isinstance(right, float):
        assert isinstance(left, dict)
        return [(labels, value, right) for labels, value in left.items()]
    if isinstance(left, float):
        return [(labels, left, value) for labels, value in right.items()]
    by_key = {_key(labels, on): value for labels, value in right.items()}
    assert len(by_key) == len(right), "many to one needs group_left"
    return [(labels, value, by_key[_key(labels, on)]) for labels, value in left.items() if _key(labels, on) in by_key]


def _combined(word: str, left: Vector | float, right: Vector | float, on: set[str] | None) -> Vector:
    assert isinstance(left, dict)
    assert isinstance(right, dict)
    keys = {_key(labels, on) for labels in right}
    if word == "and":
        return {labels: value for labels, value in left.items() if _key(labels, on) in keys}
    if word == "unless":
        return {labels: value for labels, value in left.items() if _key(labels, on) not in keys}
    mine = {_key(labels, on) for labels in left}
    return left | {labels: value for labels, value in right.items() if _key(labels, on) not in mine}
