# SPDX-License-Identifier: Apache-2.0
"""The VPC: two public and two private subnets over two zones, one way out, and S3 without leaving the VPC.

Tasks, database and load balancer live in the private subnets. The public ones hold the NAT gateway alone: one gateway
is the cheaper half of availability, and a zone's loss then also takes the other zone's way out.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final

from cdktn import Fn, TerraformResourceLifecycle
from cdktn_provider_aws.data_aws_availability_zones import (
    DataAwsAvailabilityZones,
    DataAwsAvailabilityZonesFilter,
)
from cdktn_provider_aws.default_security_group import DefaultSecurityGroup
from cdktn_provider_aws.eip import Eip
from cdktn_provider_aws.internet_gateway import InternetGateway
from cdktn_provider_aws.nat_gateway import NatGateway
from cdktn_provider_aws.route import Route
from cdktn_provider_aws.route_table import RouteTable
from cdktn_provider_aws.route_table_association import RouteTableAssociation
from cdktn_provider_aws.subnet import Subnet
from cdktn_provider_aws.vpc import Vpc
from cdktn_provider_aws.vpc_endpoint import VpcEndpoint
from constructs import Construct

ZONES: Final = 2
ANYWHERE: Final = "0.0.0.0/0"


class Network(Construct):
    """The environment's VPC with its subnets and routes."""

    def __init__(self, scope: Construct, construct_id: str, *, name: str, region: str, cidr: str) -> None:
        super().__init__(scope, construct_id)
        self._name = name
        self.cidr = cidr
        # DNS host names are what private DNS of interface endpoints will need.
        self.vpc = Vpc(self, "vpc", cidr_block=cidr, enable_dns_hostnames=True, tags={"Name": name})
        # The group that AWS makes by itself lets its members talk to one another: it is emptied, and nobody is in it.
        DefaultSecurityGroup(self, "default_security_group", vpc_id=self.vpc.id, tags={"Name": f"{name}-unused"})
        zones = DataAwsAvailabilityZones(
            self,
            "availability_zones",
            state="available",
            # Local and Wavelength zones have no Fargate.
            filter=[DataAwsAvailabilityZonesFilter(name="opt-in-status", values=["opt-in-not-required"])],
        )
        public, private = subnet_ranges(cidr)
        self.public = [self._subnet("public", public, zones, index) for index in range(ZONES)]
        self.private = [self._subnet("private", private, zones, index) for index in range(ZONES)]
        out = self._way_out()
        inner = self._table("private", self.private)
        self.way_out = Route(
            self, "private_out", route_table_id=inner.id, destination_cidr_block=ANYWHERE, nat_gateway_id=out.id
        )
        VpcEndpoint(
            self,
            "s3",
            vpc_id=self.vpc.id,
            service_name=f"com.amazonaws.{region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[inner.id],
            tags={"Name": f"{name}-s3"},
        )

    @property
    def private_subnet_ids(self) -> list[str]:
        """The subnets that tasks, database and load balancer live in."""
        return [subnet.id for subnet in self.private]

    def _subnet(self, kind: str, ranges: list[str], zones: DataAwsAvailabilityZones, index: int) -> Subnet:
        return Subnet(
            self,
            f"{kind}_{index + 1}",
            vpc_id=self.vpc.id,
            cidr_block=ranges[index],
            availability_zone=Fn.element(zones.names, index),
            tags={"Name": f"{self._name}-{kind}-{index + 1}"},
            # A zone that AWS opens later may come first in the list; a subnet must not be replaced for that.
            lifecycle=TerraformResourceLifecycle(ignore_changes=["availability_zone"]),
        )

    def _table(self, kind: str, subnets: list[Subnet]) -> RouteTable:
        table = RouteTable(self, f"{kind}_routes", vpc_id=self.vpc.id, tags={"Name": f"{self._name}-{kind}"})
        for index, subnet in enumerate(subnets, start=1):
            RouteTableAssociation(self, f"{kind}_{index}_routes", subnet_id=subnet.id, route_table_id=table.id)
        return table

    def _way_out(self) -> NatGateway:
        internet = InternetGateway(self, "internet_gateway", vpc_id=self.vpc.id, tags={"Name": self._name})
        table = self._table("public", self.public)
        route = Route(
            self, "public_out", route_table_id=table.id, destination_cidr_block=ANYWHERE, gateway_id=internet.id
        )
        address = Eip(self, "nat_address", domain="vpc", tags={"Name": f"{self._name}-nat"}, depends_on=[internet])
        return NatGateway(
            self,
            "nat_gateway",
            allocation_id=address.id,
            subnet_id=self.public[0].id,
            tags={"Name": self._name},
            depends_on=[route],
        )


def subnet_ranges(cidr: str) -> tuple[list[str], list[str]]:
    """Return the ranges of the public and of the private subnets of a VPC with the range `cidr`.

    The first quarter is cut into eight for public subnets, which hold gateways alone; a private subnet is a whole
    quarter, for every worker needs an address there. That leaves room for a third zone of both.
    """
    quarters = list(IPv4Network(cidr).subnets(prefixlen_diff=2))
    eighths = list(quarters[0].subnets(prefixlen_diff=3))
    return [str(part) for part in eighths[:ZONES]], [str(part) for part in quarters[1 : 1 + ZONES]]
