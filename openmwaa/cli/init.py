# SPDX-License-Identifier: Apache-2.0
"""`openmwaa init`: writes a first environment, a DAG and a test."""

import os
import re
import shlex
from contextlib import suppress
from functools import reduce
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from openmwaa.cli.output import print_line
from openmwaa.config.airflow_versions import AIRFLOW_VERSIONS, DEFAULT_VERSION
from openmwaa.config.environment import SupportedVersion
from openmwaa.config.environment_file import load
from openmwaa.errors import OpenmwaaError

NAME_LIMIT = 27
"""Longer names leave no room in the names of some resources of AWS."""


def init(
    folder: Annotated[Path, typer.Argument(help="The folder; default: this one.", metavar="FOLDER")] = Path(),
    *,
    airflow_version: Annotated[
        SupportedVersion,
        typer.Option(help="The version of Airflow in environment.yaml; a file that exists keeps its version."),
    ] = DEFAULT_VERSION,
) -> None:
    """Write environment.yaml, a DAG and a test that passes. Files that exist are kept."""
    if folder.exists() and not folder.is_dir():
        raise typer.BadParameter(f"{folder} is a file")
    environment = folder / "environment.yaml"
    with suppress(OpenmwaaError):  # it does not exist, or is not valid yet
        airflow_version = load(environment).airflow_version
    replaced = {
        "name: NAME": f"name: {environment_name(folder.resolve().name)}",
        "AIRFLOW_VERSION": airflow_version,
        "airflow.sdk": AIRFLOW_VERSIONS[airflow_version].major.dag_module,
    }
    kept = []
    for name, text in sorted(_starter(files("openmwaa") / "starter")):
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8") as file:
                file.write(reduce(lambda made, word: made.replace(word, replaced[word]), replaced, text))
        except OSError as error:
            if not os.path.lexists(target):
                raise typer.BadParameter(f"{target} cannot be written: {error.strerror}") from None
            kept.append(name)
            continue
        print_line(f"Wrote {target}")
    for name in kept:
        print_line(f"Kept {folder / name}, which exists")
    if folder != Path():
        print_line(f"Next: cd {shlex.quote(str(folder))}")
    print_line("  openmwaa dags check                           imports the DAGs")
    print_line("  openmwaa dags test hello                      runs one here")
    print_line("  python -m unittest discover tests             runs the test")
    print_line("  openmwaa local up --dags ./dags               starts the environment on this machine")


def environment_name(folder: str) -> str:
    """Return a valid name of an environment that resembles the folder's."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", folder).strip("-")[:NAME_LIMIT].strip("-")
    return name if re.match("[A-Za-z]", name) else f"airflow-{name}".strip("-")[:NAME_LIMIT]


def _starter(folder: Traversable, at: str = "") -> list[tuple[str, str]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__":
            found += _starter(entry, f"{at}{entry.name}/")
        elif entry.is_file():
            found.append((f"{at}{entry.name}", entry.read_text(encoding="utf-8")))
    return found
