# SPDX-License-Identifier: Apache-2.0
"""Commands of Airflow for `/aws_mwaa/cli`: those of MWAA's list, without a shell, within the caller's role.

A command and its options must be in the table: argparse accepts abbreviations, so a list of refused options is not
enough. Left out are options that write files (`--save`) or parse DAG files (`--local`, `--dag-regex`).
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.errors import AccessDeniedError, AuthError

TIMEOUT_S: Final = 60
OUTPUT_LIMIT: Final = 6 * 1024 * 1024
"""Bytes of each stream, as MWAA limits the answers of its REST API."""
TIMED_OUT: Final = 124
"""The exit status of the program `timeout`."""
PARALLEL: Final = 2
"""A command takes 3 s of CPU and 200 MiB."""
_MAX_WORDS: Final = 200

_OUTPUT: Final = "-o --output -v --verbose"
_VIEWER: Final = {
    "version": "",
    "cheat-sheet": "-v --verbose",
    "dags details": _OUTPUT,
    "dags list": f"{_OUTPUT} --columns -B --bundle-name",
    "dags list-import-errors": f"{_OUTPUT} -B --bundle-name",
    "dags list-jobs": f"{_OUTPUT} -d --dag-id --state --limit",
    "dags list-runs": f"{_OUTPUT} -d --dag-id --no-backfill --state -s --start-date -e --end-date",
    "dags next-execution": "-v --verbose --table --field -n --num-executions",
    "dags show": "-v --verbose",
    "dags state": "-v --verbose",
    "assets details": f"{_OUTPUT} --alias --name --uri",
    "assets list": f"{_OUTPUT} --alias --columns",
    "tasks failed-deps": "-v --verbose -B --bundle-name --map-index",
    "tasks state": "-v --verbose -B --bundle-name --map-index",
    "tasks states-for-dag-run": _OUTPUT,
}
_USER: Final = {
    "assets materialize": f"{_OUTPUT} --name --uri",
    "backfill create": "--dag-id --from-date --to-date --dag-run-conf --run-backwards --max-active-runs"
    " --reprocess-behavior --run-on-latest-version --dry-run",
    "dags delete": "-y --yes -v --verbose",
    "dags pause": f"{_OUTPUT} -y --yes --treat-dag-id-as-regex",
    "dags trigger": f"{_OUTPUT} -r --run-id -c --conf -l --logical-date -e --exec-date --no-replace-microseconds",
    "dags unpause": f"{_OUTPUT} -y --yes --treat-dag-id-as-regex",
    "tasks clear": "-t --task-regex -s --start-date -e --end-date -B --bundle-name -u --upstream -d --downstream"
    " -y --yes -f --only-failed -r --only-running -v --verbose",
}
_OP: Final = {
    "connections add": "--conn-uri --conn-json --conn-extra --conn-type --conn-description --conn-host --conn-login"
    " --conn-password --conn-schema --conn-port",
    "connections delete": "--color -v --verbose",
    **{
        f"providers {word}": f"{_OUTPUT} -f --full --color"
        for word in ("behaviours", "get", "hooks", "links", "list", "widgets")
    },
    "variables delete": "-v --verbose",
    "variables get": "-j --json -d --default -v --verbose",
    "variables list": f"{_OUTPUT} --show-values --hide-sensitive",
    "variables set": "-j --json --description -v --verbose",
}
_ADMIN: Final = {"roles create": "-v --verbose", "roles list": f"{_OUTPUT} -p --permission"}

COMMANDS: Final[Mapping[str, tuple[AirflowRole, frozenset[str]]]] = {
    command: (role, frozenset(options.split()))
    for role, commands in (
        (AirflowRole.VIEWER, _VIEWER),
        (AirflowRole.USER, _USER),
        (AirflowRole.OP, _OP),
        (AirflowRole.ADMIN, _ADMIN),
    )
    for command, options in commands.items()
}
"""Command -> the lowest role, by the permissions of Airflow's roles, and its options."""
RUNS_DAG_CODE: Final = frozenset(
    {"dags backfill", "dags report", "dags test", "tasks list", "tasks render", "tasks test"}
)
"""Commands of MWAA's list that need DAG files. The web server has none: DAG code would see its secrets."""


