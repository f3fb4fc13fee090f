# SPDX-License-Identifier: Apache-2.0
"""An ECS service on Fargate and its task definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cdktn import ITerraformDependable, Postcondition, TerraformLocal, TerraformResourceLifecycle
from cdktn_provider_aws.ecs_service import (
    EcsService,
    EcsServiceCapacityProviderStrategy,
    EcsServiceDeploymentCircuitBreaker,
    EcsServiceLoadBalancer,
    EcsServiceNetworkConfiguration,
)
from cdktn_provider_aws.ecs_task_definition import (
    EcsTaskDefinition,
    EcsTaskDefinitionRuntimePlatform,
    EcsTaskDefinitionVolume,
)
from constructs import Construct

from cdktf_app.base.policies import Statement
from cdktf_app.base.stack_context import StackContext
from cdktf_app.compute.cluster import ON_DEMAND, FargateCluster
from cdktf_app.compute.container_definition import ContainerSpec
from cdktf_app.compute.execution_role import execution_role
from cdktf_app.security.roles import Roles
from cdktf_app.web.target_groups import TargetGroup
from openmwaa.config.environment_classes import Architecture, TaskSize

_GRACE_S: Final = 300


@dataclass(frozen=True)
class ServiceProps:
    """Arguments of all services of an environment."""

    context: StackContext
    cluster: FargateCluster
    roles: Roles
    subnet_ids: Sequence[str]
    assign_public_ip: bool
    ready: Sequence[ITerraformDependable]
    """Resources that must exist before the first task starts, in addition to referenced ones."""

    def with_dependencies(self, more: Sequence[ITerraformDependable]) -> ServiceProps:
        """Return a copy for services that also need `more`, from their first task to their last."""
        return replace(self, ready=[*self.ready, *more])


@dataclass(frozen=True)
class TaskSpec:
    """The task of a service: size, containers, roles and security groups."""

    size: TaskSize
    containers: Sequence[ContainerSpec]
    execution_role_arn: str
    task_role_arn: str
    security_group_ids: Sequence[str]
    architecture: Architecture


@dataclass(frozen=True)
class Replicas:
    """Number of tasks; `min_percent` and `max_percent` limit it during a deployment."""

    count: int
    min_percent: int = 100
    max_percent: int = 200
    az_rebalancing: bool = False
    """Whether ECS may stop a task to balance the zones."""
    initial: bool = False
    """Whether `count` is only the initial number: Application Auto Scaling or the scaler changes it afterwards."""


class FargateService(Construct):
    """A service with its task definition, and roles with its name; the task role has the policy `statements`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        service_props: ServiceProps,
        *,
        service: str,
        size: TaskSize,
        containers: Sequence[ContainerSpec],
        statements: Sequence[Statement],
        security_group_ids: Sequence[str],
        replicas: Replicas,
        targets: Sequence[TargetGroup] = (),
        ready: Sequence[ITerraformDependable] = (),
        execute_command: bool = False,
        create_before_destroy: bool = False,
    ) -> None:
        super().__init__(scope, construct_id)
        listeners = [target.listener_rule for target in targets]
        execution = execution_role(service_props.roles, service, containers)
        task_role = service_props.roles.role(service, statements)
        task = TaskSpec(
            size=size,
            containers=containers,
            execution_role_arn=execution.arn,
            task_role_arn=task_role.arn,
            security_group_ids=security_group_ids,
            architecture=service_props.context.environment.architecture,
        )
        definition = task_definition(self, f"{service_props.context.name}-{service}", task)
        service_resource = EcsService(
            self,
            "service",
            name=service,
            cluster=service_props.cluster.arn,
            task_definition=definition.arn,
            desired_count=replicas.count,
            capacity_provider_strategy=[EcsServiceCapacityProviderStrategy(capacity_provider=ON_DEMAND, weight=1)],
            network_configuration=task_network(service_props, task),
            deployment_minimum_healthy_percent=replicas.min_percent,
            deployment_maximum_percent=replicas.max_percent,
            deployment_circuit_breaker=EcsServiceDeploymentCircuitBreaker(enable=True, rollback=True),
            availability_zone_rebalancing="ENABLED" if replicas.az_rebalancing else "DISABLED",
            enable_execute_command=execute_command,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            load_balancer=[_load_balancer(task, target) for target in targets] or None,
            health_check_grace_period_seconds=_GRACE_S if targets else None,
            # An apply waits until the service is stable, at most 20 minutes. A service that ECS rolled back is stable
            # too; provider 5.x accepts that, so the postcondition checks the revision.
            wait_for_steady_state=True,
            lifecycle=TerraformResourceLifecycle(
                create_before_destroy=create_before_destroy or None,
                ignore_changes=["desired_count"] if replicas.initial else None,
                postcondition=[_runs(definition, service)],
            ),
            depends_on=[
                service_props.cluster.capacity,
                *service_props.ready,
                *listeners,
                execution.ready,
                task_role.ready,
                *ready,
            ],
        )
        self.name: str = service_resource.name
        """A reference to the service: resources that use it are created after and destroyed before it."""
        self.healthy: ITerraformDependable = service_resource
        """Resources that depend on it are created when the service is healthy."""


