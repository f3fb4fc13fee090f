# SPDX-License-Identifier: Apache-2.0
"""The one process behind `openmwaa local up`: parent of the emulator, PostgreSQL and every task.

`python -m openmwaa.local.daemon.daemon --root FOLDER …`; commands talk to it over its control socket.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_ecs.runtime.process_tree import kill_all
from openmwaa.local import addresses as addressing
from openmwaa.local.daemon.control_socket import ControlServer
from openmwaa.local.daemon.orphans import daemon_lock, sweep, traces
from openmwaa.local.daemon.reaper import become_subreaper, reap_adopted
from openmwaa.local.daemon.stack import ServiceStack, ServiceStackSettings
from openmwaa.local.errors import LocalError
from openmwaa.local.paths import LocalPaths

logger = logging.getLogger(__name__)


class Daemon:
    """Runs one `ServiceStack` from the first signal of life to the last."""

    def __init__(self, paths: LocalPaths, *, options: argparse.Namespace) -> None:
        self._paths = paths
        self._options = options
        self._stop = asyncio.Event()
        self._machine: ServiceStack | None = None
        self._phase = "starting"
        self._block: int | None = None

    async def run(self) -> None:
        """Start, serve until told to stop, stop; nothing is left.

        Raises:
            LocalError: the machine could not be started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        become_subreaper()
        control = ControlServer(
            self._paths.control_socket,
            {
                ("GET", "/status"): self._status,
                ("POST", "/stop"): self._order_stop,
                ("POST", "/checkpoint"): lambda: self._ready_machine().checkpoint(),
                ("POST", "/learn"): lambda: self._ready_machine().learn(),
            },
        )
        reaping = asyncio.create_task(reap_adopted(), name="reaper")
        try:
            if ended := await sweep(self._paths, spare_commands=True):
                logger.warning("%d processes of an earlier run were ended", ended)
            await control.start()
            await self._serve()
        finally:
            await control.stop()
            reaping.cancel()
            await asyncio.gather(reaping, return_exceptions=True)
            await kill_all(traces(self._paths, spare_commands=True))
            self._paths.daemon.unlink(missing_ok=True)
            shutil.rmtree(self._paths.runtime, ignore_errors=True)

    async def _serve(self) -> None:
        chosen = addressing.choose_block(
            self._paths.root, self._paths.block, is_free=lambda one: not addressing.taken(one)
        )
        addressing.check_free(chosen)
        self._block = chosen.block
        self._note()
        self._machine = machine = ServiceStack(
            ServiceStackSettings(
                paths=self._paths,
                addresses=chosen,
                region=self._options.region,
                airflow_python=self._options.airflow_python,
                airflow_ready=self._options.airflow_ready,
                emulator_python=self._options.emulator_python,
            )
        )
        starting = asyncio.create_task(machine.start(), name="start")
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
            await machine.stop()

    def _note(self) -> None:
        note = {"pid": os.getpid(), "block": self._block, "started": datetime.now(UTC).isoformat(timespec="seconds")}
        self._paths.daemon.write_text(json.dumps(note) + "\n")

    def _ready_machine(self) -> ServiceStack:
        if self._machine is None or self._phase != "ready":
            raise LocalError(f"The environment is {self._phase}.")
        return self._machine

    async def _status(self) -> Mapping[str, Any]:
        machine = self._machine.status() if self._machine else {}
        # The options let a command see whether this daemon is the one it would start.
        own = {"phase": self._phase, "pid": os.getpid(), "block": self._block, "options": sys.argv[3:]}
        return {**own, **machine}

    async def _order_stop(self) -> Mapping[str, Any]:
        self._stop.set()
        return {"pid": os.getpid()}


def main() -> None:
    """Run the daemon; exit code 1 when it could not start, the reason then lies in `daemon.error`."""
    parser = argparse.ArgumentParser(prog="openmwaa.local.daemon.daemon")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--airflow-python", type=Path, required=True)
    parser.add_argument("--airflow-ready", type=Path, required=True, help="a file; tasks wait until it is there")
    parser.add_argument("--emulator-python", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    paths = LocalPaths(options.root)
    try:
        with daemon_lock(paths):
            paths.make()
            paths.daemon_error.unlink(missing_ok=True)
            asyncio.run(_run(paths, options))
    except LocalError as error:
        with contextlib.suppress(OSError):
            paths.daemon_error.write_text(f"{error}\n")
        logger.error("%s", error)  # noqa: TRY400 - the text is made for the user
        sys.exit(1)


async def _run(paths: LocalPaths, options: argparse.Namespace) -> None:
    await Daemon(paths, options=options).run()


if __name__ == "__main__":
    main()
