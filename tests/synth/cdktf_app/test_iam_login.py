# SPDX-License-Identifier: Apache-2.0
"""With IAM login the web server may evaluate policies, no password exists, and SDKs find the names of the API."""

import json
from typing import Any

import pytest

from openmwaa.config.aws_limits import MAX_ROLE_POLICY
from openmwaa.config.environment import Environment
from openmwaa_runtime.auth.settings import AuthSettings
from tests.support.iam import ACCOUNT, ResolvedStack, characters
from tests.support.iam_evaluation import Request, allowed
from tests.support.stack import Stack, environment_of, secrets_of
from tests.synth.cdktf_app.conftest import stack_of

INTERNAL, PUBLIC = "internal_load_balancer", "public_load_balancer"
DOMAIN = {"domain": "airflow.example.com", "hosted_zone_id": "Z0123456789"}
PASSWORD = {"allow_http": True, "login": "PASSWORD"}
OTHER = "210987654321"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any/path/analysts"
USER = f"arn:aws:iam::{ACCOUNT}:user/any/path/bob"


def iam(access: dict[str, Any] | None = None, iam_login: dict[str, Any] | None = None, **fields: Any) -> Stack:
    login = {"login": "IAM", **({"iam_login": iam_login} if iam_login else {})}
    return stack_of(web_access={**({"allow_http": True} if access is None else access), **login}, **fields)


@pytest.fixture(scope="module")
def public() -> Stack:
    return iam({**DOMAIN, "waf": True}, webserver_access_mode="PUBLIC_AND_PRIVATE")


@pytest.fixture(scope="module")
def cloudfront() -> Stack:
    return iam(webserver_access_mode="PUBLIC_ONLY")


def web_server(stack: Stack) -> dict[str, str]:
    return environment_of(stack.containers["web-server/web-server"])


def test_the_web_server_reads_its_variables(iam_without_internet: Stack) -> None:
    written = web_server(iam_without_internet)
    variables = {name: value.replace("$${", "${").replace("%%{", "%{") for name, value in written.items()}
    known = {
        "${data.aws_partition.place.partition}": "aws",
        "${data.aws_caller_identity.place_caller.account_id}": ACCOUNT,
    }
    for token, value in known.items():
        variables["OPENMWAA_ENVIRONMENT_ARN"] = variables["OPENMWAA_ENVIRONMENT_ARN"].replace(token, value)
    found = AuthSettings.read({**variables, "OPENMWAA_API_SECRET_KEY": "of Secrets Manager"})
    assert str(found.environment) == f"arn:aws:airflow:us-east-1:{ACCOUNT}:environment/example"
    patterns = [row.pattern.text for row in found.role_table.rows]
    assert patterns == [f"arn:aws:iam::{OTHER}:role/analysts", f"arn:aws:iam::{ACCOUNT}:user/${{x}}/%{{y}}/bob"]
    assert [access.tag for access in found.dag_access] == ["team:${x}"]
    assert (found.role_source, found.cli_role_scoping, found.proxy_hops) == ("SIMULATION", False, 1)
    assert written["OPENMWAA_LOGIN"] == "IAM"
    assert "${x}" not in written["OPENMWAA_ROLE_TABLE"].replace("$${x}", ""), "Terraform would evaluate it"


def test_no_other_container_has_the_tables(iam_without_internet: Stack) -> None:
    for name, container in iam_without_internet.containers.items():
        has_login = "OPENMWAA_LOGIN" in environment_of(container)
        assert has_login == (name == "web-server/web-server"), name


@pytest.mark.parametrize("version", ["3.3.2", "2.11.2"])
def test_no_password_of_a_user_exists(version: str) -> None:
    stack = iam(airflow_version=version)
    assert "secrets_admin_password" not in stack.resources("aws_secretsmanager_secret")
    assert "admin_password_secret_arn" not in stack.document["output"]
    assert "admin_password" not in json.dumps(stack.document)
    assert "OPENMWAA_ADMIN_PASSWORD" not in secrets_of(stack.containers["web-server/web-server"])
    assert "OPENMWAA_API_SECRET_KEY" in secrets_of(stack.containers["web-server/web-server"])


