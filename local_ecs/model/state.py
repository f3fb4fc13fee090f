# SPDX-License-Identifier: Apache-2.0
"""The state all parts of the model work on: records, what waits for a time, and effects for the world."""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from local_ecs.model.effects import Effect
from local_ecs.model.errors import EcsError, invalid
from local_ecs.model.records import Cluster, Service, ServiceEvent, ServiceKey, Task, TaskDefinition, TaskStatus
from local_ecs.model.settings import Ids, Picker, Settings

Due = tuple[Literal["task"], str] | tuple[Literal["service"], ServiceKey]
EVENTS_KEPT = 100


class Agenda:
    """What is to be looked at when: one entry a task or service, at its earliest time."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Due]] = []
        self._earliest: dict[Due, float] = {}
        self._tie = itertools.count()

    def wake(self, due: Due, at: float) -> None:
        """Look at `due` at `at`, or earlier if that was asked for already: whoever handles it asks again."""
        earliest = self._earliest.get(due)
        if earliest is None or at < earliest:
            self._earliest[due] = at
            heapq.heappush(self._heap, (at, next(self._tie), due))

    def next_at(self) -> float | None:
        """When something is due next."""
        while self._heap and self._earliest.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> tuple[float, Due] | None:
        """Take what is due at `now`, the earliest first."""
        at = self.next_at()
        if at is None or at > now:
            return None
        due = heapq.heappop(self._heap)[2]
        del self._earliest[due]
        return at, due


class State:
    """Records by ARN or key, with the index the scheduler needs."""

    def __init__(self, settings: Settings, *, now: float, ids: Ids, picker: Picker) -> None:
        self.settings = settings
        self.now = now
        self.ids = ids
        self.picker = picker
        self.clusters: dict[str, Cluster] = {}
        self.task_definitions: dict[str, TaskDefinition] = {}
        self.revisions: dict[str, int] = {}  # latest revision ever of a family; never reused
        self.services: dict[ServiceKey, Service] = {}
        self.tasks: dict[str, Task] = {}
        self.agenda = Agenda()
        self.effects: list[Effect] = []
        self.launch_failures: dict[str, int] = {}  # service name or family -> how many of the next launches fail
        self.held: set[str] = set()  # services whose launches stay PENDING
        self.unplaceable: dict[str, str] = {}  # service -> why it can place no task
        self.ignored_updates: dict[str, int] = {}  # service -> how many of the next UpdateService are not applied
        self._service_tasks: dict[ServiceKey, dict[str, None]] = defaultdict(dict)

    def arn(self, resource: str) -> str:
        """Make an ECS ARN."""
        return f"arn:aws:ecs:{self.settings.region}:{self.settings.account}:{resource}"

    def cluster(self, name_or_arn: str | None, *, active: bool = True) -> Cluster:
        """Find a cluster; raises ClusterNotFoundException."""
        name = (name_or_arn or "default").rpartition("/")[2]
        found = self.clusters.get(self.arn(f"cluster/{name}"))
        if found is None or (active and found.status != "ACTIVE"):
            raise EcsError("ClusterNotFoundException", "Cluster not found.")
        return found

    def service(self, cluster: str | None, name_or_arn: str) -> Service:
        """Find an ACTIVE service; raises ServiceNotFoundException or ServiceNotActiveException."""
        found = self.services.get((self.cluster(cluster).arn, name_or_arn.rpartition("/")[2]))
        if found is None:
            raise EcsError("ServiceNotFoundException", "Service not found.")
        if found.status != "ACTIVE":
            raise EcsError("ServiceNotActiveException", "Service was not ACTIVE.")
        return found

    def task_definition(self, reference: str, *, active: bool = False) -> TaskDefinition:
        """Find a task definition by ARN, `family:revision` or `family` (its newest ACTIVE revision)."""
        name = reference.rpartition("/")[2]
        family, colon, revision = name.partition(":")
        if colon:
            found = self.task_definitions.get(self.arn(f"task-definition/{family}:{revision}"))
        else:
            of_family = [d for d in self.task_definitions.values() if d.family == family and d.status == "ACTIVE"]
            found = max(of_family, key=lambda d: d.revision, default=None)
        if found is None:
            raise EcsError("ClientException", "Unable to describe task definition.")
        if active and found.status != "ACTIVE":
            raise invalid("TaskDefinition is inactive")
        return found

    def task(self, cluster: Cluster, id_or_arn: str) -> Task | None:
        """Find a task of a cluster, STOPPED ones for about an hour."""
        task_id = id_or_arn.rpartition("/")[2]
        return self.tasks.get(self.arn(f"task/{cluster.name}/{task_id}"))

    def tasks_of(self, key: ServiceKey) -> list[Task]:
        """List a service's tasks that are not STOPPED, oldest first."""
        return [self.tasks[arn] for arn in self._service_tasks.get(key, ())]

    def put_task(self, task: Task) -> Task:
        """Keep a task's new record."""
        self.tasks[task.arn] = task
        if task.service_key is not None:
            index = self._service_tasks[task.service_key]
            if task.status is TaskStatus.STOPPED:
                index.pop(task.arn, None)
            else:
                index[task.arn] = None
        return task

    def put_service(self, service: Service) -> Service:
        """Keep a service's new record."""
        self.services[service.key] = service
        return service

    def change_service(self, key: ServiceKey, **changes: Any) -> Service:
        """Replace fields of a service."""
        return self.put_service(replace(self.services[key], **changes))

    def say(self, key: ServiceKey, message: str) -> None:
        """Add a line to a service's events, in ECS's words."""
        service = self.services[key]
        event = ServiceEvent(self.ids.hex32(), self.now, f"(service {service.name}) {message}")
        self.put_service(replace(service, events=(event, *service.events)[:EVENTS_KEPT]))

    def reconcile_soon(self, key: ServiceKey) -> None:
        """Let the scheduler look at a service."""
        self.agenda.wake(("service", key), self.now + self.settings.scheduler_delay_s)


def merged(base: Mapping[str, Any], patch: Mapping[str, Any] | None) -> dict[str, Any]:
    """Lay a patch over a shape; what the patch leaves out stays, what it maps to None goes."""
    return {k: v for k, v in {**base, **(patch or {})}.items() if v is not None}
