# SPDX-License-Identifier: Apache-2.0
"""`openmwaa requirements check`: whether a requirements.txt fits the image, before it rolls out."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, choose
from openmwaa.cli.output import AsJson, print_line, print_progress, write_json
from openmwaa.config import environment_file
from openmwaa.config.environment import Environment
from openmwaa.deploy.requirements import RequirementsCheckError
from openmwaa.deploy.requirements import check as check_requirements
from openmwaa.progress import reported
from openmwaa.subprocesses import termination_as_interrupt
from openmwaa_runtime.artefacts.plugins import unpack
from openmwaa_runtime.errors import StartupError

EXIT_CONFLICT: Final = 2
app = typer.Typer(no_args_is_help=True, help="The requirements.txt of an environment.")


@app.callback()
def _group() -> None:
    """The requirements.txt of an environment."""


@app.command()
def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The requirements.txt.", metavar="FILE")] = Path("requirements.txt"),
    *,
    _environment: EnvironmentOption = None,
    plugins: Annotated[
        Path | None, typer.Option(help="The plugins.zip, if FILE refers to MWAA's folder of plugins.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a requirements.txt against the Airflow image, with the index that the file names; nothing is installed.

    Without an environment, it checks for the default version of Airflow and for ARM64. Exit codes: 0 it fits, 1 error,
    2 it does not fit.
    """
    is_named = context.params["_environment"] is not None or DEFAULT_FILE.is_file()
    environment = environment_file.load(choose(context, None)) if is_named else None
    version: str = environment.airflow_version if environment else Environment.model_fields["airflow_version"].default
    architectures = environment.architectures if environment else (Environment.model_fields["architecture"].default,)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequirementsCheckError(f"{file} cannot be read: {error}") from error
    with _unpacked(plugins) as folder, termination_as_interrupt(), reported(f"Resolving {file}", print_progress):
        result = check_requirements(text, airflow_version=version, architectures=architectures, plugins=folder)
    if as_json:
        write_json(result.as_data())
    for line in () if as_json else result.sentences():
        (print_line if result.fits else print_progress)(line)
    raise typer.Exit(0 if result.fits else EXIT_CONFLICT)


@contextmanager
def _unpacked(plugins: Path | None) -> Iterator[Path | None]:
    if plugins is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="openmwaa-plugins-") as name:
        try:
            unpack(plugins, Path(name))
        except StartupError as error:
            raise RequirementsCheckError(str(error)) from error
        yield Path(name)
