# SPDX-License-Identifier: Apache-2.0
"""Reads an environment from its YAML file and reports file, line and field of every error."""

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import DictSchema

from openmwaa.config.aws_limits import OWN_TAGS
from openmwaa.config.control_plane import WEB_SERVERS
from openmwaa.config.environment import Environment
from openmwaa.config.field_lookup import model_of, without_tags
from openmwaa.config.mwaa_fields import COUNTERPARTS, snake_case
from openmwaa.config.text_rules import RULES
from openmwaa.config.yaml_reader import Location, field_name, read_text, read_yaml
from openmwaa.errors import EnvironmentFileError, Problem

MINIMUM: Final = "{name: example, web_access: {allow_http: true}}"
"""The smallest valid file; `web_access` is needed because there is no domain with a certificate."""


def load(path: Path) -> Environment:
    """Return the environment of the file `path`.

    Raises:
        EnvironmentFileError: with all errors, each with file, line and field.
    """
    return loads(read_text(path), path)


def loads(text: str, path: Path) -> Environment:
    """Return the environment of the YAML `text`; errors name `path`.

    Raises:
        EnvironmentFileError: with all errors, each with file, line and field.
    """
    data, lines = read_yaml(text, path)
    if not isinstance(data, dict):
        found = "the file is empty" if data is None else "the file is not a mapping of fields to values"
        raise EnvironmentFileError([Problem(path, 1, "", f"{found}; the minimum is `{MINIMUM}`")])
    try:
        return Environment.model_validate(data, strict=True)
    except ValidationError as error:
        problems = [_problem(details, lines, path) for details in error.errors(include_url=False)]
    raise EnvironmentFileError(sorted(problems, key=lambda problem: problem.line or 0))


class _WithoutFieldTitles(GenerateJsonSchema):
    """pydantic's JSON Schema without titles of fields, which repeat their names: `Min Workers` for `min_workers`."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def dict_schema(self, schema: DictSchema) -> JsonSchemaValue:
        """Refuse keys without the pattern, as the models do."""
        found = super().dict_schema(schema)
        if "patternProperties" not in found:
            return found
        (pattern,) = found["patternProperties"]
        return {**found, "propertyNames": {"pattern": pattern}, "additionalProperties": False}


def json_schema() -> str:
    """Return the JSON Schema of the file, for editors: two-space JSON with a final newline."""
    schema = Environment.model_json_schema(by_alias=True, schema_generator=_WithoutFieldTitles)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "openmwaa environment", **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _problem(details: ErrorDetails, lines: Mapping[Location, int], path: Path) -> Problem:
    within = getattr(details.get("ctx", {}).get("error"), "at", ())
    if details["type"].startswith("union_tag"):
        within = ("kind",)
    at = (*without_tags(tuple(part for part in details["loc"] if part != "[key]")), *within)
    line = next((lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in lines), None)
    return Problem(path, line, field_name(at), _message(details, at))


_MESSAGES: Final = {
    "missing": "is missing",
    "tuple_type": "must be a list, such as [a, b]",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "must be a mapping of `key: value` lines"),
}


def _unknown_field(at: Location) -> str:
    known = sorted(field.alias or name for name, field in model_of(at).model_fields.items())
    name = snake_case(str(at[-1]))
    if name in COUNTERPARTS:
        return f"is a field of MWAA; {COUNTERPARTS[name]}"
    near = difflib.get_close_matches(name, known, n=1)
    return "unknown field" + (f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(known)}")


def _message(details: ErrorDetails, at: Location) -> str:
    kind, context = details["type"], details.get("ctx", {})
    got: Any = details.get("input")
    if kind == "extra_forbidden":
        return _unknown_field(at)
    if kind == "union_tag_invalid":
        got = got["kind"]
    if got is None:
        return "is empty; write a value, or remove the line"
    if kind in _MESSAGES:
        return _MESSAGES[kind]
    if expected := context.get("expected", context.get("expected_tags")):
        return f"is {_shown(got)}; it must be {expected}"
    if kind == "string_pattern_mismatch":
        rule = RULES[context["pattern"]]
        return f"is {_shown(got)}; it must be {rule.words} (rule: {rule.source})"
    if kind == "too_long" and at == ("tags",) and isinstance(got, dict):
        own = " and ".join(f"`{tag}`" for tag in OWN_TAGS)
        return f"has {len(got)} tags; AWS allows 50 for a resource, and the stack adds {own}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_type" and isinstance(got, int | float):
        return f'is {got!r}, which is no text; quote it: "{got}"'
    shown = f" (got {_shown(got)})" if isinstance(got, str | int | float | bool) else ""
    message = details["msg"]
    return message[:1].lower() + message[1:] + shown


def _shown(value: object) -> str:
    # A password or token stands between `://` and `@`.
    text = repr(re.sub(r"://[^/\s]*@", "://…@", value)[:101] if isinstance(value, str) else value)
    return text if len(text) <= 100 else f"{text[:100]}…"  # noqa: PLR2004 - fits in a line


def as_data(environment: Environment) -> dict[str, Any]:
    """Return the environment as plain data with all defaults that apply."""
    without = set(WEB_SERVERS) if environment.control_plane == "COMPACT" else None
    return environment.model_dump(mode="json", by_alias=True, exclude=without)
