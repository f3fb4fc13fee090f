# SPDX-License-Identifier: Apache-2.0
"""`LocalEcs`: a local ECS endpoint that runs tasks as processes."""

import asyncio
import random
from functools import partial
from typing import Any

from aiohttp import web

from local_ecs.api import operations_clusters, operations_services, operations_tasks
from local_ecs.api.agent_endpoint import AgentEndpoint
from local_ecs.api.clock import EcsClock
from local_ecs.api.driver import Driver
from local_ecs.api.faults import LocalFaults
from local_ecs.api.journal import EventLog, Journal
from local_ecs.api.operations_tasks import rfc3339
from local_ecs.api.server import application
from local_ecs.api.settings import BlockAddresses, LocalEcsSettings, NoTargets, TargetRegistry
from local_ecs.api.state_file import StateFile
from local_ecs.api.throttle import Throttle
from local_ecs.model import EcsModel, EcsService, EcsSettings, EcsTask, RandomIds
from local_ecs.runtime.api import TaskRunner

EVENTS_SHOWN = 5
OPERATIONS = operations_clusters.OPERATIONS | operations_services.OPERATIONS | operations_tasks.OPERATIONS


class LocalEcs:
    """The ECS of one environment. Make all calls in the event loop that called `start`."""

    def __init__(
        self,
        settings: LocalEcsSettings,
        *,
        runner: TaskRunner,
        addresses: BlockAddresses | None = None,
        targets: TargetRegistry | None = None,
        clock: EcsClock | None = None,
    ) -> None:
        self.settings = settings
        clock = clock or EcsClock()
        model_settings = EcsSettings(
            region=settings.region,
            account=settings.account,
            zones=(f"{settings.region}a", f"{settings.region}b"),
            provisioning_s=settings.provisioning_s,
            pending_s=settings.pending_s,
            backoff_first_s=settings.backoff_first_s,
        )
        self.model = EcsModel(model_settings, now=clock.now(), ids=RandomIds(random.SystemRandom()))
        self.journal = Journal(clock.now, length=settings.journal_length)
        if settings.event_log is not None:
            self.journal.listen(EventLog(settings.event_log))
        self._state_file = StateFile(settings.state_file)
        self.driver = Driver(
            self.model,
            runner,
            clock=clock,
            addresses=addresses or BlockAddresses(16),
            targets=targets or NoTargets(),
            journal=self.journal,
            ecs_environment=self._ecs_environment,
            save=lambda: self._state_file.save(self.model),
        )
        throttle = Throttle(clock.now, enabled=settings.throttling)
        agent = AgentEndpoint(self.driver, throttle)
        self.faults = LocalFaults(self.driver, throttle, agent)
        handlers = {name: partial(operation, self.driver) for name, operation in OPERATIONS.items()}
        self._application = partial(application, self.driver, handlers, throttle, agent.routes())
        self._port = settings.port
        self._web: web.AppRunner | None = None
        self._drive: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> str:
        """The URL for AWS_ENDPOINT_URL_ECS."""
        return f"http://{self.settings.host}:{self._port}"

    async def start(self) -> None:
        """Restore the state, listen, and launch the tasks of the services.

        Raises StateFileError if the state file cannot be read, and OSError if the port is in use.
        """
        self._state_file.restore(self.model)
        self._web = web.AppRunner(self._application(), access_log=None)
        await self._web.setup()
        try:
            await web.TCPSite(self._web, self.settings.host, self.settings.port).start()
        except OSError:
            await self._web.cleanup()
            raise
        self._port = self._web.addresses[0][1]
        self._drive = asyncio.create_task(self.driver.run(), name="ecs")

    async def stop(self) -> None:
        """Stop all tasks, then the server: workers that stop may still call their agent."""
        if self._drive is not None:
            self._drive.cancel()
            (ended,) = await asyncio.gather(self._drive, return_exceptions=True)
            self._drive = None
        else:
            ended = None
        await self.driver.close()
        if self._web is not None:
            await self._web.cleanup()
            self._web = None
        if isinstance(ended, Exception):
            raise ended

    @property
    def fault(self) -> BaseException | None:
        """The error that stopped the driver; None while it runs."""
        if self._drive is None or not self._drive.done() or self._drive.cancelled():
            return None
        return self._drive.exception()

    def status(self) -> dict[str, Any]:
        """Return the services and their tasks as JSON data."""
        fault = self.fault
        return {
            "endpoint": self.endpoint,
            "fault": None if fault is None else f"{type(fault).__name__}: {fault}",
            "services": [self._service_status(s) for s in self.model.services.everywhere() if s.status == "ACTIVE"],
        }

    def _service_status(self, service: EcsService) -> dict[str, Any]:
        counts = self.model.services.counts(service)
        return {
            "name": service.name,
            "cluster": service.cluster_arn.rpartition("/")[2],
            "task_definition": service.primary.task_definition_arn.rpartition("/")[2],
            "capacity": _capacity(service),
            "desired": service.desired_count,
            "running": counts.running,
            "pending": counts.pending,
            "deployments": len(service.deployments),
            "rollout": str(service.primary.rollout_state),
            "steady": service.steady,
            "tasks": [self._task_status(t) for t in self.model.services.tasks(service)],
            "events": [{"at": rfc3339(e.at), "message": e.message} for e in service.events[:EVENTS_SHOWN]],
        }

    def _task_status(self, task: EcsTask) -> dict[str, Any]:
        return {
            "id": task.id,
            "arn": task.arn,
            "status": str(task.status),
            "health": str(task.health),
            "address": self.driver.address(task.arn),
            "task_definition": task.task_definition_arn.rpartition("/")[2],
            "created_at": rfc3339(task.created_at),
            "protected_until": None if task.protected_until is None else rfc3339(task.protected_until),
        }

    def _ecs_environment(self, token: str) -> dict[str, str]:
        return {
            "ECS_AGENT_URI": f"{self.endpoint}/api/{token}",
            "ECS_CONTAINER_METADATA_URI_V4": f"{self.endpoint}/v4/{token}",
        }


def _capacity(service: EcsService) -> str:
    strategy = service.template.get("capacityProviderStrategy") or ()
    providers = [str(item["capacityProvider"]) for item in strategy]
    return ", ".join(providers) or str(service.template.get("launchType", "EC2"))
