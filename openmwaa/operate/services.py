# SPDX-License-Identifier: Apache-2.0
"""ECS services of a running environment, by DescribeServices."""

from collections.abc import Mapping, Sequence
from typing import Any

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import NotRunningError

_BATCH = 10
"""The limit of services per DescribeServices call."""


def describe(connection: Connection, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return the services `names` of the environment's cluster, by name.

    Raises:
        OperateError: ECS refuses or does not answer.
        NotRunningError: one of the services does not exist.
    """
    ecs = connection.client("ecs")
    found: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(names), _BATCH):
        with aws_errors(connection, "ecs:DescribeServices", f"the services of the cluster {connection.resource_name}"):
            answer = ecs.describe_services(
                cluster=connection.resource_name, services=list(names[start : start + _BATCH])
            )
        found |= {service["serviceName"]: service for service in answer["services"] if service["status"] == "ACTIVE"}
    missing = [name for name in names if name not in found]
    if missing:
        raise NotRunningError(
            f"The cluster {connection.resource_name} has no service {', '.join(missing)}. Was this file applied?"
        )
    return found


def primary(service: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the newest deployment of a service; empty if there is none."""
    deployments = service.get("deployments", ())
    return next((deployment for deployment in deployments if deployment["status"] == "PRIMARY"), {})
