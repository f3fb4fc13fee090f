# SPDX-License-Identifier: Apache-2.0
"""The emulated AWS APIs: one ministack process, which saves its state on a clean stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from local_ecs.runtime.log_files import LogFile
from local_ecs.runtime.process import ContainerProcess
from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.child_environment import child_environment
from openmwaa.local.errors import InfrastructureError
from openmwaa.local.services import aws
from openmwaa.local.services.process_manager import ManagedProcess

NAME = "emulator"
READY_WITHIN_S = 30.0


class EmulatorProcess:
    """Starts ministack and waits until it is ready."""

    def __init__(
        self, *, python: Path, folder: Path, addresses: AddressBlock, region: str, environment_id: str, log: LogFile
    ) -> None:
        self._python = python
        self._folder = folder
        self._addresses = addresses
        self._region = region
        self._environment_id = environment_id
        self._log = log

    def managed_process(self) -> ManagedProcess:
        """The process for `ProcessManager`."""
        return ManagedProcess(name=NAME, start=self._start, ready=self.ready, stop_timeout_s=20)

    async def ready(self) -> None:
        """Wait until the APIs answer.

        Raises:
            InfrastructureError: no answer within 30 s.
        """
        url = f"{self._addresses.emulator_url}/_ministack/health"
        timeout = aiohttp.ClientTimeout(total=2)
        try:
            async with asyncio.timeout(READY_WITHIN_S), aiohttp.ClientSession(timeout=timeout) as session:
                while not await _answers(session, url):  # noqa: ASYNC110 - another process has no events
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise InfrastructureError(
                f"The emulated AWS APIs do not answer at {url} after {READY_WITHIN_S:g} s; "
                "see `openmwaa local logs emulator`."
            ) from None

    async def _start(self) -> ContainerProcess:
        state, objects, temporary = (self._folder / name for name in ("state", "s3", "tmp"))
        for folder in (state, objects, temporary):
            folder.mkdir(parents=True, exist_ok=True)
        environment = child_environment(
            {
                "GATEWAY_PORT": str(self._addresses.emulator_port),
                "BIND_HOST": self._addresses.emulator,
                "MINISTACK_HOST": self._addresses.emulator,  # part of queue URLs
                "MINISTACK_ACCOUNT_ID": aws.ACCOUNT,
                "MINISTACK_REGION": self._region,
                "PERSIST_STATE": "1",
                "STATE_DIR": str(state),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(objects),
                "LOG_LEVEL": "WARNING",
                # It writes a file here whose name is its port; another environment or user must not share it.
                "TMPDIR": str(temporary),
                # With a Docker engine it would start its own databases.
                "DOCKER_HOST": "unix:///nonexistent",
                "PYTHONUNBUFFERED": "1",
            }
        )
        return await ContainerProcess.start(
            (str(self._python), "-m", "ministack"),
            environment=environment,
            home=self._folder,
            marks={ENVIRONMENT_MARK: self._environment_id, CONTAINER_MARK: NAME},
            on_lines=self._log.write,
            adopt_orphans=False,
        )


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200  # noqa: PLR2004
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
