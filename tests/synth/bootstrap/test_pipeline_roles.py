# SPDX-License-Identifier: Apache-2.0
"""The roles of the pipeline allow the calls of its jobs, and deny what they must not do.

The calls are those that `make verify` recorded from examples (`tests/support/recorded_calls.json`).
"""

import fnmatch
import json
import re
import shutil
from pathlib import Path
from typing import Final

import pytest

from openmwaa.config.environment_file import load
from tests.support.aws_actions import (
    NO_EXAMPLE,
    OIDC,
    OWN_SECRET,
    SLEEP,
    calls_of,
    decrypt,
    denied,
    pass_role,
    requests_of,
    requests_of_role,
)
from tests.support.iam import ACCOUNT, characters
from tests.support.iam_evaluation import Request, allowed
from tests.support.pipeline_roles import (
    BOUNDARY,
    OIDC_SECRET,
    REGION,
    REPOSITORY,
    ROLES,
    STATE_BUCKET,
    STATE_KEY,
    USERS_ROLE,
    Statements,
    bootstrap_plans,
    managed_policy,
    statements_of_role,
)
from tests.support.recorded_calls import RECORDING
from tests.support.stack import Json
from tests.support.synthesis import stack_text
from tests.support.terraform import terraform_environment
from tools.verify.example import example_files

ROOT: Final = Path(__file__).parents[3]
HERE: Final = {"aws:RequestedRegion": REGION}
LONGEST_INLINE: Final = 10_240
# AWS added these to SecurityAudit in 2026: a partition may not have the newest version yet.
RECENT: Final = ("sns:GetSubscriptionAttributes",)
# Allowed actions that no job of the workflow calls, by role.
UNUSED: Final[dict[str, dict[str, str]]] = {
    "plan": {},
    "main": {},
    "deploy": {
        "cognito-idp:UpdateUserPoolClient": "a load balancer with a Cognito action may need it; only AWS can show it",
    },
}
# What each role must not do.
FORBIDDEN: Final[dict[str, list[Request]]] = {
    "plan": [
        Request("secretsmanager:GetSecretValue", OWN_SECRET, HERE),
        Request("secretsmanager:GetSecretValue", OIDC_SECRET, HERE),
        decrypt(OWN_SECRET),
        Request("s3:GetObject", f"{STATE_BUCKET}/openmwaa-secret/production.tfstate", HERE),
        Request("s3:PutObject", f"{STATE_BUCKET}/openmwaa/production.tfstate", HERE),
        Request("s3:GetObjectVersion", f"{STATE_BUCKET}/openmwaa/production.tfstate", HERE),
        Request("s3:GetObject", f"arn:aws:s3:::openmwaa-example-{REGION}-{ACCOUNT}/dags/one.py", HERE),
        Request("ecr:GetAuthorizationToken", "*", HERE),
        Request("ecr:PutImage", REPOSITORY, HERE),
        Request("ecr:UploadLayerPart", REPOSITORY, HERE),
        Request("logs:GetLogEvents", "*", HERE),
        Request("sqs:ReceiveMessage", "*", HERE),
        Request("ecs:UpdateService", "*", HERE),
        Request("ssm:GetParameter", "*", HERE),
        Request("iam:PassRole", USERS_ROLE, {"iam:PassedToService": "ecs-tasks.amazonaws.com"}),
    ],
    "main": [
        Request("secretsmanager:GetSecretValue", OWN_SECRET, HERE),
        Request("secretsmanager:GetSecretValue", OIDC_SECRET, HERE),
        Request("s3:PutObject", f"{STATE_BUCKET}/openmwaa-secret/production.tfstate", HERE),
        Request("s3:GetObject", f"arn:aws:s3:::openmwaa-example-{REGION}-{ACCOUNT}/dags/one.py", HERE),
        Request("ecr:PutImage", REPOSITORY.replace("openmwaa/airflow", "other"), HERE),
        Request("ecr:BatchDeleteImage", REPOSITORY, HERE),
        Request("ssm:PutParameter", SLEEP, HERE),
        Request("ecs:UpdateService", "*", HERE),
    ],
    "deploy": [
        Request("secretsmanager:GetSecretValue", OWN_SECRET, HERE),
        Request("secretsmanager:GetSecretValue", OIDC_SECRET, HERE),
        Request("secretsmanager:BatchGetSecretValue", "*", HERE),
        Request("s3:PutBucketPolicy", STATE_BUCKET, HERE),
        Request("s3:DeleteBucket", STATE_BUCKET, HERE),
        Request("s3:DeleteObjectVersion", f"{STATE_BUCKET}/openmwaa/production.tfstate", HERE),
        Request("kms:ScheduleKeyDeletion", STATE_KEY, HERE),
        Request("kms:PutKeyPolicy", STATE_KEY, HERE),
        Request("ec2:CreateVpc", "*", {"aws:RequestedRegion": "us-west-2"}),
        Request("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/github-deploys-openmwaa"),
        Request("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/github-deploys-openmwaa"),
        Request("iam:UpdateAssumeRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/github-plans-openmwaa"),
        Request("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/one"),
        Request("ssm:PutParameter", f"{SLEEP}-memory", HERE),
        Request("ssm:PutParameter", SLEEP.replace("sleep", "scaler/default"), HERE),
        pass_role("lambda.amazonaws.com"),
        pass_role("ecs-tasks.amazonaws.com", USERS_ROLE),
    ],
}


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Json]]:
    if shutil.which("terraform") is None:
        pytest.skip("there is no terraform on PATH")
    variables = terraform_environment(tmp_path_factory.mktemp("provider"))
    return bootstrap_plans(tmp_path_factory.mktemp("bootstrap"), variables)


