# SPDX-License-Identifier: Apache-2.0
"""The background process of `openmwaa local up`: parent of the emulator, PostgreSQL and all tasks.

`python -m openmwaa.local.daemon.daemon --root FOLDER OPTIONS…`; commands call it over its control socket.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_ecs.runtime.process_tree import kill_all
from openmwaa.local import addresses as addressing
from openmwaa.local.child_environment import COMMAND
from openmwaa.local.daemon.control_socket import ControlServer
from openmwaa.local.daemon.daemon_client import DaemonOptions
from openmwaa.local.daemon.orphans import daemon_lock, end_orphans, traces
from openmwaa.local.daemon.reaper import become_subreaper, reap_adopted
from openmwaa.local.daemon.stack import ServiceStack
from openmwaa.local.daemon.watchdog import watchdog
from openmwaa.local.errors import LocalError
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services.process_manager import ProcessManager

logger = logging.getLogger(__name__)


class Daemon:
    """Runs one `ServiceStack` from start to stop."""

    def __init__(self, paths: LocalPaths, options: DaemonOptions) -> None:
        self._paths = paths
        self._options = options
        self._stop = asyncio.Event()
        self._stack: ServiceStack | None = None
        self._phase = "starting"
        self._block: int | None = None

    async def run(self) -> None:
        """Start, serve until a stop is requested, stop; no process remains.

        Raises:
            LocalError: the stack could not be started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        become_subreaper()
        control = ControlServer(
            self._paths.control_socket,
            {
                ("GET", "/status"): self._status,
                ("POST", "/stop"): self._request_stop,
                ("GET", "/airflow_environment"): lambda: self._ready_stack().airflow_environment(),
                ("POST", "/refresh_hosts"): lambda: self._ready_stack().refresh_hosts(),
            },
        )
        guard = ProcessManager(watchdog(self._paths))
        reaping = asyncio.create_task(reap_adopted(), name="reaper")
        try:
            if ended := await end_orphans(self._paths, spare=(COMMAND,)):
                logger.warning("ended %d processes of an earlier run", ended)
            await control.start()
            await guard.start()
            await self._serve()
        finally:
            await guard.stop()
            await control.stop()
            reaping.cancel()
            await asyncio.gather(reaping, return_exceptions=True)
            await kill_all(traces(self._paths, spare=(COMMAND,)))
            self._paths.daemon.unlink(missing_ok=True)
            shutil.rmtree(self._paths.runtime, ignore_errors=True)

    async def _serve(self) -> None:
        chosen = addressing.choose_block(
            self._paths.root, self._paths.block, is_free=lambda block: not addressing.listeners_in_use(block)
        )
        addressing.check_free(chosen, self._options.publish)
        self._block = chosen.block
        self._paths.daemon.write_text(json.dumps({"pid": os.getpid()}) + "\n")
        self._stack = stack = ServiceStack(self._paths, chosen, self._options)
        starting = asyncio.create_task(stack.start(), name="start")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                self._phase = "ready"
                logger.info("ready in block %s", chosen.block)
                await stopping
        finally:
            self._phase = "stopping"
            for task in (starting, stopping):
                task.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            await stack.stop()

    def _ready_stack(self) -> ServiceStack:
        if self._stack is None or self._phase != "ready":
            raise LocalError(f"The environment is {self._phase}.")
        return self._stack

    async def _status(self) -> Mapping[str, Any]:
        stack = self._stack.status() if self._stack else {}
        # A command compares the options with those that it would start a daemon with.
        own = {"phase": self._phase, "pid": os.getpid(), "block": self._block, "options": self._options.arguments}
        return {**own, **stack}

    async def _request_stop(self) -> Mapping[str, Any]:
        self._stop.set()
        return {"pid": os.getpid()}


def main() -> None:
    """Run the daemon; exit code 1 if it could not start, with the reason in `daemon.error`."""
    _, root, region, airflow, ready, emulator, publish = sys.argv[1:]
    options = DaemonOptions(region, Path(airflow), Path(ready), Path(emulator), int(publish))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    paths = LocalPaths(Path(root))
    try:
        with daemon_lock(paths):
            paths.make()
            paths.daemon_error.unlink(missing_ok=True)
            asyncio.run(Daemon(paths, options).run())
    except LocalError as error:
        with contextlib.suppress(OSError):
            paths.daemon_error.write_text(f"{error}\n")
        logger.error("%s", error)  # noqa: TRY400 - the text is for the user
        sys.exit(1)


if __name__ == "__main__":
    main()
