# SPDX-License-Identifier: Apache-2.0
"""KMS and IAM as the stack uses them: one key for data at rest, roles with a path, a boundary and inline policies."""

import json
from pathlib import Path
from typing import Any

import pytest

from openmwaa.local.services.secrets import EmulatedSecrets
from openmwaa_runtime.sync_dags.bucket import S3Bucket
from scaler.adapters.sqs import SqsQueueReader
from scaler.core.model import BrokerCount
from tests.contract.aws_services.conftest import Emulator, Open

pytestmark = [pytest.mark.emulated]


@pytest.fixture
def key(emulator: Emulator) -> str:
    arn: str = emulator.client("kms").create_key()["KeyMetadata"]["Arn"]
    return arn


def test_a_value_is_decrypted_in_its_context_only(emulator: Emulator, key: str) -> None:
    kms = emulator.client("kms")
    mine, other = {"environment": "mine"}, {"environment": "other"}
    blob = kms.encrypt(KeyId=key, Plaintext=b"value", EncryptionContext=mine)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=mine)["Plaintext"] == b"value"
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext=other)


async def test_data_under_the_key_is_read(
    emulator: Emulator, scalers_client: Open, key: str, name: str, tmp_path: Path
) -> None:
    sqs, s3, manager = (emulator.client(service) for service in ("sqs", "s3", "secretsmanager"))
    queue = sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    assert await SqsQueueReader(await scalers_client("sqs")).depth(queue) == BrokerCount(1, 0, 0)
    secret = manager.create_secret(Name=name, SecretString="value", KmsKeyId=key)["ARN"]
    assert await EmulatedSecrets(emulator.url).resolve(secret) == "value"
    s3.create_bucket(Bucket=name)
    by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rule: Any = {"ApplyServerSideEncryptionByDefault": by_default, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket=name, Key="dags/a.py", Body=b"1")
    bucket = S3Bucket(name, "dags", client=s3)
    bucket.fetch((source, tmp_path / "a.py") for source in bucket.list())
    assert (tmp_path / "a.py").read_bytes() == b"1"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def test_a_role_is_returned_as_written_and_a_session_of_it_has_its_name(emulator: Emulator, name: str) -> None:
    iam, sts = emulator.client("iam"), emulator.client("sts")
    ecs = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    read = {"Effect": "Allow", "Action": ["sqs:GetQueueAttributes"], "Resource": [f"arn:aws:sqs:*:*:{name}-*"]}
    boundary = iam.create_policy(PolicyName=name, Path="/openmwaa/", PolicyDocument=policy(read))["Policy"]["Arn"]
    iam.create_role(
        RoleName=name, Path="/openmwaa/", AssumeRolePolicyDocument=policy(ecs), PermissionsBoundary=boundary
    )
    iam.put_role_policy(RoleName=name, PolicyName="scaler", PolicyDocument=policy(read))
    role = iam.get_role(RoleName=name)["Role"]
    assert role["Arn"].endswith(f":role/openmwaa/{name}")
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    assert role["AssumeRolePolicyDocument"]["Statement"] == [ecs]
    assert iam.get_role_policy(RoleName=name, PolicyName="scaler")["PolicyDocument"]["Statement"] == [read]
    session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="task")
    assert session["AssumedRoleUser"]["Arn"].endswith(f":assumed-role/{name}/task")
