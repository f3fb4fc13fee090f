# SPDX-License-Identifier: Apache-2.0
"""`openmwaa schema`: the JSON Schema of environment.yaml, for editors."""

import typer

from openmwaa.config.environment_file import json_schema


def schema() -> None:
    """Write the JSON Schema of environment.yaml to standard output."""
    typer.echo(json_schema(), nl=False)
