# SPDX-License-Identifier: Apache-2.0
"""The charges of a stack that is small enough to compute by hand."""

from typing import Any

import pytest

from openmwaa.cost.floor import MONITORING, NAT, NETWORK, WORKERS, Charge, charges, month_by_part
from openmwaa.cost.price_list import list_prices
from openmwaa.cost.stack import Resource, Stack, from_document, from_state
from openmwaa.errors import CostError
from tests.support.cost_stack import document, service, state_of

METRICS = 13 + 2 * 2 + 4  # of a fleet, of its two services, of Airflow


def found(stack: Stack) -> list[Charge]:
    return charges(stack, list_prices("us-east-1"))


def quantities(part: str, stack: Stack) -> dict[str, float]:
    return {charge.price.name: charge.quantity for charge in found(stack) if charge.part == part}


def test_a_stack_that_was_computed_by_hand() -> None:
    stack = from_document(
        document(
            3,
            aws_nat_gateway={"nat": {}},
            aws_eip={"nat": {}},
            aws_lb={"inside": {"load_balancer_type": "application", "internal": True, "subnets": ["a", "b"]}},
            aws_rds_cluster={
                "db": {
                    "serverlessv2_scaling_configuration": {"min_capacity": 0.5},
                    "manage_master_user_password": True,
                }
            },
            aws_rds_cluster_instance={"db": {"instance_class": "db.serverless"}},
            aws_kms_key={"key": {}},
            aws_secretsmanager_secret={"one": {}, "two": {}},
            aws_cloudwatch_metric_alarm={"one": {"period": 300}},
            aws_cloudwatch_dashboard={"board": {}},
        )
    )
    task = 1 * 0.04048 + 2 * 0.004445
    hourly = (2 + 3) * task + 0.045 + 0.005 + 0.0225 + 0.5 * 0.12
    monthly = 10 * 0.10 + 1.00 + (2 + 1) * 0.40 + 0.10 + 3.00 + METRICS * 0.30
    assert sum(month_by_part(found(stack)).values()) == pytest.approx(730 * hourly + monthly, abs=0.03)


@pytest.mark.parametrize("fleet_min", [0, 1, 4])
def test_a_fleets_minimum_is_charged_once_however_many_workers_run(fleet_min: int) -> None:
    written = document(fleet_min)
    for stack in (from_document(written), from_state(state_of(written, running=9))):
        assert quantities(WORKERS, stack).get("vCPU X86_64", 0) == fleet_min


def test_a_state_costs_what_its_stack_costs() -> None:
    written = document(
        aws_appautoscaling_target={"web": {"resource_id": "service/x/${aws_ecs_service.web.name}", "min_capacity": 3}},
        aws_lb={"open": {"load_balancer_type": "application", "internal": False, "subnets": ["a", "b"]}},
    )
    scaled = service("web-server", 3, lifecycle={"ignore_changes": ["desired_count"]})
    written["resource"]["aws_ecs_service"]["web"] = scaled
    assert found(from_state(state_of(written))) == found(from_document(written))


def test_the_number_of_a_scaled_service_is_the_minimum_of_its_target() -> None:
    written = document(
        aws_appautoscaling_target={"web": {"resource_id": "service/x/${aws_ecs_service.some.name}", "min_capacity": 5}}
    )
    assert quantities("Control plane", from_document(written))["vCPU X86_64"] == 5


def test_spot_and_graviton_have_prices_of_their_own() -> None:
    written = document()
    written["resource"]["aws_ecs_task_definition"]["some"]["runtime_platform"] = {"cpu_architecture": "ARM64"}
    workers = written["resource"]["aws_ecs_service"]["fleets_default_a"]
    workers["capacity_provider_strategy"] = [{"capacity_provider": "FARGATE_SPOT", "weight": 1}]
    (cpu, memory) = (charge.price for charge in found(from_document(written)) if charge.part == WORKERS)
    assert (cpu.name, memory.name) == ("vCPU ARM64 on Spot", "GB memory ARM64 on Spot")
    assert (cpu.usd, memory.usd) == pytest.approx((0.3 * 0.03238, 0.3 * 0.00356))


