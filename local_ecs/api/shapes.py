# SPDX-License-Identifier: Apache-2.0
"""Converts the model's records to shapes of the API.

Terraform compares its request with the answer, so an answer has only fields that were sent or that AWS adds.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from local_ecs.model import (
    EcsCluster,
    EcsDeployment,
    EcsFailure,
    EcsModel,
    EcsService,
    EcsTask,
    TaskDefinition,
    TaskStatus,
)
from local_ecs.model.errors import invalid
from local_ecs.runtime.api import ContainerState

Json = dict[str, Any]
PAGE_LIMIT = 100

# A change of one of these fields starts a new deployment. The other fields of a service change in place.
TEMPLATE = (
    "capacityProviderStrategy",
    "launchType",
    "loadBalancers",
    "networkConfiguration",
    "platformVersion",
    "serviceConnectConfiguration",
    "serviceRegistries",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
)
DETAILS = (
    "availabilityZoneRebalancing",
    "deploymentConfiguration",
    "deploymentController",
    "enableECSManagedTags",
    "enableExecuteCommand",
    "healthCheckGracePeriodSeconds",
    "placementConstraints",
    "placementStrategy",
    "propagateTags",
    "schedulingStrategy",
)


def tag_list(tags: Mapping[str, str]) -> list[Json]:
    """Return tags as the API's list."""
    return [{"key": k, "value": v} for k, v in tags.items()]


