# SPDX-License-Identifier: Apache-2.0
"""How people reach the web server: under which name, from where, and who asks them who they are."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from openmwaa.strict_model import StrictModel

_DOMAIN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$"
Domain = Annotated[str, StringConstraints(pattern=_DOMAIN, max_length=200)]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[^\s/]+(/\S*)?$")]


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
    user_pool_domain: Annotated[str, StringConstraints(min_length=1)]


class WebAccess(StrictModel):
    """HTTPS under a domain of yours, or without one under CloudFront's own name."""

    domain: Domain | None = None
    """The name of the web server, such as airflow.example.com."""
    hosted_zone_id: Annotated[str, StringConstraints(pattern=r"^Z[A-Z0-9]{4,31}$")] | None = None
    """The public Route 53 zone of `domain`: names and certificate are made in it."""
    certificate_arn: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:acm:.+:certificate/.+$")] | None = None
    """An ACM certificate of `domain` and `internal.DOMAIN` in the environment's Region; the names are yours to make."""
    allowed_cidrs: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    """IPv4 ranges from which people reach a public web server, and beyond the VPC a private one."""
    oidc: Oidc | None = None
    cognito: Cognito | None = None
    http_inside_vpc: bool = False
    """Without a domain there is no certificate: say true, and the private web server answers in plain HTTP."""

    @field_validator("allowed_cidrs")
    @classmethod
    def _are_ranges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            try:
                network = IPv4Network(one)
            except ValueError as error:
                raise ValueError(f"{one} is no IPv4 range ({error}); such as 203.0.113.0/24") from error
            if network.prefixlen == 0:
                raise ValueError("0.0.0.0/0 is everybody; name the ranges that your people come from")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.oidc and self.cognito:
            raise ValueError("the load balancer asks one of them: give `oidc` or `cognito`")
        if self.domain is None:
            for field in ("hosted_zone_id", "certificate_arn", "oidc", "cognito"):
                if getattr(self, field) is not None:
                    raise ValueError(f"`{field}` needs a `domain`: it belongs to an HTTPS name of yours")
            return self
        if (self.hosted_zone_id is None) == (self.certificate_arn is None):
            raise ValueError(
                "a `domain` needs a certificate: give `hosted_zone_id`, and it is made, or a `certificate_arn`"
            )
        if self.http_inside_vpc:
            raise ValueError("with a `domain` the web server answers in HTTPS; leave `http_inside_vpc` out")
        return self

    @property
    def authenticates(self) -> bool:
        """Whether the load balancer asks people who they are before Airflow does."""
        return self.oidc is not None or self.cognito is not None

    def check(self, access_mode: str) -> None:
        """Raise ValueError where `access_mode`, one of MWAA's three, asks for what must not be."""
        if access_mode == "PRIVATE_ONLY":
            if self.domain is None and not self.http_inside_vpc:
                raise ValueError(
                    "HTTPS needs a certificate, and that a name: give `web_access.domain`; or say "
                    "`web_access.http_inside_vpc: true`, and passwords cross your VPC in the clear"
                )
            return
        if self.http_inside_vpc:
            raise ValueError(f"{access_mode} is HTTPS always; leave `web_access.http_inside_vpc` out")
        if self.domain is not None:
            if not self.authenticates:
                raise ValueError(
                    f"{access_mode} is refused: login by IAM is not built yet and a password alone must not face the "
                    "internet; let the load balancer authenticate by `web_access.oidc` or `web_access.cognito`, or say "
                    "PRIVATE_ONLY"
                )
            if not self.allowed_cidrs:
                raise ValueError(f"{access_mode} needs `web_access.allowed_cidrs`: the ranges your people come from")
            return
        self._check_cloudfront(access_mode)

    def _check_cloudfront(self, access_mode: str) -> None:
        # The load balancer authenticates on HTTPS listeners only, and CloudFront's name brings it no certificate.
        if access_mode == "PUBLIC_ONLY":
            raise ValueError(
                "PUBLIC_ONLY without a `web_access.domain` is refused: login by IAM is not built yet, a password alone "
                "must not face the internet, and the load balancer can authenticate under a domain only; give one "
                "with `oidc` or `cognito`, or say PRIVATE_ONLY"
            )
        narrow = 24
        wide = [one for one in self.allowed_cidrs if IPv4Network(one).prefixlen < narrow]
        if not self.allowed_cidrs or wide:
            raise ValueError(
                f"{access_mode} by CloudFront's own name has a password for its only login, so it must know its "
                f"people's addresses: give `web_access.allowed_cidrs`, none wider than a /{narrow}"
                + (f" ({wide[0]} is)" if wide else "")
            )
