# SPDX-License-Identifier: Apache-2.0
"""`openmwaa validate`: checks an environment file."""

from dataclasses import asdict

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath
from openmwaa.cli.output import AsJson, console, write_json
from openmwaa.config.environment_file import as_data, load
from openmwaa.errors import EnvironmentFileError


def validate(
    path: EnvironmentPath = DEFAULT_FILE, *, _environment: EnvironmentOption = None, as_json: AsJson = False
) -> None:
    """Check an environment file, and show file, line and field of every problem.

    Exit codes: 0 valid, 1 invalid.
    """
    try:
        environment = load(path)
    except EnvironmentFileError as error:
        if not as_json:
            raise
        write_json({"valid": False, "problems": [asdict(problem) for problem in error.problems]})
        raise typer.Exit(1) from None
    if as_json:
        write_json({"valid": True, "environment": as_data(environment)})
        return
    fleets = "; ".join(
        f"{fleet.name}: {fleet.min} to {fleet.max} workers of {fleet.slots} slots for {', '.join(fleet.queues)}"
        for fleet in environment.fleets.values()
    )
    console().print(f"{path}: environment {environment.name}, Airflow {environment.airflow_version}. {fleets}.")
