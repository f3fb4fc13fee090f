# SPDX-License-Identifier: Apache-2.0
"""Security groups allow exactly the required connections, and none from outside."""

import re
from ipaddress import IPv4Network

import pytest

from tests.support.stack import Json, Stack
from tests.synth.cdktf_app.conftest import GROUP, PRIVATE, VPC, stack_of

INGRESS = "aws_vpc_security_group_ingress_rule"
EGRESS = "aws_vpc_security_group_egress_rule"
# What EC2 takes as a description.
DESCRIPTION = re.compile(r"^[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}$")
ANYWHERE = "0.0.0.0/0"
DAG_CODE = ("dag_processor", "triggerer", "workers")
TASKS = ("scheduler", "dag_processor", "triggerer", "execution_api", "web_server", "workers", "scaler")
# Without a domain, with IAM login, on SQS, with a database of ours.
MINIMAL_CONNECTIONS = {
    ("internal_load_balancer", "web_server", 8080),
    ("internal_load_balancer", "execution_api", 8081),
    ("internal_load_balancer", "scaler", 8082),
    ("workers", "internal_load_balancer", 8081),
    ("dag_processor", "internal_load_balancer", 8081),
    ("triggerer", "internal_load_balancer", 8081),
    ("scaler", "workers", 8790),
    ("web_server", "internal_load_balancer", 8082),
    *((task, "database", 5432) for task in TASKS),
}


def _group(reference: str) -> str:
    return reference.removeprefix("${aws_security_group.security_groups_").removesuffix(".id}")


def _rules(stack: Stack, kind: str) -> list[Json]:
    return list(stack.resources(kind).values())


def _connections(stack: Stack, kind: str) -> set[tuple[str, str, int]]:
    """(caller, listener, port) as the rules of one direction say it."""
    found = set()
    for rule in _rules(stack, kind):
        if "referenced_security_group_id" in rule:
            assert rule["from_port"] == rule["to_port"], f"{rule['description']}: one port a rule, no range"
        if "referenced_security_group_id" in rule:
            own, other = _group(rule["security_group_id"]), _group(rule["referenced_security_group_id"])
            found.add((own, other, rule["from_port"]) if kind == EGRESS else (other, own, rule["from_port"]))
    return found


def _from_ranges(stack: Stack) -> set[tuple[str, str, int]]:
    """(range, listener, port) of what is open to addresses."""
    return {
        (rule["cidr_ipv4"], _group(rule["security_group_id"]), rule["from_port"])
        for rule in _rules(stack, INGRESS)
        if "cidr_ipv4" in rule
    }


@pytest.fixture(scope="session")
def every(
    variants: dict[str, Stack], existing: Stack, nat_per_zone: Stack, public_without_a_way_out: Stack
) -> dict[str, Stack]:
    more = {"existing": existing, "NAT per zone": nat_per_zone, "public": public_without_a_way_out}
    return {**variants, **more}


def test_no_rule_allows_all_addresses(every: dict[str, Stack]) -> None:
    for variant, stack in every.items():
        for name, rule in stack.resources(INGRESS).items():
            assert "cidr_ipv6" not in rule, f"{variant}: {name} is open to IPv6"
            cidr = rule.get("cidr_ipv4", "")
            if cidr and cidr != "${each.value}":
                assert IPv4Network(cidr).prefixlen >= 8, f"{variant}: {name} is open to {cidr}"
            ways = {"cidr_ipv4", "prefix_list_id", "referenced_security_group_id"} & set(rule)
            assert len(ways) == 1, f"{variant}: {name} is open to {ways or 'none'}"
        for name, group in stack.resources("aws_security_group").items():
            assert not {"ingress", "egress"} & set(group), f"{variant}: {name} has rules of its own beside the rules"


def test_every_rule_has_a_description_that_ec2_accepts(every: dict[str, Stack]) -> None:
    for variant, stack in every.items():
        for kind in (INGRESS, EGRESS, "aws_security_group"):
            for name, rule in stack.resources(kind).items():
                assert rule["description"], f"{variant}: {name} does not say why"
                assert DESCRIPTION.match(rule["description"]), f"{variant}: {name}: EC2 refuses {rule['description']!r}"


