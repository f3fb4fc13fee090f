# SPDX-License-Identifier: Apache-2.0
"""The state of the model: records, scheduled times, and effects for the runtime."""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from local_ecs.model.effects import Effect
from local_ecs.model.errors import EcsError, invalid
from local_ecs.model.records import (
    EcsCluster,
    EcsService,
    EcsTask,
    ServiceEvent,
    ServiceKey,
    TaskDefinition,
    TaskStatus,
)
from local_ecs.model.settings import EcsSettings, Ids, Picker

Due = tuple[Literal["task"], str] | tuple[Literal["service"], ServiceKey]
EVENTS_KEPT = 100


class Agenda:
    """The scheduled times of tasks and services: for each one the earliest."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Due]] = []
        self._earliest: dict[Due, float] = {}
        self._tie = itertools.count()

    def schedule(self, due: Due, at: float) -> None:
        """Process `due` at `at`, or earlier if that is scheduled. The handler schedules the next time."""
        earliest = self._earliest.get(due)
        if earliest is None or at < earliest:
            self._earliest[due] = at
            heapq.heappush(self._heap, (at, next(self._tie), due))

    def next_at(self) -> float | None:
        """Return the earliest scheduled time."""
        while self._heap and self._earliest.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> tuple[float, Due] | None:
        """Remove and return the earliest entry that is due at `now`."""
        at = self.next_at()
        if at is None or at > now:
            return None
        due = heapq.heappop(self._heap)[2]
        del self._earliest[due]
        return at, due


class EcsState:
    """Records by ARN or key, with the index of each service's tasks."""

    def __init__(self, settings: EcsSettings, *, now: float, ids: Ids, picker: Picker) -> None:
        self.settings = settings
        self.now = now
        self.ids = ids
        self.picker = picker
        self.clusters: dict[str, EcsCluster] = {}
        self.task_definitions: dict[str, TaskDefinition] = {}
        self.revisions: dict[str, int] = {}  # the latest revision of each family; never reused
        self.services: dict[ServiceKey, EcsService] = {}
        self.tasks: dict[str, EcsTask] = {}
        self.agenda = Agenda()
        self.effects: list[Effect] = []
        self.launch_failures: dict[str, int] = {}  # service name or family -> number of launches that fail
        self.held: set[str] = set()  # services or families whose tasks stay PENDING
        self.unplaceable: dict[str, str] = {}  # service -> reason why it cannot place tasks
        self.ignored_updates: dict[str, int] = {}  # service -> number of UpdateService calls that are not applied
        self._service_tasks: dict[ServiceKey, dict[str, None]] = defaultdict(dict)

    def arn(self, resource: str) -> str:
        """Return an ECS ARN."""
        return f"arn:aws:ecs:{self.settings.region}:{self.settings.account}:{resource}"

    def cluster(self, name_or_arn: str | None, *, active: bool = True) -> EcsCluster:
        """Find a cluster. Raises ClusterNotFoundException."""
        name = (name_or_arn or "default").rpartition("/")[2]
        found = self.clusters.get(self.arn(f"cluster/{name}"))
        if found is None or (active and found.status != "ACTIVE"):
            raise EcsError("ClusterNotFoundException", "Cluster not found.")
        return found

    def service(self, cluster: str | None, name_or_arn: str) -> EcsService:
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

    def task(self, cluster: EcsCluster, id_or_arn: str) -> EcsTask | None:
        """Find a task of a cluster. STOPPED tasks are kept for an hour."""
        task_id = id_or_arn.rpartition("/")[2]
        return self.tasks.get(self.arn(f"task/{cluster.name}/{task_id}"))

    def tasks_of(self, key: ServiceKey) -> list[EcsTask]:
        """List a service's tasks that are not STOPPED, oldest first."""
        return [self.tasks[arn] for arn in self._service_tasks.get(key, ())]

    def put_task(self, task: EcsTask) -> EcsTask:
        """Store a task's new record."""
        self.tasks[task.arn] = task
        if task.service_key is not None:
            index = self._service_tasks[task.service_key]
            if task.status is TaskStatus.STOPPED:
                index.pop(task.arn, None)
            else:
                index[task.arn] = None
        return task

    def put_service(self, service: EcsService) -> EcsService:
        """Store a service's new record."""
        self.services[service.key] = service
        return service

    def change_service(self, key: ServiceKey, **changes: Any) -> EcsService:
        """Change fields of a service."""
        return self.put_service(replace(self.services[key], **changes))

    def add_event(self, key: ServiceKey, message: str) -> None:
        """Add an event to a service, with the text of ECS."""
        service = self.services[key]
        event = ServiceEvent(self.ids.hex32(), self.now, f"(service {service.name}) {message}")
        self.put_service(replace(service, events=(event, *service.events)[:EVENTS_KEPT]))

    def reconcile_soon(self, key: ServiceKey) -> None:
        """Schedule the next step of a service."""
        self.agenda.schedule(("service", key), self.now + self.settings.scheduler_delay_s)


def merged(base: Mapping[str, Any], patch: Mapping[str, Any] | None) -> dict[str, Any]:
    """Merge a patch into a shape. Keys with the value None are removed."""
    return {k: v for k, v in {**base, **(patch or {})}.items() if v is not None}
