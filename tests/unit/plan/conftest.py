# SPDX-License-Identifier: Apache-2.0
"""Plans that a real Terraform made of an environment with the fleets `default` and `etl`, cut to what is read.

tests/support/settled_terraform.py makes such plans; what only a made-up state shows is left out.
"""

import json
from pathlib import Path
from typing import Any

from openmwaa.config.environment import Environment
from openmwaa.plan.changes import TerraformPlan, read
from openmwaa.plan.verdict import Verdict, judge
from tests.support.environments import LEAST

RECORDED = Path(__file__).parent / "recorded"
FLEETS = {"default": {"queues": ["default"]}, "etl": {"queues": ["etl"]}}
GIVEN_KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"

CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "capacity": {
        "fleets": {
            "default": {"queues": ["default"], "capacity": "FARGATE_SPOT"},
            "etl": {"queues": ["etl"], "cpu": 2048, "memory": 8192, "slots": 3},
        }
    },
    "removed": {"fleets": {"default": {"queues": ["default"]}}},
    "renamed": {"name": "other"},
    "key": {"kms_key": GIVEN_KEY},
    "broker": {"broker": {"kind": "ELASTICACHE"}},
    "bucket": {"source_bucket": "other-bucket"},
    "zones": {"network": {"zones": 3}},
    "db": {"metadata_database": {"kind": "RDS_POSTGRESQL"}},
}
"""Recording -> changed fields."""


def environment(name: str) -> Environment:
    return Environment.model_validate({**LEAST, "fleets": FLEETS, **CHANGES[name]})


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    return found


def plan_of(name: str) -> TerraformPlan:
    return read(document(name))


def verdict_of(name: str) -> Verdict:
    return judge(plan_of(name), environment(name))
