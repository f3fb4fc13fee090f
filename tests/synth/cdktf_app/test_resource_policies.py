# SPDX-License-Identifier: Apache-2.0
"""Resource and trust policies: principals, conditions, and denial of requests without TLS."""

import pytest

from tests.support.iam import statements_of
from tests.support.stack import Stack

# What holds a service of AWS to this account: its name alone is every account's.
HELD = {"aws:SourceAccount", "aws:SourceArn"}
# Roles that another service of AWS takes.
TRUSTED = {
    "roles_database_monitoring": "monitoring.rds.amazonaws.com",
    "roles_flow_logs": "vpc-flow-logs.amazonaws.com",
}


def test_principals_are_the_account_services_or_in_a_denial(quickstart: Stack) -> None:
    for key, statement in statements_of(quickstart).items():
        for kind, identifiers in statement.get("Principal", {}).items():
            for identifier in identifiers:
                known = kind == "Service" or identifier.endswith(":root") or statement["Effect"] == "Deny"
                assert known, f"{key} lets {identifier} in"


def test_aws_services_act_for_this_account_only(variants: dict[str, Stack]) -> None:
    """A service principal needs a condition: this account, an ARN in it, or an encryption context."""
    for variant, stack in variants.items():
        for key, statement in statements_of(stack).items():
            if "Service" not in statement.get("Principal", {}):
                continue
            variables = {variable for test in statement.get("Condition", {}).values() for variable in test}
            held = [
                variable for variable in variables if variable in HELD or variable.startswith("kms:EncryptionContext:")
            ]
            assert held, f"{variant}: {key} lets {statement['Principal']['Service']} in for any account"


def test_only_tasks_of_this_account_assume_roles(quickstart: Stack) -> None:
    for name, role in quickstart.resources("aws_iam_role").items():
        (statement,) = quickstart.local(role["assume_role_policy"])["Statement"]
        assert statement["Principal"] == {"Service": [TRUSTED.get(name, "ecs-tasks.amazonaws.com")]}, name
        assert set(statement["Condition"]) == {"StringEquals", "ArnLike"}, f"{name}: another account's tasks could come"


@pytest.mark.parametrize("kind", ["aws_sqs_queue", "aws_s3_bucket_policy"])
def test_queues_and_bucket_deny_requests_without_tls(quickstart: Stack, kind: str) -> None:
    for name, resource in quickstart.resources(kind).items():
        (statement,) = quickstart.local(resource["policy"])["Statement"]
        assert statement["Effect"] == "Deny", name
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}, name
