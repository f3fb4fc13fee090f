# SPDX-License-Identifier: Apache-2.0
"""Login with an AWS identity: where roles come from, which issuers are trusted, access to DAGs."""

import json
from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from openmwaa.config.network import Network
from openmwaa.config.strict_model import FieldError, StrictModel
from openmwaa.config.text_rules import AccountId, BundleName, DagTag, PrincipalText, TokenIssuerUrl

Login = Literal["IAM", "PASSWORD"]
DEFAULT_LOGIN: Final[Login] = "IAM"
RoleName = Literal["Admin", "Op", "User", "Viewer", "Public"]
IAM_ENDPOINT_REGION: Final = "us-east-1"
"""The only Region in which IAM has a VPC endpoint."""
MAX_LOGIN_TABLES: Final = 8_192
"""Bytes of the tables of a file as JSON: they are variables of the web server's container."""


class RoleTableRow(StrictModel):
    """A role for principals, whatever their IAM policies say."""

    principal: PrincipalText
    """The ARN of a user, role, session (assumed-role), federated user or root user; `*` in names, not in roles."""
    role: RoleName


class AccountTokenIssuer(StrictModel):
    """The issuer of the JSON Web Tokens of an account's principals (`sts:GetWebIdentityToken`)."""

    issuer: TokenIssuerUrl
    """The address that `aws iam get-outbound-web-identity-federation-info` prints in that account."""
    account_id: AccountId
    """The account of all principals in its tokens; quote it."""


class DagAccessRow(StrictModel):
    """A role for principals in the DAGs of one tag or bundle."""

    tag: DagTag | None = None
    """A tag of DAGs, such as team:x."""
    bundle: BundleName | None = None
    """A DAG bundle."""
    principals: Annotated[tuple[PrincipalText, ...], Field(min_length=1, max_length=50)]
    """ARNs as in `role_table`."""
    role: RoleName

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.tag is None) == (self.bundle is None):
            raise FieldError("set `tag` or `bundle`, and not both", "tag")
        return self


class IamLogin(StrictModel):
    """Login with an AWS identity, with MWAA's actions and roles in IAM policies."""

    role_source: Literal["SIMULATION", "TABLE"] = "SIMULATION"
    """SIMULATION: IAM evaluates the policies of the account's users and roles; TABLE: only `role_table` does."""
    role_table: Annotated[tuple[RoleTableRow, ...], Field(max_length=50)] = ()
    """Roles by ARN; the first row that matches decides, before IAM policies. Other accounts have roles only here."""
    token_issuers: Annotated[tuple[AccountTokenIssuer, ...], Field(max_length=10)] = ()
    """Issuers whose JSON Web Tokens are proofs of identity too."""
    cli_role_scoping: bool = True
    """Whether commands of `/aws_mwaa/cli` have the caller's role; `false`: always Admin, as in MWAA."""
    dag_access: Annotated[tuple[DagAccessRow, ...], Field(max_length=50)] = ()
    """Roles for the DAGs of a tag or bundle."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.role_source == "TABLE" and not self.role_table:
            raise FieldError("TABLE needs a row in `role_table`: without one no user has a role", "role_source")
        for field, values in (
            ("role_table", [row.principal for row in self.role_table]),
            ("token_issuers", [row.issuer for row in self.token_issuers]),
        ):
            for index, value in enumerate(values):
                if value in values[:index]:
                    raise FieldError(f"`{field}` has {value} twice; only the first row counts", field, index)
        if (size := len("".join(self.tables.values()).encode())) > MAX_LOGIN_TABLES:
            raise FieldError(
                f"`role_table`, `token_issuers` and `dag_access` take {size} bytes as variables of the web server, and "
                f"at most {MAX_LOGIN_TABLES} fit (rule: ecs RegisterTaskDefinition); use `*`, or IAM policies",
                "role_table",
            )
        return self

    @property
    def tables(self) -> dict[str, str]:
        """The tables that are not empty, as JSON, by the name of their variable."""
        rows: dict[str, Sequence[object]] = {
            "OPENMWAA_ROLE_TABLE": [row.model_dump() for row in self.role_table],
            "OPENMWAA_TOKEN_ISSUERS": [{"issuer": row.issuer, "account": row.account_id} for row in self.token_issuers],
            "OPENMWAA_DAG_ACCESS": [row.model_dump(exclude_none=True) for row in self.dag_access],
        }
        return {name: json.dumps(value, separators=(",", ":")) for name, value in rows.items() if value}

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts of the principals in `role_table`."""
        return frozenset(row.principal.split(":")[4] for row in self.role_table)

    def check(self, region: str, network: Network) -> None:
        """Raise FieldError if the web server has no route to a service that it needs."""
        if network.egress_mode != "ENDPOINTS_ONLY":
            return
        if self.role_source == "SIMULATION" and region != IAM_ENDPOINT_REGION:
            raise FieldError(
                f"with `network.egress: ENDPOINTS_ONLY` the web server in {region} cannot reach IAM, which has a VPC "
                f"endpoint in {IAM_ENDPOINT_REGION} only: set `role_source: TABLE` with a `role_table`, or use "
                "NAT_GATEWAY",
                *("web_access", "iam_login", "role_source"),
            )
        if self.token_issuers:
            raise FieldError(
                "with `network.egress: ENDPOINTS_ONLY` the web server cannot read the keys of an issuer; leave "
                "`token_issuers` out (a presigned request to STS is always a proof), or use NAT_GATEWAY",
                *("web_access", "iam_login", "token_issuers"),
            )
