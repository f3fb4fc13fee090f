# SPDX-License-Identifier: Apache-2.0
"""How ECS's references to secrets are read."""

import pytest

from openmwaa.local.secret_values import SecretReference

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!cluster-1-AbCdEf"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ARN, SecretReference(ARN)),
        (f"{ARN}:password::", SecretReference(ARN, "password")),
        (f"{ARN}:password", SecretReference(ARN, "password")),
        (f"{ARN}::AWSPREVIOUS:", SecretReference(ARN, "", "AWSPREVIOUS")),
        (f"{ARN}:a:AWSCURRENT:9d4c", SecretReference(ARN, "a", "AWSCURRENT", "9d4c")),
    ],
)
def test_reading_a_reference(text: str, expected: SecretReference) -> None:
    assert SecretReference.parse(text) == expected
