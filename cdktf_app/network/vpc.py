# SPDX-License-Identifier: Apache-2.0
"""The network as other constructs use it: an own or an existing VPC."""

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
    """A VPC with private subnets in two or more zones."""

    @property
    def vpc_id(self) -> str:
        """The id of the VPC."""

    @property
    def vpc_cidrs(self) -> VpcCidrs:
        """Its IPv4 ranges."""

    @property
    def private_subnet_ids(self) -> list[str]:
        """Subnets of the tasks and of the database."""

    @property
    def private_subnet_ids_by_zone(self) -> list[str]:
        """One private subnet of each zone: load balancers and endpoints accept one per zone."""

    def private_route_table_ids(self) -> list[str]:
        """Return the route tables of the private subnets, for routes of a gateway endpoint."""

    @property
    def public_subnet_ids_by_zone(self) -> list[str]:
        """One public subnet of each zone; empty if none is needed."""

    @property
    def egress(self) -> Sequence[ITerraformDependable]:
        """Resources that a task needs to reach addresses outside the VPC."""

    @property
    def internet(self) -> Sequence[ITerraformDependable]:
        """Resources that public clients and CloudFront need to reach a load balancer."""


def network_of(scope: Construct, construct_id: str, *, environment: Environment, name: str, region: str) -> VpcNetwork:
    """Return the network of `environment`: a new VPC, or the existing one."""
    network = environment.network
    if network.vpc_id is None:
        return OwnNetwork(scope, construct_id, environment=environment, name=name, region=region)
    return ExistingNetwork(scope, construct_id, environment=environment)
