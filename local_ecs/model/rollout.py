# SPDX-License-Identifier: Apache-2.0
"""Deployments: start, completion, failure, and rollback by the circuit breaker."""

import math
from dataclasses import replace

from local_ecs.model.errors import invalid
from local_ecs.model.records import EcsDeployment, EcsService, RolloutState, ServiceKey, Shape
from local_ecs.model.scheduler import healthy
from local_ecs.model.state import EcsState

BREAKER_MINIMUM, BREAKER_MAXIMUM = 3, 200  # AWS: half of desiredCount within these bounds


def new_deployment(state: EcsState, task_definition_arn: str, template: Shape) -> EcsDeployment:
    """Create a deployment."""
    return EcsDeployment(
        id=f"ecs-svc/{state.ids.number()}",
        task_definition_arn=task_definition_arn,
        created_at=state.now,
        updated_at=state.now,
        template=template,
        rollout_state_reason="ECS deployment in progress.",
    )


def begin(state: EcsState, key: ServiceKey, task_definition_arn: str, template: Shape) -> None:
    """Start a new PRIMARY deployment. Raises InvalidParameterException if too many are unfinished."""
    service = state.services[key]
    limit = state.settings.deployment_limit
    if len(service.deployments) >= limit:
        raise invalid(f"{limit} active deployments exist, unable to create new deployment.")
    deployment = new_deployment(state, task_definition_arn, template)
    state.change_service(
        key, deployments=(deployment, *service.deployments), failed_launches=0, next_launch_at=0.0, steady=False
    )
    state.reconcile_soon(key)


def progress(state: EcsState, key: ServiceKey) -> None:
    """Remove deployments without tasks, complete the PRIMARY one, and report a steady state."""
    service = state.services[key]
    if service.status != "ACTIVE":
        return
    live = [t for t in state.tasks_of(key) if not t.stopping]
    in_use = {t.deployment_id for t in live}
    primary, *older = service.deployments
    left = tuple(d for d in older if d.id in in_use)
    checked = {d.task_definition_arn: _checked(state, d) for d in (primary, *left)}
    ready = sum(1 for t in live if healthy(t, needs_check=checked.get(t.task_definition_arn, False)))
    done = not left and ready == len(live) == service.desired_count
    if len(left) != len(older):
        service = state.change_service(key, deployments=(primary, *left))
    if done and primary.rollout_state is RolloutState.IN_PROGRESS:
        _complete(state, key)
    if done != service.steady:
        state.change_service(key, steady=done)
        if done:
            state.add_event(key, "has reached a steady state.")


def _checked(state: EcsState, deployment: EcsDeployment) -> bool:
    definition = state.task_definitions.get(deployment.task_definition_arn)
    return definition is not None and definition.has_health_check


def _complete(state: EcsState, key: ServiceKey) -> None:
    service = state.services[key]
    primary = replace(
        service.primary,
        rollout_state=RolloutState.COMPLETED,
        rollout_state_reason=f"ECS deployment {service.primary.id} completed.",
        updated_at=state.now,
        failed_tasks=0,
        ever_completed=True,
    )
    state.change_service(key, deployments=(primary, *service.deployments[1:]), last_completed=primary)
    state.add_event(key, f"(deployment {primary.id}) deployment completed.")


def note_running(state: EcsState, key: ServiceKey, deployment_id: str | None) -> None:
    """Reset the failure counts: a task reached RUNNING."""
    service = state.services[key]
    deployments = tuple(replace(d, failed_tasks=0) if d.id == deployment_id else d for d in service.deployments)
    state.change_service(key, deployments=deployments, failed_launches=0, next_launch_at=0.0)


def note_failed_launch(state: EcsState, key: ServiceKey) -> None:
    """Delay the next launch, twice as long each time: a task ended before it reached RUNNING."""
    service = state.services[key]
    if state.now < service.next_launch_at:
        return  # a batch of failed tasks counts as one failed launch
    failures = service.failed_launches + 1
    settings = state.settings
    pause = min(settings.backoff_max_s, settings.backoff_first_s * 2 ** min(failures - 1, 32))
    state.change_service(key, failed_launches=failures, next_launch_at=state.now + pause)
    if failures == BREAKER_MINIMUM:
        state.add_event(key, "is unable to consistently start tasks successfully.")


def note_failed_task(state: EcsState, key: ServiceKey, deployment_id: str | None) -> None:
    """Count a task of a rollout that never ran or became unhealthy. At the threshold the deployment fails."""
    service = state.services[key]
    primary = service.primary
    if deployment_id != primary.id or primary.rollout_state is not RolloutState.IN_PROGRESS:
        return
    primary = replace(primary, failed_tasks=primary.failed_tasks + 1, updated_at=state.now)
    service = state.change_service(key, deployments=(primary, *service.deployments[1:]))
    if service.circuit_breaker.enable and primary.failed_tasks >= breaker_threshold(service):
        _fail(state, service)


def breaker_threshold(service: EcsService) -> int:
    """Return the number of failed tasks at which the circuit breaker fails the deployment."""
    return min(BREAKER_MAXIMUM, max(BREAKER_MINIMUM, math.ceil(service.desired_count / 2)))


def _fail(state: EcsState, service: EcsService) -> None:
    failed, target = service.primary, service.last_completed
    state.add_event(service.key, f"(deployment {failed.id}) deployment failed: tasks failed to start.")
    roll_back = service.circuit_breaker.rollback and target is not None and target.id != failed.id
    reason = "ECS deployment circuit breaker: tasks failed to start."
    if roll_back and target is not None:
        reason = f"ECS deployment circuit breaker: rolling back to deploymentId {target.id}."
    failed = replace(failed, rollout_state=RolloutState.FAILED, rollout_state_reason=reason, updated_at=state.now)
    if not roll_back or target is None:
        state.change_service(service.key, deployments=(failed, *service.deployments[1:]))
        return
    target = replace(
        target,
        rollout_state=RolloutState.IN_PROGRESS,
        rollout_state_reason=f"ECS deployment circuit breaker: rolling back from deploymentId {failed.id}.",
        updated_at=state.now,
        failed_tasks=0,
    )
    others = tuple(d for d in service.deployments[1:] if d.id != target.id)
    state.change_service(
        service.key,
        deployments=(target, failed, *others),
        template=target.template,
        failed_launches=0,
        next_launch_at=0.0,
    )
    state.add_event(service.key, f"rolling back to deployment {target.id}.")
    state.reconcile_soon(service.key)