def test_every_recorded_call_is_allowed(plans: dict[str, dict[str, Json]]) -> None:
    assert denied(plans, RECORDING) == {"plan": [], "main": [], "deploy": []}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_must_not_do_is_denied(plans: dict[str, dict[str, Json]], role: str) -> None:
    statements = statements_of_role(plans["provider 6"], role)
    assert [request for request in FORBIDDEN[role] if allowed(statements, request)] == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("provider", [5, 6])
def test_no_statement_can_be_removed(plans: dict[str, dict[str, Json]], role: str, provider: int) -> None:
    statements = statements_of_role(plans[f"provider {provider}"], role)
    needed = requests_of_role(role, provider, RECORDING)
    idle = [
        sid
        for sid in dict.fromkeys(statement["Sid"] for statement in statements)
        if not changes_something([entry for entry in statements if entry["Sid"] != sid], needed, FORBIDDEN[role])
    ]
    assert idle == []


def changes_something(rest: Statements, needed: list[Request], forbidden: list[Request]) -> bool:
    return not all(allowed(rest, request) for request in needed) or any(allowed(rest, request) for request in forbidden)


@pytest.mark.parametrize("role", ROLES)
def test_an_allowed_action_is_called_or_has_a_reason(plans: dict[str, dict[str, Json]], role: str) -> None:
    called = {
        request.action for provider in (5, 6) for request in (*requests_of_role(role, provider, RECORDING), *OIDC)
    }
    granted = {
        action
        for statement in statements_of_role(plans["provider 5"], role)
        if statement["Effect"] == "Allow" and statement["Sid"] != "SecurityAudit"
        for action in statement["Action"]
    }
    unused = {action for action in granted if not fnmatch.filter(called, action)}
    assert unused == set(UNUSED[role])


def test_the_plan_role_adds_only_what_aws_policy_does_not_have(plans: dict[str, dict[str, Json]]) -> None:
    audit = managed_policy("SecurityAudit")
    (more,) = [entry for entry in statements_of_role(plans["provider 6"], "plan") if entry["Sid"] == "ReadMore"]
    calls = [*calls_of(RECORDING, 5)["plan"], *calls_of(RECORDING, 6)["plan"]]
    missing = {
        request.action
        for request in requests_of(calls)
        if not allowed(audit, request) and not request.action.endswith((":GetSecretValue", ":Decrypt"))
    }
    assert set(more["Action"]) == missing | set(RECENT)


