# SPDX-License-Identifier: Apache-2.0
"""Output of the commands: tables and sentences for people, `--json` for programs."""

import json
from collections.abc import Collection
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document instead of text.")]


def console() -> Console:
    """Return a console on standard output; with emoji, `:secret:` in an ARN would be one."""
    return Console(highlight=False, soft_wrap=True, emoji=False)


def error_console() -> Console:
    """Return a console on standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def print_progress(line: str) -> None:
    """Print one line to standard error, because the output may be JSON."""
    error_console().print(line, markup=False)


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
