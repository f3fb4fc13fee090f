# SPDX-License-Identifier: Apache-2.0
"""The VPC has what its egress needs and no more; the plan checks an existing VPC."""

from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdktf_app.network.own_vpc import subnet_ranges
from cdktf_app.network.zones import FARGATE_ZONES, WITHOUT_VPC_ORIGINS
from tests.support.stack import Stack, walk
from tests.synth.cdktf_app.conftest import PRIVATE, PUBLIC, PUBLIC_WEB, VPC, stack_of


def _routes_out(stack: Stack) -> dict[str, str]:
    """Route table -> target of its default route."""
    return {
        route["route_table_id"].removeprefix("${aws_route_table.network_").removesuffix("_routes.id}"): next(
            value.split(".")[1] for key, value in route.items() if key in ("nat_gateway_id", "gateway_id")
        )
        for route in stack.resources("aws_route").values()
    }


def test_one_nat_serves_every_zone(quickstart: Stack) -> None:
    assert len(quickstart.resources("aws_nat_gateway")) == len(quickstart.resources("aws_eip")) == 1
    assert _routes_out(quickstart) == {
        "private_1": "network_nat_1",
        "private_2": "network_nat_1",
        "public": "network",
    }


def test_each_zone_can_have_its_own_nat_gateway(nat_per_zone: Stack) -> None:
    assert _routes_out(nat_per_zone) == {
        "private_1": "network_nat_1",
        "private_2": "network_nat_2",
        "private_3": "network_nat_3",
        "public": "network",
    }
    lies_in = {name: nat["subnet_id"] for name, nat in nat_per_zone.resources("aws_nat_gateway").items()}
    assert lies_in == {f"network_nat_{n}": f"${{aws_subnet.network_public_{n}.id}}" for n in (1, 2, 3)}


def test_endpoints_only_has_no_route_to_the_internet(no_internet: Stack) -> None:
    for kind in ("aws_nat_gateway", "aws_eip", "aws_internet_gateway", "aws_route"):
        assert not no_internet.resources(kind), f"{kind} leads to the internet"
    assert set(no_internet.resources("aws_subnet")) == {"network_private_1", "network_private_2", "network_private_3"}


def test_a_public_load_balancer_has_public_subnets_without_egress_of_tasks(public_without_a_way_out: Stack) -> None:
    assert _routes_out(public_without_a_way_out) == {"public": "network"}
    assert not public_without_a_way_out.resources("aws_nat_gateway")


def test_cloudfront_needs_a_gateway_and_no_public_subnet() -> None:
    stack = stack_of(
        network={"egress": "ENDPOINTS_ONLY"},
        webserver_access_mode="PUBLIC_AND_PRIVATE",
        web_access={"allow_http": True, "allowed_cidrs": ["203.0.113.0/24"]},
    )
    assert len(stack.resources("aws_internet_gateway")) == 1, "a VPC origin needs a gateway that is attached"
    assert not stack.resources("aws_route"), "the gateway is for CloudFront; nothing routes to it"
    assert all(name.startswith("network_private") for name in stack.resources("aws_subnet"))


@pytest.mark.parametrize("egress", ["NAT_GATEWAY", "PUBLIC_IP", "ENDPOINTS_ONLY"])
def test_services_start_after_their_egress_and_end_before_it(egress: str) -> None:
    stack = stack_of(network={"egress": egress})
    tasks = "public" if egress == "PUBLIC_IP" else "private"
    ways = {
        f"{kind}.{name}"
        for kind in ("aws_route", "aws_route_table_association")
        for name in stack.resources(kind)
        if name.startswith(f"network_{tasks}_")
    }
    assert len(ways) == {"NAT_GATEWAY": 4, "PUBLIC_IP": 3, "ENDPOINTS_ONLY": 2}[egress]
    if egress == "ENDPOINTS_ONLY":
        ways |= {f"aws_vpc_endpoint.{name}" for name in stack.resources("aws_vpc_endpoint")}
    for name, service in stack.services.items():
        assert ways <= set(service["depends_on"]), f"{name} has tasks before or after it reaches a registry"


def test_public_addresses_of_tasks_replace_the_nat_gateway(public_ip: Stack) -> None:
    assert not {**public_ip.resources("aws_nat_gateway"), **public_ip.resources("aws_eip")}
    assert _routes_out(public_ip) == {"public": "network"}, "the private subnets have no route out of the VPC"
    for name, service in public_ip.services.items():
        network = service["network_configuration"]
        assert network["assign_public_ip"] is True, f"{name} reaches no registry"
        assert network["subnets"] == [f"${{aws_subnet.network_public_{number}.id}}" for number in (1, 2)], name
    (s3,) = public_ip.resources("aws_vpc_endpoint").values()
    assert s3["route_table_ids"] == ["${aws_route_table.network_public_routes.id}"], "DAGs leave the VPC"


