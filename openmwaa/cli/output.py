# SPDX-License-Identifier: Apache-2.0
"""Output of the commands: tables and sentences for people, `--json` for programs."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

EnvironmentPath = Annotated[
    Path, typer.Argument(help="The environment's YAML file.", metavar="ENVIRONMENT.YAML", show_default=True)
]
Local = Annotated[bool, typer.Option("--local", help="Use the environment on this machine, not AWS.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document instead of text.")]

DEFAULT_FILE = Path("environment.yaml")


def console() -> Console:
    """Return a console on standard output."""
    return Console(highlight=False, soft_wrap=True)


def error_console() -> Console:
    """Return a console on standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def table(*headings: str, right: Collection[str] = ()) -> Table:
    """Return a table without borders; the columns `right` are aligned to the right."""
    found = Table(box=None, pad_edge=False)
    for heading in headings:
        found.add_column(heading, justify="right" if heading in right else "left")
    return found


def print_line(line: str) -> None:
    """Print one line without markup."""
    console().print(line, markup=False)


def write_json(document: Any) -> None:
    """Write one JSON document to standard output."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))
