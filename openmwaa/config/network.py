# SPDX-License-Identifier: Apache-2.0
"""The network of an environment: its own VPC, or an existing one; and its egress."""

import re
from ipaddress import IPv4Network
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from openmwaa.config.metadata_database import MetadataDatabase
from openmwaa.config.strict_model import WHOLE_NUMBER, FieldError, StrictModel
from openmwaa.config.text_rules import SecurityGroupId, SubnetId, VpcId

Port = Annotated[int, Field(ge=1, le=65_535)]
Egress = Literal["NAT_GATEWAY", "NAT_GATEWAY_PER_ZONE", "PUBLIC_IP", "ENDPOINTS_ONLY"]

RFC_1918: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_OWN_CIDR: Final = "10.192.0.0/16"
_MIN_ZONES: Final = 2


class Network(StrictModel):
    """The environment's own VPC, or an existing one with `vpc_id`."""

    vpc_cidr: str | None = None
    """IPv4 range of its own VPC, /16 to /20; left out, 10.192.0.0/16."""
    zones: Annotated[Literal[2, 3], WHOLE_NUMBER] = 2
    """Availability zones of its own VPC: each has a private subnet, and a public one if needed."""
    egress: Egress | None = None
    """Egress: one NAT gateway (the default of an own VPC), one per zone, or VPC endpoints without internet access.

    PUBLIC_IP is for development: no NAT gateway, a public address for each task, no ingress from outside the VPC.
    The owner of an existing VPC manages its routes: left out, nothing is created; ENDPOINTS_ONLY creates the endpoints.
    """
    vpc_id: VpcId | None = None
    """An existing VPC with DNS support and DNS host names."""
    private_subnet_ids: Annotated[tuple[SubnetId, ...], Field(max_length=6)] = ()
    """Its subnets for tasks, database and load balancer, in two or more zones."""
    public_subnet_ids: Annotated[tuple[SubnetId, ...], Field(max_length=6)] = ()
    """Its subnets with a route to an internet gateway, for a public load balancer."""
    security_group_ids: Annotated[tuple[SecurityGroupId, ...], Field(max_length=4)] = ()
    """Further security groups of components with DAG code: workers, DAG processor and triggerer."""
    egress_ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=30)] | None = None
    """TCP ports to which DAG code can connect, beside 443; left out, all TCP and UDP ports."""
    flow_logs: Literal["ALL", "REJECT", "NONE"] = "REJECT"
    """Flow logs of its own VPC: all connections, or rejected ones.

    CloudWatch charges about 0.50 USD per GB. Rejected connections are few, and show which rule is missing.
    """

    @field_validator("vpc_cidr")
    @classmethod
    def _is_a_private_range(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            network = IPv4Network(value)
        except ValueError as error:
            raise ValueError(f"not an IPv4 range ({error}); example: {_OWN_CIDR}") from error
        if not 16 <= network.prefixlen <= 20:  # noqa: PLR2004 - the documented bounds
            raise ValueError(f"a /{network.prefixlen}; the VPC must be a /16 to /20; example: {_OWN_CIDR}")
        if not any(network.subnet_of(private) for private in RFC_1918):
            raise ValueError(f"not a private range (RFC 1918); example: {_OWN_CIDR}")
        return str(network)

    @model_validator(mode="after")
    def _is_own_or_existing(self) -> Self:
        for field in ("private_subnet_ids", "public_subnet_ids", "security_group_ids", "egress_ports"):
            items = getattr(self, field) or ()
            if duplicate := next((item for index, item in enumerate(items) if item in items[:index]), None):
                raise FieldError(f"`{field}` contains {duplicate} twice", field)
        if self.vpc_id is None:
            self._check_own()
        else:
            self._check_existing()
        return self

    def _check_own(self) -> None:
        existing_fields = [field for field in ("private_subnet_ids", "public_subnet_ids") if getattr(self, field)]
        if existing_fields:
            raise FieldError(f"`{existing_fields[0]}` is for an existing VPC; set its `vpc_id` too", existing_fields[0])

    def _check_existing(self) -> None:
        for field in ("vpc_cidr", "zones", "flow_logs"):
            if field in self.model_fields_set:
                raise FieldError(f"`{field}` is for the environment's own VPC, not for an existing one", field)
        if self.egress not in (None, "ENDPOINTS_ONLY"):
            raise FieldError(
                f"{self.egress} creates routes, which the owner of an existing VPC manages; leave `egress` out, "
                "or use ENDPOINTS_ONLY to create the endpoints in it",
                "egress",
            )
        if len(self.private_subnet_ids) < _MIN_ZONES:
            raise FieldError(
                "an existing VPC needs `private_subnet_ids`: two or more, in two zones", "private_subnet_ids"
            )
        both = sorted(set(self.private_subnet_ids) & set(self.public_subnet_ids))
        if both:
            raise FieldError(f"{both[0]} is in `private_subnet_ids` and in `public_subnet_ids`", "public_subnet_ids")

    @property
    def cidr(self) -> str:
        """The range of its own VPC."""
        return self.vpc_cidr or _OWN_CIDR

    @property
    def egress_mode(self) -> Egress | None:
        """`egress` with its default; None in an existing VPC whose routes are not changed."""
        if self.egress is None and self.vpc_id is None:
            return "NAT_GATEWAY"
        return self.egress

    def check_development(self, database: MetadataDatabase, *, protects_load_balancers: bool) -> None:
        """Raise ValueError if the environment has public addresses and a field of a production environment."""
        signs: dict[tuple[str, ...], bool] = {
            ("network", "zones"): self.zones > _MIN_ZONES,
            ("metadata_database", "instances"): getattr(database, "instances", 1) > 1,
            ("metadata_database", "multi_az"): getattr(database, "multi_az", False),
            ("web_access", "deletion_protection"): protects_load_balancers,
        }
        for field, is_production in signs.items():
            if is_production and self.egress_mode == "PUBLIC_IP":
                raise FieldError(
                    f"`{'.'.join(field)}` is for production, and `network.egress: PUBLIC_IP` for development only: its "
                    "tasks have public addresses; leave the field out, or use NAT_GATEWAY",
                    *field,
                )

    def check(self, region: str, *images: str | None) -> None:
        """Raise ValueError if tasks in `region` cannot reach the registry of one of `images`."""
        registry = re.compile(rf"^\d{{12}}\.dkr\.ecr\.{re.escape(region)}\.amazonaws\.com(\.cn)?/")
        for image in images if self.egress_mode == "ENDPOINTS_ONLY" else ():
            if image is not None and not registry.match(image):
                raise FieldError(
                    f"`network.egress`: with ENDPOINTS_ONLY tasks can pull from ECR in {region} only, but `images` "
                    f"contains {image}; push it there, or use NAT_GATEWAY",
                    *("network", "egress"),
                )
