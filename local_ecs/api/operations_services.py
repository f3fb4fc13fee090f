# SPDX-License-Identifier: Apache-2.0
"""Operations on services."""

from collections.abc import Mapping
from typing import Any

from local_ecs.api import shapes
from local_ecs.api.driver import Driver, Operation
from local_ecs.api.shapes import Json, page
from local_ecs.model import CircuitBreaker, EcsError, EcsService
from local_ecs.model.errors import invalid

LIST_DEFAULT = 10


def _create(driver: Driver, request: Json, caller: str) -> Json:
    """Create a service. A repeated call with the same clientToken returns the existing service."""
    existing = _repeated(driver, request)
    if existing is not None:
        return {"service": shapes.service(driver.model, existing, tags=True)}
    if "taskDefinition" not in request:
        raise invalid("TaskDefinition can not be blank.")
    _check_supported(request)
    created = driver.model.services.create(
        request["serviceName"],
        cluster=request.get("cluster"),
        task_definition=request["taskDefinition"],
        desired_count=request.get("desiredCount", 0),
        template=_template(driver, request),
        details=_details(request),
        tags=shapes.tag_map(request.get("tags", ())),
        **_percentages(request),
    )
    driver.client_tokens[created.arn] = request.get("clientToken", "")
    driver.journal.add("CreateService", service=created.name, desired=created.desired_count, caller=caller)
    return {"service": shapes.service(driver.model, created, tags=True)}


def _update(driver: Driver, request: Json, caller: str) -> Json:
    _check_supported(request)
    services = driver.model.services
    before = services.get(request["service"], cluster=request.get("cluster"))
    after = services.update(
        before.name,
        cluster=before.cluster_arn,
        desired_count=request.get("desiredCount"),
        task_definition=request.get("taskDefinition"),
        template=_template_patch(before.template, request),
        details=_details_patch(before.details, request),
        force_new_deployment=request.get("forceNewDeployment", False),
        **_percentages(request, before),
    )
    stored = services.get(after.name, cluster=after.cluster_arn)
    driver.journal.add(
        "UpdateService",
        service=after.name,
        desired_before=before.desired_count,
        desired=after.desired_count,
        deployed=after.primary.id != before.primary.id,
        applied=stored.desired_count == after.desired_count,
        caller=caller,
    )
    return {"service": shapes.service(driver.model, after, tags=True)}


def _describe(driver: Driver, request: Json, _caller: str) -> Json:
    found, failures = driver.model.services.describe(request["services"], cluster=request.get("cluster"))
    tags = "TAGS" in request.get("include", ())
    return shapes.found("services", (shapes.service(driver.model, s, tags=tags) for s in found), failures)


def _list(driver: Driver, request: Json, _caller: str) -> Json:
    found = driver.model.services.all(cluster=request.get("cluster"))
    return page("serviceArns", [s.arn for s in found], request, default=LIST_DEFAULT)


def _delete(driver: Driver, request: Json, caller: str) -> Json:
    deleted = driver.model.services.delete(
        request["service"], cluster=request.get("cluster"), force=request.get("force", False)
    )
    driver.journal.add("DeleteService", service=deleted.name, caller=caller)
    return {"service": shapes.service(driver.model, deleted, tags=True)}


OPERATIONS: dict[str, Operation] = {
    "CreateService": _create,
    "DeleteService": _delete,
    "DescribeServices": _describe,
    "ListServices": _list,
    "UpdateService": _update,
}


def _template(driver: Driver, request: Json) -> Json:
    """Return the fields of a deployment from a request, with the cluster's default strategy if none is given."""
    template = {k: request[k] for k in shapes.TEMPLATE if request.get(k)}
    if "launchType" not in template and "capacityProviderStrategy" not in template:
        default = driver.model.clusters.get(request.get("cluster")).details.get("defaultCapacityProviderStrategy")
        template |= {"capacityProviderStrategy": default} if default else {}
    return template


def _repeated(driver: Driver, request: Json) -> EcsService | None:
    try:
        existing = driver.model.services.get(request["serviceName"], cluster=request.get("cluster"))
    except EcsError:
        return None
    token = request.get("clientToken")
    return existing if token is not None and driver.client_tokens.get(existing.arn) == token else None


def _check_supported(request: Json) -> None:
    """Refuse requests that the local ECS would execute differently from AWS."""
    if request.get("schedulingStrategy", "REPLICA") != "REPLICA":
        raise invalid("The local ECS supports REPLICA services only.")
    if request.get("deploymentController", {}).get("type", "ECS") != "ECS":
        raise invalid("The local ECS supports the deployment controller ECS only.")
    if request.get("deploymentConfiguration", {}).get("strategy", "ROLLING") != "ROLLING":
        raise invalid("The local ECS supports ROLLING deployments only.")
    if request.get("launchType") and request.get("capacityProviderStrategy"):
        raise invalid("Specifying both a launch type and capacity provider strategy is not supported.")


def _details(request: Json) -> Json:
    return {k: request[k] for k in shapes.DETAILS if k in request}


def _percentages(request: Json, before: EcsService | None = None) -> Json:
    configuration = request.get("deploymentConfiguration", {})
    fields: Json = {}
    if "minimumHealthyPercent" in configuration:
        fields["minimum_healthy_percent"] = configuration["minimumHealthyPercent"]
    if "maximumPercent" in configuration:
        fields["maximum_percent"] = configuration["maximumPercent"]
    if "deploymentCircuitBreaker" in configuration:
        breaker = configuration["deploymentCircuitBreaker"]
        fields["circuit_breaker"] = CircuitBreaker(breaker["enable"], breaker["rollback"])
    minimum = fields.get("minimum_healthy_percent", before.minimum_healthy_percent if before else 100)
    maximum = fields.get("maximum_percent", before.maximum_percent if before else 200)
    if minimum < 0 or maximum < 1 or maximum < minimum:
        raise invalid("maximumPercent must not be smaller than minimumHealthyPercent.")
    return fields


def _template_patch(before: Mapping[str, Any], request: Json) -> Json:
    """Return the changes of a deployment. An empty list for a missing field is no change."""
    patch = {k: request[k] for k in shapes.TEMPLATE if k in request and (request[k] or k in before)}
    if patch.get("capacityProviderStrategy") and "launchType" in before:
        patch["launchType"] = None
    return {k: v for k, v in patch.items() if v != before.get(k)}


def _details_patch(before: Mapping[str, Any], request: Json) -> Json:
    patch = _details(request)
    if "deploymentConfiguration" in patch:
        patch["deploymentConfiguration"] = before.get("deploymentConfiguration", {}) | patch["deploymentConfiguration"]
    return patch
