# SPDX-License-Identifier: Apache-2.0
"""Writes the pages of the network: VPC endpoints, security groups, and the Regions of the AWS services."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from cdktf_app.network.endpoint_table import AWS_CALLS, S3, WITHOUT_POLICY, AwsCall, endpoints_of
from cdktf_app.network.traffic_rules import groups, ingress_rules, security_group_rules
from cdktf_app.network.zones import FARGATE_ZONES
from openmwaa.config.environment import Environment
from openmwaa.config.regions import SERVICES, region_table
from tools.page_blocks import reference, table

_MINIMAL: Final[Mapping[str, Any]] = {
    "name": "example",
    "control_plane": "SEPARATE",
    "web_access": {"allow_http": True},
}
_COMPACT: Final[Mapping[str, Any]] = {"control_plane": "COMPACT"}
_HOURS: Final = 730
_ENDPOINT_USD_HOUR: Final = 0.01
_NAT_USD_HOUR: Final = 0.045
_ADDRESS_USD_HOUR: Final = 0.005
_PUBLIC: Final[Mapping[str, Any]] = {
    "webserver_access_mode": "PUBLIC_AND_PRIVATE",
    "web_access": {
        "domain": "airflow.example.com",
        "hosted_zone_id": "Z0123456789",
        "allowed_cidrs": ["203.0.113.0/24"],
        "cognito": {
            "user_pool_arn": "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_abc",
            "user_pool_client_id": "abc",
            "user_pool_domain": "abc",
        },
    },
}
_CLOUDFRONT: Final[Mapping[str, Any]] = {
    "webserver_access_mode": "PUBLIC_AND_PRIVATE",
    "web_access": {"allow_http": True, "allowed_cidrs": ["203.0.113.0/24"]},
}


def _environment(**fields: Any) -> Environment:
    return Environment.model_validate({**_MINIMAL, **fields})


def endpoints_page() -> str:
    """Return the page of VPC endpoints: the endpoints of each component, and their purpose."""
    interfaces = len([endpoint for endpoint in endpoints_of(_environment()) if endpoint != S3])
    month = interfaces * 2 * _ENDPOINT_USD_HOUR * _HOURS
    egress = (
        ("left out", "same as NAT_GATEWAY", "nothing: your own routes must reach the services below"),
        (
            "NAT_GATEWAY",
            f"one gateway, {(_NAT_USD_HOUR + _ADDRESS_USD_HOUR) * _HOURS:.2f} USD a month with its address, 0.045 a GB",
            "rejected",
        ),
        ("NAT_GATEWAY_PER_ZONE", "one per zone: an outage of a zone does not affect the others", "rejected"),
        ("PUBLIC_IP", f"none: {_ADDRESS_USD_HOUR * _HOURS:.2f} USD a month for the address of each task", "rejected"),
        ("ENDPOINTS_ONLY", f"{interfaces} interface endpoints in 2 zones, {month:.0f} USD a month", "the same"),
    )
    return reference(
        "endpoints.md",
        egress=table("`network.egress`", "VPC of openmwaa", "existing VPC (`network.vpc_id`)", rows=egress),
        calls=table("component", "service", "endpoints", "purpose", "when", rows=map(_call, AWS_CALLS)),
        endpoints=table("endpoint", "kind", "policy", "needed by", rows=_endpoint_rows()),
    )


def _call(call: AwsCall) -> tuple[str, ...]:
    endpoints = ", ".join(f"`{endpoint}`" for endpoint in call.endpoints) or "none"
    return call.component, f"`{call.prefix}`", endpoints, call.why, call.when.words


def _endpoint_rows() -> Iterator[tuple[str, ...]]:
    for endpoint in sorted({endpoint for call in AWS_CALLS for endpoint in call.endpoints}):
        kind = "gateway" if endpoint == S3 else "interface"
        policy = "none" if endpoint in WITHOUT_POLICY else "this account's identities"
        callers = dict.fromkeys(call.component for call in AWS_CALLS if endpoint in call.endpoints)
        yield f"`com.amazonaws.REGION.{endpoint}`", kind, policy, ", ".join(callers)


def security_groups_page() -> str:
    """Return the page of security groups and their rules."""
    return reference(
        "security-groups.md",
        groups=table("group", "members", "when", rows=_by_variant(_group_rows)),
        rules=table("from", "to", "port", "purpose", "when", rows=_by_variant(_rule_rows)),
        ingress=table("to", "port", "from", "purpose", "when", rows=_by_variant(_ingress_rows)),
    )


def _group_rows(environment: Environment) -> Iterator[tuple[object, ...]]:
    return ((f"`{name}`", members) for name, members in groups(environment).items())


def _rule_rows(environment: Environment) -> Iterator[tuple[object, ...]]:
    return (
        (f"`{rule.caller}`", f"`{rule.listener}`", rule.port, rule.why) for rule in security_group_rules(environment)
    )


def _ingress_rows(environment: Environment) -> Iterator[tuple[object, ...]]:
    return ((f"`{rule.listener}`", rule.port, _REACH[rule.source], rule.why) for rule in ingress_rules(environment))


_REACH: Final[Mapping[str, str]] = {
    "VPC": "the ranges of the VPC",
    "ALLOWED": "`web_access.allowed_cidrs`",
    "CLOUDFRONT": "the prefix list of CloudFront",
}


def _by_variant(rows_of: Callable[[Environment], Iterable[tuple[object, ...]]]) -> Iterator[tuple[object, ...]]:
    """Yield every row once, with the name of the first variant of the environment that has it."""
    variants = {
        "always": _environment(),
        "`broker.kind: ELASTICACHE`": _environment(broker={"kind": "ELASTICACHE"}),
        "public, with a domain": _environment(**_PUBLIC),
        "public, without a domain": _environment(**_CLOUDFRONT),
        "`egress: ENDPOINTS_ONLY`": _environment(network={"egress": "ENDPOINTS_ONLY"}),
        "`COMPACT`": _environment(**_COMPACT),
        "`COMPACT`, `broker.kind: ELASTICACHE`": _environment(**_COMPACT, broker={"kind": "ELASTICACHE"}),
        "`COMPACT`, public, with a domain": _environment(**_COMPACT, **_PUBLIC),
        "`COMPACT`, `egress: ENDPOINTS_ONLY`": _environment(**_COMPACT, network={"egress": "ENDPOINTS_ONLY"}),
    }
    of_both = set(rows_of(_environment(**_COMPACT)))
    first: dict[tuple[object, ...], str] = {}
    for when, environment in variants.items():
        for row in rows_of(environment):
            first.setdefault(row, "`SEPARATE`" if when == "always" and row not in of_both else when)
    return ((*row, when) for row, when in first.items())


def regions_page() -> str:
    """Return the page of Regions and the AWS services that an environment uses."""
    data = region_table()
    services = []
    for service in SERVICES:
        missing = [region for region in data.partitions if region not in data.services[service.endpoint]]
        name = f"{service.name} (`{service.endpoint}`)"
        services.append((name, service.why, service.condition or "always", ", ".join(missing) or "none"))
    regions = []
    for region, partition in data.partitions.items():
        lacks = ", ".join(service.name for service in data.lacks(region)) or "none"
        zones = ", ".join(FARGATE_ZONES.get(region, ())) or "all"
        regions.append((f"`{region}`", data.names[region], partition, lacks, zones))
    return reference(
        "regions.md",
        source=f"The data is from the endpoints in {data.source}, read on {data.created_on}.",
        services=table("service", "purpose", "when", "Regions without it", rows=services),
        regions=table("Region", "", "partition", "missing services", "zones with Fargate", rows=regions),
    )
