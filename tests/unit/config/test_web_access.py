# SPDX-License-Identifier: Apache-2.0
"""Every way to the web server that must not be is refused, in words that name the field and the reason."""

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
GIVEN_VPC = {"vpc_id": "vpc-0a0a0a0a", "private_subnet_ids": ["subnet-1a1a1a1a", "subnet-2b2b2b2b"]}


def environment(mode: str, access: dict[str, Any], **more: Any) -> Environment:
    fields = {"name": "example", "webserver_access_mode": mode, "web_access": access, **more}
    return Environment.model_validate(fields)


@pytest.mark.parametrize(
    ("mode", "access"),
    [
        pytest.param("PRIVATE_ONLY", OPEN, id="private-http"),
        pytest.param("PRIVATE_ONLY", DOMAIN, id="private-domain"),
        pytest.param("PRIVATE_ONLY", {**DOMAIN, "oidc": OIDC}, id="private-that-asks"),
        pytest.param(
            "PRIVATE_ONLY", {"domain": "a.example.com", "certificate_arn": CERTIFICATE}, id="private-certificate"
        ),
        pytest.param("PRIVATE_ONLY", {**DOMAIN, "certificate_arn": CERTIFICATE}, id="certificate-and-zone"),
        pytest.param("PUBLIC_ONLY", {**DOMAIN, **OFFICE, "cognito": COGNITO}, id="public-cognito"),
        pytest.param("PUBLIC_ONLY", {**DOMAIN, **OFFICE, "oidc": OIDC, "waf": True}, id="public-oidc-waf"),
        pytest.param("PUBLIC_AND_PRIVATE", {**DOMAIN, **OFFICE, "oidc": OIDC}, id="both"),
        pytest.param("PUBLIC_AND_PRIVATE", {**OPEN, **OFFICE}, id="cloudfront"),
    ],
)
def test_a_sane_way_in_is_accepted(mode: str, access: dict[str, Any]) -> None:
    assert environment(mode, access).webserver_access_mode == mode


