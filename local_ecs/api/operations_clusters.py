# SPDX-License-Identifier: Apache-2.0
"""Operations on clusters, task definitions and tags."""

from functools import partial

from local_ecs.api import shapes
from local_ecs.api.driver import Driver, Operation
from local_ecs.api.shapes import Json, page
from local_ecs.model import EcsCluster


def _create_cluster(driver: Driver, request: Json, caller: str) -> Json:
    details = {k: v for k, v in request.items() if k not in {"clusterName", "tags"}}
    tags = shapes.tag_map(request.get("tags", ()))
    created = driver.model.clusters.create(request.get("clusterName", "default"), details=details, tags=tags)
    return _changed_cluster("CreateCluster", driver, created, caller)


def _update_cluster(operation: str, driver: Driver, request: Json, caller: str) -> Json:
    patch = {k: v for k, v in request.items() if k != "cluster"}
    return _changed_cluster(operation, driver, driver.model.clusters.update(request["cluster"], patch), caller)


def _delete_cluster(driver: Driver, request: Json, caller: str) -> Json:
    return _changed_cluster("DeleteCluster", driver, driver.model.clusters.delete(request["cluster"]), caller)


def _changed_cluster(operation: str, driver: Driver, cluster: EcsCluster, caller: str) -> Json:
    driver.journal.add(operation, cluster=cluster.name, caller=caller)
    return {"cluster": shapes.cluster(driver.model, cluster, tags=True)}


def _describe_clusters(driver: Driver, request: Json, _caller: str) -> Json:
    found, failures = driver.model.clusters.describe(request.get("clusters", ()))
    tags = "TAGS" in request.get("include", ())
    return shapes.found("clusters", (shapes.cluster(driver.model, c, tags=tags) for c in found), failures)


def _list_clusters(driver: Driver, request: Json, _caller: str) -> Json:
    return page("clusterArns", [c.arn for c in driver.model.clusters.all()], request)


def _register_task_definition(driver: Driver, request: Json, caller: str) -> Json:
    details = {k: v for k, v in request.items() if k not in {"family", "tags"}}
    tags = shapes.tag_map(request.get("tags", ()))
    created = driver.model.task_definitions.register(request["family"], details, tags=tags)
    name = f"{created.family}:{created.revision}"
    driver.journal.add("RegisterTaskDefinition", task_definition=name, caller=caller)
    return {"taskDefinition": shapes.task_definition(created), "tags": shapes.tag_list(created.tags)}


def _describe_task_definition(driver: Driver, request: Json, _caller: str) -> Json:
    found = driver.model.task_definitions.get(request["taskDefinition"])
    answer: Json = {"taskDefinition": shapes.task_definition(found)}
    return answer | ({"tags": shapes.tag_list(found.tags)} if "TAGS" in request.get("include", ()) else {})


def _deregister_task_definition(driver: Driver, request: Json, caller: str) -> Json:
    deleted = driver.model.task_definitions.deregister(request["taskDefinition"])
    name = f"{deleted.family}:{deleted.revision}"
    driver.journal.add("DeregisterTaskDefinition", task_definition=name, caller=caller)
    return {"taskDefinition": shapes.task_definition(deleted)}


def _list_task_definitions(driver: Driver, request: Json, _caller: str) -> Json:
    found = driver.model.task_definitions.all(
        family_prefix=request.get("familyPrefix"), status=request.get("status", "ACTIVE")
    )
    found.sort(key=lambda d: (d.family, d.revision), reverse=request.get("sort") == "DESC")
    return page("taskDefinitionArns", [d.arn for d in found], request)


def _tag_resource(driver: Driver, request: Json, _caller: str) -> Json:
    driver.model.tags.change(request["resourceArn"], add=shapes.tag_map(request["tags"]))
    return {}


def _untag_resource(driver: Driver, request: Json, _caller: str) -> Json:
    driver.model.tags.change(request["resourceArn"], remove=request["tagKeys"])
    return {}


def _list_tags(driver: Driver, request: Json, _caller: str) -> Json:
    return {"tags": shapes.tag_list(driver.model.tags.get(request["resourceArn"]))}


OPERATIONS: dict[str, Operation] = {
    "CreateCluster": _create_cluster,
    "DeleteCluster": _delete_cluster,
    "DescribeClusters": _describe_clusters,
    "ListClusters": _list_clusters,
    "PutClusterCapacityProviders": partial(_update_cluster, "PutClusterCapacityProviders"),
    "UpdateCluster": partial(_update_cluster, "UpdateCluster"),
    "UpdateClusterSettings": partial(_update_cluster, "UpdateCluster"),
    "DeregisterTaskDefinition": _deregister_task_definition,
    "DescribeTaskDefinition": _describe_task_definition,
    "ListTaskDefinitions": _list_task_definitions,
    "RegisterTaskDefinition": _register_task_definition,
    "ListTagsForResource": _list_tags,
    "TagResource": _tag_resource,
    "UntagResource": _untag_resource,
}
