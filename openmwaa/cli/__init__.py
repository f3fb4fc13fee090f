# SPDX-License-Identifier: Apache-2.0
"""The command line `openmwaa`, one module per command.

An error that the user can correct is an `OpenmwaaError`: the command prints its text without a traceback and ends with
exit code 1.
"""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from openmwaa.cli import (
    cost,
    credentials,
    dags,
    demo,
    deploy,
    explain,
    init,
    local,
    login,
    plan,
    requirements,
    rollout,
    rotate,
    scale,
    schema,
    simulate,
    sleep,
    status,
    stored_values,
    synth,
    validate,
    wait,
    whatif,
)
from openmwaa.cli.output import error_console
from openmwaa.errors import OpenmwaaError

__all__ = ["app", "main"]

app = typer.Typer(name="openmwaa", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"openmwaa {version('openmwaa')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Amazon MWAA in your own AWS account, as open source."""


app.command()(init.init)
app.command()(validate.validate)
app.command()(synth.synth)
app.command()(plan.plan)
app.command()(cost.cost)
app.command()(simulate.simulate)
app.command()(whatif.whatif)
app.command()(deploy.deploy)
app.command()(deploy.destroy)
app.command()(schema.schema)
app.command()(status.status)
app.command()(explain.explain)
app.command()(scale.scale)
app.command()(sleep.sleep)
app.command()(sleep.wake)
app.command()(rollout.rollout)
app.command()(wait.wait)
app.command()(credentials.credentials)
app.command()(login.login)
app.command()(login.logout)
app.command()(login.whoami)
app.command()(login.api)
app.command(context_settings={"allow_interspersed_args": False})(login.airflow)
local.app.command()(demo.demo)
app.add_typer(requirements.app, name="requirements")
app.add_typer(local.app, name="local")
app.add_typer(stored_values.app_of("connections"), name="connections")
app.add_typer(stored_values.app_of("variables"), name="variables")
app.add_typer(dags.app, name="dags")
app.add_typer(rotate.app, name="rotate")


def main() -> None:
    """Run the command line; exit codes: 1 for an error that the user can correct, 130 for Ctrl-C."""
    try:
        app()
    except OpenmwaaError as error:
        error_console().print(str(error), style="red", markup=False, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        error_console().print("Interrupted.", style="yellow")
        sys.exit(130)
