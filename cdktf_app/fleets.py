# SPDX-License-Identifier: Apache-2.0
"""Worker fleets: one service each, whose number of tasks belongs to the scaler.

ECS must not stop a worker of its own accord: no rebalancing of zones, no health check that load could fail, a sidecar
whose end does not end the task, and the longest notice that Fargate gives.
"""

from __future__ import annotations

from constructs import Construct

from cdktf_app.airflow_containers import AirflowContainers
from cdktf_app.fargate_service import FargateService, Replicas, Surroundings, Task
from cdktf_app.identities import Identities
from cdktf_app.roles import Roles
from openmwaa.classes import TaskSize
from openmwaa.environment import Environment


class Fleets(Construct):
    """The fleets of an environment; `services` are their ECS services by fleet."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        surroundings: Surroundings,
        containers: AirflowContainers,
        roles: Roles,
        identities: Identities,
        security_group_id: str,
    ) -> None:
        super().__init__(scope, construct_id)
        fleets = list(environment.fleets.values())
        # Workers of every fleet are given the same image, log group and secret.
        execution = roles.execution_role("worker", containers.worker(fleets[0]))
        ready = [execution.ready]
        worker_role_arn = environment.execution_role_arn
        if worker_role_arn is None:
            own = roles.role("worker", identities.worker())
            worker_role_arn = own.arn
            ready.append(own.ready)
        for fleet in fleets:
            FargateService(
                self,
                fleet.name,
                service=service_name(fleet.name),
                surroundings=surroundings,
                task=Task(
                    size=TaskSize(fleet.cpu, fleet.memory),
                    containers=containers.worker(fleet),
                    execution_role_arn=execution.arn,
                    task_role_arn=worker_role_arn,
                    security_group_id=security_group_id,
                ),
                replicas=Replicas(fleet.min, sized_by_scaler=True),
                ready=ready,
            )


def service_name(fleet: str) -> str:
    """Return the name of the ECS service of `fleet`."""
    return f"worker-{fleet}"
