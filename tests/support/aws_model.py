# SPDX-License-Identifier: Apache-2.0
"""Checks an operation's input by AWS's service models, as botocore ships them: names, enums, ranges, patterns.

botocore's validator checks names, types, required members and minimum values. It leaves enums, patterns and maximum
values to AWS. Values that exist only after an apply (`${…}`) are left out.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape

_SESSION = botocore.session.get_session()


@cache
def operation(service: str, name: str) -> StructureShape:
    """The input of an operation."""
    shape = _SESSION.get_service_model(service).operation_model(name).input_shape
    assert isinstance(shape, StructureShape)
    return shape


def problems(service: str, name: str, params: Mapping[str, Any]) -> list[str]:
    """The violations of the model by an input of an operation."""
    return list(_problems(operation(service, name), params, name))


def _problems(shape: Shape, value: Any, at: str) -> Iterator[str]:
    if isinstance(value, str) and "${" in value:
        return
    if isinstance(shape, StructureShape):
        yield from _of_structure(shape, value, at)
    elif isinstance(shape, ListShape):
        yield from _of_list(shape, value, at)
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield from _problems(shape.value, item, f"{at}.{key}")
    elif isinstance(shape, StringShape):
        yield from _of_text(shape, value, at)
    elif shape.type_name in {"integer", "long", "double", "float"}:
        yield from _of_number(shape, value, at)
    elif shape.type_name == "boolean" and not isinstance(value, bool):
        yield f"{at} is no truth value: {value!r}"


def _of_structure(shape: StructureShape, value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{at} is no structure: {value!r}"
        return
    for missing in sorted(set(shape.required_members) - set(value)):
        yield f"{at}.{missing} is missing"
    for member, item in value.items():
        if member not in shape.members:
            yield f"{at}.{member} is unknown to AWS; it has {', '.join(shape.members)}"
        else:
            yield from _problems(shape.members[member], item, f"{at}.{member}")


def _of_list(shape: ListShape, value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{at} is no list: {value!r}"
        return
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", len(value))
    if not least <= len(value) <= most:
        yield f"{at} has {len(value)} entries; AWS takes {least} to {most}"
    for index, item in enumerate(value):
        yield from _problems(shape.member, item, f"{at}[{index}]")


def _of_text(shape: StringShape, value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{at} is no text: {value!r}"
        return
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", len(value))
    if not least <= len(value) <= most:
        yield f"{at} has {len(value)} characters; AWS takes {least} to {most}"
    if shape.enum and value not in shape.enum:
        yield f"{at} is {value}; AWS has {', '.join(shape.enum)}"
    pattern = shape.metadata.get("pattern")
    if pattern and (known := _compiled(pattern)) and not known.fullmatch(value):
        yield f"{at} is {value}, which is not of the form {pattern}"


def _of_number(shape: Shape, value: Any, at: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield f"{at} is no number: {value!r}"
        return
    least, most = shape.metadata.get("min", value), shape.metadata.get("max", value)
    if not least <= value <= most:
        yield f"{at} is {value}; AWS takes {least} to {most}"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """A pattern of the models; some of these Java patterns are invalid in Python."""
    try:
        return re.compile(pattern)
    except re.error:
        return None


# --- Terraform's resources as AWS's inputs --------------------------------------------------------------------------


def as_input(shape: Shape, attributes: Any, renamed: Mapping[str, str] | None = None) -> Any:
    """A resource's attributes under AWS's names: `ok_actions` is `OKActions`, a list of one block a structure.

    A name that the model does not have stays as it is, so that `problems` names it; numbers and truth values that
    Terraform writes as text become what they are.
    """
    if isinstance(shape, StructureShape):
        value = attributes[0] if isinstance(attributes, list) and len(attributes) == 1 else attributes
        if not isinstance(value, Mapping):
            return value
        known = {**{_plain(member): member for member in shape.members}, **(renamed or {})}
        found = {known.get(name) or known.get(_plain(name), name): item for name, item in value.items()}
        return {
            name: as_input(shape.members[name], item) if name in shape.members else item for name, item in found.items()
        }
    if isinstance(shape, ListShape) and isinstance(attributes, Mapping):
        attributes = [{"name": name, "value": value} for name, value in attributes.items()]  # an alarm's dimensions
    if isinstance(shape, ListShape) and isinstance(attributes, list):
        return [as_input(shape.member, item) for item in attributes]
    if isinstance(attributes, str) and "${" not in attributes:
        if shape.type_name in {"integer", "long"} and attributes.isdigit():
            return int(attributes)
        if shape.type_name == "boolean":
            return {"true": True, "false": False}.get(attributes, attributes)
    if shape.type_name == "string" and isinstance(attributes, int) and not isinstance(attributes, bool):
        return str(attributes)
    return attributes


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
