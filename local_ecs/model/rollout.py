# SPDX-License-Identifier: Apache-2.0
"""Deployments: when one begins, is completed, fails, or is rolled back by the circuit breaker."""

import math
from dataclasses import replace

from local_ecs.model.errors import invalid
from local_ecs.model.records import Deployment, RolloutState, Service, ServiceKey, Shape
from local_ecs.model.scheduler import healthy
from local_ecs.model.state import State

BREAKER_LEAST, BREAKER_MOST = 3, 200  # AWS: half of desiredCount within these bounds


def new_deployment(state: State, task_definition_arn: str, template: Shape) -> Deployment:
    """Make a deployment that has not begun."""
    return Deployment(
        id=f"ecs-svc/{state.ids.number()}",
        task_definition_arn=task_definition_arn,
        created_at=state.now,
        updated_at=state.now,
        template=template,
        rollout_state_reason="ECS deployment in progress.",
    )


def begin(state: State, key: ServiceKey, task_definition_arn: str, template: Shape) -> None:
    """Put a new PRIMARY deployment before the others; raises InvalidParameterException when too many are unfinished."""
    service = state.services[key]
    limit = state.settings.deployment_limit
    if len(service.deployments) >= limit:
        raise invalid(f"{limit} active deployments exist, unable to create new deployment.")
    deployment = new_deployment(state, task_definition_arn, template)
    state.change_service(
        key, deployments=(deployment, *service.deployments), failed_launches=0, next_launch_at=0.0, steady=False
    )
    state.reconcile_soon(key)


def progress(state: State, key: ServiceKey) -> None:
    """Forget emptied deployments, complete the PRIMARY one, and announce a steady state."""
    service = state.services[key]
    if service.status != "ACTIVE":
        return
    live = [t for t in state.tasks_of(key) if not t.stopping]
    held = {t.deployment_id for t in live}
    primary, *older = service.deployments
    left = tuple(d for d in older if d.id in held)
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
            state.say(key, "has reached a steady state.")


def _checked(state: State, deployment: Deployment) -> bool:
    definition = state.task_definitions.get(deployment.task_definition_arn)
    return definition is not None and definition.has_health_check


def _complete(state: State, key: ServiceKey) -> None:
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
    state.say(key, f"(deployment {primary.id}) deployment completed.")


def note_running(state: State, key: ServiceKey, deployment_id: str | None) -> None:
    """A task reached RUNNING: failures are no longer in a row."""
    service = state.services[key]
    deployments = tuple(replace(d, failed_tasks=0) if d.id == deployment_id else d for d in service.deployments)
    state.change_service(key, deployments=deployments, failed_launches=0, next_launch_at=0.0)


def note_failed_launch(state: State, key: ServiceKey) -> None:
    """A task ended before it ever ran: wait before the next launch, twice as long each time."""
    service = state.services[key]
    if state.now < service.next_launch_at:
        return  # one of a batch: the batch is one failed attempt
    failures = service.failed_launches + 1
    settings = state.settings
    pause = min(settings.backoff_max_s, settings.backoff_first_s * 2 ** min(failures - 1, 32))
    state.change_service(key, failed_launches=failures, next_launch_at=state.now + pause)
    if failures == BREAKER_LEAST:
        state.say(key, "is unable to consistently start tasks successfully.")


def note_failed_task(state: State, key: ServiceKey, deployment_id: str | None) -> None:
    """A task of a rollout never ran, or became unhealthy: count it, and open the circuit breaker at its bound."""
    service = state.services[key]
    primary = service.primary
    if deployment_id != primary.id or primary.rollout_state is not RolloutState.IN_PROGRESS:
        return
    primary = replace(primary, failed_tasks=primary.failed_tasks + 1, updated_at=state.now)
    service = state.change_service(key, deployments=(primary, *service.deployments[1:]))
    if service.circuit_breaker.enable and primary.failed_tasks >= breaker_threshold(service):
        _fail(state, service)


def breaker_threshold(service: Service) -> int:
    """How many failed tasks open the circuit breaker."""
    return min(BREAKER_MOST, max(BREAKER_LEAST, math.ceil(service.desired_count / 2)))


def _fail(state: State, service: Service) -> None:
    failed, target = service.primary, service.last_completed
    state.say(service.key, f"(deployment {failed.id}) deployment failed: tasks failed to start.")
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
    state.say(service.key, f"rolling back to deployment {target.id}.")
    state.reconcile_soon(service.key)
