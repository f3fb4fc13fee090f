# SPDX-License-Identifier: Apache-2.0
"""The execution role: ECS starts the containers of a task with it."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.policies import EVERY, Statement, kms_via_service
from cdktf_app.compute.container_definition import ContainerSpec
from cdktf_app.security.roles import Role, Roles


def execution_role(roles: Roles, word: str, containers: Sequence[ContainerSpec]) -> Role:
    """Return a new execution role for the images, log groups and secrets of `containers`."""
    return roles.role(f"{word}-execution", execution_statements(containers, roles.aws_scope, roles.key_arn))


def execution_statements(containers: Sequence[ContainerSpec], aws_scope: AwsScope, key_arn: str) -> list[Statement]:
    """Return the statements that ECS needs to start `containers`."""
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
                every_resource_because="an ECR token is for the account, not for a repository",
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
                resources=(
                    key_arn,
                    *sorted({key for container in containers for key in container.secret_keys} - {key_arn}),
                ),
                conditions=(kms_via_service(aws_scope, "secretsmanager"),),
            ),
        ]
    return statements