_HAS_SECRETS: Final = frozenset({"connections", "variables"})
"""Groups of commands whose values are not for Airflow's audit log, which keeps every command."""
_SEES_ALL_DAGS: Final = frozenset({"assets", "backfill", "dags", "tasks"})
"""Groups of commands that ask the database, and not the auth manager, for DAGs and their parts."""


class CliRefusedError(AuthError):
    """The command is not in the list, or an option is not."""

    status = 400


class BusyError(AuthError):
    """Too many commands run at the same time."""

    status = 429


@dataclass(frozen=True)
class CommandResult:
    """The exit status and both streams of a command."""

    status: int
    stdout: bytes
    stderr: bytes


def parse(line: str, role: AirflowRole, *, single_dags: bool = False) -> Sequence[str]:
    """Return the words of a command, such as `dags trigger example`.

    `single_dags`: roles differ between DAGs, which commands of Airflow do not respect.

    Raises:
        CliRefusedError: it is not in the list, or has an option that is not.
        AccessDeniedError: the role is too low, or the command could reach a DAG that the role does not include.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise CliRefusedError(f"the command cannot be split into words: {error}") from error
    if "\0" in line or len(words) > _MAX_WORDS:
        raise CliRefusedError(f"a command has at most {_MAX_WORDS} words and no NUL character")
    name = next((name for name in (" ".join(words[:2]), *words[:1]) if name in COMMANDS), None)
    if name is None or name.split() != words[: len(name.split())]:  # a word may contain a space
        raise CliRefusedError(_unknown(" ".join(words[:2])))
    needed, options = COMMANDS[name]
    given = (word.partition("=")[0] for word in words[len(name.split()) :] if word.startswith("-"))
    if refused := next((option for option in given if option not in options), None):
        raise CliRefusedError(f"`{name}` has no option {refused} here; write options in full and apart")
    if not role.includes(needed):
        raise AccessDeniedError(f"`{name}` needs the role {needed}; the token has {role}")
    if single_dags and role is not AirflowRole.ADMIN and words[0] in _SEES_ALL_DAGS:
        raise AccessDeniedError(
            f"`{name}` reaches all DAGs, and this environment has roles for single DAGs; use the REST API"
        )
    return words


def _unknown(name: str) -> str:
    if name in RUNS_DAG_CODE:
        return (
            f"`{name}` runs DAG code, and the web server has no DAG files; use `openmwaa dags test`, "
            "or the REST API for tasks and backfills"
        )
    return f"`{name}` is not supported; supported are: {', '.join(sorted(COMMANDS))}"


class CliRunner:
    """Runs commands of Airflow, a few at a time."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        program: Sequence[str] = (sys.executable, "-m", "openmwaa_runtime.auth.cli_door"),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._environ = environ
        self._program = program
        self._timeout_s = timeout_s
        self._places = threading.BoundedSemaphore(PARALLEL)

    def run(self, words: Sequence[str]) -> CommandResult:
        """Run one command; at the time limit it is killed, with the status TIMED_OUT.

        Raises:
            BusyError: too many commands are running.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError("the server runs other commands; try again in some seconds")
        try:
            # Files bound the memory, whatever the command prints.
            with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
                process = subprocess.Popen(
                    [*self._program, *words],
                    env=dict(self._environ),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
                try:
                    status = process.wait(self._timeout_s)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    status = TIMED_OUT
                    stderr.write(f"the command took longer than {self._timeout_s:g} s\n".encode())
                return CommandResult(status, _start(stdout), _start(stderr))
        finally:
            self._places.release()


def _start(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(OUTPUT_LIMIT)


def main() -> None:
    """Run the command in `sys.argv`. Airflow's audit log gets the name of a connection or variable, and no value."""
    from airflow.__main__ import main as run  # noqa: PLC0415 - the web server's process does not need it
    from airflow.cli.cli_parser import get_parser  # noqa: PLC0415

    parser = get_parser()  # Airflow's `main` gets the same one
    parse_args = parser.parse_args

    def parse_and_hide() -> object:
        found = parse_args()
        if sys.argv[1] in _HAS_SECRETS:
            names = [str(vars(found)[name]) for name in ("key", "conn_id") if vars(found).get(name)]
            sys.argv[3:] = [*names, "********"]
        return found

    parser.parse_args = parse_and_hide
    sys.argv[0] = "airflow"
    run()


if __name__ == "__main__":
    main()
