# SPDX-License-Identifier: Apache-2.0
"""All that runs on this machine for one environment, put together; reads like the architecture picture."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_ecs.api import BlockAddresses, LocalEcs, LocalEcsSettings, StateFileError
from local_ecs.runtime.log_files import LogFiles
from local_ecs.runtime.processes import ProcessSettings, ProcessTaskRunner
from openmwaa.config.ports import SCALER_PORT, WEB_PORT
from openmwaa.local.addresses import Addresses
from openmwaa.local.errors import InfrastructureError
from openmwaa.local.install.images import local_images
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services import aws
from openmwaa.local.services.cloudwatch_logs import CloudWatchLogs
from openmwaa.local.services.emulator import Emulator
from openmwaa.local.services.host_names import HostNames
from openmwaa.local.services.load_balancer import LoadBalancers
from openmwaa.local.services.postgres import Postgres
from openmwaa.local.services.secrets import EmulatedSecrets
from openmwaa.local.services.supervisor import Supervisor

logger = logging.getLogger(__name__)

INSTALLED_WITHIN_S = 900.0
# The scaler goes first, that nothing is started anew; the execution API last, that running tasks can still report.
_STOP_ORDER = {"service:scaler": 0, "service:execution-api": 3}


@dataclass(frozen=True)
class MachineSettings:
    """What differs from environment to environment."""

    paths: LocalPaths
    addresses: Addresses
    region: str
    airflow_python: Path
    airflow_ready: Path
    """A file that is there once Airflow is installed; it is installed while Terraform is applied."""
    emulator_python: Path


def stop_order(group: str) -> int:
    """The scaler first, then what feeds the workers, the workers, the execution API."""
    return _STOP_ORDER.get(group, 2 if group.startswith("service:worker-") else 1)


class Machine:
    """The emulator, PostgreSQL, the local ECS with its tasks, and the load balancers."""

    def __init__(self, settings: MachineSettings) -> None:
        paths, addresses = settings.paths, settings.addresses
        self._settings = settings
        self._files = LogFiles(paths.logs)
        identity = paths.environment_id
        self._emulator = Supervisor(
            Emulator(
                python=settings.emulator_python,
                folder=paths.emulator,
                addresses=addresses,
                region=settings.region,
                environment_id=identity,
                log=self._files.of("emulator"),
            ).part()
        )
        postgres = Postgres(
            data=paths.postgres,
            runtime=paths.runtime,
            addresses=addresses,
            environment_id=identity,
            log=self._files.of("postgresql"),
        )
        self._postgres = Supervisor(postgres.part())
        self._logs = CloudWatchLogs(addresses.emulator_url, region=settings.region)
        self._load_balancers = LoadBalancers(addresses.load_balancer, paths.root / "load-balancers.json")
        self._host_names = HostNames(
            addresses.emulator_url,
            database=addresses.database,
            load_balancers=self._load_balancers,
            region=settings.region,
        )
        self._runner = ProcessTaskRunner(
            ProcessSettings(
                environment_id=identity,
                work_dir=paths.tasks,
                temporary_dir=paths.runtime / "tmp",
                task_environment=self._task_environment(),
                host_names=self._before_task,
                stop_first=stop_order,
            ),
            images=local_images(settings.airflow_python, paths.packages),
            secrets=EmulatedSecrets(addresses.emulator_url, region=settings.region, on_master=postgres.ensure_master),
            logs=self._logs,
            files=self._files,
        )
        self._ecs = LocalEcs(
            LocalEcsSettings(
                host=addresses.ecs,
                port=addresses.ecs_port,
                region=settings.region,
                account=aws.ACCOUNT,
                state_file=paths.ecs_state,
                event_log=paths.logs / "ecs-events.log",
            ),
            runner=self._runner,
            addresses=BlockAddresses(addresses.block),
            targets=self._load_balancers,
        )

    async def start(self) -> None:
        """Start everything; returns when the APIs answer and the services' tasks are being started.

        Raises:
            LocalError: a part does not start.
        """
        # Both to their ends: what goes on starting while the rest is stopped would outlive it.
        for failure in await asyncio.gather(self._emulator.start(), self._postgres.start(), return_exceptions=True):
            if failure is not None:
                raise failure
        self._logs.start()
        await self._host_names.learn()
        try:
            await self._ecs.start()
        except (StateFileError, OSError) as error:
            raise InfrastructureError(f"The local ECS does not start: {error}") from error

    async def stop(self) -> None:
        """Stop everything in the order that loses least: tasks, PostgreSQL, the emulator (which saves its state)."""
        for what, stop in (
            (
                "the local ECS",
                self._ecs.stop,
            ),  # it stops starting tasks, closes the runner and answers agents until then
            ("load balancers", self._load_balancers.close),
            ("logs", self._logs.close),
            ("PostgreSQL", self._postgres.stop),
            ("the emulator", self._emulator.stop),
        ):
            try:
                async with asyncio.timeout(180):
                    await stop()
            except Exception:  # the rest has to be stopped all the same
                logger.exception("%s could not be stopped orderly", what)
        self._files.close()

    async def checkpoint(self) -> dict[str, Any]:
        """Have the emulator save its state, by an orderly stop and start of about a second."""
        await self._emulator.stop_and_start()
        return {}

    async def learn(self) -> dict[str, Any]:
        """Learn the invented host names anew."""
        await self._host_names.learn()
        return {"host_names": dict(self._host_names.names)}

    def status(self) -> dict[str, Any]:
        """What `openmwaa local status --json` prints of the machine."""
        ecs = self._ecs.status()
        infrastructure = {
            one.part.name: {
                "state": one.status.state,
                "restarts": one.status.restarts,
                "last_end": one.status.last_end,
                "pid": one.pid,
            }
            for one in (self._emulator, self._postgres)
        }
        return {
            "environment": self._settings.paths.name,
            "web_address": self._balanced(WEB_PORT),
            "scaler_address": self._balanced(SCALER_PORT),
            "endpoints": {
                "aws": self._settings.addresses.emulator_url,
                "ecs": self._settings.addresses.ecs_url,
                "database": f"{self._settings.addresses.database}:{self._settings.addresses.database_port}",
            },
            "infrastructure": infrastructure,
            "ecs_fault": ecs["fault"],
            "services": sorted(ecs["services"], key=lambda one: str(one["name"])),
        }

    def _balanced(self, port: int) -> str | None:
        """Where a listener of a load balancer is found; None before there is one."""
        address = self._load_balancers.listening_at(port)
        return None if address is None else f"http://{address}:{port}"

    async def _before_task(self) -> Callable[[str], str]:
        """Wait until Airflow is installed, then learn the host names; `ProcessSettings.host_names`."""
        with contextlib.suppress(TimeoutError):  # then the task fails to start and says so
            async with asyncio.timeout(INSTALLED_WITHIN_S):
                while not self._settings.airflow_ready.exists():  # noqa: ASYNC110 - another process installs it
                    await asyncio.sleep(0.5)
        return await self._host_names.learn()

    def _task_environment(self) -> dict[str, str]:
        addresses, region = self._settings.addresses, self._settings.region
        return {
            "AWS_ENDPOINT_URL": addresses.emulator_url,
            "AWS_ENDPOINT_URL_ECS": addresses.ecs_url,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.0/8,localhost",
        }
