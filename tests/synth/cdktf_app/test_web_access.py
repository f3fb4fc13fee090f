# SPDX-License-Identifier: Apache-2.0
"""Each access mode has exactly its listeners, TLS with a certificate, and no port 80."""

import json
from typing import Any

import pytest

from tests.support.stack import Json, Stack, environment_of, walk
from tests.synth.cdktf_app.conftest import GROUP, PRIVATE, PUBLIC, VPC, stack_of

DOMAIN = {"domain": "airflow.example.com", "hosted_zone_id": "Z0123456789"}
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
OFFICE = {"allowed_cidrs": ["203.0.113.0/24", "198.51.100.7"]}
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
    "client_id": "${injected}",
    "client_secret_arn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:oidc-AbCdEf",
}
INTERNAL, PUBLIC_LB = "internal_load_balancer", "public_load_balancer"
# botocore puts the prefixes before the host name of an endpoint of MWAA's API.
WEB_NAMES = [f"{prefix}airflow.example.com" for prefix in ("", "api.", "env.", "ops.")]
INTERNAL_NAMES = [f"{prefix}internal.airflow.example.com" for prefix in ("", "api.", "env.", "ops.")]


def web(mode: str, access: dict[str, Any], **fields: Any) -> Stack:
    return stack_of(webserver_access_mode=mode, web_access=access, **fields)


@pytest.fixture(scope="module")
def private() -> Stack:
    return web("PRIVATE_ONLY", {**DOMAIN, "allowed_cidrs": ["10.0.0.0/8"]})


@pytest.fixture(scope="module")
def given_certificate() -> Stack:
    return web("PRIVATE_ONLY", {"domain": "airflow.example.com", "certificate_arn": CERTIFICATE, "oidc": OIDC})


@pytest.fixture(scope="module")
def public() -> Stack:
    return web("PUBLIC_ONLY", {**DOMAIN, **OFFICE, "cognito": COGNITO})


@pytest.fixture(scope="module")
def both() -> Stack:
    more = {"waf": True, "access_logs_days": 30, "deletion_protection": True}
    return web("PUBLIC_AND_PRIVATE", {**DOMAIN, **OFFICE, "oidc": OIDC, **more})


@pytest.fixture(scope="module")
def cloudfront() -> Stack:
    return web("PUBLIC_AND_PRIVATE", {**OFFICE, "allow_http": True, "access_logs_days": 7})


@pytest.fixture(scope="module")
def modes(
    quickstart: Stack, private: Stack, given_certificate: Stack, public: Stack, both: Stack, cloudfront: Stack
) -> dict[str, Stack]:
    return {
        "private-http": quickstart,
        "private": private,
        "given-certificate": given_certificate,
        "public": public,
        "both": both,
        "cloudfront": cloudfront,
    }


MODES = ("private-http", "private", "given-certificate", "public", "both", "cloudfront")
TLS = frozenset({"private", "given-certificate", "public", "both"})


def listeners(stack: Stack) -> dict[str, Json]:
    return stack.resources("aws_lb_listener")


def actions(listener: Json) -> list[str]:
    return [action["type"] for action in listener["default_action"]]


def worker_of(stack: Stack) -> Json:
    """The container of the only fleet's workers."""
    (worker,) = [
        container for containers in stack.tasks.values() for container in containers if container["name"] == "worker"
    ]
    return worker


def local(stack: Stack, name: str) -> str:
    """A local value, to which outputs and containers must refer, so that emulators can override it."""
    assert stack.document["output"][name]["value"] == f"${{local.{name}}}"
    value: str = stack.document["locals"][name]
    return value


