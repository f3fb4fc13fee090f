# SPDX-License-Identifier: Apache-2.0
"""Writes the pages of the network: VPC endpoints, security groups, and the Regions of the AWS services."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cdktf_app.network.endpoint_table import AWS_CALLS, S3, WITHOUT_POLICY, AwsCall, endpoints_of
from cdktf_app.network.traffic_rules import groups, ingress_rules, security_group_rules
from cdktf_app.network.zones import FARGATE_ZONES
from openmwaa.config.environment import Environment
from openmwaa.config.regions import SERVICES, region_table

_MINIMAL: Final[Mapping[str, Any]] = {"name": "example", "web_access": {"allow_http": True}}
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
Written by `make docs` from the table of AWS calls that the stack is built from. A test compares the table with the IAM
roles of synthesised stacks: each permission has a row here, and each row has a permission.
"""
_ENDPOINTS_RULES: Final = """
An interface endpoint costs 0.01 USD an hour and zone, and 0.01 a GB (us-east-1). The gateway endpoint of S3 is free,
and is in every VPC that openmwaa creates. Public subnets exist if a NAT gateway or a public load balancer needs them.
An internet gateway exists for these and for CloudFront, which requires it.

Terraform checks an existing VPC in the plan: DNS support and DNS host names are on, the subnets belong to the VPC and
are in at least two zones, and a public web server has an internet gateway. With ENDPOINTS_ONLY in such a VPC:

- Endpoints have private DNS names, and these are valid in the whole VPC: all its AWS calls then go through the
endpoints. So their security group allows the VPC's own ranges, and their policy allows every identity of the account,
within its own policies. Identities of other accounts (in a shared VPC) are denied.

- A VPC has one private DNS name for a service, and a route table has one gateway endpoint of S3. If the VPC has an
endpoint of one of these services, the apply fails: leave `egress` out, and make sure that all endpoints exist. The
same holds for the second of two environments in one VPC.
"""
_NO_ENDPOINT: Final = """
A row without an endpoint sends no packet from the task: another AWS service or the ECS agent makes the call.
"""
_DAG_CODE: Final = """
DAG code that calls other services than the worker's rows has no endpoint for them: in a VPC of openmwaa with
ENDPOINTS_ONLY such a call times out. STS is an example; the task's own credentials do not come from STS.
"""
_POLICIES: Final = """
A policy allows identities of this account, within their own policies. It denies access keys of other accounts, which
could be used to send data out. The policy of S3 also allows reads of ECR's bucket of image layers, because ECR signs
their URLs itself. `ecs-agent` and `ecs-telemetry` are for EC2 instances; the agent of Fargate does not need them,
except in the Regions named above.
"""
_GROUPS_MADE: Final = """
Written by `make docs` from the table of traffic rules that the stack is built from. Every row is an egress rule and an
ingress rule with one port. No ingress is open to 0.0.0.0/0.
"""
_GROUPS_GIVEN: Final = """
`network.security_group_ids` are your own groups, added to workers, DAG processor and triggerer. An existing database
has its own group, which gets an ingress rule for each client on the database's port.
"""
_OUTWARD: Final = """
Every task has HTTPS egress: to any address with a NAT gateway or in an existing VPC; with ENDPOINTS_ONLY to the group
`endpoints` and the prefix list of S3 only. A load balancer with an identity provider also has HTTPS egress. DNS, the
ECS agent and the task's credentials need no rule: security groups do not filter them.

With a domain the internal web server is on port 443. Workers with HTTPS egress can connect to it, as all of the VPC
can, and get the login page. Without a domain it is on port 8080, which workers cannot connect to.
"""
_REGIONS_MADE: Final = """
Written by `make docs` from `regions.json`, which `python -m tools.generate_regions` wrote on {made_on} from the
endpoints in {source}. `openmwaa validate` rejects a Region without a service that the file uses, and a Region that is
not in the table.

botocore has no data on Fargate Spot, Fargate on ARM64 (Graviton), the instance classes of RDS and ElastiCache, VPC
origins of CloudFront, and VPC endpoints by Region. Where one of them is missing, the apply fails with AWS's message. An
opt-in Region must be enabled in the account.
"""
_PARTITIONS: Final = """
CloudFront needs the partition `aws`: its allow list is a WAF web ACL in us-east-1. ENDPOINTS_ONLY needs `aws` or
`aws-us-gov`: in China the names of endpoints differ from service to service.
"""


def _environment(**fields: Any) -> Environment:
    return Environment.model_validate({**_MINIMAL, **fields})


