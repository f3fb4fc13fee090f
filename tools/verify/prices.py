# SPDX-License-Identifier: Apache-2.0
"""The approximate cost of an environment by the hour, and its confirmation before anything is applied."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cdktf_app.main import document
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from tools.verify.errors import RefusedError

# USD an hour in us-east-1, on demand.
_HOURLY: Final[Mapping[str, float]] = {
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


def confirm(files: Sequence[Path]) -> None:
    """Print the costs and read the word `costs` from standard input.

    Raises:
        RefusedError: another word was typed.
    """
    hourly = {file.parent.name: usd_an_hour(load(file)) for file in files}
    sys.stderr.write(
        f"This applies {', '.join(hourly)} in the account of your AWS credentials, one after the other, and destroys "
        f"each.\nAn environment costs about {max(hourly.values()):.2f} USD an hour (prices of us-east-1, without "
        "traffic). An example takes 20 to 40 minutes.\nType the word `costs` to continue: "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip() != "costs":
        raise RefusedError("Nothing was applied.")


def usd_an_hour(environment: Environment) -> float:
    """Return the approximate cost of an hour, without traffic, logs and storage."""
    resources = document(environment)["resource"]
    total = sum(price * len(resources.get(kind, {})) for kind, price in _HOURLY.items())
    tasks = resources["aws_ecs_task_definition"]
    # The minimum of workers is in one of a fleet's two services.
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
