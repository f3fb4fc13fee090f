# SPDX-License-Identifier: Apache-2.0
"""The execution role: ECS starts the containers of a task with it."""

from collections.abc import Sequence

from cdktf_app.base.policies import EVERY, Statement, kms_via_service
from cdktf_app.compute.container_definition import ContainerSpec
from cdktf_app.security.roles import Role, Roles


def execution_role(roles: Roles, word: str, containers: Sequence[ContainerSpec]) -> Role:
    """Return a new execution role for the images, log groups and secrets of `containers`."""
    # Not sorted: these are tokens, whose order depends on what the process synthesised before.
    groups = dict.fromkeys(container.log_group.arn for container in containers)
    statements = [
        Statement("WriteLogs", ("logs:CreateLogStream", "logs:PutLogEvents"), tuple(f"{group}:*" for group in groups))
    ]
    repositories = dict.fromkeys(c.image.repository_arn for c in containers if c.image.repository_arn)
    if repositories:
        pull = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
        statements += [
            Statement(
                "LogInToRegistry",
                ("ecr:GetAuthorizationToken",),
                EVERY,
                every_resource_because="an ECR token is for the account, not for a repository",
            ),
            Statement("PullImages", pull, tuple(repositories)),
        ]
    secrets = dict.fromkeys(arn for container in containers for _, arn in sorted(container.secrets.items()))
    if secrets:
        own_key = roles.context.key_arn
        keys = dict.fromkeys((own_key, *(key for container in containers for key in container.secret_keys)))
        through = kms_via_service(roles.context.aws_scope, "secretsmanager")
        statements += [
            Statement("ReadSecrets", ("secretsmanager:GetSecretValue",), tuple(secrets)),
            Statement("DecryptSecrets", ("kms:Decrypt",), tuple(keys), conditions=(through,)),
        ]
    return roles.role(f"{word}-execution", statements)