@pytest.mark.parametrize("mode", MODES)
def test_with_a_certificate_all_listeners_use_tls(modes: dict[str, Stack], mode: str) -> None:
    for name, listener in listeners(modes[mode]).items():
        assert listener["port"] != 80, f"{name}: what is sent to port 80 first crosses the network in the clear"
        if mode in TLS:
            assert listener["protocol"] == "HTTPS", f"{name} is open beside the certificate"
            assert listener["ssl_policy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
            assert listener["certificate_arn"] in ("${local.certificate_arn}", CERTIFICATE)
        else:
            assert listener["protocol"] == "HTTP"
            assert not {"certificate_arn", "ssl_policy"} & set(listener)


@pytest.mark.parametrize(
    ("mode", "ports"),
    [
        ("private-http", {f"{INTERNAL}_web": 8080}),
        ("private", {f"{INTERNAL}_web": 443}),
        ("given-certificate", {f"{INTERNAL}_web": 443}),
        ("public", {f"{PUBLIC_LB}_web": 443}),
        ("both", {f"{INTERNAL}_web": 443, f"{PUBLIC_LB}_web": 443}),
        ("cloudfront", {f"{INTERNAL}_web": 8080}),
    ],
)
def test_the_web_server_has_the_listeners_of_its_mode_only(
    modes: dict[str, Stack], mode: str, ports: dict[str, int]
) -> None:
    stack = modes[mode]
    found = {name: listener["port"] for name, listener in listeners(stack).items() if "forward" in actions(listener)}
    assert found == ports
    targets = {target["target_group_arn"] for target in stack.services["web-server"]["load_balancer"]}
    assert targets == {f"${{aws_lb_target_group.{name}.arn}}" for name in ports}, "web servers register with each"


@pytest.mark.parametrize("mode", MODES)
def test_execution_api_and_scaler_serve_their_paths_only(modes: dict[str, Stack], mode: str) -> None:
    stack = modes[mode]
    for word, port, paths in (("execution", 8081, ["/execution/*"]), ("scaler", 8082, ["/", "/v1/*", "/metrics"])):
        listener = listeners(stack)[f"{INTERNAL}_{word}"]
        assert (listener["port"], actions(listener)) == (port, ["fixed-response"])
        rule = stack.resources("aws_lb_listener_rule")[f"{INTERNAL}_{word}"]
        assert rule["condition"] == [{"path_pattern": {"values": paths}}]
        assert rule["action"] == [
            {"type": "forward", "target_group_arn": f"${{aws_lb_target_group.{INTERNAL}_{word}.arn}}"}
        ]
    assert set(stack.resources("aws_lb_listener_rule")) == {f"{INTERNAL}_execution", f"{INTERNAL}_scaler"}


@pytest.mark.parametrize("mode", MODES)
def test_one_load_balancer_has_a_target_group(modes: dict[str, Stack], mode: str) -> None:
    stack = modes[mode]
    used = [value for _, value in walk(listeners(stack)) if str(value).startswith("${aws_lb_target_group.")]
    used += [rule["action"][0]["target_group_arn"] for rule in stack.resources("aws_lb_listener_rule").values()]
    assert len(used) == len(set(used)), "AWS refuses a target group at a second load balancer"
    assert len(used) == len(stack.resources("aws_lb_target_group"))


@pytest.mark.parametrize(
    ("mode", "urls"),
    [
        (
            "private-http",
            (
                f"http://${{aws_lb.{INTERNAL}.dns_name}}:8080",
                f"http://${{aws_lb.{INTERNAL}.dns_name}}:8081/execution/",
                f"http://${{aws_lb.{INTERNAL}.dns_name}}:8082/",
            ),
        ),
        (
            "cloudfront",
            (
                "https://${aws_cloudfront_distribution.cloudfront.domain_name}",
                f"http://${{aws_lb.{INTERNAL}.dns_name}}:8081/execution/",
                f"http://${{aws_lb.{INTERNAL}.dns_name}}:8082/",
            ),
        ),
        *(
            (
                mode,
                (
                    "https://airflow.example.com",
                    "https://internal.airflow.example.com:8081/execution/",
                    "https://internal.airflow.example.com:8082/",
                ),
            )
            for mode in sorted(TLS)
        ),
    ],
)
def test_urls_are_those_of_the_mode(modes: dict[str, Stack], mode: str, urls: tuple[str, str, str]) -> None:
    stack = modes[mode]
    assert tuple(local(stack, name) for name in ("web_url", "execution_api_url", "scaler_url")) == urls
    for container in (
        stack.containers["web-server/web-server"],
        stack.containers["scheduler/scheduler"],
        worker_of(stack),
    ):
        variables = environment_of(container)
        assert variables["OPENMWAA_WEB_URL"] == "${local.web_url}"
        assert variables["OPENMWAA_EXECUTION_API_URL"] == "${local.execution_api_url}"


def test_a_private_url_beside_a_public_one_is_an_output(modes: dict[str, Stack]) -> None:
    urls = {
        mode: stack.document["output"]["private_web_url"]["value"]
        for mode, stack in modes.items()
        if "private_web_url" in stack.document["output"]
    }
    assert urls == {
        "both": "https://internal.airflow.example.com",
        "cloudfront": f"http://${{aws_lb.{INTERNAL}.dns_name}}:8080",
    }


@pytest.mark.parametrize("mode", MODES)
def test_the_web_server_trusts_proxies_of_the_vpc_only(modes: dict[str, Stack], mode: str) -> None:
    containers = modes[mode].containers
    assert environment_of(containers["web-server/web-server"])["FORWARDED_ALLOW_IPS"] == "10.192.0.0/16"
    others = [name for name, container in containers.items() if "FORWARDED_ALLOW_IPS" in environment_of(container)]
    assert others == ["web-server/web-server"]


def test_an_existing_vpcs_ranges_are_trusted_and_its_subnets_used() -> None:
    network = {
        "vpc_id": VPC,
        "private_subnet_ids": PRIVATE,
        "public_subnet_ids": PUBLIC,
        "security_group_ids": [GROUP],
    }
    stack = web("PUBLIC_ONLY", {**DOMAIN, **OFFICE, "cognito": COGNITO}, network=network)
    believed = environment_of(stack.containers["web-server/web-server"])["FORWARDED_ALLOW_IPS"]
    assert believed.startswith('${join(",", ')
    assert "cidr_block_associations" in believed
    balancers = stack.resources("aws_lb")
    assert balancers[INTERNAL]["subnets"] != balancers[PUBLIC_LB]["subnets"]


@pytest.mark.parametrize("mode", MODES)
def test_load_balancers_are_internal_or_public(modes: dict[str, Stack], mode: str) -> None:
    stack = modes[mode]
    faces = {name: balancer["internal"] for name, balancer in stack.resources("aws_lb").items()}
    assert faces == {INTERNAL: True} | ({PUBLIC_LB: False} if mode in ("public", "both") else {})
    for name, balancer in stack.resources("aws_lb").items():
        kind = "private" if balancer["internal"] else "public"
        assert all(f".network_{kind}_" in subnet for subnet in balancer["subnets"]), f"{name} is in another subnet"
        assert balancer["drop_invalid_header_fields"] is True


def test_public_access_requires_authentication(public: Stack, both: Stack) -> None:
    for stack, action in ((public, "authenticate-cognito"), (both, "authenticate-oidc")):
        listener = listeners(stack)[f"{PUBLIC_LB}_web"]
        assert actions(listener) == [action, "forward"]
        assert [action["order"] for action in listener["default_action"]] == [1, 2]
        action_config = listener["default_action"][0][action.replace("-", "_")]
        assert action_config["on_unauthenticated_request"] == "authenticate"
        assert action_config["session_timeout"] == 12 * 3600, "ELB's default is a week"


def test_the_internal_load_balancer_authenticates_without_a_public_one(both: Stack, given_certificate: Stack) -> None:
    assert actions(listeners(both)[f"{INTERNAL}_web"]) == ["forward"], "API clients could not log in"
    assert actions(listeners(given_certificate)[f"{INTERNAL}_web"]) == ["authenticate-oidc", "forward"]


def test_the_client_secret_is_read_by_terraform_and_not_in_the_output(both: Stack) -> None:
    action_config = listeners(both)[f"{PUBLIC_LB}_web"]["default_action"][0]["authenticate_oidc"]
    assert action_config["client_secret"] == "${local.oidc_client_secret}"
    assert both.document["locals"]["oidc_client_secret"] == (
        "${data.aws_secretsmanager_secret_version.oidc_client.secret_string}"
    )
    assert action_config["client_id"] == "$${injected}", "what the user wrote is no Terraform"


def test_a_certificate_has_all_names_and_is_validated_in_the_zone(private: Stack) -> None:
    certificate = private.only("aws_acm_certificate")
    names = [certificate["domain_name"], *certificate["subject_alternative_names"]]
    assert names == [*WEB_NAMES, *INTERNAL_NAMES]
    assert certificate["validation_method"] == "DNS"
    assert certificate["lifecycle"] == {"create_before_destroy": True}, "a listener may never be without one"
    records = private.resources("aws_route53_record")
    assert {record["zone_id"] for record in records.values()} == {"Z0123456789"}
    proof = records["certificate_proof"]
    assert proof["for_each"] == (
        "${{for option in aws_acm_certificate.certificate.domain_validation_options : option.domain_name => option}}"
    )
    validation = private.only("aws_acm_certificate_validation")
    assert validation["validation_record_fqdns"] == (
        "${[for record in aws_route53_record.certificate_proof : record.fqdn]}"
    )
    arn = "${aws_acm_certificate_validation.certificate.certificate_arn}"
    assert private.document["locals"]["certificate_arn"] == arn, "a listener takes no certificate that is not issued"


@pytest.mark.parametrize(("mode", "balancer"), [("private", INTERNAL), ("public", PUBLIC_LB), ("both", PUBLIC_LB)])
def test_names_are_aliases_of_the_load_balancers(modes: dict[str, Stack], mode: str, balancer: str) -> None:
    stack = modes[mode]
    records = stack.resources("aws_route53_record")
    aliases = {record["name"]: record["alias"]["name"] for name, record in records.items() if name.startswith("names_")}
    assert aliases == {
        **dict.fromkeys(WEB_NAMES, f"${{aws_lb.{balancer}.dns_name}}"),
        **dict.fromkeys(INTERNAL_NAMES, f"${{aws_lb.{INTERNAL}.dns_name}}"),
    }
    assert stack.document["output"]["required_dns_records"]["value"] == {}


def test_without_a_zone_the_required_dns_records_are_an_output(given_certificate: Stack) -> None:
    assert not given_certificate.resources("aws_route53_record")
    assert not given_certificate.resources("aws_acm_certificate")
    assert given_certificate.document["output"]["required_dns_records"]["value"] == dict.fromkeys(
        [*WEB_NAMES, *INTERNAL_NAMES], f"${{aws_lb.{INTERNAL}.dns_name}}"
    )


@pytest.mark.parametrize(
    ("login", "more"),
    [
        ("IAM", {f"names_{prefix}{end}" for prefix in ("api", "env", "ops") for end in ("", "_internal")}),
        ("PASSWORD", set[str]()),
    ],
)
def test_an_existing_certificate_with_a_zone_creates_records_only(login: str, more: set[str]) -> None:
    stack = web("PRIVATE_ONLY", {**DOMAIN, "certificate_arn": CERTIFICATE, "login": login})
    assert set(stack.resources("aws_route53_record")) == {"names_web", "names_internal"} | more
    assert not stack.resources("aws_acm_certificate")


def test_a_certificate_with_passwords_has_two_names() -> None:
    certificate = web("PRIVATE_ONLY", {**DOMAIN, "login": "PASSWORD"}).only("aws_acm_certificate")
    assert certificate["domain_name"] == "airflow.example.com"
    assert certificate["subject_alternative_names"] == ["internal.airflow.example.com"]


def test_access_logs_and_protection_are_optional(both: Stack, private: Stack) -> None:
    for balancer in both.resources("aws_lb").values():
        assert balancer["access_logs"] == {"bucket": "${aws_s3_bucket_policy.access_logs.bucket}", "enabled": True}
        assert balancer["enable_deletion_protection"] is True
    writers = {statement["Sid"]: statement for statement in both.policies["access_logs_writers"]["Statement"]}
    assert set(writers) == {"TlsOnly", "LoadBalancers"}
    assert writers["LoadBalancers"]["Condition"]["ArnLike"]["aws:SourceArn"][0].endswith(":loadbalancer/*")
    (rule,) = both.resources("aws_s3_bucket_lifecycle_configuration")["access_logs_lifecycle"]["rule"]
    assert rule["expiration"] == [{"days": 30}]
    (encryption,) = both.resources("aws_s3_bucket_server_side_encryption_configuration")["access_logs_encryption"][
        "rule"
    ]
    assert encryption["apply_server_side_encryption_by_default"] == {"sse_algorithm": "AES256"}, "ELB takes no other"
    (plain,) = private.resources("aws_lb").values()
    assert "access_logs" not in plain
    assert plain["enable_deletion_protection"] is False, "a destroy would fail"


def test_waf_on_the_public_load_balancer_limits_logins_only(both: Stack) -> None:
    acl = both.only("aws_wafv2_web_acl")
    assert (acl["scope"], acl["default_action"]) == ("REGIONAL", {"allow": {}})
    assert [rule["name"] for rule in acl["rule"]] == ["known-bad-inputs", "logins"]
    association = both.only("aws_wafv2_web_acl_association")
    assert association["resource_arn"] == f"${{aws_lb.{PUBLIC_LB}.arn}}"
    assert "provider" not in acl
    (group,) = [group for group in both.resources("aws_cloudwatch_log_group").values() if "waf" in group["name"]]
    assert group["name"] == "aws-waf-logs-openmwaa-example-web"
    pattern = both.policies["keys_policy"]["Statement"]
    allowed = json.dumps([entry for entry in pattern if entry["Sid"] == "LogGroups"])
    assert "aws-waf-logs-openmwaa-example-web" in allowed, "CloudWatch could not use the key for it"


def test_waf_logs_contain_no_cookie_and_no_token(both: Stack, cloudfront: Stack) -> None:
    for stack in (both, cloudfront):
        log = stack.only("aws_wafv2_web_acl_logging_configuration")
        redacted = {field["single_header"]["name"] for field in log["redacted_fields"]}
        assert redacted == {"authorization", "cookie"}
        for rule in stack.only("aws_wafv2_web_acl")["rule"]:
            assert rule["visibility_config"]["sampled_requests_enabled"] is False, "samples show headers"
