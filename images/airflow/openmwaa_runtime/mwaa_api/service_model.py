# SPDX-License-Identifier: Apache-2.0
"""The operations of MWAA's API, by the service model that is part of botocore: routes, members, errors."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

_SERVICE, _SHAPES = "mwaa", "service-2"
_WITHOUT_LIMIT = frozenset({"RestApiPath"})
"""Shapes whose maximal length does not hold here: the paths of task instances are longer than 64 characters."""
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "integer": int,
    "double": (int, float),
    "timestamp": (int, float, str),
    "boolean": bool,
}


_STATUSES: Mapping[str, int] = {"UnknownOperationException": 404, "ThrottlingException": 429}


class ApiError(Exception):
    """An error of the API: its name in the model, and its members."""

    def __init__(self, code: str, message: str = "", **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.members = members

    def body(self) -> dict[str, Any]:
        """The JSON of the answer: `Message` or `message`, as the model names it."""
        if self.members:
            return self.members
        shape = service_model().shape_for(self.code) if self.code in service_model().shape_names else None
        name = "Message" if isinstance(shape, StructureShape) and "Message" in shape.members else "message"
        return {name: self.message}

    @property
    def status(self) -> int:
        """The HTTP status in the model; 403 for errors of the signature, which no model contains."""
        if self.code not in service_model().shape_names:
            return _STATUSES.get(self.code, 403)
        return int(service_model().shape_for(self.code).metadata["error"]["httpStatusCode"])


def invalid(message: str) -> ApiError:
    """The error for a request that the model or this environment does not allow."""
    return ApiError("ValidationException", message)


@dataclass(frozen=True)
class Operation:
    """One operation with its route."""

    model: OperationModel
    path: re.Pattern[str]

    @property
    def name(self) -> str:
        """Its name, which is also that of its IAM action."""
        return str(self.model.name)

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return str(self.model.http["method"]) == "GET"

    def read_input(self, match: re.Match[str], raw_query: str, body: bytes) -> dict[str, Any]:
        """Return the members of the input.

        Raises:
            ApiError: they are not valid.
        """
        shape = self.model.input_shape or StructureShape("Nothing", {})
        query = parse_qs(raw_query, keep_blank_values=True)
        content = _json_object(body)
        values: dict[str, Any] = {}
        for name, member in shape.members.items():
            location, wire = member.serialization.get("location"), str(member.serialization.get("name", name))
            if location == "uri":
                values[name] = unquote(match[wire])
            elif location == "querystring":
                if wire in query:
                    values[name] = _from_query(wire, query[wire], member)
            elif name in content:
                values[name] = content.pop(name)
        if content:
            raise invalid(f"unknown member {next(iter(content))!r}")
        check(shape, values, self.name)
        return values


@cache
def service_model() -> ServiceModel:
    """The model in botocore's own folder, not one in the user's."""
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    return ServiceModel(loader.load_service_model(_SERVICE, _SHAPES), _SERVICE)


@cache
def operations() -> tuple[Operation, ...]:
    """All operations."""
    model = service_model()
    found = [model.operation_model(name) for name in model.operation_names]
    return tuple(
        Operation(operation, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", str(operation.http["requestUri"]))))
        for operation in found
    )


def find_operation(method: str, path: str) -> tuple[Operation, re.Match[str]]:
    """Return the operation of a request.

    Raises:
        ApiError: there is none.
    """
    for operation in operations():
        match = operation.path.fullmatch(path)
        if match and operation.model.http["method"] == method:
            return operation, match
    raise ApiError("UnknownOperationException", f"MWAA's API has no {method} {path[:200]}")


def check(shape: Shape, value: Any, at: str) -> None:
    """Check a value against the types and constraints of a shape.

    Raises:
        ApiError: it does not match.
    """
    if getattr(shape, "is_document_type", False):
        return
    expected = _TYPES[shape.type_name]
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise invalid(f"{at} must be of the type {shape.type_name}")
    _check_constraints(shape, value, at)
    for part, content, name in _parts(shape, value, at):
        check(part, content, name)


def _parts(shape: Shape, value: Any, at: str) -> Iterator[tuple[Shape, Any, str]]:
    """Yield the parts of a structure, list or map, each with its shape and its name for messages."""
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if name not in value:
                raise invalid(f"{at}: the member {name} is missing")
        for name, part in value.items():
            if name not in shape.members:
                raise invalid(f"{at}: unknown member {name!r}")
            yield shape.members[name], part, f"{at}.{name}"
    elif isinstance(shape, ListShape):
        yield from ((shape.member, part, at) for part in value)
    elif isinstance(shape, MapShape):
        for key, part in value.items():
            yield shape.key, key, at
            yield shape.value, part, f"{at}.{key}"


def _check_constraints(shape: Shape, value: Any, at: str) -> None:
    constraints = shape.metadata
    if "enum" in constraints and value not in constraints["enum"]:
        raise invalid(f"{at} must be one of {', '.join(constraints['enum'])}")
    size = value if isinstance(value, int | float) else len(value)
    most = None if shape.name in _WITHOUT_LIMIT else constraints.get("max")
    if ("min" in constraints and size < constraints["min"]) or (most is not None and size > most):
        raise invalid(f"{at} must be between {constraints.get('min', 0)} and {most if most is not None else 'any'}")
    pattern = str(constraints.get("pattern", ""))
    # Python has no classes such as \p{L}, which only the patterns of tags use.
    if pattern and r"\p" not in pattern and not re.fullmatch(pattern, value, re.ASCII):
        raise invalid(f"{at} must match {pattern}")


def _json_object(body: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name is there twice")
        return found

    try:
        content = json.loads(body, object_pairs_hook=unique) if body else {}
    except (ValueError, RecursionError) as error:
        raise invalid("the body is not JSON with unique names") from error
    if not isinstance(content, dict):
        raise invalid("the body is not a JSON object")
    return content


def _from_query(name: str, values: list[str], shape: Shape) -> Any:
    if isinstance(shape, ListShape):
        return values
    if len(values) != 1:
        raise invalid(f"{name} is there {len(values)} times")
    if shape.type_name != "integer":
        return values[0]
    if not re.fullmatch("[0-9]{1,9}", values[0]):
        raise invalid(f"{name} must be a whole number")
    return int(values[0])
