# SPDX-License-Identifier: Apache-2.0
"""On this machine web access has no TLS, no login page and no DNS names; all else is the same as in AWS."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.local.addresses import AddressBlock
from openmwaa.local.terraform.terraform_override import override
from tests.support.synthesis import stack_document

DOMAIN = {"domain": "airflow.example.com", "hosted_zone_id": "Z0123456789", "allowed_cidrs": ["203.0.113.0/24"]}
OIDC = {
    "issuer": "https://idp.example.com",
    "authorization_endpoint": "https://idp.example.com/authorize",
    "token_endpoint": "https://idp.example.com/token",
    "user_info_endpoint": "https://idp.example.com/user",
    "client_id": "abc",
    "client_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:oidc-AbCdEf",
}
ACCESS: dict[str, tuple[str, dict[str, Any]]] = {
    "http": ("PRIVATE_ONLY", {"allow_http": True}),
    "public": ("PUBLIC_ONLY", {**DOMAIN, "oidc": OIDC, "waf": True}),
    "both": ("PUBLIC_AND_PRIVATE", {**DOMAIN, "oidc": OIDC}),
    "cloudfront": (
        "PUBLIC_AND_PRIVATE",
        {"allow_http": True, "allowed_cidrs": ["203.0.113.0/24"], "access_logs_days": 7},
    ),
}
PORTS = {443: 8080, 8080: 8080, 8081: 8081, 8082: 8082}


@pytest.fixture(scope="module", params=ACCESS)
def stack(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A stack, its override for this machine, and its name."""
    mode, access = ACCESS[request.param]
    environment = Environment.model_validate({"name": "example", "webserver_access_mode": mode, "web_access": access})
    original = stack_document(environment)
    overridden = override(original, addresses=AddressBlock(20), state_file=Path("/state/terraform.tfstate"))
    return original, overridden, request.param


def merged(original: dict[str, Any], overridden: dict[str, Any], word: str) -> dict[str, dict[str, Any]]:
    """Resources or data as `KIND.NAME`, an override's attributes over those of the stack."""
    return {
        f"{kind}.{name}": {**attributes, **overridden.get(word, {}).get(kind, {}).get(name, {})}
        for kind, named in original.get(word, {}).items()
        for name, attributes in named.items()
    }


def test_a_published_web_server_is_at_localhost(stack: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    original, plain, _ = stack
    published = override(original, addresses=AddressBlock(20), state_file=Path("/state/terraform.tfstate"), publish=80)
    changed = {name for name, value in published["locals"].items() if value != plain["locals"][name]}
    assert changed == {"web_url"}, "tasks and the scaler use the address of the load balancer"
    assert published["locals"]["web_url"] == "http://localhost:80"


def test_no_listener_uses_tls_or_authentication(
    stack: tuple[dict[str, Any], dict[str, Any], str],
) -> None:
    original, overridden, _ = stack
    for address, listener in merged(original, overridden, "resource").items():
        if not address.startswith("aws_lb_listener."):
            continue
        before = original["resource"]["aws_lb_listener"][address.partition(".")[2]]
        assert listener["protocol"] == "HTTP"
        assert listener["port"] == PORTS[before["port"]], f"{address}: 443 needs root"
        assert listener.get("certificate_arn") is None
        assert listener.get("ssl_policy") is None
        assert [action["type"] for action in listener["default_action"]] in (["forward"], ["fixed-response"])


def test_urls_are_those_of_the_load_balancers(stack: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    original, overridden, name = stack
    own = {**original["locals"], **overridden["locals"]}
    internal, web = "internal_load_balancer", "public_load_balancer" if name == "public" else "internal_load_balancer"
    assert own["web_url"] == f"http://${{aws_lb.{web}.dns_name}}:8080"
    assert own["execution_api_url"] == f"http://${{aws_lb.{internal}.dns_name}}:8081/execution/"
    assert own["scaler_url"] == f"http://${{aws_lb.{internal}.dns_name}}:8082/"
    assert own["scaler_log_url"] == "", "there is no console here"


def test_no_reference_to_a_left_out_resource_remains(stack: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    original, overridden, name = stack
    resources, data = merged(original, overridden, "resource"), merged(original, overridden, "data")
    absent = {address for address, entry in resources.items() if entry.get("count") == 0 or entry.get("for_each") == {}}
    absent |= {f"data.{address}" for address, entry in data.items() if entry.get("count") == 0}
    kinds = {address.partition(".")[0] for address in absent if "cloudwatch_metric" not in address}
    waits = {"aws_acm_certificate_validation", "aws_route53_record"}
    assert waits <= kinds or name in ("http", "cloudfront"), "an apply would wait without end for these DNS names"
    assert not {address for address in resources if "cloudfront_" in address.partition(".")[0]} - absent
    assert ("data.aws_secretsmanager_secret_version.oidc_client" in absent) == (name in ("public", "both"))
    rest = {
        "locals": {**original["locals"], **overridden["locals"]},
        "resources": {
            address: {word: value for word, value in entry.items() if word != "depends_on"}
            for address, entry in resources.items()
        },
        "outputs": original["output"],
    }
    text = json.dumps(rest)
    counted = {address for address in absent if resources.get(address, {}).get("for_each") != {}}
    # Terraform refuses a reference to a counted resource without an index, even if it does not evaluate it.
    mentioned = [address for address in counted if re.search(rf"\b{re.escape(address)}\.(?=[a-z])", text)]
    assert not mentioned


def test_each_provider_has_test_keys_and_no_endpoints(stack: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    original, overridden, _ = stack
    providers = overridden["provider"]["aws"]
    assert [provider.get("alias") for provider in providers] == [
        provider.get("alias") for provider in original["provider"]["aws"]
    ]
    for provider in providers:
        assert provider["access_key"] == "test"
        assert "endpoints" not in provider, "Terraform's environment variables have them"


def test_without_leave_out_all_resources_are_kept(stack: tuple[dict[str, Any], dict[str, Any], str]) -> None:
    original, _, _ = stack
    kept = override(original, addresses=AddressBlock(20), state_file=Path("/state"), leave_out=False)
    assert not {"web_url", "certificate_arn"} & set(kept["locals"])
    counts = [entry for named in kept["resource"].values() for entry in named.values() if "count" in entry]
    assert not counts
