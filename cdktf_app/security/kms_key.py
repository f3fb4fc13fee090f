# SPDX-License-Identifier: Apache-2.0
"""The KMS key of all data at rest: the environment's own key, or an existing one.

IAM identities can use the key through the AWS services that store data, but not with direct KMS calls. AWS services
that act without a caller are allowed by name, each for its own data.

The owner of an existing key maintains its policy: the output `kms_key_policy` contains the required statements.
"""

from collections.abc import Mapping
from typing import Final

from cdktn import TerraformOutput
from cdktn_provider_aws.kms_alias import KmsAlias
from cdktn_provider_aws.kms_key import KmsKey
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.policies import EVERY, Condition, PrincipalKind, Statement, policy_json

# Administration as in AWS's default key policy, without usage and grants, which are below.
_ADMINISTER: Final = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RetireGrant",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)
_USE: Final = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
# Services that store data of an environment under its key.
SERVICES: Final = ("ecr", "elasticache", "rds", "s3", "secretsmanager", "sns", "sqs", "ssm")
_THIS_KEY: Final = "`*` in a key's policy is that key; KMS accepts nothing else"


class Keys(Construct):
    """The encryption key of an environment: `arn`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        log_groups: tuple[str, ...],
        aws_scope: AwsScope,
        existing_arn: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        # WAF requires this prefix.
        waf = aws_scope.arn("logs", f"log-group:aws-waf-logs-{name}-web")
        users = [
            *_account(aws_scope),
            _log_groups((*log_groups, waf), aws_scope),
            _alarms(aws_scope),
            *_task_storage(name, aws_scope),
        ]
        if existing_arn is not None:
            self.arn = existing_arn
            TerraformOutput(
                self,
                "kms_key_policy",
                description="Statements that the policy of the existing key must contain; `terraform plan` shows them",
                value=policy_json(self, "policy", users),
            ).override_logical_id("kms_key_policy")
            return
        key = KmsKey(
            self,
            "key",
            description=f"{name}: everything the environment stores",
            enable_key_rotation=True,
            policy=policy_json(self, "policy", [_statement("AdministerByIam", _ADMINISTER, _root(aws_scope)), *users]),
        )
        KmsAlias(self, "alias", name=f"alias/{name}", target_key_id=key.key_id)
        self.arn = key.arn


def _account(aws_scope: AwsScope) -> list[Statement]:
    """Return the statements for IAM identities: use through services, grants for services."""
    through = Condition("StringEquals", "kms:ViaService", tuple(aws_scope.host(service) for service in SERVICES))
    from_here = Condition("StringEquals", "kms:CallerAccount", (aws_scope.account,))
    for_services = Condition("Bool", "kms:GrantIsForAWSResource", ("true",))
    return [
        _statement("UseThroughServices", _USE, _root(aws_scope), through, from_here),
        # Databases, repositories and caches use the key after the call that creates them.
        _statement("GrantsOfServices", ("kms:CreateGrant",), _root(aws_scope), through, from_here, for_services),
    ]


def _log_groups(log_groups: tuple[str, ...], aws_scope: AwsScope) -> Statement:
    context = Condition("ArnLike", "kms:EncryptionContext:aws:logs:arn", log_groups)
    return _statement("LogGroups", _USE, {"Service": (aws_scope.host("logs"),)}, context)


def _alarms(aws_scope: AwsScope) -> Statement:
    """Return the statement for alarms, which publish to an encrypted topic.

    Without it the notification fails, visible in the alarm's history only.
    """
    here = Condition("StringEquals", "aws:SourceAccount", (aws_scope.account,))
    return _statement(
        "AlarmsToTopic", ("kms:Decrypt", "kms:GenerateDataKey"), {"Service": ("cloudwatch.amazonaws.com",)}, here
    )


def _task_storage(cluster: str, aws_scope: AwsScope) -> list[Statement]:
    """Return the statements for Fargate, which encrypts the disks of tasks of `cluster`."""
    fargate: Mapping[PrincipalKind, tuple[str, ...]] = {"Service": ("fargate.amazonaws.com",)}
    of_cluster = (
        Condition("StringEquals", "kms:EncryptionContext:aws:ecs:clusterAccount", (aws_scope.account,)),
        Condition("StringEquals", "kms:EncryptionContext:aws:ecs:clusterName", (cluster,)),
    )
    reading = Condition("ForAllValues:StringEquals", "kms:GrantOperations", ("Decrypt",))
    return [
        _statement("TaskStorageKeys", ("kms:GenerateDataKeyWithoutPlaintext",), fargate, *of_cluster),
        _statement("TaskStorageGrants", ("kms:CreateGrant",), fargate, *of_cluster, reading),
    ]


def _root(aws_scope: AwsScope) -> Mapping[PrincipalKind, tuple[str, ...]]:
    return {"AWS": (f"arn:{aws_scope.partition}:iam::{aws_scope.account}:root",)}


def _statement(
    sid: str, actions: tuple[str, ...], principals: Mapping[PrincipalKind, tuple[str, ...]], *conditions: Condition
) -> Statement:
    return Statement(
        sid, actions, EVERY, principals=principals, conditions=conditions, every_resource_because=_THIS_KEY
    )
