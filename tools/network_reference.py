# SPDX-License-Identifier: Apache-2.0
"""The pages of what a network needs: endpoints, who talks to whom, and where AWS offers what is used."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cdktf_app.network.endpoint_table import AWS_CALLS, S3, WITHOUT_POLICY, AwsCall, endpoints_of
from cdktf_app.network.traffic_rules import groups, ingress_rules, security_group_rules
from cdktf_app.network.zones import FARGATE_ZONES
from openmwaa.config.environment import Environment
from openmwaa.config.regions import SERVICES, region_table

_LEAST: Final[Mapping[str, Any]] = {"name": "example", "web_access": {"allow_http": True}}
_HOURS: Final = 730
_ENDPOINT_USD_HOUR: Final = 0.01
_NAT_USD_HOUR: Final = 0.045
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


_ENDPOINTS_MADE: Final = """
`make docs` makes this page from the table of the stack (`cdktf_app/network/endpoint_table.py`). A test compares the
table with the roles of synthesised stacks: each role that may call a service has a row here, and the reverse.
"""
_ENDPOINTS_RULES: Final = """
An interface endpoint costs 0.01 USD an hour and zone, and 0.01 a GB (us-east-1). S3's gateway endpoint costs nothing
and is in every VPC of its own. Public subnets exist where a NAT gateway or a public load balancer needs them, an
internet gateway for these and for CloudFront, which asks for one.

Of a VPC that exists Terraform asks in the plan, before anything is made: DNS support and DNS host names are on, the
subnets are the VPC's and lie in two zones or more, and there is an internet gateway where people come from the
internet. With ENDPOINTS_ONLY in such a VPC:

- Endpoints have private names, and these are the whole VPC's: everybody in it asks AWS through them from then on. So
their group lets in the VPC's own ranges, and their policy every identity of the account, whose own policies decide.
Identities of other accounts (in a shared VPC) are kept out.

- A VPC has one private name a service, and a route table one gateway of S3. Where there is an endpoint of one of
these services already, the apply fails: leave `egress` out then, and see that all of them are there. The second of
two environments in one VPC leaves it out too.
"""
_NO_ENDPOINT: Final = """
Of the rows without an endpoint no packet leaves the task: another service asks on its behalf, or ECS's agent.
"""
_DAG_CODE: Final = """
DAG code that calls more than the worker's rows has no endpoint for it: in a VPC of its own with ENDPOINTS_ONLY such a
call times out. STS is one; the task's own credentials do not come from there.
"""
_POLICIES: Final = """
A policy lets through identities of this account, whose own policies decide on the rest: what it keeps out is the key
of another account, by which data could leave. S3's also lets anybody read the bucket in which ECR keeps layers, whose
URLs ECR signs itself. `ecs-agent` and `ecs-telemetry` are for EC2 instances; Fargate's agent has its own way, but for
the Regions named above.
"""
_GROUPS_MADE: Final = """
`make docs` makes this page from the table of the stack (`cdktf_app/network/traffic_rules.py`). Every row is a rule at
both ends, of one port. Nothing is open to 0.0.0.0/0.
"""
_GROUPS_GIVEN: Final = """
`network.security_group_ids` are yours: workers, DAG processor and triggerer have them besides. A database that exists
has its own group, which is given a rule for each caller, on the database's own port.
"""
_OUTWARD: Final = """
Outward, every task has HTTPS: anywhere with a NAT gateway or in a VPC that exists; with ENDPOINTS_ONLY to the group
`endpoints` and S3's prefix list alone. A load balancer that asks an identity provider has HTTPS outward too. Name
resolution, the ECS agent and the task's credentials need no rule: security groups do not filter them.

With a domain the internal web server is on port 443, and workers with HTTPS outward reach it there, as anybody in the
VPC does, and are asked to log in. Without one it is on 8080, which they do not reach.
"""
_REGIONS_MADE: Final = """
`make docs` makes this page from `openmwaa/config/regions.json`. `python -m tools.generate_regions` made that file on
{made_on} from the endpoints that {source} knows. A Region that lacks a service which the file asks for is refused by
`openmwaa validate`, and so is one that is not in the table.

What the table cannot say, since botocore has no data of it: whether a Region has Fargate Spot, Fargate on ARM64
(Graviton), an instance class of RDS or ElastiCache, VPC origins of CloudFront, or a VPC endpoint of a service. There
AWS says so when it is applied. An opt-in Region must be switched on in the account.
"""
_PARTITIONS: Final = """
CloudFront needs the partition `aws`: who may come is kept by WAF in us-east-1. ENDPOINTS_ONLY needs `aws` or
`aws-us-gov`: in China names of endpoints differ from service to service.
"""


def _environment(**fields: Any) -> Environment:
    return Environment.model_validate({**_LEAST, **fields})


def endpoints_page() -> str:
    """Return the page of VPC endpoints: which component needs which, and why."""
    least = endpoints_of(_environment())
    interfaces = [endpoint for endpoint in least if endpoint != S3]
    month = len(interfaces) * 2 * _ENDPOINT_USD_HOUR * _HOURS
    built = len(interfaces)
    lines = [
        "# VPC endpoints",
        "",
        *_text(_ENDPOINTS_MADE),
        "## What is built",
        "",
        "| `network.egress` | a VPC of its own | a VPC that exists (`network.vpc_id`) |",
        "|---|---|---|",
        "| left out | as NAT_GATEWAY | nothing: routes are its owner's, and what is named below must be reachable |",
        f"| NAT_GATEWAY | one gateway, about {_NAT_USD_HOUR * _HOURS:.0f} USD a month and 0.045 a GB | refused |",
        "| NAT_GATEWAY_PER_ZONE | one a zone: the loss of a zone takes no other's way out | refused |",
        f"| ENDPOINTS_ONLY | {built} interface endpoints in 2 zones, {month:.0f} USD a month | the same, in it |",
        "",
        *_text(_ENDPOINTS_RULES),
        "## Who calls which service",
        "",
        *_text(_NO_ENDPOINT),
        "| component | service | endpoints | why | when |",
        "|---|---|---|---|---|",
        *(_call(call) for call in AWS_CALLS),
        "",
        *_text(_DAG_CODE),
        "## Endpoint by endpoint",
        "",
        "| endpoint | kind | policy | needed by |",
        "|---|---|---|---|",
        *_endpoint_rows(),
        "",
        *_text(_POLICIES),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _text(paragraphs: str) -> Iterator[str]:
    """Yield paragraphs of a text, each filled to a page's width; one that begins with a hyphen is an item."""
    for paragraph in textwrap.dedent(paragraphs).strip().split("\n\n"):
        words = " ".join(paragraph.split())
        yield from textwrap.wrap(words, 116, subsequent_indent="  " if words.startswith("- ") else "")
        yield ""