@pytest.mark.parametrize(
    ("kind", "values", "part", "expected"),
    [
        (
            "aws_db_instance",
            {"instance_class": "db.t4g.small", "storage_type": "gp3", "allocated_storage": 20, "multi_az": True},
            "Database",
            {"db.t4g.small Multi-AZ": 1, "GB gp3 Multi-AZ": 20},
        ),
        (
            "aws_elasticache_replication_group",
            {"engine": "valkey", "node_type": "cache.t4g.small", "num_cache_clusters": 2},
            "Broker",
            {"valkey cache.t4g.small": 2},
        ),
        (
            "aws_lb",
            {"load_balancer_type": "application", "internal": False, "subnets": ["a", "b", "c"]},
            NETWORK,
            {"load balancer": 1, "public IPv4 address": 3},
        ),
        (
            "aws_vpc_endpoint",
            {"vpc_endpoint_type": "Interface", "subnet_ids": ["a", "b"]},
            NETWORK,
            {"interface endpoint": 2},
        ),
        ("aws_vpc_endpoint", {"vpc_endpoint_type": "Gateway"}, NETWORK, {}),
        ("aws_wafv2_web_acl", {"rule": [{}, {}]}, NETWORK, {"web ACL": 1, "web ACL rule": 2}),
        ("aws_wafv2_web_acl", {"rule": {}}, NETWORK, {"web ACL": 1, "web ACL rule": 1}),
        ("aws_eip", {}, NAT, {"public IPv4 address": 1}),
        (
            "aws_appautoscaling_policy",
            {"policy_type": "TargetTrackingScaling"},
            MONITORING,
            {"alarm": 2, "custom metric": METRICS},
        ),
    ],
)
def test_a_resource_is_charged_by_its_own_values(
    kind: str, values: dict[str, Any], part: str, expected: dict[str, float]
) -> None:
    assert quantities(part, from_document(document(1, **{kind: {"it": values}}))) == expected


def test_a_task_with_a_public_address_pays_for_it() -> None:
    written = document()
    written["resource"]["aws_ecs_service"]["some"]["network_configuration"] = {"assign_public_ip": True}
    assert quantities("Control plane", from_document(written))["public IPv4 address"] == 2


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        ("aws_sagemaker_endpoint", {}, "no price for this type"),
        ("aws_nat_gateway", {"count": 2}, "number of resources is unknown"),
        ("aws_secretsmanager_secret", {"for_each": "${toset(var.x)}"}, "number of resources is unknown"),
        ("aws_lb", {"load_balancer_type": "network"}, "of the type network"),
        (
            "aws_lb",
            {"load_balancer_type": "application", "internal": False, "subnets": "${var.subnets}"},
            "number of subnets is unknown",
        ),
        ("aws_vpc_endpoint", {"vpc_endpoint_type": "Resource"}, "of the type Resource"),
        ("aws_vpc_endpoint", {"vpc_endpoint_type": "Interface", "subnet_ids": "${local.x}"}, "number of subnet_ids"),
        ("aws_cloudwatch_metric_alarm", {"period": 10}, "high resolution"),
        ("aws_cloudwatch_metric_alarm", {"metric_query": [{}, {}]}, "several metrics"),
        ("aws_cloudwatch_metric_alarm", {"period": "${local.period}"}, "period is unknown"),
        (
            "aws_elasticache_replication_group",
            {"engine": "valkey", "node_type": "cache.t4g.small"},
            "num_cache_clusters is unknown",
        ),
        (
            "aws_elasticache_replication_group",
            {"engine": "valkey", "node_type": "cache.x9.huge", "num_cache_clusters": 1},
            "no price of valkey cache.x9.huge in us-east-1",
        ),
        ("aws_rds_cluster_instance", {"instance_class": "db.r6g.large"}, "of the class db.r6g.large"),
        ("aws_ecs_service", service("x", "${var.count}"), "desired_count is unknown"),
        ("aws_ecs_service", service("x", None), "desired_count is unknown"),
        ("aws_ecs_service", service("x", 1, capacity_provider_strategy=[]), "no price for tasks on"),
        ("aws_ecs_service", service("x", 1, task_definition="${var.definition}"), "is not in the stack"),
        ("aws_ecs_task_definition", {"cpu": "${local.cpu}", "memory": "2048"}, "cpu is unknown"),
    ],
)
def test_what_is_unknown_is_an_error_with_the_address_and_never_zero(
    kind: str, values: dict[str, Any], reason: str
) -> None:
    written = document()
    name = "some" if kind == "aws_ecs_task_definition" else "it"
    written["resource"].setdefault(kind, {})[name] = values
    with pytest.raises(CostError, match=reason) as error:
        found(from_document(written))
    assert f"{kind}.{name}" in str(error.value) or "no price of" in str(error.value)


def test_a_state_without_a_scaler_has_no_known_minimum() -> None:
    with pytest.raises(CostError, match="no scaler"):
        from_state([Resource("aws_vpc", "network", {})])
