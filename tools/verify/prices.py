# SPDX-License-Identifier: Apache-2.0
"""About what an environment costs while it stands: enough to warn a person, not a bill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cdktf_app.main import document
from openmwaa.config.environment import Environment

# USD an hour in us-east-1, on demand.
_EACH: Final[Mapping[str, float]] = {
    "aws_nat_gateway": 0.045,
    "aws_eip": 0.005,
    "aws_lb": 0.0225,
    "aws_vpc_endpoint": 0.02,  # an interface endpoint in two zones
    "aws_rds_cluster_instance": 0.06,  # half an Aurora capacity unit
    "aws_db_instance": 0.13,  # db.t4g.medium, two zones
    "aws_elasticache_replication_group": 0.064,  # two cache.t4g.small
}
_VCPU: Final = 0.04048
_GIB: Final = 0.004445


def usd_an_hour(environment: Environment) -> float:
    """Return about what an hour of `environment` costs, without traffic, logs and storage."""
    resources = document(environment)["resource"]
    total = sum(price * len(resources.get(kind, {})) for kind, price in _EACH.items())
    tasks = resources["aws_ecs_task_definition"]
    # A fleet's fewest workers are in one of its generations.
    workers = {f"worker-{fleet.name}-a": fleet.min for fleet in environment.fleets.values()}
    workers |= {f"worker-{fleet}-b": 0 for fleet in environment.fleets}
    for name, service in resources["aws_ecs_service"].items():
        task = tasks.get(name) or tasks[_definition_of(service)]
        count = workers.get(service["name"], service.get("desired_count") or 0)
        total += count * (int(task["cpu"]) / 1024 * _VCPU + int(task["memory"]) / 1024 * _GIB)
    return total


def _definition_of(service: Mapping[str, Any]) -> str:
    text = json.dumps(service["task_definition"])
    return text.partition("aws_ecs_task_definition.")[2].partition(".")[0].partition("}")[0]
