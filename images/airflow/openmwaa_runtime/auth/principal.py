# SPDX-License-Identifier: Apache-2.0
"""The AWS identity of a caller, from the ARN that AWS itself has answered or signed."""

import re
from dataclasses import dataclass
from enum import StrEnum

from openmwaa_runtime.auth.errors import ProofError

_ACCOUNT = r"(?P<account>\d{12})"
# Names as IAM allows them: IAM API reference, CreateUser and CreateRole; session names: STS, AssumeRole.
_NAME = r"(?P<name>[\w+=,.@-]{1,128})"
_PATH = r"(?P<path>/(?:[\x21-\x2e\x30-\x7e]+/)*)"
_PATTERNS = (
    re.compile(rf"arn:(?P<partition>aws[a-z-]*):iam::{_ACCOUNT}:(?P<kind>user|role){_PATH}{_NAME}", re.ASCII),
    re.compile(
        rf"arn:(?P<partition>aws[a-z-]*):sts::{_ACCOUNT}:(?P<kind>assumed-role)/{_NAME}/(?P<session>[\w+=,.@-]{{2,64}})",
        re.ASCII,
    ),
    re.compile(rf"arn:(?P<partition>aws[a-z-]*):sts::{_ACCOUNT}:(?P<kind>federated-user)/{_NAME}", re.ASCII),
    re.compile(rf"arn:(?P<partition>aws[a-z-]*):iam::{_ACCOUNT}:(?P<kind>root)", re.ASCII),
)


class PrincipalKind(StrEnum):
    """The kinds of identities; an assumed role is a role."""

    USER = "user"
    ROLE = "role"
    FEDERATED_USER = "federated-user"
    ROOT = "root"


class Proof(StrEnum):
    """How a caller has proved its identity."""

    STS = "sts"
    """A presigned `sts:GetCallerIdentity`."""
    JWT = "jwt"
    """A token of `sts:GetWebIdentityToken`."""


@dataclass(frozen=True)
class Principal:
    """A caller. Create it with `Principal.read`."""

    partition: str
    account: str
    kind: PrincipalKind
    name: str
    """The name of the user or role; empty for the root user."""
    path: str | None
    """The path in IAM, such as `/` or `/aws-reserved/sso.amazonaws.com/`; None: not in the ARN of an assumed role."""
    session: str | None
    """The name of the role session; None: a user, or the proof does not contain it."""
    proof: Proof

    @classmethod
    def read(cls, arn: str, proof: Proof) -> "Principal":
        """Read the ARN of a user, role, assumed role, federated user or root user.

        Raises:
            ProofError: it is none of them.
        """
        for pattern in _PATTERNS:
            if found := pattern.fullmatch(arn):
                part = found.groupdict()
                kind = "role" if part["kind"] == "assumed-role" else part["kind"]
                return cls(
                    partition=part["partition"],
                    account=part["account"],
                    kind=PrincipalKind(kind),
                    name=part.get("name") or "",
                    path=part.get("path"),
                    session=part.get("session"),
                    proof=proof,
                )
        raise ProofError("the ARN of the caller is not one of a user, role or session")

    @property
    def arn(self) -> str:
        """The ARN of the caller as STS writes it: `assumed-role/NAME/SESSION` if the session is known."""
        if self.kind is PrincipalKind.ROOT:
            return f"arn:{self.partition}:iam::{self.account}:root"
        if self.kind is PrincipalKind.FEDERATED_USER:
            return f"arn:{self.partition}:sts::{self.account}:federated-user/{self.name}"
        if self.session is not None:
            return f"arn:{self.partition}:sts::{self.account}:assumed-role/{self.name}/{self.session}"
        return f"arn:{self.partition}:iam::{self.account}:{self.kind}{self.path or '/'}{self.name}"

    @property
    def user_name(self) -> str:
        """The name of the user in Airflow, without `/`, which breaks URLs: `NAME` or `NAME:SESSION`.

        Names of IAM contain no colon, so different principals of an account have different names.
        """
        prefix = "" if self.kind is PrincipalKind.USER else f"{self.kind}:"
        parts = (self.name, self.session) if self.session is not None else (self.name,)
        return prefix + ":".join(parts)
