# SPDX-License-Identifier: Apache-2.0
"""AWS's JSON 1.1 protocol. Every request and answer is validated against botocore's model of ECS."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StringShape, StructureShape
from botocore.validate import ParamValidator

from local_ecs.model import EcsError
from local_ecs.model.errors import invalid

CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET_PREFIX = "AmazonEC2ContainerServiceV20141113."


Handlers = Mapping[str, Callable[[dict[str, Any], str], dict[str, Any]]]
"""Operation -> its answer to a request of a caller."""


class AnswerNotValidError(Exception):
    """An answer does not match botocore's output shape: a defect of this package. It is sent as a ServerException."""


def caller_name(user_agent: str) -> str:
    """Return a short name: `terraform`, the application id of an SDK (`app/…`), or its product."""
    if "terraform" in user_agent.lower():
        return "terraform"
    words = user_agent.split()
    application = next((w.removeprefix("app/") for w in words if w.startswith("app/")), None)
    return application or (words[0] if words else "unknown")


@cache
def service_model() -> ServiceModel:
    """Load botocore's model of ECS (about 0.1 s, once)."""
    return botocore.session.get_session().get_service_model("ecs")


def answer(handlers: Handlers, target: str, body: bytes, caller: str) -> dict[str, Any]:
    """Answer one request. Raises EcsError if ECS refuses it and AnswerNotValidError for a defect of this package."""
    name = target.removeprefix(TARGET_PREFIX)
    if name == target or name not in handlers:
        raise EcsError("UnknownOperationException", f"The local ECS does not support the operation {target!r}.")
    operation = service_model().operation_model(name)
    request = _without_nulls(_parsed(body))
    if problems := _problems(operation.input_shape, request):
        raise invalid(problems)
    reply = handlers[name](request, caller)
    if problems := _problems(operation.output_shape, reply):
        raise AnswerNotValidError(f"{name}: {problems}")
    return reply


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body or b"{}")
    except ValueError as error:
        raise EcsError("SerializationException", f"The body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise EcsError("SerializationException", "The body is not a JSON object.")
    return request


def _without_nulls(value: Any) -> Any:
    """Remove null members: in this protocol null means absent."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def _problems(shape: Shape | None, value: dict[str, Any]) -> str:
    """Return the differences between a value and its shape; empty if it matches."""
    if shape is None:  # the operation has no shape here
        return ""
    report = ParamValidator().validate(value, shape)
    return report.generate_report() if report.has_errors() else "\n".join(_bad_enums(shape, value, ""))


def _bad_enums(shape: Shape | None, value: Any, path: str) -> list[str]:
    """List values that are not in their enums. botocore's validator does not check enums."""
    match shape:
        case StructureShape():
            return [p for k, v in value.items() for p in _bad_enums(shape.members[k], v, f"{path}.{k}")]
        case ListShape():
            return [p for n, v in enumerate(value) for p in _bad_enums(shape.member, v, f"{path}[{n}]")]
        case MapShape():
            return [p for k, v in value.items() for p in _bad_enums(shape.value, v, f"{path}.{k}")]
        case StringShape() if shape.enum and value not in shape.enum:
            return [f"{path.lstrip('.')}: {value!r} is not one of {', '.join(shape.enum)}"]
        case _:
            return []
