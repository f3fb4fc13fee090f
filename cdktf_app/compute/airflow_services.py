# SPDX-License-Identifier: Apache-2.0
"""Airflow's control plane: a service for the scheduler and each of its companions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from cdktn import ITerraformDependable
from constructs import Construct

from cdktf_app.base.policies import EVERY, Statement
from cdktf_app.compute.airflow_containers import AirflowContainers
from cdktf_app.compute.execution_role import execution_role
from cdktf_app.compute.fargate_service import FargateService, Replicas, ServiceProps, TaskSpec
from cdktf_app.compute.web_autoscaling import WebAutoscaling
from cdktf_app.network.security_groups import SecurityGroups
from cdktf_app.security.roles import Roles
from cdktf_app.web.web_access import WebEntrypoints
from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import TaskSize

# Running tasks fail without the execution API: two tasks, in two zones, and never fewer while a new version rolls out.
_EXECUTION_APIS: Final = 2
_RUNS_DAG_CODE: Final = frozenset({"dag-processor", "triggerer"})
_SESSIONS: Final = Statement(
    sid="ExecuteCommand",
    actions=(
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ),
    resources=EVERY,
    every_resource_because="ECS Exec's channels have no ARN",
)


class AirflowServices(Construct):
    """Scheduler, DAG processor, triggerer, execution API and web server."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        service_props: ServiceProps,
        containers: AirflowContainers,
        roles: Roles,
        statements: Mapping[str, Sequence[Statement]],
        access: WebEntrypoints,
        groups: SecurityGroups,
    ) -> None:
        super().__init__(scope, construct_id)
        targets = {"web-server": access.web, "execution-api": [access.internal.execution_api]}
        self.healthy: list[ITerraformDependable] = []
        sessions = [_SESSIONS] if environment.enable_execute_command else []
        for component, replicas in _replicas(environment).items():
            parts = containers.control_plane(component)
            execution = execution_role(roles, component, parts)
            own = roles.role(component, [*statements[component], *sessions])
            given = environment.network.security_group_ids if component in _RUNS_DAG_CODE else ()
            service = FargateService(
                self,
                component.replace("-", "_"),
                service=component,
                service_props=service_props.after(groups.rules_of(component)),
                task=TaskSpec(
                    size=_size(environment, component),
                    containers=parts,
                    execution_role_arn=execution.arn,
                    task_role_arn=own.arn,
                    security_group_ids=(groups.of_components[component], *given),
                    architecture=environment.architecture,
                ),
                replicas=replicas,
                targets=targets.get(component, ()),
                ready=[execution.ready, own.ready],
                execute_command=environment.enable_execute_command,
            )
            self.healthy.append(service.healthy)
            if replicas.scaled:
                WebAutoscaling(
                    self,
                    "web_autoscaling",
                    name=service_props.name,
                    cluster=service_props.cluster.name,
                    service=service.name,
                    least=environment.min_webservers,
                    most=environment.max_webservers,
                    internal=access.internal.web,
                    public=access.public.web if access.public else None,
                )


def _replicas(environment: Environment) -> Mapping[str, Replicas]:
    return {
        "scheduler": Replicas(environment.schedulers),
        "dag-processor": Replicas(1),
        "triggerer": Replicas(1),
        "execution-api": Replicas(_EXECUTION_APIS, az_rebalancing=True),
        "web-server": Replicas(
            environment.min_webservers,
            az_rebalancing=environment.has_many_webservers,
            scaled=environment.scales_webservers,
        ),
    }


def _size(environment: Environment, component: str) -> TaskSize:
    """Return what `sizes` says, else what the environment's class has: those that serve HTTP are web servers."""
    of_class, sizes = environment.size, environment.sizes
    synth_value, otherwise = {
        "scheduler": (sizes.scheduler, of_class.scheduler),
        "dag-processor": (sizes.dag_processor, of_class.scheduler),
        "triggerer": (sizes.triggerer, of_class.scheduler),
        "execution-api": (sizes.execution_api, of_class.webserver),
        "web-server": (sizes.webserver, of_class.webserver),
    }[component]
    return synth_value.task_size if synth_value else otherwise
