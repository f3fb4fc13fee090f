# SPDX-License-Identifier: Apache-2.0
"""`python -m openmwaa_runtime COMMAND`; the command of the container is COMMAND."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

from openmwaa_runtime.errors import StartupError, UsageError
from openmwaa_runtime.settings import COMPONENTS

USAGE = f"use one of: {', '.join(COMPONENTS)}; or health COMMAND; or airflow COMMAND"


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command and return its exit status. A command that starts Airflow does not return.

    Raises:
        StartupError: the command failed.
    """
    match list(arguments):
        case ["health", component] if component in COMPONENTS and component != "sync-dags":
            from openmwaa_runtime.health import check  # noqa: PLC0415 - each command loads only its own modules

            return check(component, environ)
        case ["airflow", *words]:
            from openmwaa_runtime.components import run_command  # noqa: PLC0415

            run_command(words, environ)
        case ["check-dags", folder, queues, result]:
            from openmwaa_runtime.check_dags import main as check_dags  # noqa: PLC0415

            check_dags(folder, queues, result)
            sys.stdout.flush()
            os._exit(0)  # a thread that a DAG's file has started would go on
        case ["run-dag", *words]:
            from openmwaa_runtime.run_dag import main as run_dag  # noqa: PLC0415

            run_dag(words)
        case ["prepare-database"]:
            from openmwaa_runtime.prepare_database import main as prepare  # noqa: PLC0415

            prepare(environ)
        case ["prepare-broker"]:
            from openmwaa_runtime.prepare_broker import main as prepare_broker  # noqa: PLC0415

            prepare_broker(environ)
        case ["prepare-artefacts"]:
            from openmwaa_runtime.artefacts.prepare import main as prepare_artefacts  # noqa: PLC0415

            prepare_artefacts(environ)
        case ["sync-dags"]:
            from openmwaa_runtime.sync_dags.main import main as sync  # noqa: PLC0415

            sync(environ)
        case [component] if component in COMPONENTS:
            from openmwaa_runtime.components import start  # noqa: PLC0415

            start(component, environ)
        case _:
            raise UsageError(f"{' '.join(arguments) or 'an empty command'} is not a component; {USAGE}")
    return 0


def main() -> int:
    """Run the command line. An error is one line and an exit status."""
    _install_stop()
    try:
        return run(sys.argv[1:], os.environ)
    except StartupError as error:
        print(f"openmwaa_runtime: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def _install_stop() -> None:
    # Process 1 of a container has no default action for SIGTERM. Airflow installs its own handlers after exec.
    signal.signal(signal.SIGTERM, _stop)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # flush each log line, also to a pipe


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
