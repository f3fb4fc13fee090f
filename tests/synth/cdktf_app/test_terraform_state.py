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
