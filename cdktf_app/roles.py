# SPDX-License-Identifier: Apache-2.0
"""IAM roles of ECS tasks: what ECS itself may do to start one, and what the code in it may do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cdktn import ITerraformDependable
from cdktn_provider_aws.iam_role import IamRole
from cdktn_provider_aws.iam_role_policy import IamRolePolicy
from constructs import Construct

from cdktf_app.containers import Container
from cdktf_app.names import fitted
from cdktf_app.place import Place
from cdktf_app.policies import EVERY, Condition, Statement, policy_json

_NAME_LIMIT: Final = 64


class Roles(Construct):
    """Makes the roles of an environment, all assumed by its tasks alone."""

    def __init__(self, scope: Construct, construct_id: str, *, name: str, place: Place, key_arn: str) -> None:
        super().__init__(scope, construct_id)
        self._name = name
        self._place = place
        self._key_arn = key_arn
        self._trust = policy_json(self, "trust", [_trust(place)])

    def role(self, word: str, statements: Sequence[Statement]) -> Role:
        """Return a new role called `word`, which may do what `statements` say and no more."""
        # IAM is global: the Region in the name lets one environment exist in two of them.
        name = fitted(f"{self._name}-{self._place.region}-{word}", limit=_NAME_LIMIT)
        return Role(self, word.replace("-", "_"), name=name, trust=self._trust, statements=statements)

    def execution_role(self, word: str, containers: Sequence[Container]) -> Role:
        """Return a new role by which ECS starts `containers`: their images, their logs and exactly their secrets."""
        return self.role(f"{word}-execution", execution_statements(containers, self._place, self._key_arn))


class Role(Construct):
    """A role with one inline policy, or none."""

    def __init__(
        self, scope: Construct, construct_id: str, *, name: str, trust: str, statements: Sequence[Statement]
    ) -> None:
        super().__init__(scope, construct_id)
        role = IamRole(self, "role", name=name, assume_role_policy=trust)
        self.arn: str = role.arn
        self.ready: ITerraformDependable = role
        if statements:
            policy = policy_json(self, "policy", statements)
            self.ready = IamRolePolicy(self, "role_policy", name=name, role=role.id, policy=policy)


def execution_statements(containers: Sequence[Container], place: Place, key_arn: str) -> list[Statement]:
    """Return what ECS needs to start `containers`."""
    groups = sorted({container.log_group.arn for container in containers})
    statements = [
        Statement(
            sid="WriteLogs",
            actions=("logs:CreateLogStream", "logs:PutLogEvents"),
            resources=tuple(f"{group}:*" for group in groups),
        )
    ]
    repositories = sorted({c.image.repository_arn for c in containers if c.image.repository_arn})
    if repositories:
        statements += [
            Statement(
                sid="LogInToRegistry",
                actions=("ecr:GetAuthorizationToken",),
                resources=EVERY,
                every_resource_because="ECR's token is the account's, not a repository's",
            ),
            Statement(
                sid="PullImages",
                actions=("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
                resources=tuple(repositories),
            ),
        ]
    secrets = sorted({arn for container in containers for arn in container.secrets.values()})
    if secrets:
        statements += [
            Statement(sid="ReadSecrets", actions=("secretsmanager:GetSecretValue",), resources=tuple(secrets)),
            Statement(
                sid="DecryptSecrets",
                actions=("kms:Decrypt",),
                resources=(key_arn,),
                conditions=(via(place, "secretsmanager"),),
            ),
        ]
    return statements


def via(place: Place, *services: str) -> Condition:
    """Return the condition that KMS is asked by one of `services` on the caller's behalf."""
    hosts = tuple(place.host(service) for service in services)
    return Condition("StringEquals", "kms:ViaService", hosts)


def _trust(place: Place) -> Statement:
    return Statement(
        sid="TasksOfThisAccount",
        actions=("sts:AssumeRole",),
        resources=(),
        principals={"Service": ("ecs-tasks.amazonaws.com",)},
        conditions=(
            Condition("StringEquals", "aws:SourceAccount", (place.account,)),
            Condition("ArnLike", "aws:SourceArn", (place.arn("ecs", "*"),)),
        ),
    )
