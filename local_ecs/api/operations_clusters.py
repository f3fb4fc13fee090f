# SPDX-License-Identifier: Apache-2.0
"""Operations on clusters, task definitions and tags."""

from typing import Any

from local_ecs.api import shapes
from local_ecs.api.backend import Backend, page
from local_ecs.api.protocol import Caller, Handlers

Json = dict[str, Any]


class ClusterOperations:
    """CreateCluster, DescribeClusters, ListClusters, UpdateCluster, PutClusterCapacityProviders, DeleteCluster."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._model = backend.model

    @property
    def handlers(self) -> Handlers:
        """The operations by name."""
        return {
            "CreateCluster": self.create,
            "DeleteCluster": self.delete,
            "DescribeClusters": self.describe,
            "ListClusters": self.list,
            "PutClusterCapacityProviders": self.put_capacity_providers,
            "UpdateCluster": self.update,
            "UpdateClusterSettings": self.update,
        }

    def create(self, request: Json, caller: Caller) -> Json:
        """Create a cluster."""
        details = {k: v for k, v in request.items() if k not in {"clusterName", "tags"}}
        tags = shapes.tag_map(request.get("tags", ()))
        created = self._model.clusters.create(request.get("clusterName", "default"), details=details, tags=tags)
        self._backend.journal.add("CreateCluster", cluster=created.name, caller=caller.name)
        return {"cluster": shapes.cluster(self._model, created, tags=True)}

    def describe(self, request: Json, _caller: Caller) -> Json:
        """Describe clusters."""
        found, failures = self._model.clusters.describe(request.get("clusters", ()))
        tags = "TAGS" in request.get("include", ())
        return shapes.found("clusters", (shapes.cluster(self._model, c, tags=tags) for c in found), failures)

    def list(self, request: Json, _caller: Caller) -> Json:
        """List ACTIVE clusters."""
        arns, rest = page([c.arn for c in self._model.clusters.all()], request)
        return {"clusterArns": arns, **rest}

    def update(self, request: Json, caller: Caller) -> Json:
        """Change settings, configuration or Service Connect defaults."""
        return self._change("UpdateCluster", request, caller)

    def put_capacity_providers(self, request: Json, caller: Caller) -> Json:
        """Set the capacity providers and the default strategy."""
        return self._change("PutClusterCapacityProviders", request, caller)

    def _change(self, operation: str, request: Json, caller: Caller) -> Json:
        patch = {k: v for k, v in request.items() if k != "cluster"}
        changed = self._model.clusters.update(request["cluster"], patch)
        self._backend.journal.add(operation, cluster=changed.name, caller=caller.name)
        return {"cluster": shapes.cluster(self._model, changed, tags=True)}

    def delete(self, request: Json, caller: Caller) -> Json:
        """Delete an empty cluster."""
        deleted = self._model.clusters.delete(request["cluster"])
        self._backend.journal.add("DeleteCluster", cluster=deleted.name, caller=caller.name)
        return {"cluster": shapes.cluster(self._model, deleted, tags=True)}


class TaskDefinitionOperations:
    """RegisterTaskDefinition, DescribeTaskDefinition, DeregisterTaskDefinition, ListTaskDefinitions."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._model = backend.model

    @property
    def handlers(self) -> Handlers:
        """The operations by name."""
        return {
            "DeregisterTaskDefinition": self.deregister,
            "DescribeTaskDefinition": self.describe,
            "ListTaskDefinitions": self.list,
            "RegisterTaskDefinition": self.register,
        }

    def register(self, request: Json, caller: Caller) -> Json:
        """Register a revision."""
        details = {k: v for k, v in request.items() if k not in {"family", "tags"}}
        tags = shapes.tag_map(request.get("tags", ()))
        created = self._model.task_definitions.register(request["family"], details, tags=tags)
        name = f"{created.family}:{created.revision}"
        self._backend.journal.add("RegisterTaskDefinition", task_definition=name, caller=caller.name)
        return {"taskDefinition": shapes.task_definition(created), "tags": shapes.tag_list(created.tags)}

    def describe(self, request: Json, _caller: Caller) -> Json:
        """Describe a revision."""
        found = self._model.task_definitions.get(request["taskDefinition"])
        answer: Json = {"taskDefinition": shapes.task_definition(found)}
        return answer | ({"tags": shapes.tag_list(found.tags)} if "TAGS" in request.get("include", ()) else {})

    def deregister(self, request: Json, caller: Caller) -> Json:
        """Make a revision INACTIVE."""
        deleted = self._model.task_definitions.deregister(request["taskDefinition"])
        name = f"{deleted.family}:{deleted.revision}"
        self._backend.journal.add("DeregisterTaskDefinition", task_definition=name, caller=caller.name)
        return {"taskDefinition": shapes.task_definition(deleted)}

    def list(self, request: Json, _caller: Caller) -> Json:
        """List revisions by family name and revision."""
        found = self._model.task_definitions.all(
            family_prefix=request.get("familyPrefix"), status=request.get("status", "ACTIVE")
        )
        found.sort(key=lambda d: (d.family, d.revision), reverse=request.get("sort") == "DESC")
        arns, rest = page([d.arn for d in found], request)
        return {"taskDefinitionArns": arns, **rest}


class TagOperations:
    """TagResource, UntagResource, ListTagsForResource."""

    def __init__(self, backend: Backend) -> None:
        self._model = backend.model

    @property
    def handlers(self) -> Handlers:
        """The operations by name."""
        return {"ListTagsForResource": self.list, "TagResource": self.tag, "UntagResource": self.untag}

    def tag(self, request: Json, _caller: Caller) -> Json:
        """Add tags."""
        self._model.tags.change(request["resourceArn"], add=shapes.tag_map(request["tags"]))
        return {}

    def untag(self, request: Json, _caller: Caller) -> Json:
        """Remove tags."""
        self._model.tags.change(request["resourceArn"], remove=request["tagKeys"])
        return {}

    def list(self, request: Json, _caller: Caller) -> Json:
        """List tags."""
        return {"tags": shapes.tag_list(self._model.tags.get(request["resourceArn"]))}
