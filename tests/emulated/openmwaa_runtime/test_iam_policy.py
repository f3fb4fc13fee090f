# SPDX-License-Identifier: Apache-2.0
"""Roles by the IAM simulator of the emulator, which answers for the first of several resources only."""

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from openmwaa_runtime.auth.access import RequestContext, RoleAction
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AccessDeniedError
from openmwaa_runtime.auth.iam_policy import IamPolicy, open_iam
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.role_table import RoleTable
from tests.support.emulator import find_emulator, running_emulator

pytestmark = pytest.mark.emulated

ENVIRONMENT = EnvironmentArn.read("arn:aws:airflow:us-east-1:123456789012:environment/prod")
CONTEXT = RequestContext("203.0.113.9")
WEB: RoleAction = "airflow:CreateWebLoginToken"
CLI = "airflow:CreateCliToken"


def document(action: str, *resources: str, effect: str = "Allow") -> str:
    statement = {"Effect": effect, "Action": action, "Resource": list(resources)}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, Any]]:
    """The address of the emulator and its STS, with a user `viewer` and a role `analysts`."""
    with running_emulator(find_emulator(), services="iam,sts") as url:
        session = boto3.Session("test", "test", region_name="us-east-1")
        iam: Any = session.client("iam", endpoint_url=url)
        iam.create_user(UserName="viewer")
        iam.put_user_policy(
            UserName="viewer", PolicyName="airflow", PolicyDocument=document(WEB, ENVIRONMENT.role(AirflowRole.VIEWER))
        )
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}
        iam.create_role(RoleName="analysts", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        every = str(ENVIRONMENT.role(AirflowRole.OP)).replace("/Op", "/*")
        iam.put_role_policy(RoleName="analysts", PolicyName="airflow", PolicyDocument=document(WEB, every))
        denied = document(WEB, ENVIRONMENT.role(AirflowRole.ADMIN), effect="Deny")
        iam.put_role_policy(RoleName="analysts", PolicyName="no-admin", PolicyDocument=denied)
        iam.put_role_policy(RoleName="analysts", PolicyName="cli", PolicyDocument=document(CLI, str(ENVIRONMENT)))
        yield {"sts": session.client("sts", endpoint_url=url), "url": url}


@pytest.fixture
def access(account: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> IamPolicy:
    """The policy of a web server, whose client has the emulator's address and credentials by variables."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", account["url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return IamPolicy(open_iam(ENVIRONMENT), RoleTable(ENVIRONMENT), time.time)


def test_a_user_has_the_role_of_its_policy(access: IamPolicy) -> None:
    viewer = Principal.read("arn:aws:iam::123456789012:user/viewer", Proof.STS)
    assert access.role(viewer, WEB, None, CONTEXT).role is AirflowRole.VIEWER
    with pytest.raises(AccessDeniedError, match="No Airflow role granted in IAM"):
        access.role(viewer, WEB, AirflowRole.OP, CONTEXT)
    with pytest.raises(AccessDeniedError, match="No Airflow role granted in IAM"):
        access.role(viewer, "airflow:InvokeRestApi", None, CONTEXT)
    with pytest.raises(AccessDeniedError, match=CLI):
        access.allow(viewer, CLI, CONTEXT)


def test_a_session_has_the_role_of_its_roles_policies(account: dict[str, Any], access: IamPolicy) -> None:
    role = "arn:aws:iam::123456789012:role/analysts"
    session = account["sts"].assume_role(RoleArn=role, RoleSessionName="bob")["AssumedRoleUser"]["Arn"]
    bob = Principal.read(session, Proof.STS)
    assert bob.path is None
    assert access.role(bob, WEB, None, CONTEXT).role is AirflowRole.OP, "Admin is denied explicitly"
    access.allow(bob, CLI, CONTEXT)


def test_an_unknown_role_has_none(access: IamPolicy) -> None:
    stranger = Principal.read("arn:aws:sts::123456789012:assumed-role/unknown/bob", Proof.STS)
    with pytest.raises(AccessDeniedError, match="only a row of `role_table`"):
        access.role(stranger, WEB, None, CONTEXT)
