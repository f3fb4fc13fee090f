# SPDX-License-Identifier: Apache-2.0
"""Worker fleets: two services each, generations a and b, whose numbers of tasks belong to the scaler.

Generation a runs the newest odd revision of the fleet's task definition, b the newest even one. A new revision thus
always lands on the generation that is idle: an update of a service that wants no task deploys nothing, and the busy one
is not touched. The scaler starts workers in the generation with the newer revision and drains the other to zero.

ECS must not stop a worker of its own accord: no rebalancing of zones, no health check that load could fail, a sidecar
whose end does not end the task, and the longest notice that Fargate gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cdktn import ITerraformDependable, TerraformLocal, TerraformResourceLifecycle
from cdktn_provider_aws.ecs_service import (
    EcsService,
    EcsServiceCapacityProviderStrategy,
    EcsServiceDeploymentCircuitBreaker,
)
from constructs import Construct

from cdktf_app.base.expressions import hcl
from cdktf_app.base.resource_names import collision_free
from cdktf_app.compute.airflow_containers import AirflowContainers
from cdktf_app.compute.container_definition import ContainerSpec
from cdktf_app.compute.execution_role import execution_role
from cdktf_app.compute.fargate_service import ServiceProps, TaskSpec, private_network, task_definition
from cdktf_app.compute.task_policies import TaskPolicies
from cdktf_app.security.roles import Roles
from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import TaskSize
from openmwaa.config.fleet import Fleet

SERVICE_SUFFIXES: Final = ("a", "b")
CAPACITY_LABEL: Final = "openmwaa.capacity"
_PARITY: Final = {"a": 1, "b": 0}


class WorkerFleets(Construct):
    """The fleets of an environment; `services` exist when all their ECS services do."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        service_props: ServiceProps,
        containers: AirflowContainers,
        roles: Roles,
        task_policies: TaskPolicies,
        security_group_id: str,
    ) -> None:
        super().__init__(scope, construct_id)
        fleets = list(environment.fleets.values())
        # Workers of every fleet are given the same image, log group and secret.
        execution = execution_role(roles, "worker", containers.worker(fleets[0]))
        ready = [execution.ready]
        worker_role_arn = environment.execution_role_arn
        if worker_role_arn is None:
            own = roles.role("worker", task_policies.worker(), environment.identity.worker_policy_arns)
            worker_role_arn = own.arn
            ready.append(own.ready)
        else:
            roles.output_required_policy("execution_role", task_policies.worker())
        self.services: list[ITerraformDependable] = []
        for fleet in fleets:
            task = TaskSpec(
                size=TaskSize(fleet.cpu, fleet.memory),
                containers=_labelled(containers.worker(fleet), fleet),
                execution_role_arn=execution.arn,
                task_role_arn=worker_role_arn,
                security_group_ids=(security_group_id, *environment.network.security_group_ids),
                architecture=fleet.architecture,
            )
            around = replace(service_props, ready=[*service_props.ready, *ready])
            self.services += FleetServices(self, fleet.name, fleet=fleet, task=task, service_props=around).services


class FleetServices(Construct):
    """The task definition of a fleet, and a service for each of its generations."""

    def __init__(
        self, scope: Construct, construct_id: str, *, fleet: Fleet, task: TaskSpec, service_props: ServiceProps
    ) -> None:
        super().__init__(scope, construct_id)
        self._fleet, self._task, self._service_props = fleet, task, service_props
        # Kept: the older generation's revision must stay usable, and a rollback must find it.
        self._newest = task_definition(self, family(service_props.name, fleet.name), task, kept=True)
        self._number = TerraformLocal(self, "newest", f"${{{self._newest.fqn}.revision}}").fqn
        self.services = [self._service(suffix) for suffix in SERVICE_SUFFIXES]

    def _service(self, suffix: str) -> EcsService:
        fleet, service_props = self._fleet, self._service_props
        scope = Construct(self, suffix)
        is_newest = f"{self._number} % 2 == {_PARITY[suffix]}"
        # A family of one revision gives it to both generations: nobody runs in b then.
        revision = TerraformLocal(
            scope, "revision", f"${{{is_newest} ? {self._number} : max({self._number} - 1, 1)}}"
        ).fqn
        service = EcsService(
            scope,
            "service",
            name=service_names(fleet.name)[SERVICE_SUFFIXES.index(suffix)],
            cluster=service_props.cluster.arn,
            task_definition=f"{self._newest.arn_without_revision}:${{{revision}}}",
            capacity_provider_strategy=[EcsServiceCapacityProviderStrategy(capacity_provider=fleet.capacity, weight=1)],
            # Without this a change of capacity would replace both services, and replacing ends every worker. With it, a
            # change of what both generations share (capacity, network) is a rolling update of the busy one too, which
            # the percentages below make harmless.
            force_new_deployment=True,
            network_configuration=private_network(service_props, self._task),
            # A rolling update inside a generation waits for its workers: protected ones fill desiredCount, and beyond
            # that ECS starts nothing. With 200 it would start as many again, which nobody protects and nobody uses.
            deployment_minimum_healthy_percent=0,
            deployment_maximum_percent=100,
            # A rollback by ECS would change a generation's revision behind Terraform's back. Where new workers do not
            # start, the scaler leaves the work to the older generation and says so.
            deployment_circuit_breaker=EcsServiceDeploymentCircuitBreaker(enable=False, rollback=False),
            availability_zone_rebalancing="DISABLED",
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            lifecycle=TerraformResourceLifecycle(ignore_changes=["desired_count"]),
            depends_on=[service_props.cluster.capacity, *service_props.ready],
        )
        service.add_override("desired_count", f"${{{is_newest} ? {hcl(fleet.min)} : 0}}")
        return service


def family(name: str, fleet: str) -> str:
    """Return the family of a fleet's task definitions, in the environment whose resources are called `name`."""
    # The scheduler of the environment `x-worker` is no fleet of `x`.
    return f"{name}-worker-{collision_free(fleet, reserved={'scheduler', 'triggerer', 'scaler'})}"


def service_names(fleet: str) -> tuple[str, ...]:
    """Return the names of the ECS services of `fleet`, one a generation."""
    return tuple(f"worker-{fleet}-{suffix}" for suffix in SERVICE_SUFFIXES)


def _labelled(containers: Sequence[ContainerSpec], fleet: Fleet) -> list[ContainerSpec]:
    """Return the containers with the fleet's capacity on the worker, so that a change of it is a new revision."""
    return [
        replace(container, labels={CAPACITY_LABEL: fleet.capacity}) if container.name == "worker" else container
        for container in containers
    ]
