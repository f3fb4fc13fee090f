# SPDX-License-Identifier: Apache-2.0
"""Plans of a real Terraform, `stripped` to the fields that openmwaa/plan reads: the input of tests of `openmwaa plan`.

All are plans over one environment with the fleets `default` and `etl`; `python -m tests.support.record_plans` records
them again. A plan is stripped as follows:

- Unchanged resources and outputs are removed.
- A changed resource keeps its actions. A replaced resource also keeps the values that the provider cannot change.
- The state keeps the resources and values in `STATE`. It is the same in all recordings and has a file of its own.
- The made-up state has no write-only values, so that every plan updates the secrets. Those updates are removed.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from openmwaa.config.environment import Environment
from tests.support.environments import LEAST

Json = dict[str, Any]
FOLDER: Final = Path(__file__).parents[1] / "unit/plan/recorded"
STATE_FILE: Final = FOLDER / "prior_state.json"
FLEETS: Final[Json] = {"default": {"queues": ["default"]}, "etl": {"queues": ["etl"]}}
CHANGES: Final[Mapping[str, Json]] = {
    "none": {},
    "capacity": {
        "fleets": {
            "default": {"queues": ["default"], "capacity": "FARGATE_SPOT"},
            "etl": {"queues": ["etl"], "cpu": 2048, "memory": 8192, "slots": 3},
        }
    },
    "removed": {"fleets": {"default": {"queues": ["default"]}}},
    "renamed": {"name": "other"},
    "key": {"kms_key": "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"},
    "broker": {"broker": {"kind": "ELASTICACHE"}},
    "bucket": {"source_bucket": "other-bucket"},
    "zones": {"network": {"zones": 3}},
    "db": {"metadata_database": {"kind": "RDS_POSTGRESQL"}},
}
"""Recording -> the fields of environment.yaml that were changed after the apply."""
STATE: Final[Mapping[str, Collection[str]]] = {
    "aws_db_instance": ("arn",),
    "aws_ecs_cluster": ("arn", "name"),
    "aws_ecs_service": ("name",),
    "aws_elasticache_replication_group": ("arn",),
    "aws_iam_role": ("name", "path"),
    "aws_kms_key": ("arn",),
    "aws_rds_cluster": ("arn",),
    "aws_secretsmanager_secret": ("kms_key_id",),
    "aws_secretsmanager_secret_version": ("secret_string_wo_version",),
    "aws_security_group": ("vpc_id",),
    "aws_sqs_queue": ("name",),
    "aws_subnet": ("cidr_block",),
    "aws_vpc": ("cidr_block",),
}
"""Type of a resource -> its values that openmwaa/plan/immutable_fields.py reads; one value where it reads none."""


def environment(name: str) -> Environment:
    """The environment that the recording `name` is a plan of."""
    return Environment.model_validate({**LEAST, "control_plane": "SEPARATE", "fleets": FLEETS, **CHANGES[name]})


def recorded(name: str) -> Json:
    """The recording `name`, with the state."""
    plan: Json = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return {**plan, "prior_state": json.loads(STATE_FILE.read_text(encoding="utf-8"))}


def stripped(plan: Json, unwritten: Collection[str] = ()) -> Json:
    """The fields of a plan that openmwaa/plan reads, without updates of the resources `unwritten`."""
    changes = (_change(resource) for resource in plan["resource_changes"] if resource["mode"] == "managed")
    return {
        "format_version": plan["format_version"],
        "output_changes": {
            name: {"actions": output["actions"]}
            for name, output in plan["output_changes"].items()
            if output["actions"] != ["no-op"]
        },
        "resource_changes": [
            resource
            for resource in changes
            if resource["change"]["actions"] != ["no-op"]
            and not (resource["change"]["actions"] == ["update"] and resource["address"] in unwritten)
        ],
        "prior_state": _state(plan["prior_state"]),
    }


def _state(state: Json) -> Json:
    resources = [
        _named(resource) | {"values": {name: resource["values"][name] for name in STATE[resource["type"]]}}
        for resource in state["values"]["root_module"]["resources"]
        if resource["mode"] == "managed" and resource["type"] in STATE
    ]
    return {"format_version": state["format_version"], "values": {"root_module": {"resources": resources}}}


def _change(resource: Json) -> Json:
    change: Json = {"actions": resource["change"]["actions"]}
    if "replace_paths" in resource["change"] and resource["type"] != "aws_ecs_task_definition":
        change["replace_paths"] = resource["change"]["replace_paths"]
        read_names = {path[0] for path in change["replace_paths"]}
        for side in ("before", "after", "before_sensitive", "after_sensitive"):
            values = resource["change"].get(side) or {}
            if kept := {name: values[name] for name in sorted(read_names & set(values))}:
                change[side] = kept
    return _named(resource) | {"change": change}


def _named(resource: Json) -> Json:
    return {name: resource[name] for name in ("address", "mode", "type", "name")}


def as_text(document: Any, indent: int = 0) -> str:
    """JSON with a line for each resource and each output."""
    inner = " " * (indent + 1)
    if isinstance(document, dict) and "actions" not in document and "address" not in document:
        items = [f"{inner}{json.dumps(name)}: {as_text(value, indent + 1)}" for name, value in document.items()]
        return ",\n".join(items).join(("{\n", f"\n{' ' * indent}}}")) if items else "{}"
    if isinstance(document, list) and document:
        return ",\n".join(inner + json.dumps(item) for item in document).join(("[\n", f"\n{' ' * indent}]"))
    return json.dumps(document)
