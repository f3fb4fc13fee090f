# SPDX-License-Identifier: Apache-2.0
"""Invalid web access settings are rejected with the field and the reason."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from openmwaa.config.environment import Environment

PAGE = Path(__file__).parents[3] / "docs/how-to/web-access.md"
SHOWN = re.findall(r"^## (\S.*?)\n.*?^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
DOMAIN: dict[str, Any] = {"domain": "airflow.example.com", "hosted_zone_id": "Z0123456789"}
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
COGNITO = {
    "user_pool_arn": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_abc",
    "user_pool_client_id": "abc",
    "user_pool_domain": "people",
}
OIDC = {
    "issuer": "https://idp.example.com",
    "authorization_endpoint": "https://idp.example.com/authorize",
    "token_endpoint": "https://idp.example.com/token",
    "user_info_endpoint": "https://idp.example.com/user",
    "client_id": "abc",
    "client_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:oidc-AbCdEf",
}
OFFICE = {"allowed_cidrs": ["203.0.113.0/24"]}
OPEN = {"allow_http": True}
IAM, PASSWORD = {"login": "IAM"}, {"login": "PASSWORD"}
GIVEN_VPC = {"vpc_id": "vpc-0a0a0a0a", "private_subnet_ids": ["subnet-1a1a1a1a", "subnet-2b2b2b2b"]}


def environment(mode: str, access: dict[str, Any], **more: Any) -> Environment:
    fields = {"name": "example", "webserver_access_mode": mode, "web_access": access, **more}
    return Environment.model_validate(fields)


@pytest.mark.parametrize(
    ("mode", "access"),
    [
        pytest.param("PRIVATE_ONLY", OPEN, id="private-http"),
        pytest.param("PRIVATE_ONLY", DOMAIN, id="private-domain"),
        pytest.param("PRIVATE_ONLY", {**DOMAIN, "oidc": OIDC}, id="private-with-oidc"),
        pytest.param(
            "PRIVATE_ONLY", {"domain": "a.example.com", "certificate_arn": CERTIFICATE}, id="private-certificate"
        ),
        pytest.param("PRIVATE_ONLY", {**DOMAIN, "certificate_arn": CERTIFICATE}, id="certificate-and-zone"),
        pytest.param("PUBLIC_ONLY", {**DOMAIN, **OFFICE, "cognito": COGNITO}, id="public-cognito"),
        pytest.param("PUBLIC_ONLY", {**DOMAIN, **OFFICE, "oidc": OIDC, "waf": True}, id="public-oidc-waf"),
        pytest.param("PUBLIC_AND_PRIVATE", {**DOMAIN, **OFFICE, "oidc": OIDC}, id="both"),
        pytest.param("PUBLIC_AND_PRIVATE", {**OPEN, **OFFICE}, id="cloudfront"),
        pytest.param("PUBLIC_ONLY", {**IAM, **DOMAIN}, id="public-iam"),
        pytest.param("PUBLIC_ONLY", {**IAM, **DOMAIN, **OFFICE, "oidc": OIDC}, id="public-iam-beside-oidc"),
        pytest.param("PUBLIC_AND_PRIVATE", {**IAM, **DOMAIN}, id="both-iam"),
        pytest.param("PUBLIC_ONLY", {**IAM, **OPEN}, id="cloudfront-alone-iam"),
        pytest.param("PUBLIC_AND_PRIVATE", {**IAM, **OPEN, "allowed_cidrs": ["203.0.0.0/16"]}, id="cloudfront-iam"),
    ],
)
def test_valid_web_access_is_accepted(mode: str, access: dict[str, Any]) -> None:
    assert environment(mode, access).webserver_access_mode == mode


REFUSED = [
    # One case per rule: access and authentication ...
    ("PRIVATE_ONLY", {}, {}, r"web_access.domain.*web_access.allow_http: true.*unencrypted"),
    (
        "PUBLIC_ONLY",
        {**PASSWORD, **DOMAIN, **OFFICE},
        {},
        r"PUBLIC_ONLY needs more than a password.*web_access.login: IAM.*web_access.oidc",
    ),
    ("PUBLIC_AND_PRIVATE", {**PASSWORD, **DOMAIN, **OFFICE}, {}, r"PUBLIC_AND_PRIVATE needs more than a password"),
    ("PUBLIC_ONLY", PASSWORD, {}, r"PUBLIC_ONLY needs more.*web_access.login: IAM`, or a `web_access.domain`"),
    ("PUBLIC_ONLY", {**PASSWORD, **OPEN, **OFFICE}, {}, r"PUBLIC_ONLY needs more.*or a `web_access.domain`"),
    ("PUBLIC_ONLY", {**PASSWORD, **DOMAIN, "cognito": COGNITO}, {}, r"PUBLIC_ONLY needs `web_access.allowed_cidrs`"),
    ("PUBLIC_AND_PRIVATE", {**PASSWORD, **OPEN}, {}, r"login: IAM.*web_access.allowed_cidrs`, none wider than a /24"),
    (
        "PUBLIC_AND_PRIVATE",
        {**PASSWORD, **OPEN, "allowed_cidrs": ["203.0.113.0/24", "198.51.0.0/16"]},
        {},
        r"198.51.0.0/16 is\)",
    ),
    ("PUBLIC_AND_PRIVATE", OFFICE, {}, r"HTTPS ends at CloudFront.*web_access.allow_http: true"),
    ("PUBLIC_ONLY", IAM, {}, r"HTTPS ends at CloudFront.*web_access.allow_http: true"),
    ("PRIVATE_ONLY", IAM, {}, r"web_access.domain.*web_access.allow_http: true.*unencrypted"),
    # ... allowed ranges ...
    ("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["0.0.0.0/0"]}, {}, r"allowed_cidrs.*whole internet"),
    ("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["128.0.0.0/1"]}, {}, r"allowed_cidrs.*128.0.0.0/1 is too wide"),
    ("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["10.0.0.1/8"]}, {}, r"10.0.0.1/8 is not an IPv4 range \(.*host bits"),
    ("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["2001:db8::/32"]}, {}, r"2001:db8::/32 is not an IPv4 range"),
    (
        "PRIVATE_ONLY",
        {**OPEN, "allowed_cidrs": ["10.0.0.0/8", "10.1.0.0/16"]},
        {},
        r"10.1.0.0/16 and 10.0.0.0/8 overlap",
    ),
    ("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": [f"10.0.{n}.0/24" for n in range(21)]}, {}, r"allowed_cidrs.*20 items"),
    (
        "PUBLIC_ONLY",
        {**DOMAIN, "cognito": COGNITO, "allowed_cidrs": ["10.0.0.0/8"]},
        {},
        r"web_access.allowed_cidrs`: 10.0.0.0/8 is private",
    ),
    ("PUBLIC_AND_PRIVATE", {**OPEN, "allowed_cidrs": ["192.168.1.0/24"]}, {}, r"192.168.1.0/24 is private"),
    # ... domain and certificate ...
    ("PRIVATE_ONLY", {"domain": "airflow.example.com"}, {}, r"`domain` needs a certificate: set `hosted_zone_id`"),
    ("PRIVATE_ONLY", {**DOMAIN, **OPEN}, {}, r"with a `domain`.*leave `allow_http` out"),
    ("PRIVATE_ONLY", {**OPEN, "hosted_zone_id": "Z0123456789"}, {}, r"`hosted_zone_id` needs a `domain`"),
    ("PRIVATE_ONLY", {**OPEN, "certificate_arn": CERTIFICATE}, {}, r"`certificate_arn` needs a `domain`"),
    ("PRIVATE_ONLY", {**OPEN, "oidc": OIDC}, {}, r"`oidc` needs a `domain`"),
    ("PRIVATE_ONLY", {**OPEN, "cognito": COGNITO}, {}, r"`cognito` needs a `domain`"),
    ("PRIVATE_ONLY", {**DOMAIN, "oidc": OIDC, "cognito": COGNITO}, {}, r"set `oidc` or `cognito`"),
    ("PRIVATE_ONLY", {**DOMAIN, "domain": "Airflow.example.com"}, {}, r"domain.*pattern"),
    ("PRIVATE_ONLY", {**DOMAIN, "domain": f"{'a' * 60}.example.com"}, {}, r"domain.*at most 64"),
    (
        "PRIVATE_ONLY",
        {"domain": "airflow.example.com", "certificate_arn": CERTIFICATE},
        {"region": "eu-central-1"},
        r"certificate/.* is in us-east-1; the service needs one in eu-central-1",
    ),
    (
        "PRIVATE_ONLY",
        {**DOMAIN, "oidc": OIDC},
        {"region": "eu-central-1"},
        r"secret:oidc-AbCdEf is in us-east-1",
    ),
    ("PRIVATE_ONLY", {**DOMAIN, "oidc": {**OIDC, "issuer": "http://idp.example.com"}}, {}, r"oidc.issuer.*pattern"),
    # ... the state with the client's secret ...
    (
        "PRIVATE_ONLY",
        {**DOMAIN, "oidc": OIDC},
        {"terraform_state": {"bucket": "states", "key": "openmwaa/example.tfstate"}},
        r"pull requests may read the states in openmwaa/.*begin it with openmwaa-secret/",
    ),
    # ... and requirements of Region and network.
    ("PRIVATE_ONLY", {**DOMAIN, "waf": True}, {}, r"`web_access.waf` needs a public load balancer"),
    (
        "PRIVATE_ONLY",
        {**DOMAIN, "oidc": OIDC},
        {"network": {"egress": "ENDPOINTS_ONLY"}},
        r"`web_access.oidc`.*does not have with `network.egress: ENDPOINTS_ONLY`",
    ),
    (
        "PRIVATE_ONLY",
        {**DOMAIN, "cognito": COGNITO},
        {"network": {"egress": "ENDPOINTS_ONLY"}},
        r"`web_access.cognito`.*does not have with `network.egress: ENDPOINTS_ONLY`",
    ),
    (
        "PUBLIC_ONLY",
        {**DOMAIN, **OFFICE, "cognito": COGNITO},
        {"network": GIVEN_VPC},
        r"PUBLIC_ONLY in an existing VPC needs `network.public_subnet_ids`: two or more",
    ),
    (
        "PUBLIC_AND_PRIVATE",
        {**DOMAIN, **OFFICE, "cognito": COGNITO},
        {"network": {**GIVEN_VPC, "public_subnet_ids": ["subnet-3c3c3c3c"]}},
        r"needs `network.public_subnet_ids`: two or more",
    ),
    ("PRIVATE_ONLY", {**OPEN, "access_logs_days": 0}, {}, r"access_logs_days.*greater than or equal to 1"),
]


@pytest.mark.parametrize(("mode", "access", "more", "words"), REFUSED)
def test_invalid_web_access_is_rejected(mode: str, access: dict[str, Any], more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        environment(mode, access, **more)
    (problem,) = refused.value.errors()
    text = f"{'.'.join(map(str, problem['loc']))} {problem['msg']}"
    assert re.search(words, text), text


def test_a_single_address_becomes_a_32_range() -> None:
    access = environment("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["10.1.2.3"]}).web_access
    assert access.allowed_cidrs == ("10.1.2.3/32",)


def test_cloudfront_in_an_existing_vpc_needs_no_public_subnets() -> None:
    assert environment("PUBLIC_AND_PRIVATE", {**OPEN, **OFFICE}, network=GIVEN_VPC).has_cloudfront


@pytest.mark.parametrize(("heading", "text"), SHOWN, ids=[heading for heading, _ in SHOWN])
def test_the_samples_of_the_page_have_the_mode_of_their_section(heading: str, text: str) -> None:
    fields = {"name": "example", **yaml.safe_load(text)}
    found = Environment.model_validate(fields)
    assert found.webserver_access_mode == heading.split(maxsplit=1)[0]
    assert found.has_cloudfront == ("CloudFront" in heading)


def test_the_page_has_a_section_for_every_mode() -> None:
    assert len(SHOWN) == 5
