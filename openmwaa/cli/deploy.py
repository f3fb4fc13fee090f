# SPDX-License-Identifier: Apache-2.0
"""`openmwaa deploy` and `openmwaa destroy`: all steps of an environment in AWS, to continue by repeating them."""

import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from openmwaa.cli.environment import DEFAULT_FILE, EnvironmentOption, EnvironmentPath
from openmwaa.cli.output import AsJson, error_console, print_line, print_progress, write_json
from openmwaa.cli.scale import parse_duration
from openmwaa.cli.wait import Condition, wait_until
from openmwaa.commands import this_command
from openmwaa.config.environment import Environment
from openmwaa.deploy import deployment, destruction
from openmwaa.deploy.builders import BuilderName
from openmwaa.deploy.steps import DeployError, Outcome, StepRunner
from openmwaa.errors import OpenmwaaError
from openmwaa.operate.connection import connect
from openmwaa.operate.override_request import Duration
from openmwaa.subprocesses import termination_as_interrupt

EXIT_CODES: Final[dict[Outcome, int]] = {
    "done": 0,
    "failed": 1,
    "declined": 1,
    "unfinished": 3,
    "refused": 4,
    "interrupted": 130,
}
TerraformDir = Annotated[Path, typer.Option(help="The folder for NAME/cdk.tf.json, as for `openmwaa synth --out`.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def deploy(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    terraform_dir: TerraformDir = Path("terraform"),
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Change nothing; stop after the plan.")] = False,
    yes: Yes = False,
    approved: Annotated[
        Path | None,
        typer.Option(help="Apply only the plan in this file of `openmwaa plan --markdown`.", metavar="FILE"),
    ] = None,
    builder: Annotated[
        BuilderName | None, typer.Option(help="The program that builds images; left out, the first that works.")
    ] = None,
    skip_quotas: Annotated[bool, typer.Option("--skip-quotas", help="Do not check the account's quotas.")] = False,
    condition: Annotated[Condition, typer.Option("--for", help="What to wait for, as in `openmwaa wait`.")] = "all",
    timeout: Annotated[
        Duration, typer.Option(help="The longest wait; or `forever`.", metavar="TIME", parser=parse_duration)
    ] = "6h",  # type: ignore[assignment]  # typer parses a default like a given value
    as_json: AsJson = False,
) -> None:
    """Deploy an environment: check quotas, push images, plan, apply, wait. The same command continues after a fault.

    Exit codes: 0 success, 1 error, 3 timeout, 4 refused; with --plan-only 0 no changes, 2 changes.
    """
    run = _run(path, terraform_dir, yes=yes, as_json=as_json)
    text = approved.read_text(encoding="utf-8") if approved else None
    options = deployment.DeployOptions(plan_only, skip_quotas, builder, text)

    def steps() -> int | None:
        verdict = deployment.deploy(run, options, lambda: wait_until(run.connection, condition, timeout, run.note))
        return verdict.exit_code if verdict and run.report.outcome == "planned" else None

    _finish(run, steps, as_json=as_json)


def destroy(
    path: EnvironmentPath = DEFAULT_FILE,
    *,
    _environment: EnvironmentOption = None,
    terraform_dir: TerraformDir = Path("terraform"),
    yes: Yes = False,
    wait: Annotated[
        Duration, typer.Option(help="How long running tasks may take.", metavar="TIME", parser=parse_duration)
    ] = "2h",  # type: ignore[assignment]  # as above
    now: Annotated[bool, typer.Option("--now", help="Do not wait for running tasks: they are ended.")] = False,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Also delete all objects in the environment's own bucket.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Destroy an environment after its tasks have finished. The same command continues after a fault.

    Exit codes: 0 success, 1 error, 3 tasks still run.
    """
    run = _run(path, terraform_dir, yes=yes, as_json=as_json)
    longest = timedelta() if now else wait.time or timedelta(days=366)
    options = destruction.DestroyOptions(longest, delete_data)
    _finish(run, lambda: destruction.destroy(run, options), as_json=as_json)


def _run(path: Path, terraform_dir: Path, *, yes: bool, as_json: bool) -> StepRunner:
    def synthesise(environment: Environment, folder: Path) -> Path:
        # The CDK takes seconds to import, so only the commands that need it import it.
        from cdktf_app.main import synth  # noqa: PLC0415

        return synth(environment, folder)

    say = print_progress if as_json else print_line
    return StepRunner(connect(path, local=False), terraform_dir, synthesise, partial(_confirm, yes=yes), say)


def _confirm(question: str, typed: str | None, *, yes: bool) -> bool:
    """Return the answer of the user; if there is a text to type, whether it was typed."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise DeployError(f"{question} Nothing can answer here: add --yes.")
    if typed is None:
        return typer.confirm(question, err=True)
    return bool(typer.prompt(f"{question} Type {typed} to confirm", err=True) == typed)


def _finish(run: StepRunner, steps: Callable[[], int | None], *, as_json: bool) -> None:
    """Do the steps, report their end, and exit."""
    error, code = None, None
    try:
        with termination_as_interrupt():
            code = steps()
    except OpenmwaaError as failure:
        error = str(failure)
    except (KeyboardInterrupt, typer.Abort):
        run.report.outcome = "interrupted"
    step = run.report.steps[-1].name if run.report.steps else "start"
    if as_json:
        write_json(run.report.as_data(error))
    if error is not None:
        error_console().print(error, style="red", markup=False)
    if run.report.outcome in ("failed", "interrupted"):
        ended = "Interrupted" if run.report.outcome == "interrupted" else "Failed"
        error_console().print(f"{ended} at: {step}. To continue: {this_command()}", style="yellow", markup=False)
    raise typer.Exit(EXIT_CODES[run.report.outcome] if code is None else code)
