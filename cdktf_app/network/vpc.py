# SPDX-License-Identifier: Apache-2.0
"""The network as other constructs use it: an own or an existing VPC."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cdktn import ITerraformDependable
from constructs import Construct

ANYWHERE: Final = "0.0.0.0/0"


@dataclass(frozen=True)
class VpcCidrs:
    """Ranges `known` at synthesis, or an `expression` for a list that Terraform reads."""

    known: tuple[str, ...] = ()
    expression: str = ""


class VpcNetwork(Construct):
    """A VPC with private subnets in two or more zones."""

    vpc_id: str
    vpc_cidrs: VpcCidrs
    private_subnet_ids: list[str]
    """Subnets of the database, and of the tasks unless `public_tasks`."""
    private_subnet_ids_by_zone: list[str]
    """One private subnet of each zone: load balancers and endpoints accept one per zone."""
    public_subnet_ids_by_zone: list[str]
    """One public subnet of each zone; empty if none is needed."""
    public_tasks: bool = False
    """Whether tasks are in the public subnets and have public addresses."""
    egress: Sequence[ITerraformDependable] = ()
    """Resources that a task needs to reach addresses outside the VPC."""
    internet: Sequence[ITerraformDependable] = ()
    """Resources that public clients and CloudFront need to reach a load balancer."""

    @property
    def task_subnet_ids(self) -> list[str]:
        """Subnets of the tasks."""
        return self.public_subnet_ids_by_zone if self.public_tasks else self.private_subnet_ids

    def task_route_table_ids(self) -> list[str]:
        """Return the route tables of the tasks' subnets, for routes of a gateway endpoint."""
        raise NotImplementedError
