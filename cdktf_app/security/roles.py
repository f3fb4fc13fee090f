# SPDX-License-Identifier: Apache-2.0
"""IAM roles of an environment: execution roles, task roles and service roles."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cdktn import ITerraformDependable, TerraformOutput
from cdktn_provider_aws.iam_role import IamRole
from cdktn_provider_aws.iam_role_policy import IamRolePolicy
from cdktn_provider_aws.iam_role_policy_attachment import IamRolePolicyAttachment
from constructs import Construct

from cdktf_app.base.policies import Condition, PrincipalKind, Statement, policy_json
from cdktf_app.base.resource_names import escape_template, iam_name
from cdktf_app.base.stack_context import StackContext

_NAME_LIMIT: Final = 64


@dataclass(frozen=True)
class Role:
    """A role with at most one inline policy and with managed policies; depend on `ready` for all permissions."""

    arn: str
    ready: ITerraformDependable


class Roles(Construct):
    """Creates roles with the configured path, name prefix and boundary; by default ECS tasks assume them."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext) -> None:
        super().__init__(scope, construct_id)
        self.context = context
        source = context.aws_scope.arn("ecs", "*")
        self._trust = self._trust_policy("trust", "TasksOfThisAccount", "ecs-tasks.amazonaws.com", [source])

    def role(
        self, word: str, statements: Sequence[Statement], attached: Sequence[str] = (), *, trust: str | None = None
    ) -> Role:
        """Return a new role with an inline policy of `statements` and the `attached` managed policies.

        ECS tasks of the account can assume it, unless `trust` is another trust policy.
        """
        identity, name = self.context.environment.identity, self._name(word)
        scope = Construct(self, word.replace("-", "_"))
        boundary = identity.permissions_boundary_arn
        role = IamRole(
            scope,
            "role",
            name=name,
            path=escape_template(identity.path),
            assume_role_policy=trust or self._trust,
            permissions_boundary=escape_template(boundary) if boundary else None,
        )
        attachments = [
            IamRolePolicyAttachment(scope, _address(arn), role=role.name, policy_arn=escape_template(arn))
            for arn in attached
        ]
        if not statements:
            return Role(role.arn, role)
        policy = policy_json(scope, "policy", statements)
        # Created last, so that `ready` covers the attachments too.
        return Role(
            role.arn,
            IamRolePolicy(scope, "role_policy", name=name, role=role.id, policy=policy, depends_on=attachments or None),
        )

    def arn(self, word: str) -> str:
        """Return the ARN of a role by its word, also before the role is added."""
        aws_scope, path = self.context.aws_scope, escape_template(self.context.environment.identity.path)
        return f"arn:{aws_scope.partition}:iam::{aws_scope.account}:role{path}{self._name(word)}"

    def service_role(self, word: str, statements: Sequence[Statement], *, service: str, sources: Sequence[str]) -> Role:
        """Return a new role that the AWS `service` can assume for resources of the ARN patterns `sources`."""
        trust = self._trust_policy(f"{word.replace('-', '_')}_trust", "ServiceOfThisAccount", service, sources)
        return self.role(word, statements, trust=trust)

    def output_required_policy(self, output: str, statements: Sequence[Statement]) -> None:
        """Add an output with the trust policy and the policy that an existing role must have."""
        TerraformOutput(
            self,
            output,
            description="Trust policy and policy that the existing role must have; `terraform plan` shows them",
            value={"trust": self._trust, "policy": policy_json(self, f"{output}_policy", statements)},
        ).override_logical_id(output)

    def _name(self, word: str) -> str:
        identity = self.context.environment.identity
        # IAM is global: the Region in the name allows the same environment in two Regions.
        full_name = f"{identity.role_name_prefix}{self.context.name}-{self.context.aws_scope.region}-{word}"
        return iam_name(full_name, limit=_NAME_LIMIT)

    def _trust_policy(self, construct_id: str, sid: str, service: str, sources: Sequence[str]) -> str:
        conditions = (
            Condition("StringEquals", "aws:SourceAccount", (self.context.aws_scope.account,)),
            Condition("ArnLike", "aws:SourceArn", tuple(sources)),
        )
        principals: Mapping[PrincipalKind, tuple[str, ...]] = {"Service": (service,)}
        trusted = Statement(sid, ("sts:AssumeRole",), (), principals=principals, conditions=conditions)
        return policy_json(self, construct_id, [trusted])


def _address(policy_arn: str) -> str:
    """Return an address that does not depend on the order of the list; the digest separates equal names."""
    name = re.sub(r"\W", "_", policy_arn.rpartition("/")[2])
    return f"{name}_{hashlib.sha256(policy_arn.encode()).hexdigest()[:6]}"
