# SPDX-License-Identifier: Apache-2.0
"""`openmwaa synth`: the environment as Terraform."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath
from openmwaa.cli.output import AsJson, console, print_line, print_progress, write_json
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.deploy.pushed_images import own_repositories, targets, with_pushed_images
from openmwaa.progress import reported


def synth(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    out: Annotated[Path, typer.Option(help="The folder for NAME/cdk.tf.json.")] = Path("terraform"),
    module: Annotated[
        Path | None, typer.Option(help="Write the stack as a Terraform module with variables to this folder instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the Terraform of an environment to OUT/NAME/cdk.tf.json, or as a module with variables."""
    environment = load(path)
    if module is not None:
        _write_module(environment, module, as_json=as_json)
        return
    environment = with_pushed_images(environment, out)
    with reported("Writing the Terraform configuration", print_progress):
        # The CDK takes seconds to import, so only the commands that need it import it.
        from cdktf_app.main import synth as synthesise  # noqa: PLC0415

        written = synthesise(environment, out)
    if as_json:
        write_json({"environment": environment.name, "terraform": str(written)})
    else:
        print_line(f"Wrote {written}. Next:")
        for command in _next_commands(written):
            print_line(f"  {command}")


def _next_commands(written: Path) -> Iterator[str]:
    """Yield the commands of a first apply: services start only with images, so the stack's repositories come first."""
    stack = json.loads(written.read_text(encoding="utf-8"))
    repositories = stack["resource"].get("aws_ecr_repository", {})
    yield f"cd {shlex.quote(str(written.parent.absolute()))}"
    yield "terraform init"
    if repositories:
        yield " ".join(("terraform apply", *targets(own_repositories(stack).values())))
        tasks = stack["resource"]["aws_ecs_task_definition"].values()
        processors = " and ".join(sorted({task["runtime_platform"]["cpu_architecture"] for task in tasks}))
        for image in stack["output"]["images"]["value"].values():
            for name, repository in repositories.items():
                if (url := f"${{aws_ecr_repository.{name}.repository_url}}:") in image:
                    pushed = f"{repository['name']}:{image.removeprefix(url)}"
                    yield f"# build for {processors} and push {pushed}: docs/how-to/build-images.md"
    yield "terraform apply"


def _write_module(environment: Environment, folder: Path, *, as_json: bool) -> None:
    with reported("Writing the module", print_progress):
        from cdktf_app.module.main import synth_module  # noqa: PLC0415 - as above

        written = synth_module(environment, folder)
    if as_json:
        write_json({"environment": environment.name, "module": [str(path) for path in written]})
    else:
        console().print(f"Wrote the module to {folder}; {folder / 'README.md'} lists its inputs and outputs.")