REFUSED = [
    # One a rule: how people get in ...
    ("PRIVATE_ONLY", {}, {}, r"web_access.domain.*web_access.allow_http: true.*in the clear"),
    ("PUBLIC_ONLY", {**DOMAIN, **OFFICE}, {}, r"PUBLIC_ONLY is refused: login by IAM is not built.*web_access.oidc"),
    ("PUBLIC_AND_PRIVATE", {**DOMAIN, **OFFICE}, {}, r"PUBLIC_AND_PRIVATE is refused: login by IAM is not built"),
    ("PUBLIC_ONLY", {}, {}, r"PUBLIC_ONLY without a `web_access.domain`.*login by IAM is not built"),
    ("PUBLIC_ONLY", {**OPEN, **OFFICE}, {}, r"PUBLIC_ONLY without a `web_access.domain`.*login by IAM is not built"),
    ("PUBLIC_ONLY", {**DOMAIN, "cognito": COGNITO}, {}, r"PUBLIC_ONLY needs `web_access.allowed_cidrs`"),
    ("PUBLIC_AND_PRIVATE", OPEN, {}, r"only login.*web_access.allowed_cidrs`, none wider than a /24"),
    ("PUBLIC_AND_PRIVATE", {**OPEN, "allowed_cidrs": ["203.0.113.0/24", "198.51.0.0/16"]}, {}, r"198.51.0.0/16 is\)"),
    ("PUBLIC_AND_PRIVATE", OFFICE, {}, r"HTTPS as far as CloudFront.*web_access.allow_http: true"),
    # ... whose addresses these are ...
    ("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["0.0.0.0/0"]}, {}, r"allowed_cidrs.*everybody"),
    ("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["128.0.0.0/1"]}, {}, r"allowed_cidrs.*good part of everybody"),
    ("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["10.0.0.1/8"]}, {}, r"10.0.0.1/8 is no IPv4 range \(.*host bits"),
    ("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["2001:db8::/32"]}, {}, r"2001:db8::/32 is no IPv4 range"),
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
        r"web_access.allowed_cidrs`: nobody comes from 10.0.0.0/8 over the internet",
    ),
    ("PUBLIC_AND_PRIVATE", {**OPEN, "allowed_cidrs": ["192.168.1.0/24"]}, {}, r"nobody comes from 192.168.1.0/24"),
    # ... which name and certificate ...
    ("PRIVATE_ONLY", {"domain": "airflow.example.com"}, {}, r"`domain` needs a certificate: give `hosted_zone_id`"),
    ("PRIVATE_ONLY", {**DOMAIN, **OPEN}, {}, r"with a `domain`.*leave `allow_http` out"),
    ("PRIVATE_ONLY", {**OPEN, "hosted_zone_id": "Z0123456789"}, {}, r"`hosted_zone_id` needs a `domain`"),
    ("PRIVATE_ONLY", {**OPEN, "certificate_arn": CERTIFICATE}, {}, r"`certificate_arn` needs a `domain`"),
    ("PRIVATE_ONLY", {**OPEN, "oidc": OIDC}, {}, r"`oidc` needs a `domain`"),
    ("PRIVATE_ONLY", {**OPEN, "cognito": COGNITO}, {}, r"`cognito` needs a `domain`"),
    ("PRIVATE_ONLY", {**DOMAIN, "oidc": OIDC, "cognito": COGNITO}, {}, r"give `oidc` or `cognito`"),
    ("PRIVATE_ONLY", {**DOMAIN, "domain": "Airflow.example.com"}, {}, r"domain.*pattern"),
    ("PRIVATE_ONLY", {**DOMAIN, "domain": f"{'a' * 60}.example.com"}, {}, r"domain.*at most 64"),
    (
        "PRIVATE_ONLY",
        {"domain": "airflow.example.com", "certificate_arn": CERTIFICATE},
        {"region": "eu-central-1"},
        r"web_access.certificate_arn` is in us-east-1; the load balancer takes one of eu-central-1",
    ),
    (
        "PRIVATE_ONLY",
        {**DOMAIN, "oidc": OIDC},
        {"region": "eu-central-1"},
        r"web_access.oidc.client_secret_arn` is in us-east-1",
    ),
    ("PRIVATE_ONLY", {**DOMAIN, "oidc": {**OIDC, "issuer": "http://idp.example.com"}}, {}, r"oidc.issuer.*pattern"),
    # ... and what the place has to have.
    ("PRIVATE_ONLY", {**DOMAIN, "waf": True}, {}, r"`web_access.waf` is for a load balancer that faces the internet"),
    (
        "PRIVATE_ONLY",
        {**DOMAIN, "oidc": OIDC},
        {"network": {"egress": "ENDPOINTS_ONLY"}},
        r"`web_access.oidc`.*`network.egress: ENDPOINTS_ONLY` has no way there",
    ),
    (
        "PRIVATE_ONLY",
        {**DOMAIN, "cognito": COGNITO},
        {"network": {"egress": "ENDPOINTS_ONLY"}},
        r"`web_access.cognito`.*`network.egress: ENDPOINTS_ONLY` has no way there",
    ),
    (
        "PUBLIC_ONLY",
        {**DOMAIN, **OFFICE, "cognito": COGNITO},
        {"network": GIVEN_VPC},
        r"PUBLIC_ONLY in a VPC that exists needs `network.public_subnet_ids`: two or more",
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
def test_a_way_in_that_must_not_be_is_refused(
    mode: str, access: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        environment(mode, access, **more)
    (problem,) = refused.value.errors()
    said = f"{'.'.join(map(str, problem['loc']))} {problem['msg']}"
    assert re.search(words, said), said


def test_an_address_alone_is_a_range_as_security_groups_spell_it() -> None:
    access = environment("PRIVATE_ONLY", {**OPEN, "allowed_cidrs": ["10.1.2.3"]}).web_access
    assert access.allowed_cidrs == ("10.1.2.3/32",)


def test_cloudfront_in_a_vpc_that_exists_needs_no_public_subnets() -> None:
    assert environment("PUBLIC_AND_PRIVATE", {**OPEN, **OFFICE}, network=GIVEN_VPC).has_cloudfront


@pytest.mark.parametrize(("heading", "text"), SHOWN, ids=[heading for heading, _ in SHOWN])
def test_what_the_page_shows_under_a_mode_is_that_mode(heading: str, text: str) -> None:
    fields = {"name": "example", "region": "eu-central-1", **yaml.safe_load(text)}
    found = Environment.model_validate(fields)
    assert found.webserver_access_mode == heading.split(maxsplit=1)[0]
    assert found.has_cloudfront == ("CloudFront" in heading)


def test_the_page_has_a_section_for_every_way_in() -> None:
    assert len(SHOWN) == 5