def task_definition(scope: Construct, family: str, task: TaskSpec, *, retain: bool = False) -> EcsTaskDefinition:
    """Return the task definition of `task`; with `retain`, Terraform never deregisters it."""
    # A local value, so that a review reads structured containers, not a JSON string.
    containers = TerraformLocal(scope, "containers", [_definition(scope, container) for container in task.containers])
    volumes = sorted({mount.volume for container in task.containers for mount in container.mounts})
    return EcsTaskDefinition(
        scope,
        "task_definition",
        family=family,
        requires_compatibilities=["FARGATE"],
        network_mode="awsvpc",
        cpu=str(task.size.cpu),
        memory=str(task.size.memory),
        runtime_platform=EcsTaskDefinitionRuntimePlatform(
            operating_system_family="LINUX", cpu_architecture=task.architecture
        ),
        execution_role_arn=task.execution_role_arn,
        task_role_arn=task.task_role_arn,
        volume=[EcsTaskDefinitionVolume(name=volume) for volume in volumes] or None,
        container_definitions=f"${{jsonencode({containers.fqn})}}",
        skip_destroy=True if retain else None,
    )


def _definition(scope: Construct, container: ContainerSpec) -> dict[str, Any]:
    """Return the definition of `container`; its variables are a local value, which a review reads as a map."""
    if not container.environment:
        return container.definition()
    variables = TerraformLocal(scope, f"{container.name}_environment", dict(container.environment)).fqn
    if container.more_environment is not None:
        variables = f"merge({variables}, {container.more_environment})"
    environment = f"${{[for name, value in {variables} : {{ name = name, value = value }}]}}"
    return {**container.definition(), "environment": environment}


def _runs(definition: EcsTaskDefinition, service: str) -> Postcondition:
    """Return the postcondition that `service` runs the applied revision."""
    return Postcondition(
        condition=f"${{self.task_definition == {definition.fqn}.arn}}",
        error_message=(
            f"ECS rolled back {service}: its new tasks did not become healthy. "
            "`openmwaa wait --for control-plane` shows the cause."
        ),
    )


def task_network(service_props: ServiceProps, task: TaskSpec) -> EcsServiceNetworkConfiguration:
    """Return the network configuration: subnets, the task's security groups, whether it has a public address."""
    return EcsServiceNetworkConfiguration(
        subnets=list(service_props.subnet_ids),
        security_groups=list(task.security_group_ids),
        assign_public_ip=service_props.assign_public_ip,
    )


def _load_balancer(task: TaskSpec, target: TargetGroup) -> EcsServiceLoadBalancer:
    name = next(container.name for container in task.containers if container.port == target.port)
    return EcsServiceLoadBalancer(target_group_arn=target.group_arn, container_name=name, container_port=target.port)