def _call(call: AwsCall) -> str:
    endpoints = ", ".join(f"`{endpoint}`" for endpoint in call.endpoints) or "none"
    return f"| {call.component} | `{call.prefix}` | {endpoints} | {call.why} | {call.condition or 'always'} |"


def _endpoint_rows() -> Iterator[str]:
    callers: dict[str, list[str]] = {}
    for call in AWS_CALLS:
        for endpoint in call.endpoints:
            known = callers.setdefault(endpoint, [])
            if call.component not in known:
                known.append(call.component)
    for endpoint, components in sorted(callers.items()):
        kind = "gateway" if endpoint == S3 else "interface"
        policy = "none" if endpoint in WITHOUT_POLICY else "this account's identities"
        yield f"| `com.amazonaws.REGION.{endpoint}` | {kind} | {policy} | {', '.join(components)} |"


def security_groups_page() -> str:
    """Return the page of who talks to whom."""
    worlds = {
        "always": _environment(),
        "`broker.kind: ELASTICACHE`": _environment(broker={"kind": "ELASTICACHE"}),
        "public, with a domain": _environment(**_PUBLIC),
        "public, without a domain": _environment(**_CLOUDFRONT),
        "`egress: ENDPOINTS_ONLY`": _environment(network={"egress": "ENDPOINTS_ONLY"}),
    }
    lines = [
        "# Security groups",
        "",
        *_text(_GROUPS_MADE),
        "| group | what is in it | when |",
        "|---|---|---|",
        *(f"| `{name}` | {words} | {when} |" for name, words, when in _first(worlds, _named_groups)),
        "",
        *_text(_GROUPS_GIVEN),
        "## Who talks to whom",
        "",
        "| who opens | to | port | why | when |",
        "|---|---|---|---|---|",
        *(
            f"| `{row.caller}` | `{row.listener}` | {row.port} | {row.why} | {when} |"
            for row, when in _first(worlds, lambda world: [(row,) for row in security_group_rules(world)])
        ),
        "",
        *_text(_OUTWARD),
        "## Where people come from",
        "",
        "| to | port | from | what | when |",
        "|---|---|---|---|---|",
        *(
            f"| `{row.listener}` | {row.port} | {_REACH[row.source]} | {row.why} | {when} |"
            for row, when in _first(worlds, lambda world: [(row,) for row in ingress_rules(world)])
        ),
    ]
    return "\n".join(lines) + "\n"


_REACH: Final[Mapping[str, str]] = {
    "VPC": "the VPC's ranges",
    "ALLOWED": "`web_access.allowed_cidrs`",
    "CLOUDFRONT": "CloudFront's prefix list",
}


def _named_groups(world: Environment) -> Iterable[tuple[str, str]]:
    return groups(world).items()


def _first(worlds: Mapping[str, Environment], rows_of: Any) -> Iterator[tuple[Any, ...]]:
    """Yield every row once, with the first of `worlds` that has it."""
    seen: set[tuple[Any, ...]] = set()
    for when, world in worlds.items():
        for row in rows_of(world):
            if row not in seen:
                seen.add(row)
                yield (*row, when)


def regions_page() -> str:
    """Return the page of where AWS offers what an environment uses."""
    table = region_table()
    lines = [
        "# Regions",
        "",
        *_text(_REGIONS_MADE.format(made_on=table.created_on, source=table.source)),
        "## Services",
        "",
        "| service | what for | when | Regions that lack it |",
        "|---|---|---|---|",
    ]
    for service in SERVICES:
        lacking = [region for region in table.partitions if region not in table.services[service.endpoint]]
        lines.append(
            f"| {service.name} (`{service.endpoint}`) | {service.why} | {service.condition or 'always'} "
            f"| {', '.join(lacking) or 'none'} |"
        )
    lines += [
        "",
        *_text(_PARTITIONS),
        "## Regions",
        "",
        "| Region | | partition | lacks | zones with Fargate |",
        "|---|---|---|---|---|",
    ]
    for region, partition in table.partitions.items():
        lacks = ", ".join(service.name for service in table.lacks(region)) or "nothing"
        zones = ", ".join(FARGATE_ZONES.get(region, ())) or "all"
        lines.append(f"| `{region}` | {table.names[region]} | {partition} | {lacks} | {zones} |")
    return "\n".join(lines) + "\n"
