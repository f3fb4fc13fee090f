# SPDX-License-Identifier: Apache-2.0
"""A Region without a required service is rejected, and the table matches botocore."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from openmwaa.config.environment import Environment
from openmwaa.config.regions import DATA, SERVICES, region_table
from tests.support.environments import LEAST
from tools.generate_regions import TARGET, as_text, table

COGNITO = {
    "user_pool_arn": "arn:aws-cn:cognito-idp:cn-north-1:123456789012:userpool/cn-north-1_abc",
    "user_pool_client_id": "abc",
    "user_pool_domain": "abc",
}
CLOUDFRONT = {
    "webserver_access_mode": "PUBLIC_AND_PRIVATE",
    "web_access": {"allow_http": True, "allowed_cidrs": ["203.0.113.0/24"]},
}


def test_the_table_matches_botocore() -> None:
    committed = json.loads(TARGET.read_text(encoding="utf-8"))
    fresh = table(committed["made_on"])
    for part in ("regions", "services"):
        assert committed[part] == fresh[part], f"run `python -m tools.generate_regions`: {part} differ in {DATA}"


def test_the_file_has_a_line_for_each_region() -> None:
    text = TARGET.read_text(encoding="utf-8")
    assert as_text(json.loads(text)) == text
    lines = text.splitlines()
    assert '  "eu-central-1": { "name": "Europe (Frankfurt)", "partition": "aws" },' in lines
    assert max(map(len, lines)) <= 120


def test_every_service_is_offered_somewhere() -> None:
    for service in SERVICES:
        assert len(region_table().services[service.endpoint]) >= 30, (
            f"{service.endpoint} is not in botocore's endpoints"
        )


@pytest.mark.parametrize("region", sorted(region_table().partitions))
def test_a_minimal_environment_is_valid_in_every_region(region: str) -> None:
    assert Environment.model_validate({**LEAST, "region": region}).region == region


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "an unknown Region": ({"region": "eu-nowhere-1"}, ("eu-nowhere-1 is not in the table", "botocore")),
    "CloudFront in GovCloud": (
        {"region": "us-gov-west-1", **CLOUDFRONT},
        ("us-gov-west-1 has no CloudFront", "without a domain"),
    ),
    "CloudFront's WAF in another partition": (
        {"region": "cn-north-1", **CLOUDFRONT},
        ("aws-cn", "us-east-1", "web_access.domain"),
    ),
    "Cognito in China": (
        {
            "region": "cn-north-1",
            "web_access": {"domain": "airflow.example.com", "hosted_zone_id": "Z12345", "cognito": COGNITO},
        },
        ("cn-north-1 has no Cognito", "web_access.cognito"),
    ),
    "endpoints with unknown names": (
        {
            "region": "cn-north-1",
            "network": {"egress": "ENDPOINTS_ONLY"},
            "web_access": {"allow_http": True, "login": "PASSWORD"},
        },
        ("ENDPOINTS_ONLY does not support the partition aws-cn",),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_region_is_rejected_with_a_reason(case: str) -> None:
    fields, words = REFUSED[case]
    with pytest.raises(ValidationError) as refused:
        Environment.model_validate({**LEAST, **fields})
    for word in words:
        assert word in str(refused.value), f"{case}: does not contain {word!r}"


def test_validation_needs_no_botocore() -> None:
    source = (Path(__file__).parents[3] / "openmwaa/config/regions.py").read_text(encoding="utf-8")
    assert "import botocore" not in source
