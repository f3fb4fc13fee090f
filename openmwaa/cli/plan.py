# SPDX-License-Identifier: Apache-2.0
"""`openmwaa plan`: what an apply would do, and a refusal of what must not be done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openmwaa.cli.output import DEFAULT_FILE, AsJson, EnvironmentPath, console, write_json
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.plan import changes, render
from openmwaa.plan.errors import TerraformFailedError
from openmwaa.plan.terraform import Terraform
from openmwaa.plan.verdict import Verdict, judge, judge_failure


def plan(
    path: EnvironmentPath = DEFAULT_FILE,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="More arguments of `terraform plan`, after `--`.", metavar="[-- ARGS]")
    ] = None,
    *,
    terraform_dir: Annotated[
        Path, typer.Option(help="Folder that has NAME/cdk.tf.json, as of `openmwaa synth --out`.")
    ] = Path("terraform"),
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Write a comment for a pull request.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show Terraform's own words too, on standard error.")] = False,
) -> None:
    """Say what an apply would change, and refuse what would end workers, database, broker, bucket or key.

    Exit code 0 no changes, 1 an error, 2 changes, 4 refused.
    """
    if as_json and as_markdown:
        raise typer.BadParameter("--json and --markdown are two ways to write one answer; say one of them")
    environment = load(path)
    # The CDK takes seconds to import; only commands that write Terraform pay for it.
    from cdktf_app.main import synth as synthesise  # noqa: PLC0415

    folder = synthesise(environment, terraform_dir).parent
    terraform = Terraform(folder, loud=full)
    verdict = _verdict(terraform, environment, arguments or [])
    if verdict.outcome == "refused":
        terraform.forget()
    kept = str(terraform.plan_file) if verdict.outcome == "changed" else None
    if as_json:
        write_json(render.document(environment.name, verdict, plan_file=kept))
    elif as_markdown:
        typer.echo(render.markdown(environment.name, verdict))
    else:
        console().print(render.text(environment.name, verdict), markup=False)
        if kept:
            console().print(f"\nTo do it: terraform -chdir={folder} apply {terraform.plan_file.name}", markup=False)
    raise typer.Exit(verdict.exit_code)


def _verdict(terraform: Terraform, environment: Environment, arguments: list[str]) -> Verdict:
    terraform.init()
    try:
        document = terraform.plan(arguments)
    except TerraformFailedError:
        # In another Region even reading what exists fails, by an error that nobody understands.
        verdict = judge_failure(changes.read_state(terraform.state()), environment)
        if verdict is None:
            raise
        return verdict
    return judge(changes.read(document), environment, destroying="-destroy" in arguments)
