# SPDX-License-Identifier: Apache-2.0
"""The environment's own VPC: private subnets in two or three zones, and their routes.

Tasks, database and internal load balancer are in the private subnets. NAT gateways and a public load balancer need
public subnets; these and CloudFront need an internet gateway. With ENDPOINTS_ONLY and a private web server the VPC has
neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final

from cdktn import Fn, ITerraformDependable, Postcondition, TerraformResourceLifecycle
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
from constructs import Construct

from cdktf_app.network.vpc_cidrs import ANYWHERE, VpcCidrs
from cdktf_app.network.zones import FARGATE_ZONES
from openmwaa.config.environment import Environment

_NAT: Final = ("NAT_GATEWAY", "NAT_GATEWAY_PER_ZONE")


class OwnNetwork(Construct):
    """The VPC of an environment with its subnets and routes."""

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: Environment, name: str, region: str
    ) -> None:
        super().__init__(scope, construct_id)
        network = environment.network
        self._name, self._region, self._count = name, region, network.zones
        # Private DNS of interface endpoints needs DNS host names.
        vpc = Vpc(self, "vpc", cidr_block=network.cidr, enable_dns_hostnames=True, tags={"Name": name})
        self.vpc_id: str = vpc.id
        self.vpc_cidrs = VpcCidrs(known=(network.cidr,))
        # AWS's default group allows traffic between its members. Remove its rules; it has no members.
        DefaultSecurityGroup(self, "default_security_group", vpc_id=vpc.id, tags={"Name": f"{name}-unused"})
        self._zones = self._available_zones()
        public, private = subnet_ranges(network.cidr, network.zones)
        gateways = network.egress_mode in _NAT
        # CloudFront needs an attached gateway.
        needs_gateway = gateways or environment.has_public_load_balancer or environment.has_cloudfront
        self._gateway = self._internet_gateway() if needs_gateway else None
        self._public: list[Subnet] = []
        self._public_out: Route | None = None
        if self._gateway and (gateways or environment.has_public_load_balancer):
            self._public_out = self._public_subnets(public, self._gateway)
        self._private = [self._subnet("private", private, index) for index in range(self._count)]
        # One table per zone, even if all are equal: a change of `egress` then changes routes but no association.
        self._tables = [self._table(f"private_{index}", [subnet]) for index, subnet in enumerate(self._private, 1)]
        self.egress: Sequence[ITerraformDependable] = []
        if gateways:
            self.egress = self._nat(1 if network.egress_mode == "NAT_GATEWAY" else self._count)

    @property
    def private_subnet_ids(self) -> list[str]:
        """Subnets of the tasks and of the database."""
        return [subnet.id for subnet in self._private]

    @property
    def private_subnet_ids_by_zone(self) -> list[str]:
        """The same subnets: there is one in each zone."""
        return self.private_subnet_ids

    def private_route_table_ids(self) -> list[str]:
        """Return the route tables of the private subnets."""
        return [table.id for table in self._tables]

    @property
    def public_subnet_ids_by_zone(self) -> list[str]:
        """The public subnets, one in each zone; may be empty."""
        return [subnet.id for subnet in self._public]

    @property
    def internet(self) -> Sequence[ITerraformDependable]:
        """The internet gateway and the route to it."""
        return [resource for resource in (self._gateway, self._public_out) if resource is not None]

    def _available_zones(self) -> DataAwsAvailabilityZones:
        # Local and Wavelength zones have no Fargate.
        filters = [DataAwsAvailabilityZonesFilter(name="opt-in-status", values=["opt-in-not-required"])]
        if known := FARGATE_ZONES.get(self._region):
            filters.append(DataAwsAvailabilityZonesFilter(name="zone-id", values=list(known)))
        enough = Postcondition(
            condition=f"${{length(self.names) >= {self._count}}}",
            error_message=f"{self._region} has fewer than {self._count} availability zones with Fargate for this "
            "account: reduce `network.zones` or choose another `region`.",
        )
        return DataAwsAvailabilityZones(
            self,
            "availability_zones",
            state="available",
            filter=filters,
            lifecycle=TerraformResourceLifecycle(postcondition=[enough]),
        )

    def _subnet(self, kind: str, ranges: list[str], index: int) -> Subnet:
        return Subnet(
            self,
            f"{kind}_{index + 1}",
            vpc_id=self.vpc_id,
            cidr_block=ranges[index],
            availability_zone=Fn.element(self._zones.names, index),
            tags={"Name": f"{self._name}-{kind}-{index + 1}"},
            # A new zone of AWS may become the first in the list; it must not replace a subnet.
            lifecycle=TerraformResourceLifecycle(ignore_changes=["availability_zone"]),
        )

    def _table(self, word: str, subnets: list[Subnet]) -> RouteTable:
        name = f"{self._name}-{word.replace('_', '-')}"
        table = RouteTable(self, f"{word}_routes", vpc_id=self.vpc_id, tags={"Name": name})
        for index, subnet in enumerate(subnets, start=1):
            of = word if len(subnets) == 1 else f"{word}_{index}"
            RouteTableAssociation(self, f"{of}_routes_of_subnet", subnet_id=subnet.id, route_table_id=table.id)
        return table

    def _internet_gateway(self) -> InternetGateway:
        return InternetGateway(self, "internet_gateway", vpc_id=self.vpc_id, tags={"Name": self._name})

    def _public_subnets(self, ranges: list[str], gateway: InternetGateway) -> Route:
        self._public = [self._subnet("public", ranges, index) for index in range(self._count)]
        table = self._table("public", self._public)
        return Route(
            self, "public_out", route_table_id=table.id, destination_cidr_block=ANYWHERE, gateway_id=gateway.id
        )

    def _nat(self, count: int) -> list[Route]:
        """Return the routes of the private subnets to `count` new NAT gateways.

        With one gateway, an outage of its zone also ends the egress of the other zones.
        """
        gateways = [self._nat_gateway(index) for index in range(count)]
        return [
            Route(
                self,
                f"private_{index + 1}_out",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                nat_gateway_id=gateways[min(index, count - 1)].id,
            )
            for index, table in enumerate(self._tables)
        ]

    def _nat_gateway(self, index: int) -> NatGateway:
        name = f"{self._name}-nat-{index + 1}"
        address = Eip(self, f"nat_{index + 1}_address", domain="vpc", tags={"Name": name}, depends_on=self.internet)
        return NatGateway(
            self,
            f"nat_{index + 1}",
            allocation_id=address.id,
            subnet_id=self._public[index].id,
            tags={"Name": name},
            depends_on=self.internet,
        )


def subnet_ranges(cidr: str, zones: int) -> tuple[list[str], list[str]]:
    """Return the ranges of the public and the private subnets of the VPC range `cidr`, one of each per zone.

    A public subnet, for gateways and load balancers, is an eighth of the first quarter. A private subnet is a quarter,
    because every worker needs an address. Three zones fit.
    """
    quarters = list(IPv4Network(cidr).subnets(prefixlen_diff=2))
    eighths = list(quarters[0].subnets(prefixlen_diff=3))
    return [str(part) for part in eighths[:zones]], [str(part) for part in quarters[1 : 1 + zones]]
