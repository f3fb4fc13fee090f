# SPDX-License-Identifier: Apache-2.0
"""The scaler as an ECS service like any other: one task, and never two at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cdktn import ITerraformDependable, TerraformLocal
from constructs import Construct

from cdktf_app.base.log_groups import Logs
from cdktf_app.base.ports import AGENT_PORT, SCALER_PORT
from cdktf_app.base.resource_names import PREFIX
from cdktf_app.broker.base import Broker
from cdktf_app.compute.container_definition import SCALER_USER, Container
from cdktf_app.compute.execution_role import execution_role
from cdktf_app.compute.fargate_service import FargateService, Replicas, Surroundings, Task
from cdktf_app.compute.images import Image
from cdktf_app.compute.task_policies import METRICS_NAMESPACE, Identities
from cdktf_app.compute.worker_fleets import service_names
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.security.roles import Roles
from cdktf_app.security.secrets import Generated, Secrets
from cdktf_app.web.target_groups import Target
from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import TaskSize
from openmwaa.config.fleet import Fleet

# 70 MiB are measured; a quarter of a vCPU is Fargate's smallest.
_SIZE: Final = TaskSize(256, 512)
# A task that has not started within this many seconds no longer counts as one that is about to.
_LAUNCH_DEADLINE_S: Final = 300
_CONFIG_VERSION: Final = 2


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
        broker: Broker,
        security_group_id: str,
        target: Target,
        fleets: Sequence[ITerraformDependable],
    ) -> None:
        super().__init__(scope, construct_id)
        settings = scaler_config(environment, surroundings.cluster.name, _login(database), broker)
        container = self._container(environment, settings, image, _secrets(secrets, broker), logs)
        execution = execution_role(roles, "scaler", [container])
        own = roles.role("scaler", identities.scaler(_services(environment), overrides_prefix(environment)))
        self.healthy = FargateService(
            self,
            "scaler",
            service="scaler",
            surroundings=surroundings,
            task=Task(
                size=_SIZE,
                containers=[container],
                execution_role_arn=execution.arn,
                task_role_arn=own.arn,
                security_group_ids=(security_group_id,),
                architecture=environment.architecture,
            ),
            # The old one ends before the new one begins: two would undo each other's decisions.
            replicas=Replicas(1, least_percent=0, most_percent=100),
            targets=[target],
            # After the fleets, and destroyed before them: it would size again what `destroy` has set to zero.
            ready=[execution.ready, own.ready, *fleets],
        ).healthy

    def _container(
        self, environment: Environment, settings: dict[str, Any], image: Image, secrets: Mapping[str, str], logs: Logs
    ) -> Container:
        config = TerraformLocal(self, "config", settings)
        return Container(
            name="scaler",
            image=image,
            log_group=logs.group("scaler"),
            region=environment.region,
            environment={
                "AWS_DEFAULT_REGION": environment.region,
                "OPENMWAA_DATABASE_PASSWORDS": str(environment.rotation.database_passwords),
                "SCALER_CONFIG": f"${{jsonencode({config.fqn})}}",
            },
            secrets=secrets,
            port=SCALER_PORT,
            user=SCALER_USER,
        )


def _secrets(secrets: Secrets, broker: Broker) -> dict[str, str]:
    known = {
        "SCALER_DATABASE_PASSWORD": Generated.SCALER_DATABASE_PASSWORD,
        "SCALER_SIGNING_SEED": Generated.SCALER_SIGNING_SEED,
    }
    if "scaler" in broker.secrets:
        known["SCALER_REDIS_PASSWORD"] = broker.secrets["scaler"]
    return {variable: secrets.arn(secret) for variable, secret in known.items()}


def _login(database: MetadataDatabase) -> dict[str, Any]:
    return {
        "host": database.host,
        "port": database.port,
        "name": "airflow",
        "user": "scaler",
        "sslmode": database.sslmode,
    }


def scaler_config(
    environment: Environment, cluster: str, database: Mapping[str, Any], broker: Broker
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
        "broker": dict(broker.for_scaler),
        "overrides_prefix": overrides_prefix(environment),
        "metrics_namespace": METRICS_NAMESPACE,
        "fleets": [_fleet_config(fleet, broker.urls) for fleet in environment.fleets.values()],
    }


def overrides_prefix(environment: Environment) -> str:
    """Return what the names of the SSM parameters with a person's orders begin with; a fleet's name follows."""
    return f"/{PREFIX}/{environment.name}/scaler/"


def _fleet_config(fleet: Fleet, queue_urls: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": fleet.name,
        "services": list(service_names(fleet.name)),
        "queues": {queue: queue_urls[queue] for queue in fleet.queues},
        "slots": fleet.slots,
        "min": fleet.min,
        "max": fleet.max,
        "schedule": [one.model_dump() for one in fleet.schedule],
        "fallback": {
            "mode": fleet.fallback.mode,
            "count": fleet.fallback.count or 0,
            "after_s": fleet.fallback.after_seconds,
        },
        "desired_count_drift": fleet.hand_made_desired,
    }


def _services(environment: Environment) -> list[str]:
    return [service for fleet in environment.fleets for service in service_names(fleet)]