def test_with_public_addresses_of_tasks_the_data_stores_and_the_load_balancer_stay_private(public_ip: Stack) -> None:
    balancer = public_ip.only("aws_lb")
    assert balancer["internal"] is True
    assert public_ip.only("aws_rds_cluster_instance")["publicly_accessible"] is False
    for subnets in (
        balancer["subnets"],
        public_ip.only("aws_db_subnet_group")["subnet_ids"],
        public_ip.only("aws_elasticache_subnet_group")["subnet_ids"],
    ):
        assert subnets == [f"${{aws_subnet.network_private_{number}.id}}" for number in (1, 2)]


@pytest.mark.parametrize("fields", [{}, PUBLIC_WEB], ids=["private web server", "public web server"])
def test_nothing_outside_the_vpc_reaches_a_task_with_a_public_address(fields: dict[str, Any]) -> None:
    stack = stack_of(network={"egress": "PUBLIC_IP"}, **fields)
    rules = stack.resources("aws_vpc_security_group_ingress_rule")
    ranges = {name: rule["cidr_ipv4"] for name, rule in rules.items() if "cidr_ipv4" in rule}
    assert ranges.keys() <= {name for name in rules if "_load_balancer_from_" in name}
    assert set(ranges.values()) <= {"10.192.0.0/16", "203.0.113.0/24"}
    of_tasks = [rule for name, rule in rules.items() if "_load_balancer_from_" not in name]
    assert of_tasks
    assert all("referenced_security_group_id" in rule for rule in of_tasks), "a task admits members of groups only"
    assert not [kind for kind in ("aws_security_group_rule", "aws_network_acl") if stack.resources(kind)]
    assert not [name for name, group in stack.resources("aws_security_group").items() if "ingress" in group]


def test_zones_are_those_of_fargate_and_enough(nat_per_zone: Stack) -> None:
    zones = nat_per_zone.document["data"]["aws_availability_zones"]["network"]
    filters = {rule["name"]: rule["values"] for rule in zones["filter"]}
    assert filters == {"opt-in-status": ["opt-in-not-required"], "zone-id": list(FARGATE_ZONES["us-west-1"])}
    (condition,) = zones["lifecycle"]["postcondition"]
    assert condition["condition"] == "${length(self.names) >= 3}"
    assert "`network.zones`" in condition["error_message"]


@pytest.mark.parametrize(("stack", "traffic", "every_s"), [("quickstart", "REJECT", 600), ("nat_per_zone", "ALL", 60)])
def test_the_vpc_has_flow_logs(stack: str, traffic: str, every_s: int, request: pytest.FixtureRequest) -> None:
    made: Stack = request.getfixturevalue(stack)
    log = made.only("aws_flow_log")
    assert (log["traffic_type"], log["max_aggregation_interval"]) == (traffic, every_s)
    group = made.resources("aws_cloudwatch_log_group")["flow_logs"]
    assert group["name"].startswith("airflow-"), "the key lets CloudWatch encrypt for the environment's groups alone"
    actions = {action for statement in made.role_policy("roles_flow_logs") for action in statement["Action"]}
    assert "logs:CreateLogGroup" not in actions, "what is delivered late would bring a destroyed group back"


def test_an_existing_vpc_is_not_changed(existing: Stack) -> None:
    for kind in ("aws_vpc", "aws_subnet", "aws_route", "aws_route_table", "aws_flow_log", "aws_internet_gateway"):
        assert not existing.resources(kind), f"{kind} is the owner's"


def test_the_plan_checks_an_existing_vpc(existing: Stack) -> None:
    data = existing.document["data"]
    conditions = {
        f"{kind}.{name}": [condition["condition"] for condition in found["lifecycle"]["postcondition"]]
        for kind in ("aws_vpc", "aws_subnet")
        for name, found in data[kind].items()
    }
    belongs = f'${{self.vpc_id == "{VPC}"}}'
    private = ", ".join(f"data.aws_subnet.network_private_{n}.availability_zone" for n in (1, 2))
    assert conditions == {
        "aws_vpc.network": ["${self.enable_dns_support}", "${self.enable_dns_hostnames}"],
        "aws_subnet.network_private_1": [belongs],
        "aws_subnet.network_private_2": [belongs],
        "aws_subnet.network_private_3": [
            belongs,
            f"${{length(distinct([{private}, self.availability_zone])) >= 2}}",
        ],
        "aws_subnet.network_public_1": [belongs],
        "aws_subnet.network_public_2": [
            belongs,
            "${length(distinct([data.aws_subnet.network_public_1.availability_zone, self.availability_zone])) >= 2}",
        ],
    }
    assert "aws_internet_gateway" not in data, "no access from the internet"


