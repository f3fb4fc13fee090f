# SPDX-License-Identifier: Apache-2.0
"""The emulated AWS APIs: one ministack process, which saves its state."""

from pathlib import Path

import aiohttp

from local_ecs.runtime.log_files import LogFile
from local_ecs.runtime.process import ContainerProcess
from local_ecs.runtime.process_tree import CONTAINER_MARK, ENVIRONMENT_MARK
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.child_environment import EMULATOR, child_environment
from openmwaa.local.services import aws
from openmwaa.local.services.process_manager import ManagedProcess

NAME = EMULATOR


SERVER = Path(__file__).with_name("emulator_server.py")


def emulator(
    *, python: Path, folder: Path, addresses: AddressBlock, region: str, environment_id: str, log: LogFile
) -> ManagedProcess:
    """Return the process of ministack, with its state in `folder`."""
    state, objects, temporary = (folder / name for name in ("state", "s3", "tmp"))
    variables = {
        "GATEWAY_PORT": str(addresses.emulator_port),
        "BIND_HOST": addresses.emulator,
        "MINISTACK_HOST": addresses.emulator,  # part of queue URLs
        "MINISTACK_ACCOUNT_ID": aws.ACCOUNT,
        "MINISTACK_REGION": region,
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

    async def start() -> ContainerProcess:
        for needed in (state, objects, temporary):
            needed.mkdir(parents=True, exist_ok=True)
        return await ContainerProcess.start(
            (str(python), "-P", str(SERVER)),  # -P: this folder has modules with names of the standard library
            environment=child_environment(variables),
            home=folder,
            marks={ENVIRONMENT_MARK: environment_id, CONTAINER_MARK: NAME},
            on_lines=log.write,
            adopt_orphans=False,
        )

    async def answers() -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
                session.get(f"{addresses.emulator_url}/_ministack/health") as response,
            ):
                return response.status == 200  # noqa: PLR2004
        except (aiohttp.ClientError, OSError):
            return False

    return ManagedProcess(
        NAME, start, answers, what=f"The emulator at {addresses.emulator_url}", ready_within_s=30, stop_timeout_s=20
    )
