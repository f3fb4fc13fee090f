# SPDX-License-Identifier: Apache-2.0
"""Operations on services: create, update, delete, describe."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from local_ecs.model import lifecycle, rollout
from local_ecs.model.errors import invalid
from local_ecs.model.records import (
    CircuitBreaker,
    EcsFailure,
    EcsService,
    EcsTask,
    ServiceKey,
    Shape,
    TaskCounts,
    count,
)
from local_ecs.model.scheduler import plan_service
from local_ecs.model.state import EcsState, merged

DESCRIBE_LIMIT = 10


class Services:
    """CreateService, UpdateService, DeleteService, DescribeServices, and the scheduler's step for one service."""

    def __init__(self, state: EcsState) -> None:
        self._state = state

    def create(
        self,
        name: str,
        *,
        task_definition: str,
        desired_count: int = 0,
        cluster: str | None = None,
        minimum_healthy_percent: int = 100,
        maximum_percent: int = 200,
        circuit_breaker: CircuitBreaker | None = None,
        template: Shape | None = None,
        details: Shape | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> EcsService:
        """Create a service. The next `advance` launches its tasks."""
        state = self._state
        owner = state.cluster(cluster)
        existing = state.services.get((owner.arn, name))
        if existing is not None and existing.status == "ACTIVE":
            raise invalid("Creation of service was not idempotent.")
        if existing is not None and existing.status == "DRAINING":
            raise invalid("Unable to Start a service that is still Draining.")
        definition = state.task_definition(task_definition, active=True)
        service = EcsService(
            arn=state.arn(f"service/{owner.name}/{name}"),
            cluster_arn=owner.arn,
            name=name,
            created_at=state.now,
            desired_count=_count(desired_count),
            deployments=(rollout.new_deployment(state, definition.arn, dict(template or {})),),
            minimum_healthy_percent=minimum_healthy_percent,
            maximum_percent=maximum_percent,
            circuit_breaker=circuit_breaker or CircuitBreaker(),
            template=dict(template or {}),
            details=dict(details or {}),
            tags=dict(tags or {}),
        )
        state.put_service(service)
        state.reconcile_soon(service.key)
        return service

    def update(
        self,
        name: str,
        *,
        cluster: str | None = None,
        desired_count: int | None = None,
        task_definition: str | None = None,
        minimum_healthy_percent: int | None = None,
        maximum_percent: int | None = None,
        circuit_breaker: CircuitBreaker | None = None,
        template: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        force_new_deployment: bool = False,
    ) -> EcsService:
        """Change a service. A new task definition, a changed template or force starts a new deployment."""
        state = self._state
        service = state.service(cluster, name)
        definition_arn = service.primary.task_definition_arn
        if task_definition is not None:
            definition_arn = state.task_definition(task_definition, active=True).arn
        new_template = merged(service.template, template)
        changes: dict[str, Any] = {
            "desired_count": service.desired_count if desired_count is None else _count(desired_count),
            "minimum_healthy_percent": _or(minimum_healthy_percent, service.minimum_healthy_percent),
            "maximum_percent": _or(maximum_percent, service.maximum_percent),
            "circuit_breaker": circuit_breaker or service.circuit_breaker,
            "template": new_template,
            "details": merged(service.details, details),
        }
        if state.ignored_updates.get(service.name, 0) > 0:
            state.ignored_updates[service.name] -= 1
            return replace(service, **changes)  # an injected fault: accepted and not applied
        current = (service.primary.task_definition_arn, service.template)
        if force_new_deployment or (definition_arn, new_template) != current:
            rollout.begin(state, service.key, definition_arn, new_template)  # raises before any change
        state.reconcile_soon(service.key)
        return state.change_service(service.key, **changes)

    def delete(self, name: str, *, cluster: str | None = None, force: bool = False) -> EcsService:
        """Delete a service: DRAINING while tasks run, then INACTIVE. It can still be described."""
        state = self._state
        service = state.service(cluster, name)
        if service.desired_count > 0 and not force:
            raise invalid("The service cannot be stopped while it is scaled above 0.")
        state.change_service(service.key, status="DRAINING", desired_count=0)
        state.reconcile_soon(service.key)
        return state.services[service.key]

    def get(self, name: str, *, cluster: str | None = None) -> EcsService:
        """Return an ACTIVE service; raises ServiceNotFoundException or ServiceNotActiveException."""
        return self._state.service(cluster, name)

    def describe(
        self, names: Sequence[str], *, cluster: str | None = None
    ) -> tuple[list[EcsService], list[EcsFailure]]:
        """Find up to 10 services by name or ARN, also DRAINING and INACTIVE ones. Unknown ones are failures."""
        owner = self._state.cluster(cluster)
        if not 0 < len(names) <= DESCRIBE_LIMIT:
            raise invalid(f"Services must have between 1 and {DESCRIBE_LIMIT} entries.")
        found: list[EcsService] = []
        failures: list[EcsFailure] = []
        for name in names:
            short = name.rpartition("/")[2]
            service = self._state.services.get((owner.arn, short))
            if service is None:
                failures.append(EcsFailure(self._state.arn(f"service/{owner.name}/{short}"), "MISSING"))
            else:
                found.append(service)
        return found, failures

    def all(self, *, cluster: str | None = None) -> list[EcsService]:
        """List a cluster's ACTIVE services."""
        owner = self._state.cluster(cluster)
        return [s for s in self._state.services.values() if s.cluster_arn == owner.arn and s.status == "ACTIVE"]

    def everywhere(self) -> list[EcsService]:
        """List the services of all clusters, also deleted ones."""
        return list(self._state.services.values())

    def tasks(self, service: EcsService) -> list[EcsTask]:
        """List a service's tasks that are not STOPPED."""
        return self._state.tasks_of(service.key)

    def counts(self, service: EcsService, deployment_id: str | None = None) -> TaskCounts:
        """Count a service's tasks, or those of one of its deployments."""
        tasks = self._state.tasks_of(service.key)
        return count([t for t in tasks if deployment_id in {None, t.deployment_id}])

    def reconcile(self, key: ServiceKey) -> None:
        """Run one step of the scheduler for a service."""
        state = self._state
        service = state.services.get(key)
        if service is None or service.status == "INACTIVE":
            return
        if service.status == "DRAINING":
            self._drain(service)
            return
        checked = frozenset(d.arn for d in state.task_definitions.values() if d.has_health_check)
        step = plan_service(service, state.tasks_of(key), state.now, state.picker, checked=checked)
        for task in step.unhealthy:
            lifecycle.stop(state, task, "ServiceSchedulerInitiated", "Task failed container health checks")
            rollout.note_failed_task(state, key, task.deployment_id)
        reason = f"Scaling activity initiated by (deployment {service.primary.id})"
        for task in step.stop:
            lifecycle.stop(state, task, "ServiceSchedulerInitiated", reason)
        if step.stop:
            self._add_task_event(key, f"has stopped {len(step.stop)} running tasks:", step.stop)
        if step.launch:
            self._launch(key, step.launch)
        if state.now < state.services[key].next_launch_at:
            state.agenda.schedule(("service", key), state.services[key].next_launch_at)
        rollout.progress(state, key)

    def _launch(self, key: ServiceKey, number: int) -> None:
        state = self._state
        service = state.services[key]
        if (reason := state.unplaceable.get(service.name)) is not None:
            state.add_event(key, f"was unable to place a task. Reason: {reason}.")
            return
        definition = state.task_definitions[service.primary.task_definition_arn]
        cluster = state.clusters[service.cluster_arn]
        tags = _propagated(service, definition.tags)
        tasks = [
            lifecycle.create(state, cluster, definition, service=service, details=service.template, tags=tags)
            for _ in range(number)
        ]
        self._add_task_event(key, f"has started {number} tasks:", tasks)

    def _add_task_event(self, key: ServiceKey, action: str, tasks: Sequence[EcsTask]) -> None:
        self._state.add_event(key, f"{action} {' '.join(f'(task {t.id})' for t in tasks)}.")

    def _drain(self, service: EcsService) -> None:
        """Stop all tasks of a deleted service, also protected ones."""
        for task in self._state.tasks_of(service.key):
            lifecycle.stop(self._state, task, "ServiceSchedulerInitiated", "Service is being deleted")
        self._state.change_service(service.key, status="INACTIVE")


def _propagated(service: EcsService, of_definition: Mapping[str, str]) -> dict[str, str]:
    sources = {"SERVICE": service.tags, "TASK_DEFINITION": of_definition}
    return dict(sources.get(service.details.get("propagateTags", ""), {}))


def _count(desired: int) -> int:
    if desired < 0:
        raise invalid("Desired count cannot be negative.")
    return desired


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
