# SPDX-License-Identifier: Apache-2.0
"""The environment's own VPC: private subnets in two or three zones, and their routes.

Tasks, database and internal load balancer are in the private subnets. NAT gateways and a public load balancer need
public subnets; these and CloudFront need an internet gateway. With ENDPOINTS_ONLY and a private web server the VPC has
neither. With PUBLIC_IP the tasks are in the public subnets, and the private ones have no route out of the VPC.
"""

from ipaddress import IPv4Network
from typing import Final

from cdktn import Postcondition, TerraformLocal, TerraformResourceLifecycle
from cdktn_provider_aws.data_aws_availability_zones import DataAwsAvailabilityZones, DataAwsAvailabilityZonesFilter
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

from cdktf_app.base.stack_context import StackContext
from cdktf_app.network.vpc import ANYWHERE, VpcCidrs, VpcNetwork
from cdktf_app.network.zones import FARGATE_ZONES, WITHOUT_VPC_ORIGINS

_NAT: Final = ("NAT_GATEWAY", "NAT_GATEWAY_PER_ZONE")


class OwnNetwork(VpcNetwork):
    """The VPC of an environment with its subnets and routes."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext) -> None:
        super().__init__(scope, construct_id)
        environment, network = context.environment, context.environment.network
        self._name, self._region, self._count = context.name, environment.region, network.zones
        # Private DNS of interface endpoints needs DNS host names.
        vpc = Vpc(self, "vpc", cidr_block=network.cidr, enable_dns_hostnames=True, tags={"Name": self._name})
        self.vpc_id = vpc.id
        self.vpc_cidrs = VpcCidrs(known=(network.cidr,))
        # AWS's default group allows traffic between its members. Remove its rules; it has no members.
        DefaultSecurityGroup(self, "default_security_group", vpc_id=vpc.id, tags={"Name": f"{self._name}-unused"})
        self._zones = self._zone_names(self._available_zones())
        public, private = subnet_ranges(network.cidr, network.zones)
        self.public_tasks = network.egress_mode == "PUBLIC_IP"
        has_nat = network.egress_mode in _NAT
        has_public_subnets = has_nat or self.public_tasks or environment.has_public_load_balancer
        self.public_subnet_ids_by_zone = []
        self._associations: list[RouteTableAssociation] = []
        # CloudFront needs an attached gateway.
        if has_public_subnets or environment.has_cloudfront:
            gateway = InternetGateway(self, "internet_gateway", vpc_id=self.vpc_id, tags={"Name": self._name})
            self.internet = [gateway]
            if has_public_subnets:
                self.internet = [gateway, self._public_subnets(public, gateway), *self._associations]
        subnets = [self._subnet("private", cidr, number) for number, cidr in enumerate(private, 1)]
        # There is one in each zone.
        self.private_subnet_ids = self.private_subnet_ids_by_zone = [subnet.id for subnet in subnets]
        # One table per zone, even if all are equal: a change of `egress` then changes routes but no association.
        self._tables = [self._table(f"private_{number}", [subnet]) for number, subnet in enumerate(subnets, 1)]
        routes = self._nat(1 if network.egress_mode == "NAT_GATEWAY" else self._count) if has_nat else ()
        # With the associations: a destroy would remove them first, and workers would drain without a network.
        self.egress = self.internet if self.public_tasks else [*routes, *self._associations]

    def task_route_table_ids(self) -> list[str]:
        """Return the tables of the private subnets, one of each zone; with PUBLIC_IP that of the public ones."""
        return [self._public_table.id] if self.public_tasks else [table.id for table in self._tables]

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

    def _zone_names(self, zones: DataAwsAvailabilityZones) -> str:
        """Return an expression for the names of the zones, in the order of use."""
        # CloudFront may be added later, and subnets stay where they are: a zone without VPC origins is the last choice.
        avoided = WITHOUT_VPC_ORIGINS.get(self._region)
        if avoided is None or self._region in FARGATE_ZONES:  # those leave it out
            return f"{zones.fqn}.names"
        names = [
            f'[for index, id in {zones.fqn}.zone_ids : {zones.fqn}.names[index] if id {test} "{avoided}"]'
            for test in ("!=", "==")
        ]
        fqn: str = TerraformLocal(self, "zones", f"${{concat({', '.join(names)})}}").fqn
        return fqn

    def _subnet(self, kind: str, cidr: str, number: int) -> Subnet:
        return Subnet(
            self,
            f"{kind}_{number}",
            vpc_id=self.vpc_id,
            cidr_block=cidr,
            availability_zone=f"${{element({self._zones}, {number - 1})}}",
            tags={"Name": f"{self._name}-{kind}-{number}"},
            # A new zone of AWS may become the first in the list; it must not replace a subnet.
            lifecycle=TerraformResourceLifecycle(ignore_changes=["availability_zone"]),
        )

    def _table(self, word: str, subnets: list[Subnet]) -> RouteTable:
        name = f"{self._name}-{word.replace('_', '-')}"
        table = RouteTable(self, f"{word}_routes", vpc_id=self.vpc_id, tags={"Name": name})
        for index, subnet in enumerate(subnets, start=1):
            of = word if len(subnets) == 1 else f"{word}_{index}"
            association = RouteTableAssociation(
                self, f"{of}_routes_of_subnet", subnet_id=subnet.id, route_table_id=table.id
            )
            self._associations.append(association)
        return table

    def _public_subnets(self, ranges: list[str], gateway: InternetGateway) -> Route:
        subnets = [self._subnet("public", cidr, number) for number, cidr in enumerate(ranges, 1)]
        self.public_subnet_ids_by_zone = [subnet.id for subnet in subnets]
        table = self._public_table = self._table("public", subnets)
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
            subnet_id=self.public_subnet_ids_by_zone[index],
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
