# SPDX-License-Identifier: Apache-2.0
"""Policies as typed statements that are checked while they are written.

No statement may have a wildcard in an action, and `*` as a resource needs a reason beside it. Documents are Terraform's
`aws_iam_policy_document`, so that a review reads structured JSON and not a string of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from cdktn_provider_aws.data_aws_iam_policy_document import (
    DataAwsIamPolicyDocument,
    DataAwsIamPolicyDocumentStatement,
    DataAwsIamPolicyDocumentStatementCondition,
    DataAwsIamPolicyDocumentStatementPrincipals,
)
from constructs import Construct

EVERY: Final = ("*",)
PrincipalKind = Literal["AWS", "Service", "*"]


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
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    effect: Literal["Allow", "Deny"] = "Allow"
    principals: Mapping[PrincipalKind, tuple[str, ...]] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    every_resource_because: str = ""

    def __post_init__(self) -> None:
        wild = [action for action in self.actions if "*" in action]
        # A denial may be as wide as it likes: less is allowed, not more.
        if wild and self.effect == "Allow":
            raise ValueError(f"statement {self.sid}: spell out {', '.join(wild)}")
        if "*" in self.resources and not self.every_resource_because:
            raise ValueError(f"statement {self.sid}: every resource, and no reason why")


def policy_json(scope: Construct, construct_id: str, statements: Sequence[Statement]) -> str:
    """Return the JSON of a policy with `statements`, as a reference to the document that is added to `scope`."""
    document = DataAwsIamPolicyDocument(
        scope, construct_id, statement=[_written(statement) for statement in statements]
    )
    return document.json


def tls_only(resources: tuple[str, ...], action: str) -> Statement:
    """Return the denial of requests to `resources` that do not come over TLS; `action` is the service's `x:*`."""
    return Statement(
        sid="TlsOnly",
        effect="Deny",
        actions=(action,),
        resources=resources,
        principals={"*": EVERY},
        conditions=(Condition("Bool", "aws:SecureTransport", ("false",)),),
    )


def _written(statement: Statement) -> DataAwsIamPolicyDocumentStatement:
    return DataAwsIamPolicyDocumentStatement(
        sid=statement.sid,
        effect=statement.effect,
        actions=list(statement.actions),
        resources=list(statement.resources),
        principals=[
            DataAwsIamPolicyDocumentStatementPrincipals(type=kind, identifiers=list(identifiers))
            for kind, identifiers in statement.principals.items()
        ]
        or None,
        condition=[
            DataAwsIamPolicyDocumentStatementCondition(
                test=condition.test, variable=condition.variable, values=list(condition.values)
            )
            for condition in statement.conditions
        ]
        or None,
    )
