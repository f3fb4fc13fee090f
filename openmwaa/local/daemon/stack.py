# SPDX-License-Identifier: Apache-2.0
"""The stack of one environment on this machine: emulator, PostgreSQL, local ECS, load balancers."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from local_ecs.api import BlockAddresses, LocalEcs, LocalEcsSettings, StateFileError
from local_ecs.runtime.log_files import LogFiles
from local_ecs.runtime.processes import ProcessSettings, ProcessTaskRunner
from openmwaa.config.control_plane import COMPACT_SERVICE
from openmwaa.config.ports import SCALER_PORT, WEB_PORT
from openmwaa.local.addresses import AddressBlock, published_ports
from openmwaa.local.child_environment import LOCAL_AWS
from openmwaa.local.daemon.daemon_client import DaemonOptions
from openmwaa.local.errors import DaemonError, InfrastructureError
from openmwaa.local.install.images import local_images
from openmwaa.local.paths import LocalPaths
from openmwaa.local.services import aws
from openmwaa.local.services.cloudwatch_logs import CloudWatchLogs
from openmwaa.local.services.emulator import emulator
from openmwaa.local.services.host_names import HostNameMap
from openmwaa.local.services.load_balancer import LoadBalancers
from openmwaa.local.services.postgres import Postgres
from openmwaa.local.services.process_manager import ProcessManager
from openmwaa.local.services.secrets import EmulatedSecrets

logger = logging.getLogger(__name__)

INSTALLED_WITHIN_S = 900.0
# The scaler stops first, so that it starts no tasks; the execution API last, so that running tasks can still report.
_STOP_ORDER = {"service:scaler": 0, "service:execution-api": 3, f"service:{COMPACT_SERVICE}": 3}


def stop_order(group: str) -> int:
    """The scaler first, then the other control plane, the workers, and the task of the execution API."""
    return _STOP_ORDER.get(group, 2 if group.startswith("service:worker-") else 1)


class ServiceStack:
    """The emulator, PostgreSQL, the local ECS with its tasks, and the load balancers."""

    def __init__(self, paths: LocalPaths, addresses: AddressBlock, options: DaemonOptions) -> None:
        self._paths = paths
        self._addresses = addresses
        self._options = options
        self._files = LogFiles(paths.logs)
        identity = paths.environment_id
        self._emulator = ProcessManager(
            emulator(
                python=options.emulator_python,
                folder=paths.emulator,
                addresses=addresses,
                region=options.region,
                environment_id=identity,
                log=self._files.of("emulator"),
            )
        )
        postgres = Postgres(
            data=paths.postgres,
            runtime=paths.runtime,
            addresses=addresses,
            environment_id=identity,
            log=self._files.of("postgresql"),
        )
        self._postgres = ProcessManager(postgres.managed_process())
        self._logs = CloudWatchLogs(addresses.emulator_url, region=options.region)
        self._load_balancers = LoadBalancers(
            addresses.load_balancer, paths.load_balancers, published=published_ports(options.publish)
        )
        self._host_names = HostNameMap(
            addresses.emulator_url,
            database=addresses.database,
            load_balancers=self._load_balancers,
            region=options.region,
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
            images=local_images(options.airflow_python, paths.packages),
            secrets=EmulatedSecrets(addresses.emulator_url, region=options.region, on_master=postgres.ensure_master),
            logs=self._logs,
            files=self._files,
        )
        self._ecs = LocalEcs(
            LocalEcsSettings(
                host=addresses.ecs,
                port=addresses.ecs_port,
                region=options.region,
                account=aws.ACCOUNT,
                state_file=paths.ecs_state,
                event_log=paths.logs / "ecs-events.log",
            ),
            runner=self._runner,
            addresses=BlockAddresses(addresses.block),
            targets=self._load_balancers,
        )

    async def start(self) -> None:
        """Start everything; returns when the APIs answer and the first tasks start.

        Raises:
            LocalError: a process does not start.
        """
        # Wait for both: a process that still starts during a stop would keep running.
        for failure in await asyncio.gather(self._emulator.start(), self._postgres.start(), return_exceptions=True):
            if failure is not None:
                raise failure
        self._logs.start()
        await self._host_names.refresh()
        try:
            await self._ecs.start()
        except (StateFileError, OSError) as error:
            raise InfrastructureError(f"The local ECS does not start: {error}") from error

    async def stop(self) -> None:
        """Stop the tasks, then PostgreSQL, then the emulator, which saves its state."""
        for name, stop in (
            ("the local ECS", self._ecs.stop),  # starts no more tasks, stops them, and serves their agents until then
            ("load balancers", self._load_balancers.close),
            ("logs", self._logs.close),
            ("PostgreSQL", self._postgres.stop),
            ("the emulator", self._emulator.stop),
        ):
            try:
                async with asyncio.timeout(180):
                    await stop()
            except Exception:  # the others must be stopped too
                logger.exception("%s could not be stopped cleanly", name)
        self._files.close()

    async def refresh_hosts(self) -> dict[str, Any]:
        """Read the emulator's host names again."""
        await self._host_names.refresh()
        return {}

    async def airflow_environment(self) -> dict[str, str]:
        """The variables of the scheduler, with the DAGs of the DAG processor.

        Raises:
            DaemonError: one of them does not run.
        """
        scheduler, dags = (self._runner.environment_of(name) for name in ("scheduler", "dag-processor"))
        if scheduler is None or dags is None:
            raise DaemonError("The scheduler or the DAG processor does not run; see `openmwaa status`.")
        return {**scheduler, "OPENMWAA_DAG_FOLDER": dags["OPENMWAA_DAG_FOLDER"]}

    def status(self) -> dict[str, Any]:
        """The stack's part of the daemon's status."""
        ecs = self._ecs.status()
        infrastructure = {
            manager.managed.name: {**asdict(manager.status), "pid": manager.pid}
            for manager in (self._emulator, self._postgres)
        }
        return {
            "environment": self._paths.name,
            "web_address": self._load_balancers.url(WEB_PORT),
            "scaler_address": self._load_balancers.url(SCALER_PORT),
            "endpoints": {
                "aws": self._addresses.emulator_url,
                "ecs": self._addresses.ecs_url,
                "database": f"{self._addresses.database}:{self._addresses.database_port}",
            },
            "infrastructure": infrastructure,
            "ecs_fault": ecs["fault"],
            "services": sorted(ecs["services"], key=lambda service: str(service["name"])),
        }

    async def _before_task(self) -> Callable[[str], str]:
        """Wait until Airflow is installed, then read the host names; `ProcessSettings.host_names`."""
        with contextlib.suppress(TimeoutError):  # the start of the task then reports the error
            async with asyncio.timeout(INSTALLED_WITHIN_S):
                while not self._options.airflow_ready.exists():  # noqa: ASYNC110 - another process installs it
                    await asyncio.sleep(0.5)
        return await self._host_names.refresh()

    def _task_environment(self) -> dict[str, str]:
        addresses, region = self._addresses, self._options.region
        return {
            **addresses.endpoint_variables,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "OPENMWAA_DAG_LINK": str(self._paths.dag_link),
            "OPENMWAA_LOCAL_TOKEN_ISSUER": addresses.emulator_url,
            **LOCAL_AWS,
        }
