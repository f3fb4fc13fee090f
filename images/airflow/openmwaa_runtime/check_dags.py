# SPDX-License-Identifier: Apache-2.0
"""`python -m openmwaa_runtime check-dags FOLDER QUEUES RESULT`: imports DAGs as the DAG processor does.

It writes what is wrong to the file RESULT, as JSON. Without a database (no variable OPENMWAA_CHECK_REFERENCES) it does
not check that connections, variables and pools exist.
"""

import ast
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openmwaa_runtime.components import command_environment

REFERENCES = "OPENMWAA_CHECK_REFERENCES"
_FRAME = re.compile(r'^ +File "(?P<file>.+?)", line (?P<line>\d+)', re.MULTILINE)
_TEMPLATE = re.compile(r"\b(?:var\.(?:value|json)\.(?P<variable>\w+)|conn\.(?P<connection>(?!get\b)\w+))")
_GETTERS = {"get_connection": "connection", "Connection.get": "connection", "Variable.get": "variable"}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    kind: str
    """`import`, `queue`, `connection`, `variable` or `pool`."""
    file: str
    """Relative to the folder."""
    line: int | None
    text: str


@dataclass(frozen=True)
class Reference:
    """A name that stands literally in a DAG's file."""

    kind: str
    name: str
    line: int


def import_finding(folder: Path, file: str, text: str) -> Finding:
    """Return the finding of one entry of `DagBag.import_errors`: a traceback, or the text of an exception."""
    frames = [(Path(found["file"]), int(found["line"])) for found in _FRAME.finditer(text)]
    line = next((line for path, line in reversed(frames) if path.is_relative_to(folder)), None)
    at = next((path for path, _ in reversed(frames) if path.is_relative_to(folder)), folder / file)
    lines = text.rstrip().splitlines() or ["no message"]
    last = max((index for index, words in enumerate(lines) if words.startswith("  ")), default=-1)
    message = "\n".join(lines[last + 1 :]) or lines[-1].strip()
    relative = str(at.relative_to(folder)) if at.is_relative_to(folder) else file
    imported = "" if relative == str(_relative(folder, file)) else f" (imported by {_relative(folder, file)})"
    return Finding("import", relative, line, f"{message}{imported}")


def references(source: str) -> Iterator[Reference]:
    """Yield the connections, variables and pools whose names stand in a DAG's source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from _of_call(node)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and (kind := _kind(str(key.value))):
                    yield from _literal(kind, value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "{{" in node.value:
            for found in _TEMPLATE.finditer(node.value):
                kind = found.lastgroup or ""
                yield Reference(kind, found[kind], node.lineno)


def _of_call(node: ast.Call) -> Iterator[Reference]:
    for keyword in node.keywords:
        if kind := _kind(keyword.arg or ""):
            yield from _literal(kind, keyword.value)
    name = ast.unparse(node.func)
    kind = next((kind for getter, kind in _GETTERS.items() if name == getter or name.endswith(f".{getter}")), None)
    has_default = len(node.args) > 1 or any("default" in (keyword.arg or "") for keyword in node.keywords)
    if kind and node.args and not (kind == "variable" and has_default):
        yield from _literal(kind, node.args[0])


def _kind(argument: str) -> str | None:
    if argument.endswith("conn_id"):
        return "connection"
    return "pool" if argument == "pool" else None


def _literal(kind: str, value: ast.expr) -> Iterator[Reference]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value and "{{" not in value.value:
        yield Reference(kind, value.value, value.lineno)


def queue_findings(folder: Path, dags: Mapping[str, Any], queues: list[str]) -> Iterator[Finding]:
    """Yield the tasks whose queue no fleet serves."""
    for dag_id, dag in sorted(dags.items()):
        file = Path(dag.fileloc)
        for task in dag.tasks:
            if task.queue not in queues:
                text = (
                    f"no fleet serves the queue {task.queue} of {dag_id}.{task.task_id}. "
                    f"Queues of the environment: {', '.join(queues)}"
                )
                yield Finding("queue", str(_relative(folder, str(file))), _line_of(file, task.queue), text)


def reference_findings(folder: Path, files: list[Path], exists: Callable[[str, str], bool]) -> Iterator[Finding]:
    """Yield the literal names that do not exist in the environment."""
    known: dict[tuple[str, str], bool] = {}
    for file in files:
        try:
            found = list(dict.fromkeys(references(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, SyntaxError):  # a zip file; or it has an import error
            continue
        for reference in found:
            key = (reference.kind, reference.name)
            if key not in known:
                known[key] = exists(*key)
            if not known[key]:
                text = f"there is no {reference.kind} {reference.name} in the environment"
                yield Finding(reference.kind, str(_relative(folder, str(file))), reference.line, text)


def _exists(kind: str, name: str) -> bool:
    from airflow.exceptions import AirflowNotFoundException  # noqa: PLC0415 - installed in the image only
    from airflow.models import Connection, Pool, Variable  # noqa: PLC0415

    if kind == "pool":
        return Pool.get_pool(name) is not None
    if kind == "variable":
        return Variable.get_variable_from_secrets(name) is not None
    try:
        return Connection.get_connection_from_secrets(name) is not None
    except AirflowNotFoundException:
        return False


def _line_of(file: Path, literal: str) -> int | None:
    try:
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, SyntaxError):
        return None
    return next((node.lineno for node in nodes if isinstance(node, ast.Constant) and node.value == literal), None)


def _relative(folder: Path, file: str) -> Path:
    path = Path(file)
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def load_dags(folder: Path) -> Any:
    """Import the DAGs of a folder, which `.airflowignore` files limit."""
    try:
        from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415
    except ImportError:  # Airflow 2
        from airflow.models.dagbag import DagBag  # noqa: PLC0415

    sys.path.append(str(folder))
    return DagBag(str(folder))


def main(dags: str, queues: str, result: str) -> None:
    """Check, and write the result."""
    checks_references = REFERENCES in os.environ
    if checks_references:
        os.environ.update(command_environment(os.environ))
    folder = Path(dags).resolve()
    bag = load_dags(folder)
    files = sorted(Path(file) for file in bag.file_last_changed)
    findings = [import_finding(folder, file, text) for file, text in sorted(bag.import_errors.items())]
    findings += queue_findings(folder, bag.dags, json.loads(queues))
    if checks_references:
        findings += reference_findings(folder, files, _exists)
    document = {
        "dags": sorted(bag.dags),
        "files": len(files),
        "checks_references": checks_references,
        "findings": [asdict(finding) for finding in findings],
    }
    Path(result).write_text(json.dumps(document), encoding="utf-8")