def test_a_password_has_no_variables_of_iam_login() -> None:
    stack = stack_of(web_access=PASSWORD)
    variables = web_server(stack)
    assert variables["OPENMWAA_LOGIN"] == "PASSWORD"
    assert not {"OPENMWAA_ROLE_SOURCE", "OPENMWAA_ENVIRONMENT_ARN"} & set(variables)
    statements = ResolvedStack(stack).policy("roles_web_server")
    assert not allowed(statements, Request("iam:GetRole", ROLE))


def test_the_web_server_may_evaluate_policies_of_its_account_and_no_more(iam_without_internet: Stack) -> None:
    stack = ResolvedStack(iam_without_internet)
    statements = stack.policy("roles_web_server")
    for resource in (ROLE, USER):
        assert allowed(statements, Request("iam:SimulatePrincipalPolicy", resource))
        assert not allowed(statements, Request("iam:SimulatePrincipalPolicy", resource.replace(ACCOUNT, OTHER)))
    assert allowed(statements, Request("iam:GetRole", ROLE))
    for action, resource in (
        ("iam:GetUser", USER),
        ("iam:PutRolePolicy", ROLE),
        ("iam:PassRole", ROLE),
        ("iam:SimulateCustomPolicy", "*"),
        ("sts:AssumeRole", ROLE),
    ):
        assert not allowed(statements, Request(action, resource)), action
    for role in ("scheduler", "dag_processor", "triggerer", "execution_api", "worker", "scaler"):
        assert not allowed(stack.policy(f"roles_{role}"), Request("iam:GetRole", ROLE)), role


def test_a_table_alone_needs_no_permission() -> None:
    stack = ResolvedStack(iam(iam_login={"role_source": "TABLE", "role_table": [{"principal": USER, "role": "Op"}]}))
    for action in ("iam:SimulatePrincipalPolicy", "iam:GetRole"):
        assert not allowed(stack.policy("roles_web_server"), Request(action, ROLE)), action
    assert web_server(stack.stack)["OPENMWAA_ROLE_SOURCE"] == "TABLE"


def test_without_internet_access_sts_and_iam_have_endpoints(iam_without_internet: Stack) -> None:
    endpoints = iam_without_internet.resources("aws_vpc_endpoint")
    assert endpoints["endpoints_sts"]["service_name"] == "com.amazonaws.us-east-1.sts"
    assert endpoints["endpoints_iam"]["service_name"] == "com.amazonaws.iam"
    for name in ("sts", "iam"):
        assert endpoints[f"endpoints_{name}"]["private_dns_enabled"] is True
    assert endpoints["endpoints_iam"]["policy"] == endpoints["endpoints_logs"]["policy"]
    own, others = iam_without_internet.policies["endpoints_sts_policy"]["Statement"]
    assert own["Sid"] == "IdentitiesOfThisAccount"
    assert others["Action"] == ["sts:GetCallerIdentity"]
    assert others["Condition"]["StringEquals"]["aws:PrincipalAccount"] == [ACCOUNT, OTHER]


def test_a_password_needs_no_endpoint_of_sts_or_iam() -> None:
    names = set(stack_of(web_access=PASSWORD, network={"egress": "ENDPOINTS_ONLY"}).resources("aws_vpc_endpoint"))
    assert not {"endpoints_sts", "endpoints_iam"} & names


def test_sdks_find_the_names_that_they_make(public: Stack) -> None:
    certificate = public.only("aws_acm_certificate")
    names = [certificate["domain_name"], *certificate["subject_alternative_names"]]
    outer = ["airflow.example.com", *(f"{prefix}.airflow.example.com" for prefix in ("api", "env", "ops"))]
    inner = [name.replace("airflow.", "internal.airflow.") for name in outer]
    assert names == outer + inner
    assert len(names) <= 10, "ACM's quota of names in a certificate"
    records = {
        record["name"]: record["alias"]["name"]
        for name, record in public.resources("aws_route53_record").items()
        if name.startswith("names_")
    }
    assert records == dict.fromkeys(outer, f"${{aws_lb.{PUBLIC}.dns_name}}") | dict.fromkeys(
        inner, f"${{aws_lb.{INTERNAL}.dns_name}}"
    )


