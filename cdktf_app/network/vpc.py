# SPDX-License-Identifier: Apache-2.0
"""What the rest of a stack knows of its network, whoever made the VPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cdktn import ITerraformDependable
from constructs import Construct

from cdktf_app.network.existing_vpc import ExistingNetwork
from cdktf_app.network.own_vpc import OwnNetwork
from cdktf_app.network.vpc_cidrs import VpcCidrs
from openmwaa.config.environment import Environment


class VpcNetwork(Protocol):
    """A VPC with private subnets over two zones or more."""

    @property
    def vpc_id(self) -> str:
        """The VPC."""

    @property
    def vpc_cidrs(self) -> VpcCidrs:
        """Its IPv4 ranges."""

    @property
    def private_subnet_ids(self) -> list[str]:
        """The subnets that tasks and database live in."""

    @property
    def private_subnet_ids_by_zone(self) -> list[str]:
        """One private subnet a zone: load balancers and endpoints take no two of one zone."""

    def private_route_table_ids(self) -> list[str]:
        """The route tables of the private subnets, where a gateway endpoint puts its route."""

    @property
    def public_subnet_ids_by_zone(self) -> list[str]:
        """One public subnet a zone; none where nothing needs them."""

    @property
    def way_out(self) -> Sequence[ITerraformDependable]:
        """What has to exist before a task in the private subnets reaches anything outside of the VPC."""

    @property
    def internet(self) -> Sequence[ITerraformDependable]:
        """What has to exist before the internet reaches a load balancer, or CloudFront its origin."""


def network_of(scope: Construct, construct_id: str, *, environment: Environment, name: str, region: str) -> VpcNetwork:
    """Return the network of `environment`: its own, or the one that it names."""
    network = environment.network
    if network.vpc_id is None:
        return OwnNetwork(scope, construct_id, environment=environment, name=name, region=region)
    return ExistingNetwork(scope, construct_id, environment=environment)
