# SPDX-License-Identifier: Apache-2.0
"""Operations on clusters, task definitions and tags."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from local_ecs.model.errors import EcsError, invalid
from local_ecs.model.records import (
    EcsCluster,
    EcsFailure,
    EcsService,
    EcsTask,
    Shape,
    TaskCounts,
    TaskDefinition,
    TaskStatus,
    count,
)
from local_ecs.model.state import EcsState, merged


class Clusters:
    """CreateCluster, DescribeClusters, UpdateCluster, DeleteCluster."""

    def __init__(self, state: EcsState) -> None:
        self._state = state

    def create(
        self, name: str = "default", *, details: Shape | None = None, tags: Mapping[str, str] | None = None
    ) -> EcsCluster:
        """Create a cluster, or return the existing one of that name, as AWS does."""
        arn = self._state.arn(f"cluster/{name}")
        existing = self._state.clusters.get(arn)
        if existing is not None and existing.status == "ACTIVE":
            return existing
        self._state.clusters[arn] = EcsCluster(arn, name, "ACTIVE", dict(details or {}), dict(tags or {}))
        return self._state.clusters[arn]

    def get(self, cluster: str | None) -> EcsCluster:
        """Return an ACTIVE cluster; raises ClusterNotFoundException."""
        return self._state.cluster(cluster)

    def describe(self, names: Sequence[str] = ()) -> tuple[list[EcsCluster], list[EcsFailure]]:
        """Find clusters by name or ARN; unknown ones are failures with reason MISSING."""
        found: list[EcsCluster] = []
        failures: list[EcsFailure] = []
        for name in names or ["default"]:
            try:
                found.append(self._state.cluster(name, active=False))
            except EcsError:
                arn = self._state.arn(f"cluster/{name.rpartition('/')[2]}")
                failures.append(EcsFailure(arn, "MISSING"))
        return found, failures

    def all(self) -> list[EcsCluster]:
        """List ACTIVE clusters."""
        return [c for c in self._state.clusters.values() if c.status == "ACTIVE"]

    def update(self, cluster: str | None, patch: Mapping[str, Any]) -> EcsCluster:
        """Merge new settings into a cluster's details."""
        found = self._state.cluster(cluster)
        self._state.clusters[found.arn] = replace(found, details=merged(found.details, patch))
        return self._state.clusters[found.arn]

    def delete(self, cluster: str) -> EcsCluster:
        """Delete an empty cluster. It can be described later as INACTIVE."""
        found = self._state.cluster(cluster)
        if self.active_services(found):
            raise EcsError(
                "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."
            )
        if any(t.cluster_arn == found.arn and t.status is not TaskStatus.STOPPED for t in self._state.tasks.values()):
            raise EcsError("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
        self._state.clusters[found.arn] = replace(found, status="INACTIVE")
        return self._state.clusters[found.arn]

    def active_services(self, cluster: EcsCluster) -> list[EcsService]:
        """List a cluster's services that are ACTIVE or still draining."""
        services = self._state.services.values()
        return [s for s in services if s.cluster_arn == cluster.arn and s.status in {"ACTIVE", "DRAINING"}]

    def counts(self, cluster: EcsCluster) -> TaskCounts:
        """Count a cluster's tasks."""
        return count([t for t in self._state.tasks.values() if t.cluster_arn == cluster.arn])


class TaskDefinitions:
    """RegisterTaskDefinition, DescribeTaskDefinition, DeregisterTaskDefinition, ListTaskDefinitions."""

    def __init__(self, state: EcsState) -> None:
        self._state = state

    def register(self, family: str, details: Shape, *, tags: Mapping[str, str] | None = None) -> TaskDefinition:
        """Register the next revision of a family."""
        if not details.get("containerDefinitions"):
            raise EcsError("ClientException", "Container definitions cannot be empty.")
        revision = self._state.revisions.get(family, 0) + 1
        self._state.revisions[family] = revision
        arn = self._state.arn(f"task-definition/{family}:{revision}")
        definition = TaskDefinition(
            arn, family, revision, self._state.now, details=dict(details), tags=dict(tags or {})
        )
        self._state.task_definitions[arn] = definition
        return definition

    def get(self, reference: str) -> TaskDefinition:
        """Find a revision, also an INACTIVE one, by ARN, `family:revision`, or `family` (newest ACTIVE one)."""
        return self._state.task_definition(reference)

    def deregister(self, reference: str) -> TaskDefinition:
        """Make a revision INACTIVE: existing services continue to use it, new ones cannot."""
        if ":" not in reference.rpartition("/")[2]:
            raise invalid("Missing or invalid revision.")
        found = replace(self._state.task_definition(reference), status="INACTIVE", deregistered_at=self._state.now)
        self._state.task_definitions[found.arn] = found
        return found

    def all(self, *, family_prefix: str | None = None, status: str = "ACTIVE") -> list[TaskDefinition]:
        """List revisions of one family or of all. AWS calls the filter a prefix, but it matches the whole name."""
        definitions = self._state.task_definitions.values()
        return [d for d in definitions if d.status == status and family_prefix in {None, d.family}]


class Tags:
    """TagResource, UntagResource, ListTagsForResource."""

    def __init__(self, state: EcsState) -> None:
        self._state = state

    def get(self, arn: str) -> Mapping[str, str]:
        """Return a resource's tags."""
        return self._resource(arn).tags

    def change(self, arn: str, *, add: Mapping[str, str] | None = None, remove: Sequence[str] = ()) -> None:
        """Add and remove tags of a cluster, task definition, service or task."""
        resource = self._resource(arn)
        tags = {k: v for k, v in {**resource.tags, **(add or {})}.items() if k not in remove}
        changed = replace(resource, tags=tags)
        match changed:
            case EcsCluster():
                self._state.clusters[arn] = changed
            case TaskDefinition():
                self._state.task_definitions[arn] = changed
            case EcsService():
                self._state.put_service(changed)
            case EcsTask():
                self._state.put_task(changed)

    def _resource(self, arn: str) -> EcsCluster | TaskDefinition | EcsService | EcsTask:
        kind, _, name = arn.rpartition(":")[2].partition("/") if ":task-definition/" not in arn else ("", "", "")
        service = self._state.services.get(
            (self._state.arn(f"cluster/{name.partition('/')[0]}"), name.partition("/")[2])
        )
        found: EcsCluster | TaskDefinition | EcsService | EcsTask | None = (
            self._state.clusters.get(arn) or self._state.task_definitions.get(arn) or self._state.tasks.get(arn)
        )
        if found is None and kind == "service":
            found = service
        if found is None:
            raise EcsError("ResourceNotFoundException", f"The specified resource was not found: {arn}")
        return found
