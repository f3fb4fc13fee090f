# SPDX-License-Identifier: Apache-2.0
"""The scaler as an ECS service like any other: one task, and never two at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cdktn import TerraformLocal
from constructs import Construct

from cdktf_app.containers import Container
from cdktf_app.fargate_service import FargateService, Replicas, Surroundings, Task
from cdktf_app.fleets import service_name
from cdktf_app.identities import Identities
from cdktf_app.images import Image
from cdktf_app.logs import Logs
from cdktf_app.metadata_database import MetadataDatabase
from cdktf_app.ports import AGENT_PORT, DATABASE_PORT, SCALER_PORT
from cdktf_app.roles import Roles
from cdktf_app.secrets import Generated, Secrets
from openmwaa.classes import TaskSize
from openmwaa.environment import Environment

# 70 MiB are measured; a quarter of a vCPU is Fargate's smallest.
_SIZE: Final = TaskSize(256, 512)
# A task that has not started within this many seconds no longer counts as one that is about to.
_LAUNCH_DEADLINE_S: Final = 300
_CONFIG_VERSION: Final = 1


class ScalerService(Construct):
    """The scaler's service, told of every fleet."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: Environment,
        surroundings: Surroundings,
        image: Image,
        secrets: Secrets,
        logs: Logs,
        roles: Roles,
        identities: Identities,
        database: MetadataDatabase,
        queue_urls: Mapping[str, str],
        security_group_id: str,
    ) -> None:
        super().__init__(scope, construct_id)
        where = {
            "host": database.host,
            "port": DATABASE_PORT,
            "name": "airflow",
            "user": "scaler",
            "sslmode": database.sslmode,
        }
        config = TerraformLocal(
            self, "config", scaler_config(environment, surroundings.cluster.name, where, queue_urls)
        )
        container = Container(
            name="scaler",
            image=image,
            log_group=logs.group("scaler"),
            region=environment.region,
            environment={
                "AWS_DEFAULT_REGION": environment.region,
                "SCALER_CONFIG": f"${{jsonencode({config.fqn})}}",
            },
            secrets={
                "SCALER_DATABASE_PASSWORD": secrets.arn(Generated.SCALER_DATABASE_PASSWORD),
                "SCALER_SIGNING_SEED": secrets.arn(Generated.SCALER_SIGNING_SEED),
            },
            port=SCALER_PORT,
        )
        execution = roles.execution_role("scaler", [container])
        own = roles.role("scaler", identities.scaler([service_name(fleet) for fleet in environment.fleets]))
        FargateService(
            self,
            "scaler",
            service="scaler",
            surroundings=surroundings,
            task=Task(
                size=_SIZE,
                containers=[container],
                execution_role_arn=execution.arn,
                task_role_arn=own.arn,
                security_group_id=security_group_id,
            ),
            # The old one ends before the new one begins: two would undo each other's decisions.
            replicas=Replicas(1, least_percent=0, most_percent=100),
            ready=[execution.ready, own.ready],
        )


def scaler_config(
    environment: Environment, cluster: str, database: Mapping[str, Any], queue_urls: Mapping[str, str]
) -> dict[str, Any]:
    """Return what the scaler reads from SCALER_CONFIG."""
    return {
        "version": _CONFIG_VERSION,
        "environment": environment.name,
        "region": environment.region,
        "cluster": cluster,
        "interval_s": environment.scaler.interval_seconds,
        "scale_in_window_s": environment.scaler.scale_in_window_seconds,
        "launch_deadline_s": _LAUNCH_DEADLINE_S,
        "agent_port": AGENT_PORT,
        "http_port": SCALER_PORT,
        "database": dict(database),
        "fleets": [
            {
                "name": fleet.name,
                "service": service_name(fleet.name),
                "queues": {queue: queue_urls[queue] for queue in fleet.queues},
                "slots": fleet.slots,
                "min": fleet.min,
                "max": fleet.max,
            }
            for fleet in environment.fleets.values()
        ],
    }
