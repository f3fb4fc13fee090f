# SPDX-License-Identifier: Apache-2.0
"""Creates in an emulator what an example expects to exist already. The emulator chooses the ids."""

import json
from collections.abc import Iterator
from typing import Any

from openmwaa.config.environment import Environment
from openmwaa.config.metadata_database import ExistingPostgresql
from tools.verify.targets import Target


def provide(environment: Environment, target: Target) -> Environment:
    """Create the resources that `environment` names and does not build; return it with their ids in the emulator."""
    ids = dict(_created(environment, target))
    if not ids:
        return environment
    text = environment.model_dump_json(by_alias=True, exclude_unset=True)
    for written, created in ids.items():
        text = text.replace(written, created)
    return Environment.model_validate(json.loads(text))


def _created(environment: Environment, target: Target) -> Iterator[tuple[str, str]]:
    """Create each resource and yield its id in the file and its id in the emulator."""
    if environment.source_bucket is not None:
        target.client("s3").create_bucket(Bucket=environment.source_bucket)
    if environment.network.vpc_id is not None:
        yield from _network(environment, environment.network.vpc_id, target.client("ec2"))
    access = environment.web_access
    if access.hosted_zone_id is not None and access.domain is not None:
        zone = target.client("route53").create_hosted_zone(
            Name=access.domain.partition(".")[2], CallerReference=environment.name
        )
        yield access.hosted_zone_id, zone["HostedZone"]["Id"].rpartition("/")[2]
    if access.oidc is not None:
        yield access.oidc.client_secret_arn, _secret(target, "oidc-client", "a client's secret")
    database = environment.metadata_database
    if isinstance(database, ExistingPostgresql):
        login = json.dumps({"username": "postgres", "password": "a password"})
        yield database.master_secret_arn, _secret(target, "existing-master", login)
        group = target.client("ec2").create_security_group(GroupName="existing-database", Description="prerequisite")
        yield database.security_group_id, group["GroupId"]


def _secret(target: Target, name: str, value: str) -> str:
    arn: str = target.client("secretsmanager").create_secret(Name=name, SecretString=value)["ARN"]
    return arn


def _network(environment: Environment, vpc_id: str, ec2: Any) -> Iterator[tuple[str, str]]:
    """Create a VPC with subnets over the zones and an internet gateway."""
    network = environment.network
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
        ec2.modify_vpc_attribute(VpcId=vpc, **{attribute: {"Value": True}})
    yield vpc_id, vpc
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    zoned = [*enumerate(network.private_subnet_ids), *enumerate(network.public_subnet_ids)]
    created: dict[str, str] = {}
    for index, (number, written) in enumerate(zoned):
        zone = f"{environment.region}{'abc'[number % 3]}"
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=zone)
        created[written] = subnet["Subnet"]["SubnetId"]
    yield from created.items()
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    for subnet_id in created.values():
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet_id)
    for index, written in enumerate(network.security_group_ids):
        group = ec2.create_security_group(GroupName=f"given-{index}", Description="prerequisite", VpcId=vpc)
        yield written, group["GroupId"]
