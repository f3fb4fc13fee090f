# SPDX-License-Identifier: Apache-2.0
"""The model's records as the API shows them; what was sent comes back as it was sent.

Terraform compares what it sent with what it reads, so nothing is added here that AWS does not add.
"""

from collections.abc import Mapping, Sequence
from typing import Any

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
from local_ecs.runtime.api import ContainerState

Json = dict[str, Any]

# What a deployment is made of: a change of any is a new deployment. The rest of a service is changed in place.
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


def failure(one: EcsFailure) -> Json:
    """Return an entry of `failures`."""
    return {"arn": one.arn, "reason": one.reason} | ({"detail": one.detail} if one.detail else {})


def cluster(ecs: EcsModel, one: EcsCluster, *, tags: bool) -> Json:
    """Return the shape Cluster."""
    counts = ecs.clusters.counts(one)
    return {
        "clusterArn": one.arn,
        "clusterName": one.name,
        "status": one.status,
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": counts.running,
        "pendingTasksCount": counts.pending,
        "activeServicesCount": len(ecs.clusters.active_services(one)),
        "statistics": [],
        "settings": [{"name": "containerInsights", "value": "disabled"}],
        "capacityProviders": [],
        "defaultCapacityProviderStrategy": [],
        **one.details,
        "tags": tag_list(one.tags) if tags else [],
    }


def task_definition(one: TaskDefinition) -> Json:
    """Return the shape TaskDefinition; its tags stand beside it in answers, not inside."""
    shape: Json = {
        "volumes": [],
        "placementConstraints": [],
        "compatibilities": ["EC2", "FARGATE"],
        **one.details,
        "containerDefinitions": [{"cpu": 0, **c} for c in one.details["containerDefinitions"]],
        "taskDefinitionArn": one.arn,
        "family": one.family,
        "revision": one.revision,
        "status": one.status,
        "registeredAt": one.registered_at,
    }
    return shape | ({"deregisteredAt": one.deregistered_at} if one.deregistered_at is not None else {})


def service(ecs: EcsModel, one: EcsService, *, tags: bool) -> Json:
    """Return the shape Service."""
    counts = ecs.services.counts(one)
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
        **_launch(one.template),
        **_shown_by_service(one.template),
        **one.details,
        "deploymentConfiguration": _deployment_configuration(one),
        "serviceArn": one.arn,
        "serviceName": one.name,
        "clusterArn": one.cluster_arn,
        "status": one.status,
        "desiredCount": one.desired_count,
        "runningCount": counts.running,
        "pendingCount": counts.pending,
        "taskDefinition": one.primary.task_definition_arn,
        "deployments": [deployment(ecs, one, d, first=d is one.primary) for d in one.deployments],
        "events": [{"id": e.id, "createdAt": e.at, "message": e.message} for e in one.events],
        "createdAt": one.created_at,
        "createdBy": f"arn:aws:iam::{ecs.settings.account}:root",
    }
    return shape | ({"tags": tag_list(one.tags)} if tags else {})


def deployment(ecs: EcsModel, owner: EcsService, one: EcsDeployment, *, first: bool) -> Json:
    """Return the shape Deployment; an older one wants no more than what it has."""
    counts = ecs.services.counts(owner, one.id)
    network = one.template.get("networkConfiguration")
    return {
        "id": one.id,
        "status": "PRIMARY" if first else "ACTIVE",
        "taskDefinition": one.task_definition_arn,
        "desiredCount": owner.desired_count if first else counts.running + counts.pending,
        "runningCount": counts.running,
        "pendingCount": counts.pending,
        "failedTasks": one.failed_tasks,
        "createdAt": one.created_at,
        "updatedAt": one.updated_at,
        **_launch(one.template),
        **({"networkConfiguration": network} if network else {}),
        "rolloutState": str(one.rollout_state),
        "rolloutStateReason": one.rollout_state_reason,
    }


def _shown_by_service(template: Mapping[str, Any]) -> Json:
    """Return the part of a template that the shape Service has; the rest is shown by its deployments only."""
    keys = ("capacityProviderStrategy", "loadBalancers", "networkConfiguration", "serviceRegistries")
    return {k: template[k] for k in keys if k in template}


def _launch(template: Mapping[str, Any]) -> Json:
    """Return launchType or capacityProviderStrategy, never both: Terraform would replace the service."""
    platform = {"platformVersion": template.get("platformVersion", "LATEST"), "platformFamily": "Linux"}
    if strategy := template.get("capacityProviderStrategy"):
        return {"capacityProviderStrategy": strategy, **platform}
    return {"launchType": template.get("launchType", "EC2"), **platform}


