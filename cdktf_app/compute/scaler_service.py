# SPDX-License-Identifier: Apache-2.0
"""The scaler as an ECS service: one task, never two at the same time."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cdktn import ITerraformDependable, TerraformLocal, TerraformResource
from constructs import Construct

from cdktf_app.base.expressions import is_expression
from cdktf_app.base.local_values import overridable_local
from cdktf_app.base.log_groups import LogGroups
from cdktf_app.base.resource_names import PREFIX, escape_template
from cdktf_app.base.stack_context import StackContext
from cdktf_app.broker.base import CeleryBroker
from cdktf_app.compute.airflow_services import replicas_of
from cdktf_app.compute.container_definition import SCALER_USER, ContainerSpec
from cdktf_app.compute.fargate_service import FargateService, Replicas, ServiceProps
from cdktf_app.compute.images import Image
from cdktf_app.compute.task_policies import METRICS_NAMESPACE, TaskPolicies
from cdktf_app.compute.worker_fleets import service_names
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.security.secrets import EnvironmentSecrets, GeneratedSecret
from cdktf_app.web.target_groups import TargetGroup
from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import TaskSize
from openmwaa.config.fleet import DemandMetric, ResolvedFleet
from openmwaa.config.ports import AGENT_PORT, SCALER_PORT
from openmwaa.config.regions import region_table
from openmwaa.cost.price_list import list_prices, task_units, worker_hour
from openmwaa.errors import CostError

# Measured memory: 70 MiB. 0.25 vCPU is the minimum of Fargate.
_SIZE: Final = TaskSize(256, 512)
# The scaler no longer counts a task as starting after this many seconds.
_LAUNCH_DEADLINE_S: Final = 300
_CONFIG_VERSION: Final = 2


class ScalerService(Construct):
    """The scaler's service, with the configuration of every fleet."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        service_props: ServiceProps,
        *,
        image: Image,
        secrets: EnvironmentSecrets,
        logs: LogGroups,
        task_policies: TaskPolicies,
        database: MetadataDatabase,
        broker: CeleryBroker,
        security_group_id: str,
        target: TargetGroup,
        web_url: str,
        ready: Sequence[ITerraformDependable],
    ) -> None:
        super().__init__(scope, construct_id)
        environment = service_props.context.environment
        group = logs.group("scaler")
        # Overridable, because emulators have no console.
        log_url = overridable_local(self, "log_url", _console_url(environment.region, group.name))
        settings = TerraformLocal(
            self,
            "config",
            {
                **scaler_config(service_props, database, broker),
                **self._sleep_config(service_props.context, database),
                "log_group": group.name,
                "web_url": web_url,
                "log_url": log_url,
            },
        )
        container = ContainerSpec(
            name="scaler",
            image=image,
            log_group=group,
            region=environment.region,
            environment={
                "AWS_DEFAULT_REGION": environment.region,
                "OPENMWAA_DATABASE_PASSWORDS": str(environment.rotation.database_passwords),
                "SCALER_CONFIG": f"${{jsonencode({settings.fqn})}}",
            },
            secrets=_secrets(secrets, broker),
            port=SCALER_PORT,
            user=SCALER_USER,
        )
        services = [service for fleet in environment.fleets for service in service_names(fleet)]
        self.healthy = FargateService(
            self,
            "scaler",
            service_props,
            service="scaler",
            size=_SIZE,
            containers=[container],
            statements=[
                *task_policies.scaler(services, overrides_prefix(environment)),
                *(task_policies.sleep(sleep_parameters(environment), database) if environment.sleep else ()),
            ],
            security_group_ids=(security_group_id,),
            # The old task stops before the new one starts: two scalers would overwrite each other's decisions.
            replicas=Replicas(1, min_percent=0, max_percent=100),
            targets=[target],
            # Created after the fleets and destroyed before them: otherwise it would raise the desired counts that a
            # destroy sets to zero.
            ready=ready,
        ).healthy

    def _sleep_config(self, context: StackContext, database: MetadataDatabase) -> dict[str, Any]:
        """Return the part of SCALER_CONFIG for an environment that may sleep."""
        environment = context.environment
        if environment.sleep is None:
            return {}
        settings = {
            # New for each creation: what was recorded before has no effect.
            "id": f"${{{TerraformResource(self, 'sleep', terraform_resource_type='terraform_data').fqn}.id}}",
            **sleep_parameters(environment),
            "services": {name: replicas_of(environment, name).count for name in environment.services},
            "scaled": ["web-server"] if environment.scales_webservers else [],
            "database": database.dimensions.get("DBInstanceIdentifier"),
            "alarm_prefix": f"{context.name}/" if environment.monitoring.alarms else None,
            **environment.sleep.model_dump(),
        }
        return {"sleep": {name: value for name, value in settings.items() if value is not None}}


