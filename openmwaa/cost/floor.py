# SPDX-License-Identifier: Apache-2.0
"""The charges of a stack while it is idle and everything is at its minimum.

Every type of resource has a rule here, or a row with the reason and source of its zero in prices.json.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from openmwaa.cost.price_list import Price, PriceList, zero_types
from openmwaa.cost.stack import Resource, Stack
from openmwaa.errors import CostError
from scaler.reporting.cloudwatch_metrics import OF_AIRFLOW, OF_FLEETS, OF_SERVICES

NAT: Final = "NAT gateways"
PARTS: Final = (
    *("Control plane", "Workers", "Database", "Broker", NAT),
    *("Load balancers, endpoints", "Key, secrets", "Alarms, metrics, dashboard"),
)
CONTROL_PLANE, WORKERS, DATABASE, BROKER, _, NETWORK, SECRETS, MONITORING = PARTS
DATABASE_GB: Final = 10
"""Assumed size of a database that is charged by use: that of the example on MWAA's price page."""

Unit = tuple[str, str, float]
"""Part, name of the price, quantity."""


@dataclass(frozen=True)
class Charge:
    """A quantity with its price."""

    part: str
    price: Price
    quantity: float

    def as_data(self) -> dict[str, Any]:
        """Return the charge for JSON."""
        month = round(self.price.month * self.quantity, 2)
        return {**vars(self.price), "quantity": self.quantity, "usd_month": month}


def charges(stack: Stack, prices: PriceList) -> list[Charge]:
    """Return the charges by part; an unknown type, quantity or price is a CostError."""
    quantities: defaultdict[tuple[str, str], float] = defaultdict(float)
    for part, name, quantity in _units(stack):
        quantities[part, name] += quantity
    found = (Charge(part, prices.price(name), number) for (part, name), number in quantities.items() if number)
    return sorted(found, key=lambda charge: PARTS.index(charge.part))


def month_by_part(found: Iterable[Charge]) -> dict[str, float]:
    """Return USD a month of each part that is charged."""
    months: defaultdict[str, float] = defaultdict(float)
    for charge in found:
        months[charge.part] += charge.price.month * charge.quantity
    return {part: round(usd, 2) for part, usd in months.items()}


def _units(stack: Stack) -> Iterator[Unit]:
    for resource in stack.resources:
        if resource.type in zero_types():
            continue
        if (rule := RULES.get(resource.type)) is None:
            raise CostError(f"{resource.address}: there is no price for this type of resource.")
        if {"count", "for_each"} & set(resource.values):
            raise CostError(f"{resource.address}: the number of resources is unknown, so the cost is too.")
        yield from rule(resource, stack)
    # AWS charges a metric for the hours in which it is published.
    for fleet in stack.fleets:
        count = 1 if stack.asleep else len(OF_FLEETS) + len(OF_SERVICES) * len(fleet["services"])
        yield MONITORING, "custom metric", count
    yield MONITORING, "custom metric", bool(stack.awake) + (0 if stack.asleep else len(OF_AIRFLOW))


def _service(service: Resource, stack: Stack) -> Iterator[Unit]:
    part, tasks = WORKERS if stack.fleet_of(service) else CONTROL_PLANE, stack.tasks(service)
    for name, quantity in stack.units(service).items():
        yield part, name, quantity * tasks


def _aurora_instance(instance: Resource, stack: Stack) -> Iterator[Unit]:
    if (kind := instance.values["instance_class"]) != "db.serverless":
        raise CostError(f"{instance.address}: there is no price for an instance of Aurora of the class {kind}.")
    (cluster,) = stack.of("aws_rds_cluster")
    minimum = cluster.block("serverlessv2_scaling_configuration").number("min_capacity")
    # With connections an instance does not pause, and uses half a unit.
    yield DATABASE, "Aurora capacity unit", 0 if stack.asleep and not minimum else max(0.5, minimum)


def _aurora_cluster(cluster: Resource, _: Stack) -> Iterator[Unit]:
    yield DATABASE, "GB Aurora storage", DATABASE_GB
    yield SECRETS, "secret", int(cluster.values.get("manage_master_user_password") is True)


def _rds(instance: Resource, stack: Stack) -> Iterator[Unit]:
    zones = "Multi-AZ" if instance.values.get("multi_az") else "Single-AZ"
    yield DATABASE, f"{instance.values['instance_class']} {zones}", 0 if stack.asleep else 1
    yield DATABASE, f"GB {instance.values['storage_type']} {zones}", instance.number("allocated_storage")
    yield SECRETS, "secret", int(instance.values.get("manage_master_user_password") is True)


def _cache(group: Resource, _: Stack) -> Iterator[Unit]:
    yield BROKER, f"{group.values['engine']} {group.values['node_type']}", group.number("num_cache_clusters")


def _load_balancer(balancer: Resource, _: Stack) -> Iterator[Unit]:
    if (kind := balancer.values.get("load_balancer_type")) != "application":
        raise CostError(f"{balancer.address}: there is no price for a load balancer of the type {kind}.")
    yield NETWORK, "load balancer", 1
    if balancer.values.get("internal") is not True:
        yield NETWORK, "public IPv4 address", len(balancer.items("subnets"))


def _endpoint(endpoint: Resource, _: Stack) -> Iterator[Unit]:
    if (kind := endpoint.values.get("vpc_endpoint_type")) == "Interface":
        yield NETWORK, "interface endpoint", len(endpoint.items("subnet_ids"))
    elif kind != "Gateway":  # gateway endpoints are free
        raise CostError(f"{endpoint.address}: there is no price for an endpoint of the type {kind}.")


def _alarm(alarm: Resource, _: Stack) -> Iterator[Unit]:
    if alarm.items("metric_query") or alarm.number("period") < 60:  # noqa: PLR2004 - seconds; below is high resolution
        raise CostError(f"{alarm.address}: there is no price for an alarm of several metrics or high resolution.")
    yield MONITORING, "alarm", 1


def _scaling_policy(policy: Resource, _: Stack) -> Iterator[Unit]:
    # Target tracking has an alarm to scale out and one to scale in.
    yield MONITORING, "alarm", 2 if policy.values.get("policy_type") == "TargetTrackingScaling" else 0


def _web_acl(acl: Resource, _: Stack) -> Iterator[Unit]:
    yield NETWORK, "web ACL", 1
    yield NETWORK, "web ACL rule", len(acl.items("rule"))


def _one(part: str, name: str) -> Callable[[Resource, Stack], Iterator[Unit]]:
    return lambda _resource, _stack: iter([(part, name, 1)])


RULES: Final[Mapping[str, Callable[[Resource, Stack], Iterator[Unit]]]] = {
    "aws_appautoscaling_policy": _scaling_policy,
    "aws_cloudwatch_dashboard": _one(MONITORING, "dashboard"),
    "aws_cloudwatch_metric_alarm": _alarm,
    "aws_db_instance": _rds,
    "aws_ecs_service": _service,
    "aws_eip": _one(NAT, "public IPv4 address"),
    "aws_elasticache_replication_group": _cache,
    "aws_kms_key": _one(SECRETS, "KMS key"),
    "aws_lb": _load_balancer,
    "aws_nat_gateway": _one(NAT, "NAT gateway"),
    "aws_rds_cluster": _aurora_cluster,
    "aws_rds_cluster_instance": _aurora_instance,
    "aws_secretsmanager_secret": _one(SECRETS, "secret"),
    "aws_vpc_endpoint": _endpoint,
    "aws_wafv2_web_acl": _web_acl,
}
"""Type of a resource -> its charged units."""
