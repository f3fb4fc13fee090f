# SPDX-License-Identifier: Apache-2.0
"""`python -m openmwaa_runtime WORD`; the container's command is the word."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

from openmwaa_runtime.errors import RuntimeProblem, UsageProblem
from openmwaa_runtime.settings import COMPONENTS

USAGE = f"say one of: {', '.join(COMPONENTS)}; or health WORD"


def run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the words say; only what does not become Airflow returns.

    Raises:
        RuntimeProblem: it cannot be done.
    """
    match list(words):
        case ["health", component] if component in COMPONENTS:
            from openmwaa_runtime.health import check  # noqa: PLC0415 - each word loads what it needs

            return check(component, environ)
        case ["prepare-database"]:
            from openmwaa_runtime.prepare_database import main as prepare  # noqa: PLC0415

            prepare(environ)
        case ["prepare-broker"]:
            from openmwaa_runtime.prepare_broker import main as prepare_broker  # noqa: PLC0415

            prepare_broker(environ)
        case ["sync-dags"]:
            from openmwaa_runtime.sync_dags.main import main as sync  # noqa: PLC0415

            sync(environ)
        case [component] if component in COMPONENTS:
            from openmwaa_runtime.components import start  # noqa: PLC0415

            start(component, environ)
        case _:
            raise UsageProblem(f"{' '.join(words) or 'nothing'} is not a component; {USAGE}")
    return 0


def main() -> int:
    """Run the words of the command line; a problem is one line and a status."""
    _install_stop()
    try:
        return run(sys.argv[1:], os.environ)
    except RuntimeProblem as problem:
        print(f"openmwaa_runtime: {problem}", file=sys.stderr)
        return problem.exit_status
    except KeyboardInterrupt:
        return 130


def _install_stop() -> None:
    # Process 1 of a container has no default action for SIGTERM. What becomes Airflow gets Airflow's own handlers.
    signal.signal(signal.SIGTERM, _stop)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # logs line by line, also through a pipe


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
