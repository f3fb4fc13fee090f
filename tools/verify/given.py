# SPDX-License-Identifier: Apache-2.0
"""What an example says exists already, made in an emulator, which gives it a name of its own choosing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openmwaa.config.environment import Environment
from openmwaa.config.metadata_database import ExistingPostgresql
from tools.verify.places import Place


def provide(environment: Environment, place: Place) -> Environment:
    """Make what `environment` names and does not build; return it with the names that those things got."""
    names = dict(_made(environment, place))
    if not names:
        return environment
    text = environment.model_dump_json(by_alias=True, exclude_unset=True)
    for written, made in names.items():
        text = text.replace(written, made)
    return Environment.model_validate(json.loads(text))


def _made(environment: Environment, place: Place) -> Iterator[tuple[str, str]]:
    """Make each thing and yield how the file calls it, and how the emulator does."""
    if environment.source_bucket is not None:
        place.client("s3").create_bucket(Bucket=environment.source_bucket)
    if environment.network.vpc_id is not None:
        yield from _network(environment, environment.network.vpc_id, place.client("ec2"))
    access = environment.web_access
    if access.hosted_zone_id is not None and access.domain is not None:
        zone = place.client("route53").create_hosted_zone(
            Name=access.domain.partition(".")[2], CallerReference=environment.name
        )
        yield access.hosted_zone_id, zone["HostedZone"]["Id"].rpartition("/")[2]
    if access.oidc is not None:
        yield access.oidc.client_secret_arn, _secret(place, "oidc-client", "a client's secret")
    database = environment.metadata_database
    if isinstance(database, ExistingPostgresql):
        login = json.dumps({"username": "postgres", "password": "a password"})
        yield database.master_secret_arn, _secret(place, "existing-master", login)
        group = place.client("ec2").create_security_group(GroupName="existing-database", Description="given")
        yield database.security_group_id, group["GroupId"]


def _secret(place: Place, name: str, value: str) -> str:
    arn: str = place.client("secretsmanager").create_secret(Name=name, SecretString=value)["ARN"]
    return arn


def _network(environment: Environment, vpc_id: str, ec2: Any) -> Iterator[tuple[str, str]]:
    """Make a VPC as a company has it: subnets over the zones, an internet gateway, NAT for the private ones."""
    network = environment.network
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
        ec2.modify_vpc_attribute(VpcId=vpc, **{attribute: {"Value": True}})
    yield vpc_id, vpc
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    subnets = [*network.private_subnet_ids, *network.public_subnet_ids]
    made: dict[str, str] = {}
    for index, written in enumerate(subnets):
        is_public = written in network.public_subnet_ids
        place_of = index - len(network.private_subnet_ids) if is_public else index
        zone = f"{environment.region}{'abc'[place_of % 3]}"
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=zone)
        made[written] = subnet["Subnet"]["SubnetId"]
        yield written, made[written]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    for subnet_id in made.values():
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet_id)
    for index, written in enumerate(network.security_group_ids):
        group = ec2.create_security_group(GroupName=f"given-{index}", Description="given", VpcId=vpc)
        yield written, group["GroupId"]
