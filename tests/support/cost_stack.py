# SPDX-License-Identifier: Apache-2.0
"""A small stack, and any stack as the state has it after an apply: blocks are lists, references are values."""

import json
from typing import Any

from openmwaa.cost.stack import Resource
from tests.support.stack import Json

ACCOUNT = "arn:aws:ecs:us-east-1:123456789012"


def service(name: str, count: Any, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "desired_count": count,
        "task_definition": "${aws_ecs_task_definition.some.arn}",
        "capacity_provider_strategy": [{"capacity_provider": "FARGATE", "weight": 1}],
        "network_configuration": {"assign_public_ip": False},
        "lifecycle": {},
        **fields,
    }


def document(fleet_min: int = 1, /, **resources: dict[str, Any]) -> dict[str, Any]:
    """A stack with one service of two tasks and one fleet, and `resources`."""
    return {
        "resource": {
            "aws_ecs_task_definition": {
                "some": {
                    "family": "openmwaa-example-some",
                    "cpu": "1024",
                    "memory": "2048",
                    "runtime_platform": {"cpu_architecture": "X86_64"},
                },
                "scaler": {"family": "openmwaa-example-scaler"},
            },
            "aws_ecs_service": {
                "some": service("some", 2),
                **{
                    f"fleets_default_{letter}": service(
                        f"worker-default-{letter}",
                        f"${{local.newest % 2 == {parity} ? {fleet_min} : 0}}",
                        task_definition="${aws_ecs_task_definition.some.arn_without_revision}:${local.revision}",
                        lifecycle={"ignore_changes": ["desired_count"]},
                    )
                    for letter, parity in (("a", 1), ("b", 0))
                },
            },
            **resources,
        },
        "locals": {
            "scaler_config": {
                "fleets": [{"name": "default", "services": ["worker-default-a", "worker-default-b"], "min": fleet_min}]
            }
        },
    }


def state_of(document: Json, running: int = 7) -> list[Resource]:
    """Every resource; every service has `running` tasks where Terraform ignores the number."""
    return [
        Resource(kind, name, _values(kind, name, values, document, running))
        for kind, named in document["resource"].items()
        for name, values in named.items()
    ]


def _values(kind: str, name: str, values: Json, document: Json, running: int) -> dict[str, Any]:
    known = {
        field: [value] if isinstance(value, dict) and field != "tags" else value
        for field, value in values.items()
        if field not in {"lifecycle", "depends_on", "timeouts", "for_each"}
    }
    if kind == "aws_ecs_service":
        definition = values["task_definition"].partition(".")[2].partition(".")[0]
        family = document["resource"]["aws_ecs_task_definition"][definition]["family"]
        known["task_definition"] = f"{ACCOUNT}:task-definition/{family}:3"
        if "desired_count" in values["lifecycle"].get("ignore_changes", ()):
            known["desired_count"] = running
    if (kind, name) == ("aws_ecs_task_definition", "scaler"):
        settings = {"name": "SCALER_CONFIG", "value": json.dumps(document["locals"]["scaler_config"])}
        known["container_definitions"] = json.dumps([{"name": "scaler", "environment": [settings]}])
    if kind == "aws_appautoscaling_target":
        known["resource_id"] = "service/openmwaa-example/web-server"
    return known


def with_charged_state(plan: Json, document: Json) -> dict[str, Any]:
    """A recorded plan, whose state has what is charged of `document` too."""
    known = {
        (resource["type"], resource["name"]): resource
        for resource in plan["prior_state"]["values"]["root_module"]["resources"]
    }
    resources = [
        {
            "mode": "managed",
            "type": resource.type,
            "name": resource.name,
            "address": resource.address,
            "values": {**resource.values, **known.get((resource.type, resource.name), {"values": {}})["values"]},
        }
        for resource in state_of(document)
    ]
    return {**plan, "prior_state": {"values": {"root_module": {"resources": resources}}}}