def tag_map(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the API's list of tags as a mapping."""
    return {t["key"]: t.get("value", "") for t in tags}


def found(member: str, records: Iterable[Json], failures: Iterable[EcsFailure]) -> Json:
    """Return an answer with the found records as `member` and the failures."""
    return {
        member: list(records),
        "failures": [
            {"arn": failure.arn, "reason": failure.reason} | ({"detail": failure.detail} if failure.detail else {})
            for failure in failures
        ],
    }


def page(member: str, items: Sequence[str], request: Json, *, default: int = PAGE_LIMIT) -> Json:
    """Return an answer with the page of `maxResults` and `nextToken` as `member`, and the `nextToken` after it."""
    size = request.get("maxResults", default)
    if not 1 <= size <= PAGE_LIMIT:
        raise invalid(f"maxResults must be between 1 and {PAGE_LIMIT}.")
    try:
        start = int(base64.urlsafe_b64decode(request["nextToken"])) if "nextToken" in request else 0
    except ValueError as error:
        raise invalid("Invalid token") from error
    answer: Json = {member: list(items[start : start + size])}
    if start + size < len(items):
        answer["nextToken"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    return answer


def cluster(ecs: EcsModel, record: EcsCluster, *, tags: bool) -> Json:
    """Return the shape Cluster."""
    counts = ecs.clusters.counts(record)
    return {
        "clusterArn": record.arn,
        "clusterName": record.name,
        "status": record.status,
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": counts.running,
        "pendingTasksCount": counts.pending,
        "activeServicesCount": len(ecs.clusters.active_services(record)),
        "statistics": [],
        "settings": [{"name": "containerInsights", "value": "disabled"}],
        "capacityProviders": [],
        "defaultCapacityProviderStrategy": [],
        **record.details,
        "tags": tag_list(record.tags) if tags else [],
    }


def task_definition(definition: TaskDefinition) -> Json:
    """Return the shape TaskDefinition, without tags: answers have them in a separate field."""
    shape: Json = {
        "volumes": [],
        "placementConstraints": [],
        "compatibilities": ["EC2", "FARGATE"],
        **definition.details,
        "containerDefinitions": [{"cpu": 0, **c} for c in definition.details["containerDefinitions"]],
        "taskDefinitionArn": definition.arn,
        "family": definition.family,
        "revision": definition.revision,
        "status": definition.status,
        "registeredAt": definition.registered_at,
    }
    return shape | ({"deregisteredAt": definition.deregistered_at} if definition.deregistered_at is not None else {})


def service(ecs: EcsModel, record: EcsService, *, tags: bool) -> Json:
    """Return the shape Service."""
    counts = ecs.services.counts(record)
    shape: Json = {
        "loadBalancers": [],
        "serviceRegistries": [],
        "placementConstraints": [],
        "placementStrategy": [],
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "enableECSManagedTags": False,
        "enableExecuteCommand": False,
        "propagateTags": "NONE",
        "healthCheckGracePeriodSeconds": 0,
        **_launch(record.template),
        **_shown_by_service(record.template),
        **record.details,
        "deploymentConfiguration": _deployment_configuration(record),
        "serviceArn": record.arn,
        "serviceName": record.name,
        "clusterArn": record.cluster_arn,
        "status": record.status,
        "desiredCount": record.desired_count,
        "runningCount": counts.running,
        "pendingCount": counts.pending,
        "taskDefinition": record.primary.task_definition_arn,
        "deployments": [deployment(ecs, record, d, first=d is record.primary) for d in record.deployments],
        "events": [{"id": e.id, "createdAt": e.at, "message": e.message} for e in record.events],
        "createdAt": record.created_at,
        "createdBy": f"arn:aws:iam::{ecs.settings.account}:root",
    }
    return shape | ({"tags": tag_list(record.tags)} if tags else {})


def deployment(ecs: EcsModel, owner: EcsService, record: EcsDeployment, *, first: bool) -> Json:
    """Return the shape Deployment. The desiredCount of an older record is its number of tasks."""
    counts = ecs.services.counts(owner, record.id)
    network = record.template.get("networkConfiguration")
    return {
        "id": record.id,
        "status": "PRIMARY" if first else "ACTIVE",
        "taskDefinition": record.task_definition_arn,
        "desiredCount": owner.desired_count if first else counts.running + counts.pending,
        "runningCount": counts.running,
        "pendingCount": counts.pending,
        "failedTasks": record.failed_tasks,
        "createdAt": record.created_at,
        "updatedAt": record.updated_at,
        **_launch(record.template),
        **({"networkConfiguration": network} if network else {}),
        "rolloutState": str(record.rollout_state),
        "rolloutStateReason": record.rollout_state_reason,
    }


def _shown_by_service(template: Mapping[str, Any]) -> Json:
    """Return the fields of a template that the shape Service has. The others are in its deployments only."""
    keys = ("capacityProviderStrategy", "loadBalancers", "networkConfiguration", "serviceRegistries")
    return {k: template[k] for k in keys if k in template}


def _launch(template: Mapping[str, Any]) -> Json:
    """Return launchType or capacityProviderStrategy. With both, Terraform would replace the service."""
    platform = {"platformVersion": template.get("platformVersion", "LATEST"), "platformFamily": "Linux"}
    if strategy := template.get("capacityProviderStrategy"):
        return {"capacityProviderStrategy": strategy, **platform}
    return {"launchType": template.get("launchType", "EC2"), **platform}


def _deployment_configuration(service: EcsService) -> Json:
    return {
        "strategy": "ROLLING",
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        **service.details.get("deploymentConfiguration", {}),
        "maximumPercent": service.maximum_percent,
        "minimumHealthyPercent": service.minimum_healthy_percent,
    }


def task(
    record: EcsTask,
    definition: TaskDefinition,
    *,
    address: str | None,
    containers: Sequence[ContainerState],
    tags: bool,
) -> Json:
    """Return the shape Task."""
    times = {
        "createdAt": record.created_at,
        "startedAt": record.started_at,
        "stoppingAt": record.stopping_at,
        "stoppedAt": record.stopped_at,
    }
    shape: Json = {
        "taskArn": record.arn,
        "clusterArn": record.cluster_arn,
        "taskDefinitionArn": record.task_definition_arn,
        "group": record.group,
        "startedBy": record.started_by,
        "lastStatus": str(record.status),
        "desiredStatus": record.desired_status,
        "healthStatus": str(record.health),
        "availabilityZone": record.availability_zone,
        "connectivity": "CONNECTED" if record.status is TaskStatus.RUNNING else "DISCONNECTED",
        "attachments": [_interface(record, address)],
        "containers": [
            _container(record, c, state=next((s for s in containers if s.name == c["name"]), None), address=address)
            for c in definition.details["containerDefinitions"]
        ],
        "overrides": {"containerOverrides": [], **record.overrides},
        "version": record.version,
        **{k: definition.details[k] for k in ("cpu", "memory") if k in definition.details},
        **_task_launch(record.details),
        **{k: v for k, v in times.items() if v is not None},
        "tags": tag_list(record.tags) if tags else [],
    }
    if record.stop_code is not None:
        shape |= {"stopCode": record.stop_code, "stoppedReason": record.stopped_reason or ""}
    return shape


def _task_launch(template: Mapping[str, Any]) -> Json:
    launch = _launch(template)
    strategy = launch.pop("capacityProviderStrategy", None)
    if strategy:
        provider = max(strategy, key=lambda s: (s.get("base", 0), s.get("weight", 0)))["capacityProvider"]
        launch |= {"capacityProviderName": provider, "launchType": "FARGATE"}
    return launch | {"platformVersion": "1.4.0"}


def _interface(task: EcsTask, address: str | None) -> Json:
    status = "PRECREATED"
    if address is not None:
        status = "DELETED" if task.status is TaskStatus.STOPPED else "ATTACHED"
    network = task.details.get("networkConfiguration", {}).get("awsvpcConfiguration", {})
    details = [{"name": "subnetId", "value": network["subnets"][0]}] if network.get("subnets") else []
    if address is not None:
        details += [
            {"name": "networkInterfaceId", "value": f"eni-{task.id[:17]}"},
            {"name": "privateIPv4Address", "value": address},
        ]
    return {"id": str(UUID(task.id)), "type": "ElasticNetworkInterface", "status": status, "details": details}


def _container(
    task: EcsTask, definition: Mapping[str, Any], *, state: ContainerState | None, address: str | None
) -> Json:
    interface = {"attachmentId": str(UUID(task.id))} | ({"privateIpv4Address": address} if address else {})
    shape: Json = {
        "containerArn": f"{task.arn.replace(':task/', ':container/')}/{definition['name']}",
        "taskArn": task.arn,
        "name": definition["name"],
        "image": definition.get("image", ""),
        "lastStatus": "STOPPED" if task.status is TaskStatus.STOPPED else "PENDING",
        "healthStatus": "UNKNOWN",
        "networkBindings": [],
        "networkInterfaces": [interface],
        "cpu": str(definition.get("cpu", 0)),
    }
    if state is None:
        return shape
    shape |= {"lastStatus": state.status, "healthStatus": state.health}
    if state.pid is not None:
        shape["runtimeId"] = f"{task.id}-{state.pid}"
    if state.exit_code is not None:
        shape["exitCode"] = state.exit_code
    return shape | ({"reason": state.reason} if state.reason else {})