def test_no_group_has_more_rules_than_ec2_allows(every: dict[str, Stack]) -> None:
    for variant, stack in every.items():
        for kind in (INGRESS, EGRESS):
            groups = [rule["security_group_id"] for rule in _rules(stack, kind)]
            for group in set(groups):
                assert groups.count(group) <= 60, f"{variant}: {group} has {groups.count(group)} rules"


@pytest.mark.parametrize("variant", ["quickstart", "no internet", "public", "redis and rds", "NAT per zone"])
def test_every_connection_has_an_ingress_and_an_egress_rule(every: dict[str, Stack], variant: str) -> None:
    callers, listeners = _connections(every[variant], EGRESS), _connections(every[variant], INGRESS)
    assert callers == listeners, "a rule at one end alone allows nothing"


def test_the_minimal_environment_has_exactly_these_connections(quickstart: Stack) -> None:
    assert _connections(quickstart, EGRESS) == MINIMAL_CONNECTIONS


def test_with_a_password_the_web_server_does_not_show_the_scaler_page(password_login: Stack) -> None:
    unused = {("web_server", "internal_load_balancer", 8082)}
    assert _connections(password_login, EGRESS) == MINIMAL_CONNECTIONS - unused


def test_redis_accepts_schedulers_workers_and_scaler_only(redis_and_rds: Stack) -> None:
    more = {(caller, "broker", 6379) for caller in ("scheduler", "workers", "scaler")}
    assert _connections(redis_and_rds, EGRESS) == MINIMAL_CONNECTIONS | more


def test_a_public_load_balancer_reaches_the_web_server_only(public_without_a_way_out: Stack) -> None:
    found = _connections(public_without_a_way_out, EGRESS)
    assert {connection for connection in found if "public_load_balancer" in connection} == {
        ("public_load_balancer", "web_server", 8080)
    }
    assert ("internal_load_balancer", "web_server", 8080) not in found, "no access through the internal one"
    assert _from_ranges(public_without_a_way_out) == {
        ("203.0.113.0/24", "public_load_balancer", 443),
        ("10.192.0.0/16", "internal_load_balancer", 8082),
    }


def test_users_connect_from_the_vpc_and_from_allowed_ranges(quickstart: Stack, existing: Stack) -> None:
    assert _from_ranges(quickstart) == {
        ("10.192.0.0/16", "internal_load_balancer", 8080),
        ("10.192.0.0/16", "internal_load_balancer", 8082),
    }
    assert _from_ranges(existing) == {
        *((cidr, "internal_load_balancer", port) for port in (8080, 8082) for cidr in ("10.20.0.0/16", "10.30.0.0/16")),
        *(("${each.value}", "internal_load_balancer", port) for port in (8080, 8082)),
        ("${each.value}", "endpoints", 443),
    }
    for rule in _rules(existing, INGRESS):
        if rule.get("cidr_ipv4") == "${each.value}":
            assert rule["for_each"] == "${toset(data.aws_vpc.network.cidr_block_associations[*].cidr_block)}"


def _egress(stack: Stack) -> set[tuple[str, str, str | int]]:
    """(caller, range, port) of what tasks reach by address; all ports are the name of their protocol."""
    found: set[tuple[str, str, str | int]] = set()
    for rule in _rules(stack, EGRESS):
        if "cidr_ipv4" in rule:
            ports, protocol = (rule["from_port"], rule["to_port"]), rule["ip_protocol"]
            assert ports == (0, 65535) or (protocol == "tcp" and ports[0] == ports[1])
            port = protocol if ports == (0, 65535) else ports[0]
            found.add((_group(rule["security_group_id"]), rule["cidr_ipv4"], port))
    return found


def _every_port(cidr: str) -> set[tuple[str, str, str | int]]:
    return {(task, cidr, protocol) for task in DAG_CODE for protocol in ("tcp", "udp")}


def test_dag_code_has_the_egress_of_mwaa_and_others_https(quickstart: Stack) -> None:
    https = {(task, ANYWHERE, 443) for task in TASKS}
    assert _egress(quickstart) == https | _every_port(ANYWHERE)


def test_ports_of_dag_code_can_be_limited() -> None:
    stack = stack_of(network={"egress_ports": [443, 22, 5432]})
    https = {(task, ANYWHERE, 443) for task in TASKS}
    assert _egress(stack) == https | {(task, ANYWHERE, port) for task in DAG_CODE for port in (22, 5432)}
    pages = {("internal_load_balancer", port) for port in (8080, 8082)}
    callers = {caller for caller, listener, port in _connections(stack, EGRESS) if (listener, port) in pages}
    assert callers == {"web_server"}, f"{callers} could look at, and overload, what people look at"


