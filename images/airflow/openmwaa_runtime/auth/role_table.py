# SPDX-License-Identifier: Apache-2.0
"""The static table: patterns of principals with their roles; the first row that matches decides.

A pattern is the ARN of a user, role, session, federated user or root user of one account. The rule:

- `*` stands for any characters except `/` and `:`, so it never reaches into another part of an ARN. Partition and
  account cannot have one.
- A user's ARN has its path: `user/*` is every user with the path `/`.
- The ARN of a role matches the role and all its sessions. It has no `*`: STS's answer has the name of the role without
  its path, and only the whole name is unique in an account. A path that the proof contains must be the same.
- `assumed-role/NAME/SESSION` matches sessions of roles with any path. A session of unknown name (the proof is a JWT)
  matches only the SESSION `*`; at a row with another SESSION it is refused, as the row may be there to limit it.
- Upper and lower case differ, as in ARNs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from openmwaa_runtime.auth.access import Grant, RequestContext, RoleAction
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AccessDeniedError
from openmwaa_runtime.auth.principal import Principal, PrincipalKind
from openmwaa_runtime.errors import UsageError

_IAM, _STS = (rf"arn:(?P<partition>aws[a-z-]*):{service}::(?P<account>\d{{12}}):" for service in ("iam", "sts"))
_LIKE = r"[\w+=,.@*-]{1,128}"
_SHAPES = {
    rf"{_IAM}user(?P<path>/(?:[!-.0-9;-~]+/)*)(?P<name>{_LIKE})": PrincipalKind.USER,
    rf"{_IAM}role(?P<path>/(?:[!-)+-.0-~]+/)*)(?P<name>[\w+=,.@-]{{1,128}})": PrincipalKind.ROLE,
    rf"{_STS}assumed-role/(?P<name>{_LIKE})/(?P<session>{_LIKE})": PrincipalKind.ROLE,
    rf"{_STS}federated-user/(?P<name>{_LIKE})": PrincipalKind.FEDERATED_USER,
    rf"{_IAM}root": PrincipalKind.ROOT,
}
_READING = frozenset({"airflow:GetEnvironment", "airflow:ListEnvironments", "airflow:ListTagsForResource"})


@dataclass(frozen=True)
class PrincipalPattern:
    """The pattern of an ARN. Create it with `PrincipalPattern.read`."""

    text: str
    partition: str
    account: str
    kind: PrincipalKind
    path: str
    name: str
    session: str | None

    @classmethod
    def read(cls, text: str) -> "PrincipalPattern":
        """Read a pattern.

        Raises:
            UsageError: it is none.
        """
        for shape, kind in _SHAPES.items():
            if found := re.fullmatch(shape, text, re.ASCII):
                part = found.groupdict()
                path, name = part.get("path") or "", part.get("name") or ""
                return cls(text, part["partition"], part["account"], kind, path, name, part.get("session"))
        raise UsageError(
            f"{text!r} is not the ARN of a user, role, session, federated user or root user; `*` is allowed in names, "
            "but not in the ARN of a role: write arn:…:sts::ACCOUNT:assumed-role/NAME*/*"
        )

    def matches(self, principal: Principal) -> bool:
        """Return whether the principal is one of the pattern's; what is not known never matches."""
        if (self.partition, self.account, self.kind) != (principal.partition, principal.account, principal.kind):
            return False
        if self.kind is not PrincipalKind.ROLE:
            return _like(self.path + self.name, (principal.path or "") + principal.name)
        if self.session is None:
            return self.name == principal.name and principal.path in (None, self.path)
        of_session = self.session == "*" or _like(self.session, principal.session or "")
        return of_session and _like(self.name, principal.name)

    def may_match(self, principal: Principal) -> bool:
        """Return whether the pattern names some sessions of the role of a principal whose session is not known."""
        if self.session is None or principal.session is not None:
            return False
        return replace(self, session="*").matches(principal)


def _like(pattern: str, text: str) -> bool:
    return re.fullmatch("[^/:]*".join(map(re.escape, pattern.split("*"))), text) is not None


@dataclass(frozen=True)
class RoleRow:
    """One row of the table."""

    pattern: PrincipalPattern
    role: AirflowRole


@dataclass(frozen=True)
class RoleTable:
    """An AccessPolicy of rows; both actions on a role have the row's role."""

    environment: EnvironmentArn
    rows: Sequence[RoleRow] = ()
    cli_role_scoping: bool = True

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts whose principals can have a role."""
        return frozenset({self.environment.account, *(row.pattern.account for row in self.rows)})

    def find(self, principal: Principal) -> RoleRow | None:
        """Return the first row that matches; a further one cannot raise its role.

        Raises:
            AccessDeniedError: the proof does not name the session, and a row names some sessions of the role.
        """
        for row in self.rows:
            if row.pattern.matches(principal):
                return row
            if row.pattern.may_match(principal):
                raise AccessDeniedError(
                    f"`role_table` has a row for sessions of {principal.arn}, and a JSON Web Token does not name the "
                    "session: prove your identity by a presigned request"
                )
        return None

    def role(
        self, principal: Principal, action: RoleAction, wanted: AirflowRole | None, context: RequestContext
    ) -> Grant:
        """Return the row's role, or the wanted one if the row's role includes it."""
        row = self.find(principal)
        if row is None or not row.role.includes(wanted or row.role):
            raise role_denied(self.environment, principal, action, wanted)
        return Grant(wanted or row.role, _granted_by(row))

    def allow(self, principal: Principal, action: str, context: RequestContext) -> Sequence[str]:
        """Allow reading from Viewer, a CLI token too if commands follow the role, and everything else for Admin."""
        reading = action in _READING or (self.cli_role_scoping and action == "airflow:CreateCliToken")
        row = self.find(principal)
        if row is None or not row.role.includes(AirflowRole.VIEWER if reading else AirflowRole.ADMIN):
            raise action_denied(self.environment, principal, action)
        return _granted_by(row)


def role_denied(
    environment: EnvironmentArn, principal: Principal, action: str, wanted: AirflowRole | None, why: str = ""
) -> AccessDeniedError:
    """Return MWAA's answer to a principal without a role; `MwaaHook` recognises "Airflow role" in it."""
    roles = [wanted] if wanted else [*reversed(AirflowRole)]
    resources = ", ".join(map(environment.role, roles))
    return AccessDeniedError(
        f"No Airflow role granted in IAM: {principal.arn} is not authorized to perform: {action} on resource: "
        f"{'' if wanted else 'one of '}{resources}{why}"
    )


WITHOUT_RESOURCE: Final = frozenset({"airflow:ListEnvironments"})
"""Actions that policies allow on `*` only (Service Authorization Reference, Amazon MWAA)."""


def action_denied(environment: EnvironmentArn, principal: Principal, action: str, why: str = "") -> AccessDeniedError:
    """Return AWS's answer to a principal that may not call an action on the environment."""
    resource = "*" if action in WITHOUT_RESOURCE else environment
    return AccessDeniedError(
        f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource}{why}"
    )


def _granted_by(row: RoleRow) -> Sequence[str]:
    return (f"role_table: {row.pattern.text} = {row.role}",)