def _secrets(secrets: EnvironmentSecrets, broker: CeleryBroker) -> dict[str, str]:
    known = {
        "SCALER_DATABASE_PASSWORD": GeneratedSecret.SCALER_DATABASE_PASSWORD,
        "SCALER_SIGNING_SEED": GeneratedSecret.SCALER_SIGNING_SEED,
    }
    if GeneratedSecret.SCALER_OVERRIDES_KEY in secrets:
        known["SCALER_OVERRIDES_KEY"] = GeneratedSecret.SCALER_OVERRIDES_KEY
    if "scaler" in broker.secrets:
        known["SCALER_REDIS_PASSWORD"] = broker.secrets["scaler"]
    return {variable: secrets.arn(secret) for variable, secret in known.items()}


def scaler_config(service_props: ServiceProps, database: MetadataDatabase, broker: CeleryBroker) -> dict[str, Any]:
    """Return the content of SCALER_CONFIG without links and log."""
    environment = service_props.context.environment
    timing = environment.scaler
    ahead: dict[str, Any] = {}
    if timing.look_ahead != "off":
        ahead["look_ahead"] = {
            "wait_worth": timing.wait_worth,
            "headroom": timing.headroom == "on",
            "shadow": timing.look_ahead == "shadow",
        }
    return {
        "version": _CONFIG_VERSION,
        "environment": environment.name,
        "region": environment.region,
        "cluster": service_props.cluster.name,
        "interval_s": timing.interval_seconds,
        "scale_in_window_s": timing.scale_in_window_seconds,
        "launch_deadline_s": _LAUNCH_DEADLINE_S,
        "agent_port": AGENT_PORT,
        "http_port": SCALER_PORT,
        "database": {
            "host": database.host,
            "port": database.port,
            "name": "airflow",
            "user": "scaler",
            "sslmode": database.sslmode,
        },
        "broker": dict(broker.for_scaler),
        "overrides_prefix": overrides_prefix(environment),
        "metrics_namespace": METRICS_NAMESPACE,
        "fleets": [
            _fleet_config(fleet, broker.urls)
            | ahead
            | _price(fleet, environment.region, service_props.assign_public_ip)
            for fleet in environment.fleets.values()
        ],
    }


def overrides_prefix(environment: Environment) -> str:
    """Return the prefix of the SSM parameters with manual overrides; the fleet's name is appended."""
    return f"/{PREFIX}/{environment.name}/scaler/"


def sleep_parameters(environment: Environment) -> dict[str, str]:
    """Return the SSM parameters of sleep: the command of a user, and what the scaler records."""
    prefix = f"/{PREFIX}/{environment.name}/sleep"
    return {"command": prefix, "memory": f"{prefix}-memory"}


def _fleet_config(fleet: ResolvedFleet, queue_urls: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": fleet.name,
        "services": list(service_names(fleet.name)),
        "queues": {queue: queue_urls[queue] for queue in fleet.queues},
        "slots": fleet.slots,
        "min": fleet.min,
        "max": fleet.max,
        "schedule": [minimum.model_dump() for minimum in fleet.schedule],
        "fallback": {
            "mode": fleet.fallback.mode,
            "count": fleet.fallback.count or 0,
            "after_s": fleet.fallback.after_seconds,
        },
        "desired_count_drift": fleet.desired_count_drift,
        **(_metric_config(fleet.demand_metric) if fleet.demand_metric else {}),
    }


def _price(fleet: ResolvedFleet, region: str, public_ip: bool) -> dict[str, float]:
    """Return the list price of a worker-hour; nothing for a Region without prices, or if Terraform has the size."""
    if is_expression(fleet.cpu):
        return {}
    spot = fleet.capacity == "FARGATE_SPOT"
    units = task_units(fleet.cpu, fleet.memory, fleet.architecture, spot=spot, public_ip=public_ip)
    try:
        return {"worker_hour_usd": worker_hour(list_prices(region), units)}
    except CostError:
        return {}


def _console_url(region: str, group: str) -> str:
    domains = {"aws-cn": "amazonaws.cn", "aws-us-gov": "amazonaws-us-gov.com"}
    domain = domains.get(region_table().partitions.get(region, ""), "aws.amazon.com")
    return f"https://{region}.console.{domain}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}"


def _metric_config(metric: DemandMetric) -> dict[str, Any]:
    written = json.loads(escape_template(metric.model_dump_json(exclude={"period_seconds"})))
    return {"demand_metric": {**written, "period_s": metric.period_seconds}}