@pytest.mark.parametrize(
    ("network", "vpc"),
    [({}, "10.192.0.0/16"), ({"vpc_id": VPC, "private_subnet_ids": PRIVATE}, "${each.value}")],
    ids=["own VPC", "existing VPC"],
)
def test_with_endpoints_only_dag_code_stays_in_the_vpc(network: Json, vpc: str) -> None:
    network = {"egress": "ENDPOINTS_ONLY", **network}
    assert _egress(stack_of(network=network)) == _every_port(vpc)
    limited = stack_of(network={**network, "egress_ports": [443]})
    assert _egress(limited) == {(task, vpc, 443) for task in DAG_CODE}


def test_groups_of_the_user_are_attached_in_the_own_vpc_too() -> None:
    services = stack_of(network={"security_group_ids": [GROUP]}).services
    attached = {
        name for name, service in services.items() if GROUP in service["network_configuration"]["security_groups"]
    }
    assert attached == {"dag-processor", "triggerer", "worker-default-a", "worker-default-b"}


def test_with_endpoints_only_https_goes_to_endpoints_and_s3(no_internet: Stack) -> None:
    assert {cidr for _, cidr, _ in _egress(no_internet)} == {"10.192.0.0/16"}, "something leads to the internet"
    to_endpoints = {(task, "endpoints", 443) for task in TASKS}
    assert _connections(no_internet, EGRESS) == MINIMAL_CONNECTIONS | to_endpoints
    to_s3 = {
        _group(rule["security_group_id"]): rule["prefix_list_id"]
        for rule in _rules(no_internet, EGRESS)
        if "prefix_list_id" in rule
    }
    assert to_s3 == dict.fromkeys(TASKS, "${aws_vpc_endpoint.endpoints_s3.prefix_list_id}")


def test_only_an_authenticating_load_balancer_has_internet_egress(
    public_without_a_way_out: Stack,
) -> None:
    assert {task for task, cidr, _ in _egress(public_without_a_way_out) if cidr == ANYWHERE} == {"public_load_balancer"}


def test_an_existing_database_accepts_the_tasks_on_its_port(existing: Stack) -> None:
    assert "security_groups_database" not in existing.resources("aws_security_group")
    at = {
        (_group(rule["referenced_security_group_id"]), rule["from_port"])
        for rule in _rules(existing, INGRESS)
        if rule["security_group_id"] == "sg-7a7a7a7a"
    }
    assert at == {(task, 6432) for task in TASKS}
    out = {
        (_group(rule["security_group_id"]), rule["from_port"])
        for rule in _rules(existing, EGRESS)
        if rule.get("referenced_security_group_id") == "sg-7a7a7a7a"
    }
    assert out == at


def test_each_service_has_its_group_and_dag_code_also_the_configured_ones(quickstart: Stack, existing: Stack) -> None:
    own = {
        "scheduler": ["scheduler"],
        "dag-processor": ["dag_processor"],
        "triggerer": ["triggerer"],
        "execution-api": ["execution_api"],
        "web-server": ["web_server"],
        "worker-default-a": ["workers"],
        "worker-default-b": ["workers"],
        "scaler": ["scaler"],
    }
    dag_code = ("dag-processor", "triggerer", "worker-default-a", "worker-default-b")
    for stack, extra_groups in ((quickstart, []), (existing, [GROUP])):
        groups = {
            name: [_group(group) for group in service["network_configuration"]["security_groups"]]
            for name, service in stack.services.items()
        }
        assert groups == {name: [*ids, *(extra_groups if name in dag_code else [])] for name, ids in own.items()}


def test_a_service_depends_on_its_rules(quickstart: Stack) -> None:
    for name, service in quickstart.services.items():
        (group, *_) = service["network_configuration"]["security_groups"]
        rules = {
            f"{kind}.{rule_name}"
            for kind in (INGRESS, EGRESS)
            for rule_name, rule in quickstart.resources(kind).items()
            if rule["security_group_id"] == group
        }
        assert rules, f"{name} has no connection"
        assert rules <= set(service["depends_on"]), f"{name}: a destroy would cut off tasks that are ending"
