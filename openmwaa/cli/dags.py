# SPDX-License-Identifier: Apache-2.0
"""`openmwaa dags`: checks, tests and uploads the DAGs of a folder."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from openmwaa.cli.environment import EnvironmentOption, Local, choose, connect
from openmwaa.cli.local import require_local
from openmwaa.cli.output import AsJson, print_line, print_progress, write_json
from openmwaa.cli.sleep import NoWait, Timeout
from openmwaa.cli.wait import EXIT_CODES
from openmwaa.config.environment_file import load
from openmwaa.operate.errors import OperateError, UnreachableError
from openmwaa.operate.waiting import WaitStatus
from openmwaa.operate.waiting import wait as wait_for
from openmwaa.progress import reported

app = typer.Typer(help="Check, test and upload the DAGs of a folder.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Argument(
        help="The folder of the DAGs; default: `dags` beside the environment's file.",
        exists=True,
        file_okay=False,
        metavar="FOLDER",
    ),
]
EXIT_FINDINGS: Final = 1


@app.command()
def check(
    context: typer.Context, folder: Folder = None, *, _environment: EnvironmentOption = None, as_json: AsJson = False
) -> None:
    """Import DAGs as Airflow does, and list errors, cycles, duplicate ids, and queues that no fleet serves.

    If the environment runs on this machine, also connections, variables and pools that do not exist there. Exit codes:
    0 nothing is wrong, 1 something is.
    """
    file = choose(context, None)
    found_folder = dag_folder(file, folder)
    require_local()
    from openmwaa.local.dag_check import check_dags  # noqa: PLC0415 - needs the extra `local`

    found = check_dags(file, load(file), found_folder, print_progress)
    if as_json:
        write_json(found)
    else:
        _print(found, found_folder)
    if found["findings"]:
        raise typer.Exit(EXIT_FINDINGS)


@app.command("test")
def run_dag(
    context: typer.Context,
    dag: Annotated[str, typer.Argument(help="The id of the DAG.", metavar="DAG")],
    task: Annotated[
        str | None, typer.Argument(help="One task; the others count as successful.", metavar="TASK")
    ] = None,
    *,
    _environment: EnvironmentOption = None,
    folder: Annotated[
        Path | None, typer.Option(help="The folder of the DAGs; default: `dags` beside the environment's file.")
    ] = None,
    conf: Annotated[str | None, typer.Option(help="The configuration of the run.", metavar="JSON")] = None,
    logical_date: Annotated[str | None, typer.Option(help="Default: now.", metavar="DATE")] = None,
    pdb: Annotated[bool, typer.Option("--pdb", help="Start the debugger where a task fails.")] = False,
) -> None:
    """Run a DAG, or one task, in this terminal; `breakpoint()` works. No environment needs to run.

    Exit codes: 0 success, 1 a task failed.
    """
    if pdb and not sys.stdin.isatty():
        raise typer.BadParameter("--pdb needs a terminal as standard input")
    file = choose(context, None)
    found_folder = dag_folder(file, folder)
    require_local()
    from openmwaa.local.airflow_command import run_dag as run  # noqa: PLC0415 - needs the extra `local`

    words = [*(("--conf", conf) if conf else ()), *(("--logical-date", logical_date) if logical_date else ())]
    words += [*(("--pdb",) if pdb else ()), "--", dag, *((task,) if task else ())]
    run(file, load(file), found_folder, words, print_progress)


@app.command()
def deploy(
    context: typer.Context,
    folder: Folder = None,
    *,
    _environment: EnvironmentOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete DAGs in the bucket that the folder lacks.")] = False,
    no_wait: NoWait = False,
    timeout: Timeout = "5m",  # type: ignore[assignment]  # typer parses a default like a given value
    as_json: AsJson = False,
    local: Local = None,
) -> None:
    """Upload the changed files of a folder to the bucket, and wait until Airflow has parsed them.

    Exit codes: 0 parsed, or nothing to do, 1 an import error or another error, 3 not parsed in time.
    """
    from openmwaa.local.paths import LocalPaths  # noqa: PLC0415
    from openmwaa.operate.dag_upload import DagUpload, clock  # noqa: PLC0415 - needs boto3

    file = choose(context, None)
    if git := load(file).dags:
        raise OperateError(
            f"The DAGs of this environment come from git. Push them to {git.ref} of {git.repository}; within seconds "
            "`openmwaa status` shows the commit in use."
        )
    found_folder, connection = dag_folder(file, folder), connect(file, local=local)
    say = print_progress if as_json else print_line
    if connection.local and (read := LocalPaths.of(file, connection.environment.name).dag_folder):
        raise OperateError(f"The environment here reads DAGs from {read}, not from the bucket: see --dags-from-bucket.")
    bucket, began = DagUpload(connection, found_folder), clock()
    plan = bucket.plan()
    for path in plan.changed:
        say(f"upload  {path}")
    for path in plan.removed:
        say(f"{'delete ' if delete else 'keep   '} {path}, which the folder does not have")
    with reported(f"Uploading to {bucket.name}", print_progress):
        bucket.apply(plan, delete=delete)
    deleted = plan.removed if delete else ()
    say(f"{len(plan.changed)} files uploaded, {plan.unchanged} unchanged: s3://{bucket.name}")
    status = WaitStatus()
    if (plan.changed or deleted) and not no_wait:
        limit_s = timeout.time.total_seconds() if timeout.time else float("inf")
        with reported("Waiting until the DAGs are parsed", print_progress, every_s=30):
            try:
                status = wait_for(
                    [lambda: bucket.parsed(plan.changed, deleted, began)], 2, limit_s=limit_s, progress=say
                )
            except UnreachableError as error:
                status = WaitStatus((str(error),))
    errors = status.data.get("import_errors", {})
    if as_json:
        document = {"bucket": bucket.name, **asdict(plan), "deleted": delete, "outcome": status.outcome}
        write_json({**document, "awaited": status.awaited, "import_errors": errors})
    else:
        for path, text in errors.items():
            print_line(f"{path}: import error:\n{text.rstrip()}")
        for line in status.awaited:
            print_line(line)
    raise typer.Exit(EXIT_FINDINGS if errors else EXIT_CODES[status.outcome])


def dag_folder(file: Path, folder: Path | None) -> Path:
    """Return the folder of the argument, else the one beside the environment's file."""
    found = folder or file.parent / "dags"
    if not found.is_dir():
        raise typer.BadParameter(f"there is no folder {found}; write the folder of the DAGs as the argument")
    return found.resolve()


def _print(found: Any, folder: Path) -> None:
    for finding in found["findings"]:
        line = f":{finding['line']}" if finding["line"] else ""
        print_line(f"{folder / finding['file']}{line}: {finding['kind']}: {finding['text']}")
    print_line(f"Files: {found['files']}, DAGs: {len(found['dags'])}, errors: {len(found['findings'])}.")
    if not found["checks_references"]:
        print_line("Connections, variables and pools are not checked: the environment does not run on this machine.")
