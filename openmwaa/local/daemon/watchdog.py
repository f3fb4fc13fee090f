# SPDX-License-Identifier: Apache-2.0
"""Ends the environment's processes when the daemon was killed, at once.

The load balancers and ECS end with the daemon. A worker that runs on starts no task and finishes none, and its
execution API is out of reach. `python -m openmwaa.local.daemon.watchdog ROOT`; the daemon keeps it running.
"""

import asyncio
import logging
import sys
from pathlib import Path

from local_ecs.runtime.process import ContainerProcess
from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK
from openmwaa.local.child_environment import COMMAND, DAEMON, WATCHDOG, child_environment, python_path
from openmwaa.local.daemon.orphans import end_orphans, wait_for_end_of_daemon
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services.process_manager import ManagedProcess

logger = logging.getLogger(__name__)


def watchdog(paths: LocalPaths) -> ManagedProcess:
    """Return the process of the watchdog."""

    async def start() -> ContainerProcess:
        return await ContainerProcess.start(
            (sys.executable, "-m", "openmwaa.local.daemon.watchdog", str(paths.root)),
            environment=child_environment({"PYTHONPATH": python_path()}),
            home=paths.root,
            marks={ENVIRONMENT_MARK: paths.environment_id, CONTAINER_MARK: WATCHDOG},
            on_lines=lambda lines: logger.warning("watchdog: %s", "\n".join(lines)),
            adopt_orphans=False,
        )

    async def answers() -> bool:
        return True  # it waits for a lock

    return ManagedProcess(WATCHDOG, start, answers, what="The watchdog of the daemon")


def main() -> None:
    """Wait for the end of the daemon, and end what it left. After a clean stop nothing is left."""
    paths = LocalPaths(Path(sys.argv[1]))
    with wait_for_end_of_daemon(paths):
        # A command may still run, and the next daemon may wait for this lock.
        ended = asyncio.run(end_orphans(paths, spare=(COMMAND, DAEMON)))
    if ended:
        with paths.daemon_log.open("a") as log:
            print(f"The daemon was killed. The watchdog ended {ended} processes that it left.", file=log)


if __name__ == "__main__":
    main()
