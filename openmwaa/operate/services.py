# SPDX-License-Identifier: Apache-2.0
"""ECS services of an environment that runs, as DescribeServices tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import NotRunningError

_BATCH = 10
"""DescribeServices takes so many services a call."""


def describe(connection: Connection, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return the services `names` of the environment's cluster, by name.

    Raises:
        OperateError: ECS cannot be asked.
        NotRunningError: one of them is not there.
    """
    ecs = connection.client("ecs")
    found: dict[str, Mapping[str, Any]] = {}
    for start in range(0, len(names), _BATCH):
        with aws_errors(connection, "ecs:DescribeServices", f"the services of the cluster {connection.resource_name}"):
            answer = ecs.describe_services(
                cluster=connection.resource_name, services=list(names[start : start + _BATCH])
            )
        found |= {one["serviceName"]: one for one in answer["services"] if one["status"] == "ACTIVE"}
    missing = [name for name in names if name not in found]
    if missing:
        raise NotRunningError(
            f"The cluster {connection.resource_name} has no service {', '.join(missing)}. Was this file applied?"
        )
    return found


def primary(service: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the newest deployment of a service; empty where it has none."""
    return next((each for each in service.get("deployments", ()) if each["status"] == "PRIMARY"), {})


def revision(task_definition: str) -> int:
    """Return the revision that the ARN of a task definition ends in; 0 where it ends in none."""
    number = task_definition.rpartition(":")[2]
    return int(number) if number.isascii() and number.isdigit() else 0
