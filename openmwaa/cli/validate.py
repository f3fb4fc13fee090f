# SPDX-License-Identifier: Apache-2.0
"""`openmwaa validate`: is the YAML file an environment?"""

from __future__ import annotations

import typer

from openmwaa.cli.output import DEFAULT_FILE, AsJson, EnvironmentPath, console, write_json
from openmwaa.config.environment_file import as_data, load
from openmwaa.errors import EnvironmentFileError


def validate(path: EnvironmentPath = DEFAULT_FILE, *, as_json: AsJson = False) -> None:
    """Check an environment file; exit 0 when it is right, 1 with file, line and field of all that is wrong."""
    try:
        environment = load(path)
    except EnvironmentFileError as error:
        if not as_json:
            raise
        problems = [
            {"file": str(p.file), "line": p.line, "field": p.field, "message": p.message} for p in error.problems
        ]
        write_json({"valid": False, "problems": problems})
        raise typer.Exit(1) from None
    if as_json:
        write_json({"valid": True, "environment": as_data(environment)})
        return
    fleets = "; ".join(
        f"{fleet.name}: {fleet.min} to {fleet.max} workers of {fleet.slots} slots for {', '.join(fleet.queues)}"
        for fleet in environment.fleets.values()
    )
    console().print(f"{path}: environment {environment.name}, Airflow {environment.airflow_version}. {fleets}.")
