# SPDX-License-Identifier: Apache-2.0
"""How people reach the web server: under which name, from where, and who asks them who they are."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from openmwaa.config.network import Network
from openmwaa.config.strict_model import StrictModel

AccessMode = Literal["PRIVATE_ONLY", "PUBLIC_ONLY", "PUBLIC_AND_PRIVATE"]

_DOMAIN: Final = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$"
# ACM takes no longer name as a certificate's first.
Domain = Annotated[str, StringConstraints(pattern=_DOMAIN, max_length=64)]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[^\s/]+(/\S*)?$")]

_WIDEST: Final = 8
_WIDEST_BY_PASSWORD: Final = 24
_RFC_1918: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))


class Oidc(StrictModel):
    """An OpenID Connect provider that the load balancer asks who somebody is."""

    issuer: HttpsUrl
    authorization_endpoint: HttpsUrl
    token_endpoint: HttpsUrl
    user_info_endpoint: HttpsUrl
    client_id: Annotated[str, StringConstraints(min_length=1)]
    client_secret_arn: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:secretsmanager:.+:secret:.+$")]
    """The secret whose whole value is the client's. ELB takes it from Terraform alone: it is in the state."""


class Cognito(StrictModel):
    """A Cognito user pool that the load balancer asks who somebody is; its client's secret never leaves AWS."""

    user_pool_arn: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:cognito-idp:.+:userpool/.+$")]
    user_pool_client_id: Annotated[str, StringConstraints(min_length=1)]
    """A client with a secret, for the authorization code grant."""
    user_pool_domain: Annotated[str, StringConstraints(min_length=1)]
    """The prefix of the pool's own domain, or the whole of one of yours."""


