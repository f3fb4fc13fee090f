# SPDX-License-Identifier: Apache-2.0
"""The IAM users of an environment on this machine: each has the role of its name, and its key stays."""

from pathlib import Path
from typing import Any

import boto3
import pytest

from openmwaa.local.errors import LocalError
from openmwaa.local.services import aws, principals
from openmwaa.local.services.principals import ROLES, AccessKey
from tests.support.emulator import find_emulator, running_emulator

pytestmark = pytest.mark.emulated
ENVIRONMENT = "demo"


def _client(service: str, url: str, key: AccessKey) -> Any:
    session = boto3.Session(aws_access_key_id=key.key_id, aws_secret_access_key=key.secret, region_name=aws.REGION)
    return session.client(service, endpoint_url=url)  # type: ignore[call-overload] # the name is not a literal


async def test_each_principal_is_a_user_with_its_role_only(tmp_path: Path) -> None:
    file = tmp_path / "principals.json"
    with running_emulator(find_emulator(), services="iam,sts") as url:
        await principals.ensure(file, url, environment=ENVIRONMENT, region=aws.REGION)
        keys = principals.read(file)
        assert set(keys) == set(ROLES)
        assert file.stat().st_mode & 0o777 == 0o600
        iam = _client("iam", url, AccessKey("test", "test"))
        for name, key in keys.items():
            arn = _client("sts", url, key).get_caller_identity()["Arn"]
            assert arn == f"arn:aws:iam::{aws.ACCOUNT}:user/{name}"
            granted = [
                role
                for role in ROLES.values()
                if iam.simulate_principal_policy(
                    PolicySourceArn=arn,
                    ActionNames=["airflow:InvokeRestApi"],
                    ResourceArns=[f"arn:aws:airflow:{aws.REGION}:{aws.ACCOUNT}:role/{ENVIRONMENT}/{role}"],
                )["EvaluationResults"][0]["EvalDecision"]
                == "allowed"
            ]
            assert granted == [ROLES[name]]
        written = file.stat().st_mtime_ns
        await principals.ensure(file, url, environment=ENVIRONMENT, region=aws.REGION)
        assert (principals.read(file), file.stat().st_mtime_ns) == (keys, written)
    with running_emulator(find_emulator(), services="iam,sts") as url:
        await principals.ensure(file, url, environment=ENVIRONMENT, region=aws.REGION)
        assert principals.read(file) != keys, "a new emulator has new keys"
    with pytest.raises(LocalError, match="could not be created"):
        await principals.ensure(file, url, environment=ENVIRONMENT, region=aws.REGION)
