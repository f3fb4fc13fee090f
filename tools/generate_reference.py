# SPDX-License-Identifier: Apache-2.0
"""Writes the reference pages from code: environment.yaml, its JSON Schema, commands, Airflow's defaults, faults.

`make docs` calls it; a test fails when a page is out of date.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
import typer.cli
import typer.main

from openmwaa.cli import app
from openmwaa.config.environment_file import json_schema
from openmwaa.config.yaml_reader import MAX_BYTES, MAX_DEPTH, MAX_VALUES
from tools.airflow_reference import page as airflow_defaults_page
from tools.airflow_reference import versions_page
from tools.alarm_reference import page as alarms_page
from tools.fault_reference import page as faults_page
from tools.grafana import page as grafana_page
from tools.mwaa_api_reference import page as mwaa_api_page
from tools.mwaa_reference import page as mwaa_page
from tools.network_reference import endpoints_page, regions_page, security_groups_page

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def environment_page() -> str:
    """Return the page of every field of environment.yaml, from the JSON Schema of the models."""
    schema = json.loads(json_schema())
    lines = [
        "# environment.yaml",
        "",
        "Written by `make docs` from the models. For completion in an editor, write `# yaml-language-server: $schema=`",
        "and the path of [the JSON Schema](environment.schema.json) on the first line.",
        "",
        f"A file is UTF-8 with at most {MAX_BYTES // 1024} KiB, {MAX_DEPTH} levels, and {MAX_VALUES} values with all",
        "aliases expanded. A plain value that YAML changes (`22:30`, `010`, `1.10`, `no`) is refused: quote it.",
        "",
    ]
    lines += _fields("An environment", schema, schema["$defs"])
    for name, model in sorted(schema["$defs"].items()):
        lines += _fields(name, model, schema["$defs"])
    return "\n".join(lines) + "\n"


def _fields(title: str, model: Mapping[str, Any], models: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield model.get("description", "").replace("\n", " ")
    yield ""
    yield "| field | takes | default | |"
    yield "|---|---|---|---|"
    required = model.get("required", [])
    for name, field in model.get("properties", {}).items():
        default = "**required**" if name in required else f"`{_default(field)}`"
        description = field.get("description", "").replace("\n", " ")
        yield f"| `{name}` | {_takes(field)} | {default} | {description} |"
    yield ""


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    if value is None:
        return "none"
    return "as below" if isinstance(value, dict) and value else json.dumps(value)


def _takes(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_takes(option) for option in field["anyOf"] if option.get("type") != "null")
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list of {_takes(field['items'])}"
    if "patternProperties" in field:
        return f"mapping of names to {_takes(next(iter(field['patternProperties'].values())))}"
    if field.get("type") == "object":
        return "mapping of text to text"
    bounds = [f"≥ {field['minimum']}"] if "minimum" in field else []
    bounds += [f"≤ {field['maximum']}"] if "maximum" in field else []
    return " ".join([str(field.get("type", "anything")), *bounds])


def command_line_page() -> str:
    """Return the page of every command with its options, from the commands themselves."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="openmwaa")
    return typer.cli.get_docs_for_click(obj=command, ctx=context, name="openmwaa", title="Command line")


PAGES: Mapping[str, Callable[[], str]] = {
    "environment.schema.json": json_schema,
    "environment.md": environment_page,
    "cli.md": command_line_page,
    "airflow-defaults.md": airflow_defaults_page,
    "airflow-versions.md": versions_page,
    "coming-from-mwaa.md": mwaa_page,
    "mwaa-api.md": mwaa_api_page,
    "faults.md": faults_page,
    "endpoints.md": endpoints_page,
    "security-groups.md": security_groups_page,
    "regions.md": regions_page,
    "alarms.md": alarms_page,
    "../../monitoring/grafana/openmwaa.json": grafana_page,
}


def out_of_date() -> list[str]:
    """Return the names of the pages that differ from the code."""
    return [
        name
        for name, page in PAGES.items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text(encoding="utf-8") != page()
    ]


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