def test_every_type_of_the_stack_is_in_an_example_or_has_a_row() -> None:
    """So that a call of a new resource type cannot be missed."""
    imported = {
        word
        for file in (ROOT / "cdktf_app").rglob("*.py")
        for word in re.findall(
            r"^from cdktn_provider_aws\.(\w+) import", file.read_text(encoding="utf-8"), re.MULTILINE
        )
        if not word.startswith(("data_", "ephemeral_")) and word != "provider"
    }
    examples = {
        kind.removeprefix("aws_") for file in example_files() for kind in json.loads(stack_text(load(file)))["resource"]
    }
    assert imported - examples == {word for row in NO_EXAMPLE for word in row.types}


def test_with_provider_5_terraform_reads_the_secrets_that_it_wrote(plans: dict[str, dict[str, Json]]) -> None:
    assert "Secrets Manager:GetSecretValue" in calls_of(RECORDING, 5)["plan"]
    assert "Secrets Manager:GetSecretValue" not in calls_of(RECORDING, 6)["plan"]
    other = OWN_SECRET.replace("openmwaa-example", "another")
    for role in ROLES:
        statements = statements_of_role(plans["provider 5"], role)
        assert allowed(statements, Request("secretsmanager:GetSecretValue", OWN_SECRET, HERE)), role
        assert not allowed(statements, Request("secretsmanager:GetSecretValue", other, HERE)), role
        if role != "deploy":  # which administers keys
            assert not allowed(statements, decrypt(other)), role


def test_the_secret_of_an_oidc_client_is_read_by_main_and_deploy_only(plans: dict[str, dict[str, Json]]) -> None:
    may = {role: {allowed(statements_of_role(plans["options"], role), request) for request in OIDC} for role in ROLES}
    assert may == {"plan": {False}, "main": {True}, "deploy": {True}}
    for role in ROLES:
        own = Request("secretsmanager:GetSecretValue", OWN_SECRET, HERE)
        assert not allowed(statements_of_role(plans["options"], role), own), role


def test_a_role_of_the_user_can_be_given_to_tasks_if_it_is_named(plans: dict[str, dict[str, Json]]) -> None:
    statements = statements_of_role(plans["options"], "deploy")
    assert allowed(statements, pass_role("ecs-tasks.amazonaws.com", USERS_ROLE))
    assert not allowed(statements, pass_role("lambda.amazonaws.com", USERS_ROLE))


def test_a_boundary_is_required_of_every_role(plans: dict[str, dict[str, Json]]) -> None:
    statements = statements_of_role(plans["options"], "deploy")
    role = f"arn:aws:iam::{ACCOUNT}:role/openmwaa-example-worker"
    assert allowed(statements, Request("iam:CreateRole", role, {"iam:PermissionsBoundary": BOUNDARY}))
    assert not allowed(statements, Request("iam:CreateRole", role))


def test_each_role_trusts_one_kind_of_job(plans: dict[str, dict[str, Json]]) -> None:
    trusted = {}
    for role in ROLES:
        (statement,) = json.loads(plans["provider 6"][f"aws_iam_role.{role}[0]"]["assume_role_policy"])["Statement"]
        trusted[role] = statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    assert trusted == {
        "plan": ["repo:example/data-platform:pull_request"],
        "main": ["repo:example/data-platform:ref:refs/heads/main"],
        "deploy": ["repo:example/data-platform:environment:production"],
    }


def test_policies_fit_into_iam(plans: dict[str, dict[str, Json]]) -> None:
    for name, resources in plans.items():
        for role in ROLES:
            own = [entry for entry in statements_of_role(resources, role) if entry["Sid"] != "SecurityAudit"]
            assert characters(own) <= LONGEST_INLINE, f"{role}, {name}"


def test_the_recording_is_sorted_and_has_every_phase() -> None:
    assert list(RECORDING) == ["apply", "plan", "update", "destroy"]
    assert all(calls == sorted(set(calls)) and calls for calls in RECORDING.values())
