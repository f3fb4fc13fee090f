# SPDX-License-Identifier: Apache-2.0
"""IAM's decision for a request, from the statements of one identity: a Deny wins, and what no Allow names is denied.

It reads no resource policy and no boundary. Emulators decide without conditions, so they are not used here.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.stack import Json


@dataclass(frozen=True)
class Request:
    """An action on a resource; `context` has the condition keys that IAM fills in."""

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)


def allowed(statements: Sequence[Json], request: Request) -> bool:
    """Whether an Allow names the request and no Deny does."""
    effects = {statement["Effect"] for statement in statements if applies(statement, request)}
    return effects == {"Allow"}


def applies(statement: Json, request: Request) -> bool:
    """Whether action, resource and every condition of a statement match a request."""
    return (
        any(_like(pattern.lower(), request.action.lower()) for pattern in _list(statement["Action"]))
        and _names_resource(statement, request.resource)
        and holds(statement, request.context)
    )


def holds(statement: Json, context: Mapping[str, str]) -> bool:
    """Whether every condition of a statement holds; a missing key is equal to nothing."""
    for operator, variables in (statement.get("Condition") or {}).items():
        if operator not in {"StringEquals", "StringNotEquals", "StringLike", "ArnEquals", "ArnLike"}:
            raise ValueError(f"the evaluation does not know {operator}")
        exact = operator in {"StringEquals", "StringNotEquals"}
        for variable, values in variables.items():
            value = context.get(variable)
            matched = value is not None and any(
                value == wanted if exact else _like(wanted, value) for wanted in _list(values)
            )
            if matched == (operator == "StringNotEquals"):
                return False
    return True


def _names_resource(statement: Json, resource: str) -> bool:
    if "NotResource" in statement:
        return not any(_like(pattern, resource) for pattern in _list(statement["NotResource"]))
    return any(_like(pattern, resource) for pattern in _list(statement["Resource"]))


def _like(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
