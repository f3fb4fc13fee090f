# SPDX-License-Identifier: Apache-2.0
"""The policies of the pipeline's roles, as Terraform evaluates terraform/bootstrap, for several inputs.

The provider is mocked, so there is no apply. AWS's managed policies are those that moto ships.
"""

import functools
import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from openmwaa.local.install import venvs
from tests.support.iam import ACCOUNT, KEY_ID
from tests.support.module import complaints, terraform_test
from tests.support.stack import Json

BOOTSTRAP: Final = Path(__file__).parents[2] / "terraform" / "bootstrap"
REGION: Final = "eu-central-1"
STATE_BUCKET: Final = f"arn:aws:s3:::openmwaa-state-{ACCOUNT}-{REGION}"
STATE_KEY: Final = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY_ID}"
REPOSITORY: Final = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/openmwaa/airflow"
OIDC_SECRET: Final = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:oidc-client-AbCdEf"
USERS_ROLE: Final = f"arn:aws:iam::{ACCOUNT}:role/teams/data-tasks"
BOUNDARY: Final = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
ROLES: Final = ("plan", "main", "deploy")
VARIANTS: Final[Mapping[str, Json]] = {
    "provider 6": {},
    "provider 5": {"aws_provider": 5},
    "options": {
        "oidc_client_secret_arns": [OIDC_SECRET],
        "more_roles_to_pass": [USERS_ROLE],
        "permissions_boundary_arn": BOUNDARY,
    },
}
_DEFAULTS: Final = {
    "mock_resource": {
        "aws_s3_bucket": {"arn": STATE_BUCKET},
        "aws_kms_key": {"arn": STATE_KEY},
        "aws_ecr_repository": {"arn": REPOSITORY},
        "aws_iam_openid_connect_provider": {"arn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/github"},
    },
    "mock_data": {
        "aws_caller_identity": {"account_id": ACCOUNT},
        "aws_partition": {"partition": "aws", "dns_suffix": "amazonaws.com"},
    },
}

Statements = list[Json]


def bootstrap_plans(folder: Path, variables: dict[str, str]) -> dict[str, dict[str, Json]]:
    """The planned resources of the bootstrap stack by address, for each of `VARIANTS`."""
    for file in BOOTSTRAP.glob("*.tf"):
        shutil.copy(file, folder)
    mocks = {
        block: {kind: {"defaults": values} for kind, values in kinds.items()} for block, kinds in _DEFAULTS.items()
    }
    given = {"region": REGION, "github_repository": "example/data-platform"}
    runs = {name.replace(" ", "_"): {"command": "plan", "variables": more} for name, more in VARIANTS.items()}
    document = {"variables": given, "mock_provider": {"aws": {"override_during": "plan", **mocks}}, "run": runs}
    (folder / "policies.tftest.json").write_text(json.dumps(document))
    events = terraform_test(folder, variables)
    assert list(complaints(events)) == []
    plans = [event["test_plan"] for event in events if event["type"] == "test_plan"]
    assert len(plans) == len(VARIANTS)
    return {
        name: {
            change["address"]: change["change"]["after"]
            for change in plan["resource_changes"]
            if change["change"]["after"] is not None
        }
        for name, plan in zip(VARIANTS, plans, strict=True)
    }


def statements_of_role(resources: Mapping[str, Json], role: str) -> Statements:
    """The statements of a role: of its inline policies and of AWS's managed ones."""
    name = resources[f"aws_iam_role.{role}[0]"]["name"]
    found: Statements = []
    for address, values in resources.items():
        if address == f"aws_iam_role_policy.{role}[0]":
            found += json.loads(values["policy"])["Statement"]
        elif address.startswith("aws_iam_role_policy_attachment.") and values["role"] == name:
            found += managed_policy(values["policy_arn"].rpartition("/")[2])
    return found


@functools.cache
def managed_policy(name: str) -> Statements:
    """The statements of a policy that AWS manages."""
    (file,) = (
        venvs.ensure(venvs.venv_of("moto"), progress=print)
        .parents[1]
        .glob("lib/python*/site-packages/moto/iam/aws_managed_policies.py")
    )
    spec = importlib.util.spec_from_file_location("aws_managed_policies", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    policies: dict[str, Any] = json.loads(module.aws_managed_policies_data)
    statements: Statements = [{**statement, "Sid": name} for statement in policies[name]["Document"]["Statement"]]
    return statements
