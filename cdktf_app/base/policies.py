# SPDX-License-Identifier: Apache-2.0
"""IAM policies as typed, checked statements.

An Allow statement may not have a wildcard action. The resource `*` needs a reason, which is written beside the policy.
Documents are local values, so that a review reads structured JSON. Terraform's `aws_iam_policy_document` would show a
policy as unknown in the plan whenever a resource that it names changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cdktn import TerraformLocal
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope

EVERY: Final = ("*",)
REASONS: Final = "every_resource_because"
"""Suffix of the local value that holds, by `Sid`, the reasons for the resource `*`."""
PrincipalKind = Literal["AWS", "Service"]


@dataclass(frozen=True)
class Condition:
    """One condition of a statement: `variable` compared by `test` with any of `values`."""

    test: str
    variable: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """One statement of a policy.

    `every_resource_because` is the reason for the resource `*`; without it, `resources` must be named.
    `every_action_because` is for VPC endpoint policies, which grant nothing.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    effect: Literal["Allow", "Deny"] = "Allow"
    principals: Mapping[PrincipalKind, tuple[str, ...]] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    every_resource_because: str = ""
    every_action_because: str = ""

    def __post_init__(self) -> None:
        wild = [action for action in self.actions if "*" in action]
        # Wildcards in a Deny only reduce the permissions.
        if wild and self.effect == "Allow" and not self.every_action_because:
            raise ValueError(f"statement {self.sid}: replace the wildcard of {', '.join(wild)}")
        if "*" in self.resources and not self.every_resource_because:
            raise ValueError(f"statement {self.sid}: the resource `*` needs a reason")


def policy_json(scope: Construct, construct_id: str, statements: Sequence[Statement]) -> str:
    """Add the policy of `statements` to `scope` as a local value and return an expression for its JSON."""
    if reasons := {s.sid: s.every_resource_because for s in statements if s.every_resource_because}:
        TerraformLocal(scope, f"{construct_id}_{REASONS}", reasons)
    document = {"Version": "2012-10-17", "Statement": [_written(statement) for statement in statements]}
    return f"${{jsonencode({TerraformLocal(scope, construct_id, document).fqn})}}"


def tls_only(resources: tuple[str, ...], action: str) -> Statement:
    """Return a statement that denies requests without TLS to `resources`; `action` is the service's `x:*`."""
    return Statement(
        sid="TlsOnly",
        effect="Deny",
        actions=(action,),
        resources=resources,
        principals={"AWS": EVERY},
        conditions=(Condition("Bool", "aws:SecureTransport", ("false",)),),
    )


def _written(statement: Statement) -> dict[str, Any]:
    conditions: dict[str, dict[str, list[str]]] = {}
    for condition in statement.conditions:
        conditions.setdefault(condition.test, {})[condition.variable] = list(condition.values)
    written = {
        "Sid": statement.sid,
        "Effect": statement.effect,
        "Principal": {kind: list(identifiers) for kind, identifiers in statement.principals.items()},
        "Action": list(statement.actions),
        "Resource": list(statement.resources),
        "Condition": conditions,
    }
    # A trust policy has no Resource, an identity policy has no Principal.
    return {key: value for key, value in written.items() if value}


def kms_via_service(aws_scope: AwsScope, *services: str) -> Condition:
    """Return the condition that a call to KMS comes through one of `services`."""
    hosts = tuple(aws_scope.host(service) for service in services)
    return Condition("StringEquals", "kms:ViaService", hosts)
