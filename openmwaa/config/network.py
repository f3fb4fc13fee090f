# SPDX-License-Identifier: Apache-2.0
"""The network of an environment: a VPC of its own, or one that exists; and the ways out of it."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from openmwaa.config.strict_model import StrictModel

Egress = Literal["NAT_GATEWAY", "NAT_GATEWAY_PER_ZONE", "ENDPOINTS_ONLY"]
VpcId = Annotated[str, StringConstraints(pattern=r"^vpc-[0-9a-f]{8,17}$")]
SubnetId = Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$")]
SecurityGroupId = Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]{8,17}$")]

_OWN_CIDR: Final = "10.192.0.0/16"
_LEAST_ZONES: Final = 2


class Network(StrictModel):
    """A VPC that is built for the environment, or with `vpc_id` one that exists."""

    vpc_cidr: str | None = None
    """IPv4 range of a VPC of its own, /16 to /20; 10.192.0.0/16 when left out."""
    zones: Literal[2, 3] = 2
    """Availability zones of a VPC of its own: a private subnet in each, and a public one where something needs it."""
    egress: Egress | None = None
    """The way out: one NAT gateway (a VPC of its own, when left out), one a zone, or VPC endpoints and no internet.

    In a VPC that exists, routes are its owner's: left out, none is made; ENDPOINTS_ONLY makes the endpoints in it.
    """
    vpc_id: VpcId | None = None
    """A VPC that exists, with DNS support and DNS host names."""
    private_subnet_ids: Annotated[tuple[SubnetId, ...], Field(max_length=6)] = ()
    """Its subnets for tasks, database and load balancer, in two zones or more."""
    public_subnet_ids: Annotated[tuple[SubnetId, ...], Field(max_length=6)] = ()
    """Its subnets with a route to an internet gateway, for a public load balancer."""
    security_group_ids: Annotated[tuple[SecurityGroupId, ...], Field(max_length=4)] = ()
    """Security groups that DAG code has besides the environment's own: workers, DAG processor and triggerer."""
    flow_logs: Literal["ALL", "REJECT", "NONE"] = "REJECT"
    """What a VPC of its own writes down of its connections: all, or those that were refused.

    CloudWatch takes about 0.50 USD a GB; what is refused is little, and tells which rule is missing.
    """

    @field_validator("vpc_cidr")
    @classmethod
    def _is_a_private_range(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            network = IPv4Network(value)
        except ValueError as error:
            raise ValueError(f"not an IPv4 range ({error}); for example {_OWN_CIDR}") from error
        if not 16 <= network.prefixlen <= 20:  # noqa: PLR2004 - the documented bounds
            raise ValueError(f"a /{network.prefixlen}; a VPC of openmwaa is a /16 to /20, for example {_OWN_CIDR}")
        if not network.is_private:
            raise ValueError(f"not a private range (RFC 1918); for example {_OWN_CIDR}")
        return str(network)

    @model_validator(mode="after")
    def _is_own_or_given(self) -> Self:
        if self.vpc_id is None:
            self._is_own()
        else:
            self._is_given()
        return self

    def _is_own(self) -> None:
        given = [
            field for field in ("private_subnet_ids", "public_subnet_ids", "security_group_ids") if getattr(self, field)
        ]
        if given:
            raise ValueError(f"`{given[0]}` belongs to a VPC that exists; give its `vpc_id` too")

    def _is_given(self) -> None:
        for field in ("vpc_cidr", "zones", "flow_logs"):
            if field in self.model_fields_set:
                raise ValueError(f"`{field}` is for a VPC that is built; one that exists has its own")
        if self.egress not in (None, "ENDPOINTS_ONLY"):
            raise ValueError(
                f"{self.egress} makes routes, and those of a VPC that exists are its owner's; leave `egress` out, "
                "or say ENDPOINTS_ONLY to have the endpoints made in it"
            )
        for field in ("private_subnet_ids", "public_subnet_ids", "security_group_ids"):
            given = getattr(self, field)
            if twice := next((one for index, one in enumerate(given) if one in given[:index]), None):
                raise ValueError(f"`{field}` names {twice} twice")
        if len(self.private_subnet_ids) < _LEAST_ZONES:
            raise ValueError("a VPC that exists needs `private_subnet_ids`: two or more, in two zones")
        both = sorted(set(self.private_subnet_ids) & set(self.public_subnet_ids))
        if both:
            raise ValueError(f"{both[0]} is in `private_subnet_ids` and in `public_subnet_ids`")

    @property
    def cidr(self) -> str:
        """The range of a VPC of its own."""
        return self.vpc_cidr or _OWN_CIDR

    @property
    def egress_mode(self) -> Egress | None:
        """The way out that is built; None in a VPC that exists and whose routes are left alone."""
        if self.egress is None and self.vpc_id is None:
            return "NAT_GATEWAY"
        return self.egress

    def check(self, region: str, *images: str | None) -> None:
        """Raise ValueError where tasks in `region` could not pull one of the `images` that are given."""
        registry = re.compile(rf"^\d{{12}}\.dkr\.ecr\.{re.escape(region)}\.amazonaws\.com(\.cn)?/")
        for image in images if self.egress_mode == "ENDPOINTS_ONLY" else ():
            if image is not None and not registry.match(image):
                raise ValueError(
                    f"`network.egress`: with ENDPOINTS_ONLY tasks reach ECR in {region} and no other registry, and "
                    f"`images` names {image}; push it there, or say NAT_GATEWAY"
                )