def _deployment_configuration(one: EcsService) -> Json:
    return {
        "strategy": "ROLLING",
        "deploymentCircuitBreaker": {"enable": False, "rollback": False},
        **one.details.get("deploymentConfiguration", {}),
        "maximumPercent": one.maximum_percent,
        "minimumHealthyPercent": one.minimum_healthy_percent,
    }


def task(
    one: EcsTask, definition: TaskDefinition, *, address: str | None, containers: Sequence[ContainerState], tags: bool
) -> Json:
    """Return the shape Task."""
    times = {
        "createdAt": one.created_at,
        "startedAt": one.started_at,
        "stoppingAt": one.stopping_at,
        "stoppedAt": one.stopped_at,
    }
    attachment = _attachment_id(one)
    shape: Json = {
        "taskArn": one.arn,
        "clusterArn": one.cluster_arn,
        "taskDefinitionArn": one.task_definition_arn,
        "group": one.group,
        "startedBy": one.started_by,
        "lastStatus": str(one.status),
        "desiredStatus": one.desired_status,
        "healthStatus": str(one.health),
        "availabilityZone": one.availability_zone,
        "connectivity": "CONNECTED" if one.status is TaskStatus.RUNNING else "DISCONNECTED",
        "attachments": [_interface(one, attachment, address)],
        "containers": [
            _container(one, c, state=next((s for s in containers if s.name == c["name"]), None), address=address)
            for c in definition.details["containerDefinitions"]
        ],
        "overrides": {"containerOverrides": [], **one.overrides},
        "version": one.version,
        **{k: definition.details[k] for k in ("cpu", "memory") if k in definition.details},
        **_task_launch(one.details),
        **{k: v for k, v in times.items() if v is not None},
        "tags": tag_list(one.tags) if tags else [],
    }
    if one.stop_code is not None:
        shape |= {"stopCode": one.stop_code, "stoppedReason": one.stopped_reason or ""}
    return shape


def _attachment_id(one: EcsTask) -> str:
    t = one.id
    return f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}"


def _task_launch(template: Mapping[str, Any]) -> Json:
    launch = _launch(template)
    strategy = launch.pop("capacityProviderStrategy", None)
    if strategy:
        provider = max(strategy, key=lambda s: (s.get("base", 0), s.get("weight", 0)))["capacityProvider"]
        launch |= {"capacityProviderName": provider, "launchType": "FARGATE"}
    return launch | {"platformVersion": "1.4.0"}


def _interface(one: EcsTask, attachment: str, address: str | None) -> Json:
    status = "PRECREATED"
    if address is not None:
        status = "DELETED" if one.status is TaskStatus.STOPPED else "ATTACHED"
    network = one.details.get("networkConfiguration", {}).get("awsvpcConfiguration", {})
    details = [{"name": "subnetId", "value": network["subnets"][0]}] if network.get("subnets") else []
    if address is not None:
        details += [
            {"name": "networkInterfaceId", "value": f"eni-{one.id[:17]}"},
            {"name": "privateIPv4Address", "value": address},
        ]
    return {"id": attachment, "type": "ElasticNetworkInterface", "status": status, "details": details}


def _container(
    one: EcsTask, definition: Mapping[str, Any], *, state: ContainerState | None, address: str | None
) -> Json:
    interface = {"attachmentId": _attachment_id(one)} | ({"privateIpv4Address": address} if address else {})
    shape: Json = {
        "containerArn": f"{one.arn.replace(':task/', ':container/')}/{definition['name']}",
        "taskArn": one.arn,
        "name": definition["name"],
        "image": definition.get("image", ""),
        "lastStatus": "STOPPED" if one.status is TaskStatus.STOPPED else "PENDING",
        "healthStatus": "UNKNOWN",
        "networkBindings": [],
        "networkInterfaces": [interface],
        "cpu": str(definition.get("cpu", 0)),
    }
    if state is None:
        return shape
    shape |= {"lastStatus": state.status, "healthStatus": state.health}
    if state.pid is not None:
        shape["runtimeId"] = f"{one.id}-{state.pid}"
    if state.exit_code is not None:
        shape["exitCode"] = state.exit_code
    return shape | ({"reason": state.reason} if state.reason else {})
