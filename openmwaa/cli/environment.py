# SPDX-License-Identifier: Apache-2.0
"""The environment of a command: a file, a folder, a name, or the only environment that runs on this machine."""

from os.path import isfile  # False, not an error, for a path that is too long or in a closed folder
from pathlib import Path
from typing import Annotated, Final

import typer

from openmwaa.cli.output import print_progress
from openmwaa.errors import EnvironmentNotFoundError
from openmwaa.operate import connection

DEFAULT_FILE: Final = Path("environment.yaml")
INFERRED: Final = "openmwaa.inferred"  # in the context's `meta`: the command does not name the environment


def choose(context: typer.Context, argument: str | None) -> Path:
    """Return the environment of the argument, else of `-e`, else environment.yaml, else the only one that runs here.

    Raises:
        EnvironmentNotFoundError: none or several fit; the text lists the candidates.
    """
    option: str | None = context.params.get("_environment")
    if argument is not None and option is not None:
        raise typer.BadParameter("name the environment once, by the argument or by --environment")
    name = argument or option
    path = Path(name or DEFAULT_FILE)
    if isfile(path / DEFAULT_FILE):  # noqa: PTH113
        return path / DEFAULT_FILE
    if isfile(path) or (name and (path.name != name or path.suffix in {".yaml", ".yml"})):  # noqa: PTH113
        return path  # its reader reports a missing file
    try:
        from openmwaa.local.daemon.orphans import running_environments  # noqa: PLC0415

        running = running_environments()
    except ImportError:  # without the extra `local` none runs
        running = []
    found = [(known, file) for known, file in running if name in (None, known)]
    if len(found) != 1:
        files = "".join(f"\n- {known}: {file}" for known, file in found or running) or " none."
        raise EnvironmentNotFoundError(
            f"There is no file {path} in this folder, and {len(found)} environments{' of this name' if name else ''} "
            f"run on this machine. Name the environment by its file. Environments that run here:{files}"
        )
    if name is None:
        print_progress(f"Environment {found[0][0]}, the only one that runs here: {found[0][1]}")
        context.meta[INFERRED] = True
    return found[0][1]


def _callback(context: typer.Context, path: Path) -> Path:
    source = context.get_parameter_source("path")
    return choose(context, None if source is None or source.name == "DEFAULT" else str(path))


EnvironmentPath = Annotated[
    Path,
    typer.Argument(
        help="The environment's YAML file or its folder, or the name of one that runs on this machine. Without a "
        "file of this default name: the only one that runs.",
        metavar="ENVIRONMENT",
        callback=_callback,
    ),
]
EnvironmentOption = Annotated[
    str | None,
    typer.Option("--environment", "-e", help="The same as the argument.", metavar="ENVIRONMENT", is_eager=True),
]
Local = Annotated[
    bool | None,
    typer.Option("--local/--aws", help="The environment on this machine, or in AWS. Default: here if it runs here."),
]


def connect(path: Path, *, local: bool | None) -> connection.Connection:
    """Return the connection to the environment of a file, and report the choice that was not in the command."""
    connected = connection.connect(path, local=local)
    if local is None and connected.local:
        print_progress("This is the environment on this machine; --aws selects the one in AWS.")
    return connected
