# SPDX-License-Identifier: Apache-2.0
"""Access to the web server: domain, certificate, allowed ranges, authentication."""

from ipaddress import IPv4Network
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from openmwaa.config.iam_login import DEFAULT_LOGIN, IamLogin, Login
from openmwaa.config.network import RFC_1918, Network
from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.text_rules import (
    CertificateArn,
    Domain,
    HostedZone,
    HttpsUrl,
    PoolArn,
    PoolClient,
    PoolDomain,
    SecretArn,
)

AccessMode = Literal["PRIVATE_ONLY", "PUBLIC_ONLY", "PUBLIC_AND_PRIVATE"]

_API_PREFIXES: Final = ("api", "env", "ops")
"""Host prefixes of the operations of MWAA's API (botocore's model of `mwaa`)."""
_MIN_PREFIX: Final = 8
_MIN_PREFIX_WITHOUT_AUTH: Final = 24


class Oidc(StrictModel):
    """An OpenID Connect provider, with which the load balancer authenticates users."""

    issuer: HttpsUrl
    authorization_endpoint: HttpsUrl
    token_endpoint: HttpsUrl
    user_info_endpoint: HttpsUrl
    client_id: Annotated[str, StringConstraints(min_length=1)]
    client_secret_arn: SecretArn
    """A secret whose whole value is the client secret. ELB needs it from Terraform, so it is in the state."""


class Cognito(StrictModel):
    """A Cognito user pool, with which the load balancer authenticates users; the client secret stays in AWS."""

    user_pool_arn: PoolArn
    user_pool_client_id: PoolClient
    """A client with a secret, for the authorization code grant."""
    user_pool_domain: PoolDomain
    """The prefix of the pool's domain, or your full custom domain."""