def test_required_records_have_the_names_too() -> None:
    certificate = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
    stack = iam({"domain": "airflow.example.com", "certificate_arn": certificate})
    assert len(stack.document["output"]["required_dns_records"]["value"]) == 8


def test_a_public_web_server_without_ranges_serves_the_internet_on_443_alone(public: Stack) -> None:
    rules = public.resources("aws_vpc_security_group_ingress_rule")
    anywhere = {name: rule["from_port"] for name, rule in rules.items() if rule.get("cidr_ipv4") == "0.0.0.0/0"}
    assert list(anywhere.values()) == [443]
    (name,) = anywhere
    assert rules[name]["security_group_id"] == f"${{aws_security_group.security_groups_{PUBLIC}.id}}"
    assert [action["type"] for action in public.resources("aws_lb_listener")[f"{PUBLIC}_web"]["default_action"]] == [
        "forward"
    ]


def test_ranges_stay_a_limit() -> None:
    stack = iam({**DOMAIN, "allowed_cidrs": ["203.0.113.0/24"]}, webserver_access_mode="PUBLIC_ONLY")
    cidrs = {rule.get("cidr_ipv4") for rule in stack.resources("aws_vpc_security_group_ingress_rule").values()}
    assert "203.0.113.0/24" in cidrs
    assert "0.0.0.0/0" not in cidrs


def test_cloudfront_alone_is_the_only_client_of_the_web_listener(cloudfront: Stack) -> None:
    assert f"{INTERNAL}_web" in cloudfront.resources("aws_lb_listener")
    assert list(cloudfront.resources("aws_lb")) == [INTERNAL]
    rules = cloudfront.resources("aws_vpc_security_group_ingress_rule")
    to_web = {name: rule for name, rule in rules.items() if name.startswith("security_groups_") and "8080" in name}
    clients = [rule for name, rule in to_web.items() if "web_server_from" not in name]
    assert [rule["prefix_list_id"] for rule in clients] == ["${local.security_groups_cloudfront_prefix_list}"]
    assert web_server(cloudfront)["OPENMWAA_PROXY_HOPS"] == "2"
    assert cloudfront.only("aws_wafv2_web_acl")["default_action"] == {"allow": {}}
    assert "private_web_url" not in cloudfront.document["output"]


def test_a_client_in_the_vpc_cannot_write_the_entry_of_cloudfront() -> None:
    both = iam(webserver_access_mode="PUBLIC_AND_PRIVATE")
    assert web_server(both)["OPENMWAA_PROXY_HOPS"] == "1"


def test_waf_limits_the_logins_and_not_the_api(public: Stack) -> None:
    (logins,) = [rule for rule in public.only("aws_wafv2_web_acl")["rule"] if rule["name"] == "logins"]
    text = json.dumps(logins)
    for path in ("/auth/", "/aws_mwaa/exchange", "/aws_mwaa/login", "/pluginsv2/aws_mwaa/login"):
        assert f'"{path}"' in text
    assert '"/aws_mwaa/"' not in text


def test_the_default_follows_one_constant() -> None:
    environment = Environment.model_validate({"name": "example", "web_access": {"allow_http": True}})
    assert web_server(stack_of())["OPENMWAA_LOGIN"] == environment.web_access.login


def test_the_permissions_fit_into_the_role_of_all_components() -> None:
    def largest(letters: str) -> Stack:
        fleets = {
            letter * 20: {"queues": [letter * 40, letter * 39 if letter > "a" else "default"]} for letter in letters
        }
        artefacts = {"startup_script_s3_path": "startup.sh", "requirements_s3_path": "requirements.txt"}
        form: dict[str, Any] = {"control_plane": "COMPACT", "enable_execute_command": True, **artefacts}
        return iam(name="e" * 80, region="us-gov-east-1", fleets=fleets, **form)

    with pytest.raises(ValueError, match="ecs RegisterTaskDefinition"):
        largest("abcdefghijkl")
    stack = largest("abcdefghijk")
    size = characters(ResolvedStack(stack).policy("roles_control_plane"))
    assert size <= MAX_ROLE_POLICY, size
