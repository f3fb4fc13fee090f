# SPDX-License-Identifier: Apache-2.0
"""Airflow's control plane: one ECS service for all components, or one for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from cdktn import ITerraformDependable, TerraformResource
from constructs import Construct

from cdktf_app.base.policies import EVERY, Statement
from cdktf_app.compute.airflow_containers import AirflowContainers
from cdktf_app.compute.fargate_service import FargateService, Replicas, ServiceProps
from cdktf_app.compute.web_autoscaling import WebAutoscaling
from cdktf_app.network.security_groups import SecurityGroups
from cdktf_app.web.target_groups import TargetGroup
from cdktf_app.web.web_access import WebEntrypoints
from openmwaa.config.control_plane import COMPACT_SERVICE
from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import TaskSize

# Running tasks fail without the execution API: two tasks in two zones, also during a deployment.
_EXECUTION_API_TASKS: Final = 2
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
        service_props: ServiceProps,
        *,
        containers: AirflowContainers,
        statements: Mapping[str, Sequence[Statement]],
        access: WebEntrypoints,
        groups: SecurityGroups,
    ) -> None:
        super().__init__(scope, construct_id)
        environment = service_props.context.environment
        targets: dict[str, list[TargetGroup | None]] = {
            "web-server": [*access.web],
            "execution-api": [access.internal.execution_api],
        }
        self.healthy: list[ITerraformDependable] = []
        sessions = [_SESSIONS] if environment.enable_execute_command else []
        for name, components in environment.services.items():
            replicas = replicas_of(environment, name)
            extra_groups = environment.network.security_group_ids if _RUNS_DAG_CODE.intersection(components) else ()
            # Components may need the same statement.
            calls = {statement.sid: statement for component in components for statement in statements[component]}
            service = FargateService(
                self,
                name.replace("-", "_"),
                service_props.with_dependencies(groups.rules_of(name)),
                service=name,
                size=_size(environment, name),
                containers=containers.control_plane(components),
                statements=[*calls.values(), *sessions],
                security_group_ids=(groups.of_components[name], *extra_groups),
                replicas=replicas,
                targets=[target for component in components for target in targets.get(component, ()) if target],
                execute_command=environment.enable_execute_command,
                create_before_destroy=True,
            )
            self.healthy.append(service.healthy)
            if name == "web-server" and environment.scales_webservers:
                WebAutoscaling(
                    self,
                    "web_autoscaling",
                    service_props,
                    service=service.name,
                    internal=access.internal.web,
                    public=access.public.web if access.public else None,
                )
        # If `control_plane` changes, Terraform updates this resource when the new services are healthy. It destroys the
        # old services after that, because of `create_before_destroy`: running tasks always have an execution API.
        TerraformResource(
            self, "services", terraform_resource_type="terraform_data", depends_on=self.healthy
        ).add_override("input", list(environment.services))


def replicas_of(environment: Environment, service: str) -> Replicas:
    """Return the number of tasks of a service of the control plane; the scaler owns it if the environment may sleep."""
    found = {
        COMPACT_SERVICE: Replicas(environment.schedulers, az_rebalancing=True),
        "scheduler": Replicas(environment.schedulers),
        "dag-processor": Replicas(1),
        "triggerer": Replicas(1),
        "execution-api": Replicas(_EXECUTION_API_TASKS, az_rebalancing=True),
        "web-server": Replicas(
            environment.min_webservers,
            az_rebalancing=environment.has_many_webservers,
            initial=environment.scales_webservers,
        ),
    }[service]
    return replace(found, initial=True) if environment.sleep else found


def _size(environment: Environment, service: str) -> TaskSize:
    """Return the configured size of `service`, else the size of the environment class."""
    class_size, sizes = environment.size, environment.sizes
    configured, default = {
        COMPACT_SERVICE: (sizes.control_plane, class_size.control_plane),
        "scheduler": (sizes.scheduler, class_size.scheduler),
        "dag-processor": (sizes.dag_processor, class_size.scheduler),
        "triggerer": (sizes.triggerer, class_size.scheduler),
        "execution-api": (sizes.execution_api, class_size.webserver),
        "web-server": (sizes.webserver, class_size.webserver),
    }[service]
    return configured.task_size if configured else default
