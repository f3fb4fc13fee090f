# SPDX-License-Identifier: Apache-2.0
"""`openmwaa synth`: the environment as Terraform."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openmwaa.cli.output import DEFAULT_FILE, AsJson, EnvironmentPath, console, write_json
from openmwaa.environment_file import load


def synth(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    out: Annotated[Path, typer.Option(help="Folder that gets NAME/cdk.tf.json.")] = Path("terraform"),
    as_json: AsJson = False,
) -> None:
    """Write the Terraform of an environment to OUT/NAME/cdk.tf.json."""
    environment = load(path)
    # The CDK takes seconds to import; no other command pays for it.
    from cdktf_app.main import synth as synthesise  # noqa: PLC0415

    written = synthesise(environment, out)
    if as_json:
        write_json({"environment": environment.name, "terraform": str(written)})
    else:
        console().print(f"{written} is written. To build it: cd {written.parent} && terraform init && terraform apply")
