# SPDX-License-Identifier: Apache-2.0
"""The S3 backend: encrypted, with a lock file; or none."""

from typing import Any

import pytest

from tests.synth.cdktf_app.conftest import stack_of

KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize(
    ("fields", "differs"),
    [
        pytest.param({}, {}, id="defaults"),
        pytest.param(
            {"region": "eu-central-1", "key": "teams/data.tfstate", "kms_key": KEY},
            {"region": "eu-central-1", "key": "teams/data.tfstate", "kms_key_id": KEY},
            id="everything",
        ),
    ],
)
def test_the_state_is_locked_and_encrypted(fields: dict[str, str], differs: dict[str, Any]) -> None:
    terraform = stack_of(terraform_state={"bucket": "states", **fields}).document["terraform"]
    expected = {
        "bucket": "states",
        "key": "openmwaa/example.tfstate",
        "region": "us-east-1",
        "encrypt": True,
        "use_lockfile": True,
    }
    assert terraform["backend"] == {"s3": expected | differs}


OIDC = {
    "issuer": "https://login.example.com",
    "authorization_endpoint": "https://login.example.com/authorize",
    "token_endpoint": "https://login.example.com/token",
    "user_info_endpoint": "https://login.example.com/userinfo",
    "client_id": "airflow",
    "client_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:oidc-client-AbCdEf",
}


def test_a_state_with_a_secret_is_in_a_folder_that_pull_requests_may_not_read() -> None:
    web = {"domain": "airflow.example.com", "hosted_zone_id": "Z0123456789ABCDEFGHIJ", "oidc": OIDC}
    terraform = stack_of(terraform_state={"bucket": "states"}, web_access=web).document["terraform"]
    assert terraform["backend"]["s3"]["key"] == "openmwaa-secret/example.tfstate"
