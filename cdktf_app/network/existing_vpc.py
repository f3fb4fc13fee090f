# SPDX-License-Identifier: Apache-2.0
"""An existing VPC: it is not changed, and the plan checks it before any resource is created."""

from collections.abc import Sequence

from cdktn import Postcondition, TerraformLocal, TerraformResourceLifecycle, Token
from cdktn_provider_aws.data_aws_internet_gateway import DataAwsInternetGateway, DataAwsInternetGatewayFilter
from cdktn_provider_aws.data_aws_route_tables import DataAwsRouteTables, DataAwsRouteTablesFilter
from cdktn_provider_aws.data_aws_subnet import DataAwsSubnet
from cdktn_provider_aws.data_aws_vpc import DataAwsVpc
from constructs import Construct

from cdktf_app.network.vpc import VpcCidrs, VpcNetwork
from cdktf_app.network.zones import WITHOUT_VPC_ORIGINS
from openmwaa.config.environment import Environment


class ExistingNetwork(VpcNetwork):
    """The VPC `network.vpc_id` with the configured subnets; its owner has created the routes."""

    def __init__(self, scope: Construct, construct_id: str, environment: Environment) -> None:
        super().__init__(scope, construct_id)
        network = environment.network
        assert network.vpc_id is not None  # noqa: S101 - checked by the caller
        self._given = network.vpc_id
        self._avoided = WITHOUT_VPC_ORIGINS.get(environment.region) if environment.has_cloudfront else None
        vpc = self._vpc()
        self.vpc_id = vpc.id
        self.vpc_cidrs = VpcCidrs(expression=f"{vpc.fqn}.cidr_block_associations[*].cidr_block")
        self._private = self._subnets("private", network.private_subnet_ids)
        public = self._subnets("public", network.public_subnet_ids)
        self.private_subnet_ids = [subnet.id for subnet in self._private]
        self.private_subnet_ids_by_zone = self._one_a_zone("private", self._private)
        self.public_subnet_ids_by_zone = self._one_a_zone("public", public) if public else []
        if environment.has_public_load_balancer or environment.has_cloudfront:
            # The plan fails without a gateway: a public load balancer and CloudFront need one.
            of_vpc = DataAwsInternetGatewayFilter(name="attachment.vpc-id", values=[self.vpc_id])
            DataAwsInternetGateway(self, "internet_gateway", filter=[of_vpc])

    def task_route_table_ids(self) -> list[str]:
        """Return the tables of the private subnets; a subnet without its own table uses the main one."""
        main = self._tables("main_routes", "association.main", "true")
        own = [
            self._tables(f"private_{index}_routes", "association.subnet-id", subnet.id)
            for index, subnet in enumerate(self._private, start=1)
        ]
        own_or_main = ", ".join(f"concat({tables.fqn}.ids, {main.fqn}.ids)[0]" for tables in own)
        return _list(TerraformLocal(self, "private_route_table_ids", f"${{distinct([{own_or_main}])}}"))

    def _vpc(self) -> DataAwsVpc:
        needed = [
            Postcondition(
                condition=f"${{self.{attribute}}}",
                error_message=f"`network.vpc_id`: {self._given} has no {what}; enable it ({attribute}): tasks resolve "
                "the names of the database, the load balancer and AWS.",
            )
            for attribute, what in (("enable_dns_support", "DNS support"), ("enable_dns_hostnames", "DNS host names"))
        ]
        return DataAwsVpc(self, "vpc", id=self._given, lifecycle=TerraformResourceLifecycle(postcondition=needed))

    def _subnets(self, kind: str, ids: Sequence[str]) -> list[DataAwsSubnet]:
        found: list[DataAwsSubnet] = []
        for index, subnet in enumerate(ids, start=1):
            condition = f'${{self.vpc_id == "{self._given}"}}'
            message = f"`network.{kind}_subnet_ids`: {subnet} is not a subnet of {self._given}."
            conditions = [Postcondition(condition=condition, error_message=message)]
            if self._avoided is not None and kind == "private":
                conditions.append(
                    Postcondition(
                        condition=f'${{self.availability_zone_id != "{self._avoided}"}}',
                        error_message=f"`network.private_subnet_ids`: {subnet} is in the zone {self._avoided}, where "
                        "CloudFront has no VPC origins; name a subnet in another zone.",
                    )
                )
            if index == len(ids):
                conditions.append(_two_zones(kind, found))
            lifecycle = TerraformResourceLifecycle(postcondition=conditions)
            found.append(DataAwsSubnet(self, f"{kind}_{index}", id=subnet, lifecycle=lifecycle))
        return found

    def _one_a_zone(self, kind: str, subnets: Sequence[DataAwsSubnet]) -> list[str]:
        listed = ", ".join(subnet.fqn for subnet in subnets)
        by_zone = f"{{ for subnet in [{listed}] : subnet.availability_zone => subnet.id... }}"
        return _list(TerraformLocal(self, f"{kind}_by_zone", f"${{[for zone, ids in {by_zone} : ids[0]]}}"))

    def _tables(self, word: str, filter_name: str, value: str) -> DataAwsRouteTables:
        filters = [DataAwsRouteTablesFilter(name=filter_name, values=[value])]
        return DataAwsRouteTables(self, word, vpc_id=self.vpc_id, filter=filters)


def _two_zones(kind: str, others: Sequence[DataAwsSubnet]) -> Postcondition:
    zones = ", ".join([*(f"{subnet.fqn}.availability_zone" for subnet in others), "self.availability_zone"])
    return Postcondition(
        condition=f"${{length(distinct([{zones}])) >= 2}}",
        error_message=f"`network.{kind}_subnet_ids` are in one availability zone; name subnets in two or more.",
    )


def _list(local: TerraformLocal) -> list[str]:
    """Return a token for a list that Terraform computes."""
    found: list[str] = Token.as_list(f"${{{local.fqn}}}")
    return found
