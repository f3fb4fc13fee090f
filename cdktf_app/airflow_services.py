# SPDX-License-Identifier: Apache-2.0
"""Airflow's control plane: a service for the scheduler and each of its companions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from constructs import Construct

from cdktf_app.airflow_containers import AirflowContainers
from cdktf_app.fargate_service import FargateService, Replicas, Surroundings, Task
from cdktf_app.load_balancer import LoadBalancer
from cdktf_app.policies import Statement
from cdktf_app.roles import Roles
from openmwaa.classes import TaskSize
from openmwaa.environment import Environment

# Running tasks fail without the execution API: two tasks, in two zones, and never fewer while a new version rolls out.
_EXECUTION_APIS: Final = 2


class AirflowServices(Construct):
    """Scheduler, DAG processor, triggerer, execution API and web server."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        surroundings: Surroundings,
        containers: AirflowContainers,
        roles: Roles,
        statements: Mapping[str, Sequence[Statement]],
        load_balancer: LoadBalancer,
        security_group_id: str,
    ) -> None:
        super().__init__(scope, construct_id)
        targets = {"web-server": load_balancer.web, "execution-api": load_balancer.execution_api}
        for component, replicas in _replicas(environment).items():
            parts = containers.control_plane(component)
            execution = roles.execution_role(component, parts)
            own = roles.role(component, statements[component])
            FargateService(
                self,
                component.replace("-", "_"),
                service=component,
                surroundings=surroundings,
                task=Task(
                    size=_size(environment, component),
                    containers=parts,
                    execution_role_arn=execution.arn,
                    task_role_arn=own.arn,
                    security_group_id=security_group_id,
                ),
                replicas=replicas,
                target=targets.get(component),
                ready=[execution.ready, own.ready],
            )


def _replicas(environment: Environment) -> Mapping[str, Replicas]:
    return {
        "scheduler": Replicas(environment.schedulers),
        "dag-processor": Replicas(1),
        "triggerer": Replicas(1),
        "execution-api": Replicas(_EXECUTION_APIS, over_zones=True),
        "web-server": Replicas(1),
    }


def _size(environment: Environment, component: str) -> TaskSize:
    if component in {"web-server", "execution-api"}:
        return environment.size.webserver
    return environment.size.scheduler