class WebAccess(StrictModel):
    """HTTPS under a domain of yours, or without one under CloudFront's own name."""

    domain: Domain | None = None
    """The name of the web server, such as airflow.example.com; `internal.` before it names what is in the VPC."""
    hosted_zone_id: Annotated[str, StringConstraints(pattern=r"^Z[A-Z0-9]{4,31}$")] | None = None
    """The Route 53 zone of `domain`: both names are made in it, and in a public one a certificate is proven."""
    certificate_arn: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:acm:.+:certificate/.+$")] | None = None
    """An ACM certificate of `domain` and `internal.DOMAIN` in the environment's Region; left out, one is made.

    Without `hosted_zone_id` the names are yours to make: the output `required_dns_records` says of what.
    """
    allowed_cidrs: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    """IPv4 ranges from which people reach a public web server, and beyond the VPC a private one."""
    oidc: Oidc | None = None
    cognito: Cognito | None = None
    allow_http: bool = False
    """Without a domain there is no certificate: say true, and within the VPC it is plain HTTP, passwords included."""
    waf: bool = False
    """AWS WAF on the public load balancer too, about 7 USD a month: known attacks, and how often one may log in."""
    access_logs_days: Annotated[int, Field(ge=1, le=3653)] | None = None
    """Days that a bucket keeps the access logs of load balancers and CloudFront; left out, none are written."""
    deletion_protection: bool = False
    """Whether load balancers refuse to be deleted: a destroy then needs an apply with false before it."""

    @field_validator("allowed_cidrs")
    @classmethod
    def _are_ranges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        found: list[IPv4Network] = []
        for one in value:
            try:
                network = IPv4Network(one)
            except ValueError as error:
                raise ValueError(f"{one} is no IPv4 range ({error}); such as 203.0.113.0/24") from error
            if network.prefixlen == 0:
                raise ValueError("0.0.0.0/0 is everybody; name the ranges that your people come from")
            if network.prefixlen < _WIDEST:
                raise ValueError(f"{one} is a good part of everybody; name ranges, none wider than a /{_WIDEST}")
            for other in found:
                if network.overlaps(other):
                    raise ValueError(f"{one} and {other} overlap; name each address once")
            found.append(network)
        # As security groups and WAF spell them: a single address is a /32.
        return tuple(map(str, found))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.oidc and self.cognito:
            raise ValueError("the load balancer asks one of them: give `oidc` or `cognito`")
        if self.domain is None:
            for field in ("hosted_zone_id", "certificate_arn", "oidc", "cognito"):
                if getattr(self, field) is not None:
                    raise ValueError(f"`{field}` needs a `domain`: it belongs to an HTTPS name of yours")
            return self
        if self.hosted_zone_id is None and self.certificate_arn is None:
            raise ValueError(
                "a `domain` needs a certificate: give `hosted_zone_id`, and it is made, or a `certificate_arn`"
            )
        if self.allow_http:
            raise ValueError("with a `domain` the web server answers in HTTPS; leave `allow_http` out")
        return self

    @property
    def authenticates(self) -> bool:
        """Whether the load balancer asks people who they are before Airflow does."""
        return self.oidc is not None or self.cognito is not None

    @property
    def internal_domain(self) -> str:
        """The name of what is in the VPC; empty without a domain."""
        return f"internal.{self.domain}" if self.domain else ""

    def check(self, access_mode: AccessMode, *, region: str, network: Network) -> None:
        """Raise ValueError where `access_mode` asks for what must not be, or the place has not what it needs."""
        self._check_regions(region)
        if access_mode == "PRIVATE_ONLY":
            self._check_private(network)
        elif self.domain is not None:
            self._check_public(access_mode, network)
        else:
            self._check_cloudfront(access_mode)

    def _check_regions(self, region: str) -> None:
        secret = self.oidc.client_secret_arn if self.oidc else None
        for field, arn in (("certificate_arn", self.certificate_arn), ("oidc.client_secret_arn", secret)):
            there = arn.split(":")[3] if arn else region
            if there != region:
                raise ValueError(f"`web_access.{field}` is in {there}; the load balancer takes one of {region}")

    def _check_private(self, network: Network) -> None:
        if self.domain is None and not self.allow_http:
            raise ValueError(
                "HTTPS needs a certificate, and that a name: give `web_access.domain`; or say "
                "`web_access.allow_http: true`, and passwords cross your VPC in the clear"
            )
        if self.waf:
            raise ValueError("`web_access.waf` is for a load balancer that faces the internet; PRIVATE_ONLY has none")
        if self.authenticates and network.egress_mode == "ENDPOINTS_ONLY":
            raise ValueError(
                f"`web_access.{'oidc' if self.oidc else 'cognito'}`: the internal load balancer asks it over the "
                "internet, and `network.egress: ENDPOINTS_ONLY` has no way there; give a NAT gateway or leave it out"
            )

    def _check_public(self, access_mode: AccessMode, network: Network) -> None:
        if not self.authenticates:
            raise ValueError(
                f"{access_mode} is refused: login by IAM is not built yet and a password alone must not face the "
                "internet; let the load balancer authenticate by `web_access.oidc` or `web_access.cognito`, or say "
                "PRIVATE_ONLY"
            )
        if not self.allowed_cidrs:
            raise ValueError(f"{access_mode} needs `web_access.allowed_cidrs`: the ranges your people come from")
        self._refuse_private_ranges(access_mode)
        if network.vpc_id is not None and len(network.public_subnet_ids) < 2:  # noqa: PLR2004 - a load balancer's least
            raise ValueError(
                f"{access_mode} in a VPC that exists needs `network.public_subnet_ids`: two or more, in two zones, "
                "for the load balancer that faces the internet"
            )

    def _check_cloudfront(self, access_mode: AccessMode) -> None:
        # The load balancer authenticates on HTTPS listeners only, and CloudFront's name brings it no certificate.
        if access_mode == "PUBLIC_ONLY":
            raise ValueError(
                "PUBLIC_ONLY without a `web_access.domain` is refused: login by IAM is not built yet, a password alone "
                "must not face the internet, and the load balancer can authenticate under a domain only; give one "
                "with `oidc` or `cognito`, or say PRIVATE_ONLY"
            )
        wide = [one for one in self.allowed_cidrs if IPv4Network(one).prefixlen < _WIDEST_BY_PASSWORD]
        if not self.allowed_cidrs or wide:
            raise ValueError(
                f"{access_mode} by CloudFront's own name has a password for its only login, so it must know its "
                f"people's addresses: give `web_access.allowed_cidrs`, none wider than a /{_WIDEST_BY_PASSWORD}"
                + (f" ({wide[0]} is)" if wide else "")
            )
        self._refuse_private_ranges(access_mode)
        if not self.allow_http:
            raise ValueError(
                f"{access_mode} without a `web_access.domain` is HTTPS as far as CloudFront, HTTP from there to the "
                "load balancer and inside the VPC, for want of a certificate; give a domain, or say "
                "`web_access.allow_http: true`"
            )

    def _refuse_private_ranges(self, access_mode: AccessMode) -> None:
        for one in self.allowed_cidrs:
            if any(IPv4Network(one).subnet_of(private) for private in _RFC_1918):
                raise ValueError(
                    f"`web_access.allowed_cidrs`: nobody comes from {one} over the internet; for {access_mode} give "
                    "the public addresses behind which your people are"
                )
