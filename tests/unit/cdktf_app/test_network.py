# SPDX-License-Identifier: Apache-2.0
"""Nothing is reachable from outside, and everybody reaches whom they need and nobody else."""

from ipaddress import IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from cdktf_app.network import subnet_ranges
from tests.support.stack import Stack, walk

INGRESS = "aws_vpc_security_group_ingress_rule"
EGRESS = "aws_vpc_security_group_egress_rule"


def _group(reference: str) -> str:
    return reference.removeprefix("${aws_security_group.security_groups_").removesuffix(".id}")


def _conversations(stack: Stack, kind: str) -> set[tuple[str, str, int]]:
    """(caller, listener, port) as the rules of one direction say it."""
    found = set()
    for rule in stack.resources(kind).values():
        assert rule["from_port"] == rule["to_port"], f"{rule['description']}: one port a rule, no range"
        if "referenced_security_group_id" not in rule:
            continue
        own, other = _group(rule["security_group_id"]), _group(rule["referenced_security_group_id"])
        found.add((own, other, rule["from_port"]) if kind == EGRESS else (other, own, rule["from_port"]))
    return found


def test_no_rule_lets_the_internet_in(quickstart: Stack) -> None:
    for name, rule in quickstart.resources(INGRESS).items():
        assert rule.get("cidr_ipv4") in (None, "10.192.0.0/16"), f"{name} is open to {rule['cidr_ipv4']}"
        assert not {"cidr_ipv6", "prefix_list_id"} & set(rule), f"{name} is open beyond the VPC"
    for name, group in quickstart.resources("aws_security_group").items():
        assert not {"ingress", "egress"} & set(group), f"{name} has rules of its own beside the rule resources"


def test_the_group_that_aws_makes_is_emptied(quickstart: Stack) -> None:
    assert not {"ingress", "egress"} & set(quickstart.one("aws_default_security_group"))


def test_every_conversation_is_allowed_at_both_ends(quickstart: Stack) -> None:
    callers, listeners = _conversations(quickstart, EGRESS), _conversations(quickstart, INGRESS)
    assert callers == listeners, "a rule at one end alone allows nothing"
    assert callers == {
        ("load_balancer", "control_plane", 8080),
        ("load_balancer", "control_plane", 8081),
        ("load_balancer", "scaler", 8082),
        ("control_plane", "load_balancer", 8081),
        ("workers", "load_balancer", 8081),
        ("control_plane", "database", 5432),
        ("workers", "database", 5432),
        ("scaler", "database", 5432),
        ("scaler", "workers", 8790),
    }


def test_outward_there_is_https_alone(quickstart: Stack) -> None:
    outward = {
        (_group(rule["security_group_id"]), rule["from_port"])
        for rule in quickstart.resources(EGRESS).values()
        if "cidr_ipv4" in rule
    }
    assert outward == {("control_plane", 443), ("workers", 443), ("scaler", 443)}


def test_services_run_in_private_subnets_with_their_own_group(quickstart: Stack) -> None:
    groups = {}
    for name, service in quickstart.services.items():
        network = service["network_configuration"]
        assert network["assign_public_ip"] is False, f"{name} would have a public address"
        assert all(".network_private_" in subnet for subnet in network["subnets"]), f"{name} leaves the private subnets"
        (group,) = network["security_groups"]
        groups[name] = _group(group)
    assert groups == {
        "scheduler": "control_plane",
        "dag-processor": "control_plane",
        "triggerer": "control_plane",
        "execution-api": "control_plane",
        "web-server": "control_plane",
        "worker-default-a": "workers",
        "worker-default-b": "workers",
        "scaler": "scaler",
    }


def test_load_balancer_and_database_are_private(quickstart: Stack) -> None:
    balancer = quickstart.one("aws_lb")
    assert balancer["internal"] is True
    assert all(".network_private_" in subnet for subnet in balancer["subnets"])
    assert quickstart.one("aws_rds_cluster_instance")["publicly_accessible"] is False
    assert all(".network_private_" in subnet for subnet in quickstart.one("aws_db_subnet_group")["subnet_ids"])


def test_public_subnets_give_no_public_addresses(quickstart: Stack) -> None:
    for name, subnet in quickstart.resources("aws_subnet").items():
        assert not subnet.get("map_public_ip_on_launch"), f"{name} makes what is put there public"


def test_workers_reach_only_the_execution_part_of_the_api(quickstart: Stack) -> None:
    listener = quickstart.resources("aws_lb_listener")["load_balancer_execution_listener"]
    assert [action["type"] for action in listener["default_action"]] == ["fixed-response"]
    (condition,) = quickstart.resources("aws_lb_listener_rule")["load_balancer_execution_rule"]["condition"]
    assert condition == {"path_pattern": {"values": ["/execution/*"]}}


def test_the_scalers_page_is_for_people_in_the_vpc_and_not_for_dag_code(quickstart: Stack) -> None:
    listener = quickstart.resources("aws_lb_listener")["load_balancer_scaler_listener"]
    assert (listener["port"], [action["type"] for action in listener["default_action"]]) == (8082, ["fixed-response"])
    (condition,) = quickstart.resources("aws_lb_listener_rule")["load_balancer_scaler_rule"]["condition"]
    assert condition == {"path_pattern": {"values": ["/", "/v1/*", "/metrics"]}}
    from_vpc = {rule["from_port"] for rule in quickstart.resources(INGRESS).values() if "cidr_ipv4" in rule}
    assert from_vpc == {8080, 8082}
    callers = {
        caller
        for caller, listener, port in _conversations(quickstart, EGRESS)
        if (listener, port) == ("load_balancer", 8082)
    }
    assert not callers, f"{callers} could look at, and overload, the scaler"
    assert quickstart.document["output"]["scaler_url"]["value"] == "http://${local.load_balancer_host}:8082/"


def test_target_groups_ask_the_health_that_components_answer(quickstart: Stack) -> None:
    asked = {
        (group["port"], group["health_check"]["path"], group["target_type"])
        for group in quickstart.resources("aws_lb_target_group").values()
    }
    assert asked == {
        (8080, "/api/v2/monitor/health", "ip"),
        (8081, "/execution/health", "ip"),
        (8082, "/healthz", "ip"),
    }
    check = quickstart.resources("aws_lb_target_group")["load_balancer_scaler_group"]["health_check"]
    assert check["interval"] * check["unhealthy_threshold"] >= 300, "ECS replaces a scaler that is unwell for so long"


def test_nothing_opens_a_shell_in_a_task(quickstart: Stack) -> None:
    allowed = [path for path, value in walk(quickstart.document) if path[-1:] == ("enable_execute_command",) and value]
    assert not allowed


@given(st.integers(16, 20), st.integers(0, 255))
def test_subnets_lie_apart_inside_the_vpc(prefix: int, second: int) -> None:
    vpc = IPv4Network(f"10.{second}.0.0/{prefix}")
    ranges = [IPv4Network(part) for kind in subnet_ranges(str(vpc)) for part in kind]
    assert len(ranges) == 4
    for index, part in enumerate(ranges):
        assert part.subnet_of(vpc)
        assert part.num_addresses >= 16, f"{part} is smaller than AWS's smallest subnet"
        assert not any(part.overlaps(other) for other in ranges[index + 1 :])
