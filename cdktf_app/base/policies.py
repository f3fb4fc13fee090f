# SPDX-License-Identifier: Apache-2.0
"""Policies as typed statements that are checked while they are written.

No statement may have a wildcard in an action, and `*` as a resource needs a reason, which is written beside the policy.
Documents are local values, so that a review reads structured JSON and not one string of it. Terraform's
`aws_iam_policy_document` gives it too, but shows every policy as unknown in the plan when anything changes that the
policy names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cdktn import TerraformLocal
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope

EVERY: Final = ("*",)
REASONS: Final = "every_resource_because"
"""What the name of the local value ends in that says, by `Sid`, why a policy's resource is `*`."""
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

    `every_resource_because` is the reason why `resources` is `*`; a statement without it must name its resources.
    `every_action_because` is for endpoints' policies alone, which grant nothing.
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
        # A denial may be as wide as it likes: less is allowed, not more.
        if wild and self.effect == "Allow" and not self.every_action_because:
            raise ValueError(f"statement {self.sid}: spell out {', '.join(wild)}")
        if "*" in self.resources and not self.every_resource_because:
            raise ValueError(f"statement {self.sid}: every resource, and no reason why")


def policy_json(scope: Construct, construct_id: str, statements: Sequence[Statement]) -> str:
    """Return an expression for the JSON of a policy with `statements`; the policy is added to `scope` as a local."""
    if reasons := {each.sid: each.every_resource_because for each in statements if each.every_resource_because}:
        TerraformLocal(scope, f"{construct_id}_{REASONS}", reasons)
    document = {"Version": "2012-10-17", "Statement": [_written(statement) for statement in statements]}
    return f"${{jsonencode({TerraformLocal(scope, construct_id, document).fqn})}}"


def tls_only(resources: tuple[str, ...], action: str) -> Statement:
    """Return the denial of requests to `resources` that do not come over TLS; `action` is the service's `x:*`."""
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
    # A trust policy names no resource, an identity's policy no principal.
    return {key: value for key, value in written.items() if value}


def kms_via_service(aws_scope: AwsScope, *services: str) -> Condition:
    """Return the condition that KMS is asked by one of `services` on the caller's behalf."""
    hosts = tuple(aws_scope.host(service) for service in services)
    return Condition("StringEquals", "kms:ViaService", hosts)
