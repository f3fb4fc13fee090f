# SPDX-License-Identifier: Apache-2.0
"""Worker fleets: each has a blue/green pair of services, a and b, whose desired counts the scaler sets.

Service a runs the newest odd revision of the fleet's task definition, service b the newest even one. So a new revision
always goes to the idle service: an update of a service with desired count 0 deploys nothing, and the active service is
not changed. The scaler starts workers in the service with the newer revision and drains the other one to zero.

ECS must not stop a worker on its own: no zone rebalancing, no health check that high load could fail, no essential
sidecar, and the longest stop timeout of Fargate.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cdktn import ITerraformDependable, TerraformLocal, TerraformResourceLifecycle
from cdktn_provider_aws.ecs_service import (
    EcsService,
    EcsServiceCapacityProviderStrategy,
    EcsServiceDeploymentCircuitBreaker,
    EcsServiceTimeouts,
)
from constructs import Construct

from cdktf_app.base.expressions import hcl
from cdktf_app.base.resource_names import collision_free
from cdktf_app.compute.airflow_containers import AirflowContainers
from cdktf_app.compute.container_definition import ContainerSpec
from cdktf_app.compute.execution_role import execution_role
from cdktf_app.compute.fargate_service import ServiceProps, TaskSpec, task_definition, task_network
from cdktf_app.compute.task_policies import WORKER_TAG, TaskPolicies
from openmwaa.config.environment_classes import TaskSize
from openmwaa.config.fleet import ResolvedFleet

SERVICE_SUFFIXES: Final = ("a", "b")
CAPACITY_LABEL: Final = "openmwaa.capacity"
_REVISION_PARITY: Final = {"a": 1, "b": 0}
# A deletion sets the desired count to 0, which stops no protected worker. ECS then refuses to renew its protection,
# which ends after at most 60 minutes; the worker ends 2 minutes later. No `force_delete`: AWS does not document what it
# does to protected tasks.
_DELETE_TIMEOUT: Final = "80m"


class WorkerFleets(Construct):
    """The fleets of an environment; `services` are their ECS services."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        service_props: ServiceProps,
        *,
        containers: AirflowContainers,
        task_policies: TaskPolicies,
        security_group_id: str,
    ) -> None:
        super().__init__(scope, construct_id)
        environment, roles = service_props.context.environment, service_props.roles
        fleets = list(environment.fleets.values())
        # Workers of all fleets have the same image, log group and secrets.
        execution = execution_role(roles, "worker", containers.worker(fleets[0]))
        ready = [execution.ready]
        worker_role_arn = environment.execution_role_arn
        if worker_role_arn is None:
            task_role = roles.role("worker", task_policies.worker(), environment.identity.worker_policy_arns)
            worker_role_arn = task_role.arn
            ready.append(task_role.ready)
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
            props = service_props.with_dependencies(ready)
            self.services += FleetServices(self, fleet.name, fleet=fleet, task=task, service_props=props).services


class FleetServices(Construct):
    """The task definition and the two services of a fleet."""

    def __init__(
        self, scope: Construct, construct_id: str, *, fleet: ResolvedFleet, task: TaskSpec, service_props: ServiceProps
    ) -> None:
        super().__init__(scope, construct_id)
        self._fleet, self._task, self._service_props = fleet, task, service_props
        # Retained: the older revision must stay active for the draining service and for a rollback.
        self._newest = task_definition(self, family(service_props.context.name, fleet.name), task, retain=True)
        self._number = TerraformLocal(self, "newest", f"${{{self._newest.fqn}.revision}}").fqn
        self.services = [self._service(suffix) for suffix in SERVICE_SUFFIXES]

    def _service(self, suffix: str) -> EcsService:
        fleet, service_props = self._fleet, self._service_props
        scope = Construct(self, suffix)
        is_newest = f"{self._number} % 2 == {_REVISION_PARITY[suffix]}"
        # A family with one revision gives it to both services; service b then has desired count 0.
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
            # Without this, a change of capacity would replace both services and stop every worker. With it, a change of
            # capacity or network is a rolling update of the active service too; the percentages below make it harmless.
            force_new_deployment=True,
            network_configuration=task_network(service_props, self._task),
            # A rolling update waits for protected workers, which fill desiredCount: at 100 % ECS starts no more. At
            # 200 % it would start as many workers again, which would not be protected.
            deployment_minimum_healthy_percent=0,
            deployment_maximum_percent=100,
            # A rollback by ECS would change the revision outside of Terraform. If new workers do not start, the scaler
            # keeps the older service active and reports it.
            deployment_circuit_breaker=EcsServiceDeploymentCircuitBreaker(enable=False, rollback=False),
            availability_zone_rebalancing="DISABLED",
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            tags=WORKER_TAG,
            timeouts=EcsServiceTimeouts(delete=_DELETE_TIMEOUT),
            lifecycle=TerraformResourceLifecycle(ignore_changes=["desired_count"]),
            depends_on=[service_props.cluster.capacity, *service_props.ready],
        )
        service.add_override("desired_count", f"${{{is_newest} ? {hcl(fleet.min)} : 0}}")
        return service


def family(name: str, fleet: str) -> str:
    """Return the task definition family of a fleet; `name` is the prefix of the environment's resources."""
    # The scheduler of environment `x-worker` must not have the family of a fleet of `x`.
    return f"{name}-worker-{collision_free(fleet, reserved={'scheduler', 'triggerer', 'scaler'})}"


def service_names(fleet: str) -> tuple[str, ...]:
    """Return the names of the two ECS services of `fleet`."""
    return tuple(f"worker-{fleet}-{suffix}" for suffix in SERVICE_SUFFIXES)


def _labelled(containers: Sequence[ContainerSpec], fleet: ResolvedFleet) -> list[ContainerSpec]:
    """Return the containers with a capacity label, so that a change of the capacity creates a new revision."""
    return [
        replace(container, labels={CAPACITY_LABEL: fleet.capacity}) if container.name == "worker" else container
        for container in containers
    ]
