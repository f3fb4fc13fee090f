# SPDX-License-Identifier: Apache-2.0
"""`openmwaa plan`: shows the changes of an apply, and refuses destructive ones."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from openmwaa.cli.environment import EnvironmentOption, choose
from openmwaa.cli.output import AsJson, console, print_progress, write_json
from openmwaa.config.environment_file import load
from openmwaa.deploy.pushed_images import with_pushed_images
from openmwaa.plan import render
from openmwaa.plan.review import review, with_cost
from openmwaa.plan.terraform import PlanRunner
from openmwaa.progress import reported


def plan(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(help="The environment; after `--`, arguments for Terraform.", metavar="ENVIRONMENT [-- ARGS]"),
    ] = None,
    *,
    _environment: EnvironmentOption = None,
    terraform_dir: Annotated[
        Path, typer.Option(help="The folder with NAME/cdk.tf.json, as for `openmwaa synth --out`.")
    ] = Path("terraform"),
    as_json: AsJson = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Write Markdown, for a pull request comment.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Show Terraform's output too, on standard error.")] = False,
) -> None:
    """Show the changes of an apply; refuse those that would stop workers or destroy database, broker, bucket or key.

    Exit codes: 0 no changes, 1 error, 2 changes, 4 refused.
    """
    if as_json and as_markdown:
        raise typer.BadParameter("--json and --markdown cannot be combined")
    arguments = words or []
    named = bool(arguments) and not arguments[0].startswith("-")
    environment = load(choose(context, arguments.pop(0) if named else None))
    environment = with_pushed_images(environment, terraform_dir)
    with reported("Writing the Terraform configuration", print_progress):
        # The CDK takes seconds to import, so only the commands that need it import it.
        from cdktf_app.main import synth as synthesise  # noqa: PLC0415

        stack = synthesise(environment, terraform_dir)
    folder = stack.parent
    terraform = PlanRunner(folder, progress=print_progress, verbose=full)
    verdict = review(terraform, environment, arguments)
    kept = str(terraform.plan_file) if verdict.outcome == "changed" else None
    cost = None
    if "-destroy" not in arguments:
        verdict, cost = with_cost(verdict, json.loads(stack.read_text(encoding="utf-8")), environment.region)
    if as_json:
        write_json({**render.document(environment.name, verdict, plan_file=kept), "cost": cost and vars(cost)})
    elif as_markdown:
        typer.echo(render.markdown(environment.name, verdict))
    else:
        console().print(render.text(environment.name, verdict), markup=False)
        if kept:
            command = shlex.join(["terraform", f"-chdir={folder.absolute()}", "apply", terraform.plan_file.name])
            console().print(f"\nTo apply it: {command}", markup=False)
    raise typer.Exit(verdict.exit_code)