class WebAccess(StrictModel):
    """HTTPS with your domain, or without one with CloudFront's domain name."""

    domain: Domain | None = None
    """The domain name, such as airflow.example.com; `internal.DOMAIN` is the name inside the VPC."""
    hosted_zone_id: HostedZone | None = None
    """The Route 53 zone of `domain`, for both DNS records and the validation of a certificate."""
    certificate_arn: CertificateArn | None = None
    """An ACM certificate of `domain` and `internal.DOMAIN` in the environment's Region; left out, one is created.

    Without `hosted_zone_id` you must create the records of the output `required_dns_records`.
    """
    allowed_cidrs: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    """IPv4 ranges of users of a public web server, or of a private one outside the VPC.

    With `login: IAM` a public web server without ranges serves the whole internet, as MWAA's does.
    """
    login: Login = DEFAULT_LOGIN
    """IAM: users log in with an AWS identity, as in MWAA; PASSWORD: one user `admin` with a generated password."""
    iam_login: IamLogin = IamLogin()
    oidc: Oidc | None = None
    cognito: Cognito | None = None
    allow_http: bool = False
    """Required without a domain, which means no certificate: passwords and sessions cross the VPC in plain HTTP."""
    waf: bool = False
    """AWS WAF on the public load balancer: known attacks and a login rate limit, about 7 USD per month."""
    access_logs_days: Annotated[int, Field(ge=1, le=3653)] | None = None
    """Retention of access logs of load balancers and CloudFront, in days; left out, there are none."""
    deletion_protection: bool = False
    """Whether AWS rejects the deletion of load balancers: a destroy then needs an apply with `false` first."""

    @field_validator("allowed_cidrs")
    @classmethod
    def _are_ranges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        found: list[IPv4Network] = []
        for cidr in value:
            try:
                network = IPv4Network(cidr)
            except ValueError as error:
                raise ValueError(f"{cidr} is not an IPv4 range ({error}); example: 203.0.113.0/24") from error
            if network.prefixlen == 0:
                raise ValueError("0.0.0.0/0 is the whole internet; name the ranges of your users")
            if network.prefixlen < _MIN_PREFIX:
                raise ValueError(f"{cidr} is too wide; the widest allowed range is a /{_MIN_PREFIX}")
            for other in found:
                if network.overlaps(other):
                    raise ValueError(f"{cidr} and {other} overlap; name each address once")
            found.append(network)
        # The format of security groups and WAF: a single address is a /32.
        return tuple(map(str, found))

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.iam_login != IamLogin() and not self.uses_iam:
            raise FieldError("`iam_login` needs `login: IAM`", "iam_login")
        if self.oidc and self.cognito:
            raise FieldError("set `oidc` or `cognito`, not both", "cognito")
        if self.domain is None:
            for field in ("hosted_zone_id", "certificate_arn", "oidc", "cognito"):
                if getattr(self, field) is not None:
                    raise FieldError(f"`{field}` needs a `domain`", field)
            return self
        if self.hosted_zone_id is None and self.certificate_arn is None:
            message = "a `domain` needs a certificate: set `hosted_zone_id` to create one, or `certificate_arn`"
            raise FieldError(message, "domain")
        if self.allow_http:
            raise FieldError("with a `domain` the web server uses HTTPS; leave `allow_http` out", "allow_http")
        return self

    @property
    def authenticates(self) -> bool:
        """Whether the load balancer authenticates users."""
        return self.oidc is not None or self.cognito is not None

    @property
    def uses_iam(self) -> bool:
        """Whether users log in with an AWS identity."""
        return self.login == "IAM"

    @property
    def simulates_policies(self) -> bool:
        """Whether IAM evaluates the policies of users."""
        return self.uses_iam and self.iam_login.role_source == "SIMULATION"

    @property
    def internal_domain(self) -> str:
        """The domain name inside the VPC; empty without a domain."""
        return f"internal.{self.domain}" if self.domain else ""

    def names(self, domain: str) -> tuple[str, ...]:
        """Return `domain` and, with IAM login, the names that AWS's SDKs make of it for the API of MWAA."""
        return (domain, *(f"{prefix}.{domain}" for prefix in _API_PREFIXES)) if self.uses_iam else (domain,)

    def check(self, access_mode: AccessMode, *, region: str, network: Network) -> None:
        """Raise ValueError if the settings do not fit `access_mode`, `region` or `network`."""
        if self.uses_iam:
            self.iam_login.check(region, network)
        if access_mode == "PRIVATE_ONLY":
            self._check_private(network)
        elif self.domain is not None:
            self._check_public(access_mode, network)
        else:
            self._check_cloudfront(access_mode)

    def _check_private(self, network: Network) -> None:
        if self.domain is None and not self.allow_http:
            raise FieldError(
                "HTTPS needs a certificate, which needs a domain: set `web_access.domain`; or set "
                "`web_access.allow_http: true`, and passwords and sessions cross your VPC unencrypted",
                "web_access",
            )
        if self.waf:
            raise FieldError(
                "`web_access.waf` needs a public load balancer; PRIVATE_ONLY has none", "web_access", "waf"
            )
        if self.authenticates and network.egress_mode in ("ENDPOINTS_ONLY", "PUBLIC_IP"):
            field = "oidc" if self.oidc else "cognito"
            raise FieldError(
                f"`web_access.{field}`: the internal load balancer needs internet access for it, "
                f"which it does not have with `network.egress: {network.egress_mode}`; use a NAT gateway or leave it "
                "out",
                *("web_access", field),
            )

    def _check_public(self, access_mode: AccessMode, network: Network) -> None:
        if not self.authenticates and not self.uses_iam:
            raise FieldError(
                f"{access_mode} needs more than a password, which must not face the internet: set "
                "`web_access.login: IAM`, or authentication at the load balancer by `web_access.oidc` or "
                "`web_access.cognito`, or use PRIVATE_ONLY",
                "webserver_access_mode",
            )
        if not self.allowed_cidrs and not self.uses_iam:
            message = f"{access_mode} needs `web_access.allowed_cidrs`, the ranges of your users, or `login: IAM`"
            raise FieldError(message, "web_access")
        self._refuse_private_ranges(access_mode)
        if network.vpc_id is not None and len(network.public_subnet_ids) < 2:  # noqa: PLR2004 - a load balancer's minimum
            raise FieldError(
                f"{access_mode} in an existing VPC needs `network.public_subnet_ids`: two or more, in two zones, "
                "for the public load balancer",
                "network",
            )

    def _check_cloudfront(self, access_mode: AccessMode) -> None:
        if not self.uses_iam:
            self._check_cloudfront_password(access_mode)
        self._refuse_private_ranges(access_mode)
        if not self.allow_http:
            raise FieldError(
                f"{access_mode} without a `web_access.domain` has no certificate: HTTPS ends at CloudFront, and the "
                "load balancer uses HTTP; set a domain, or `web_access.allow_http: true`",
                "web_access",
            )

    def _check_cloudfront_password(self, access_mode: AccessMode) -> None:
        # Load balancers authenticate on HTTPS listeners only, which need a certificate of a domain.
        if access_mode == "PUBLIC_ONLY":
            raise FieldError(
                "PUBLIC_ONLY needs more than a password, which must not face the internet: set "
                "`web_access.login: IAM`, or a `web_access.domain` with `oidc` or `cognito`, or use PRIVATE_ONLY",
                "webserver_access_mode",
            )
        wide = [cidr for cidr in self.allowed_cidrs if IPv4Network(cidr).prefixlen < _MIN_PREFIX_WITHOUT_AUTH]
        if not self.allowed_cidrs or wide:
            raise FieldError(
                f"{access_mode} with CloudFront's domain and a password must be limited to your users: set "
                f"`web_access.login: IAM`, or `web_access.allowed_cidrs`, none wider than a /{_MIN_PREFIX_WITHOUT_AUTH}"
                + (f" ({wide[0]} is)" if wide else ""),
                *(("web_access", "allowed_cidrs") if wide else ("webserver_access_mode",)),
            )

    def _refuse_private_ranges(self, access_mode: AccessMode) -> None:
        for cidr in self.allowed_cidrs:
            if any(IPv4Network(cidr).subnet_of(private) for private in RFC_1918):
                raise FieldError(
                    f"`web_access.allowed_cidrs`: {cidr} is private, no client on the internet has it; for "
                    f"{access_mode} name the public addresses of your users",
                    *("web_access", "allowed_cidrs"),
                )