def endpoints_page() -> str:
    """Return the page of VPC endpoints: the endpoints of each component, and their purpose."""
    endpoints = endpoints_of(_environment())
    interfaces = [endpoint for endpoint in endpoints if endpoint != S3]
    month = len(interfaces) * 2 * _ENDPOINT_USD_HOUR * _HOURS
    built = len(interfaces)
    lines = [
        "# VPC endpoints",
        "",
        *_text(_ENDPOINTS_MADE),
        "## Endpoints and NAT gateways",
        "",
        "| `network.egress` | VPC of openmwaa | existing VPC (`network.vpc_id`) |",
        "|---|---|---|",
        "| left out | same as NAT_GATEWAY | nothing: your own routes must reach the services below |",
        f"| NAT_GATEWAY | one gateway, about {_NAT_USD_HOUR * _HOURS:.0f} USD a month and 0.045 a GB | rejected |",
        "| NAT_GATEWAY_PER_ZONE | one per zone: an outage of a zone does not affect the others | rejected |",
        f"| ENDPOINTS_ONLY | {built} interface endpoints in 2 zones, {month:.0f} USD a month | the same |",
        "",
        *_text(_ENDPOINTS_RULES),
        "## AWS calls by component",
        "",
        *_text(_NO_ENDPOINT),
        "| component | service | endpoints | purpose | when |",
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
    """Yield the lines of a text, wrapped at 116 characters; a paragraph that starts with a hyphen is a list item."""
    for paragraph in textwrap.dedent(paragraphs).strip().split("\n\n"):
        words = " ".join(paragraph.split())
        yield from textwrap.wrap(
            words, 116, subsequent_indent="  " if words.startswith("- ") else "", break_on_hyphens=False
        )
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
    """Return the page of security groups and their rules."""
    variants = {
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
        "| group | members | when |",
        "|---|---|---|",
        *(f"| `{name}` | {members} | {when} |" for name, members, when in _first(variants, _named_groups)),
        "",
        *_text(_GROUPS_GIVEN),
        "## Rules between groups",
        "",
        "| from | to | port | purpose | when |",
        "|---|---|---|---|---|",
        *(
            f"| `{row.caller}` | `{row.listener}` | {row.port} | {row.why} | {when} |"
            for row, when in _first(variants, lambda environment: [(row,) for row in security_group_rules(environment)])
        ),
        "",
        *_text(_OUTWARD),
        "## Rules for users",
        "",
        "| to | port | from | purpose | when |",
        "|---|---|---|---|---|",
        *(
            f"| `{row.listener}` | {row.port} | {_REACH[row.source]} | {row.why} | {when} |"
            for row, when in _first(variants, lambda environment: [(row,) for row in ingress_rules(environment)])
        ),
    ]
    return "\n".join(lines) + "\n"


_REACH: Final[Mapping[str, str]] = {
    "VPC": "the ranges of the VPC",
    "ALLOWED": "`web_access.allowed_cidrs`",
    "CLOUDFRONT": "the prefix list of CloudFront",
}


def _named_groups(environment: Environment) -> Iterable[tuple[str, str]]:
    return groups(environment).items()


def _first(variants: Mapping[str, Environment], rows_of: Any) -> Iterator[tuple[Any, ...]]:
    """Yield every row once, with the name of the first variant that has it."""
    seen: set[tuple[Any, ...]] = set()
    for when, environment in variants.items():
        for row in rows_of(environment):
            if row not in seen:
                seen.add(row)
                yield (*row, when)


def regions_page() -> str:
    """Return the page of Regions and the AWS services that an environment uses."""
    table = region_table()
    lines = [
        "# Regions",
        "",
        *_text(_REGIONS_MADE.format(made_on=table.created_on, source=table.source)),
        "## Services",
        "",
        "| service | purpose | when | Regions without it |",
        "|---|---|---|---|",
    ]
    for service in SERVICES:
        missing = [region for region in table.partitions if region not in table.services[service.endpoint]]
        lines.append(
            f"| {service.name} (`{service.endpoint}`) | {service.why} | {service.condition or 'always'} "
            f"| {', '.join(missing) or 'none'} |"
        )
    lines += [
        "",
        *_text(_PARTITIONS),
        "## Regions",
        "",
        "| Region | | partition | missing services | zones with Fargate |",
        "|---|---|---|---|---|",
    ]
    for region, partition in table.partitions.items():
        lacks = ", ".join(service.name for service in table.lacks(region)) or "none"
        zones = ", ".join(FARGATE_ZONES.get(region, ())) or "all"
        lines.append(f"| `{region}` | {table.names[region]} | {partition} | {lacks} | {zones} |")
    return "\n".join(lines) + "\n"