def test_load_balancers_and_endpoints_use_one_subnet_per_zone(existing: Stack) -> None:
    by_zone = existing.document["locals"]["network_private_by_zone"]
    assert by_zone.endswith(": subnet.availability_zone => subnet.id... } : ids[0]]}")
    assert existing.only("aws_lb")["subnets"] == "${local.network_private_by_zone}"
    for name, endpoint in existing.resources("aws_vpc_endpoint").items():
        if endpoint["vpc_endpoint_type"] == "Interface":
            assert endpoint["subnet_ids"] == "${local.network_private_by_zone}", name


def test_a_public_load_balancer_needs_the_gateway_of_an_existing_vpc() -> None:
    network = {"vpc_id": VPC, "private_subnet_ids": PRIVATE, "public_subnet_ids": PUBLIC}
    data = stack_of(network=network, **PUBLIC_WEB).document["data"]
    (filters,) = data["aws_internet_gateway"]["network"]["filter"]
    assert filters == {"name": "attachment.vpc-id", "values": ["${data.aws_vpc.network.id}"]}


def test_services_run_in_private_subnets_without_public_addresses(quickstart: Stack, existing: Stack) -> None:
    for stack in (quickstart, existing):
        for name, service in stack.services.items():
            network = service["network_configuration"]
            assert network["assign_public_ip"] is False, f"{name} would have a public address"
            assert all(".network_private_" in subnet for subnet in network["subnets"]), f"{name} leaves them"


def test_load_balancer_and_database_are_private(quickstart: Stack) -> None:
    balancer = quickstart.only("aws_lb")
    assert balancer["internal"] is True
    assert all(".network_private_" in subnet for subnet in balancer["subnets"])
    assert quickstart.only("aws_db_instance")["publicly_accessible"] is False
    assert all(".network_private_" in subnet for subnet in quickstart.only("aws_db_subnet_group")["subnet_ids"])


def test_public_subnets_give_no_public_addresses(quickstart: Stack) -> None:
    for name, subnet in quickstart.resources("aws_subnet").items():
        assert not subnet.get("map_public_ip_on_launch"), f"{name} makes what is put there public"


def test_the_default_security_group_has_no_rules(quickstart: Stack) -> None:
    assert not {"ingress", "egress"} & set(quickstart.only("aws_default_security_group"))


def test_nothing_opens_a_shell_in_a_task(quickstart: Stack) -> None:
    allowed = [path for path, value in walk(quickstart.document) if path[-1:] == ("enable_execute_command",) and value]
    assert not allowed


@given(st.integers(16, 20), st.integers(0, 255), st.sampled_from([2, 3]))
def test_subnets_are_disjoint_parts_of_the_vpc(prefix: int, second: int, zones: int) -> None:
    vpc = IPv4Network(f"10.{second}.0.0/{prefix}")
    ranges = [IPv4Network(part) for kind in subnet_ranges(str(vpc), zones) for part in kind]
    assert len(ranges) == 2 * zones
    for index, part in enumerate(ranges):
        assert part.subnet_of(vpc)
        assert part.num_addresses >= 16, f"{part} is smaller than AWS's smallest subnet"
        assert not any(part.overlaps(other) for other in ranges[index + 1 :])


def test_a_zone_without_vpc_origins_is_the_last_choice(quickstart: Stack) -> None:
    zones = "data.aws_availability_zones.network"
    names = [
        f'[for index, id in {zones}.zone_ids : {zones}.names[index] if id {test} "use1-az3"]' for test in ("!=", "==")
    ]
    assert quickstart.document["locals"]["network_zones"] == f"${{concat({', '.join(names)})}}"
    assert quickstart.resources("aws_subnet")["network_private_1"]["availability_zone"] == (
        "${element(local.network_zones, 0)}"
    )


@pytest.mark.parametrize("region", sorted(set(WITHOUT_VPC_ORIGINS) & set(FARGATE_ZONES)))
def test_zones_of_fargate_have_vpc_origins(region: str) -> None:
    assert WITHOUT_VPC_ORIGINS[region] not in FARGATE_ZONES[region]


@pytest.mark.parametrize(("region", "is_checked"), [("us-east-1", True), ("eu-central-1", False)])
def test_subnets_for_a_vpc_origin_are_in_a_zone_with_it(region: str, is_checked: bool) -> None:
    stack = stack_of(
        region=region,
        network={"vpc_id": VPC, "private_subnet_ids": PRIVATE},
        webserver_access_mode="PUBLIC_AND_PRIVATE",
        web_access={"allow_http": True, "allowed_cidrs": ["203.0.113.0/24"]},
    )
    for subnet in stack.document["data"]["aws_subnet"].values():
        conditions = [condition["condition"] for condition in subnet["lifecycle"]["postcondition"]]
        assert ('${self.availability_zone_id != "use1-az3"}' in conditions) == is_checked
