# SPDX-License-Identifier: Apache-2.0
"""The KMS key that everything at rest is encrypted with: the environment's own, or one that is given.

Whoever IAM lets use it may do so through the services that store something, and not by asking KMS for a decryption of
something else. Services that act on nobody's behalf are let in by name, each held to what it encrypts here.

A given key's policy is its owner's: the output `kms_key_policy` is what has to be in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cdktn import TerraformOutput
from cdktn_provider_aws.kms_alias import KmsAlias
from cdktn_provider_aws.kms_key import KmsKey
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.policies import EVERY, Condition, PrincipalKind, Statement, policy_json

# Administration, as AWS's default key policy grants it to the account; less the use and the grants, which are below.
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
# What stores something of an environment under its key.
SERVICES: Final = ("ecr", "elasticache", "rds", "s3", "secretsmanager", "sns", "sqs", "ssm")
_THIS_KEY: Final = "`*` in a key's policy is that key; KMS accepts nothing else"


class Keys(Construct):
    """The key of an environment; `arn` is the one to encrypt with."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        log_groups: tuple[str, ...],
        aws_scope: AwsScope,
        given: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        # WAF takes log groups of no other beginning.
        waf = aws_scope.arn("logs", f"log-group:aws-waf-logs-{name}-*")
        users = [
            *_account(aws_scope),
            _log_groups((*log_groups, waf), aws_scope),
            _alarms(aws_scope),
            *_task_storage(name, aws_scope),
        ]
        if given is not None:
            self.arn = given
            self._output_required_policy(users)
            return
        key = KmsKey(
            self,
            "key",
            description=f"{name}: everything the environment stores",
            enable_key_rotation=True,
            policy=policy_json(self, "policy", [_administration(aws_scope), *users]),
        )
        KmsAlias(self, "alias", name=f"alias/{name}", target_key_id=key.key_id)
        self.arn = key.arn

    def _output_required_policy(self, users: list[Statement]) -> None:
        TerraformOutput(
            self,
            "kms_key_policy",
            description="What has to be in the policy of the key that is given; `terraform plan` shows it already",
            value=policy_json(self, "policy", users),
        ).override_logical_id("kms_key_policy")


def _administration(aws_scope: AwsScope) -> Statement:
    return _statement("AdministerByIam", _ADMINISTER, _root(aws_scope))


def _account(aws_scope: AwsScope) -> list[Statement]:
    """Return the use of the key by whom IAM allows it, and the grants that services ask their callers for."""
    through = Condition("StringEquals", "kms:ViaService", tuple(aws_scope.host(service) for service in SERVICES))
    from_here = Condition("StringEquals", "kms:CallerAccount", (aws_scope.account,))
    for_services = Condition("Bool", "kms:GrantIsForAWSResource", ("true",))
    return [
        _statement("UseThroughServices", _USE, _root(aws_scope), through, from_here),
        # Databases, repositories and caches live on after the call that makes them.
        _statement("GrantsOfServices", ("kms:CreateGrant",), _root(aws_scope), through, from_here, for_services),
    ]


def _log_groups(log_groups: tuple[str, ...], aws_scope: AwsScope) -> Statement:
    context = Condition("ArnLike", "kms:EncryptionContext:aws:logs:arn", log_groups)
    return _statement("LogGroups", _USE, {"Service": (aws_scope.host("logs"),)}, context)


def _alarms(aws_scope: AwsScope) -> Statement:
    """Return what an alarm needs to publish to an encrypted topic: without it CloudWatch fails, in its history only."""
    here = Condition("StringEquals", "aws:SourceAccount", (aws_scope.account,))
    return _statement(
        "AlarmsToTopic", ("kms:Decrypt", "kms:GenerateDataKey"), {"Service": ("cloudwatch.amazonaws.com",)}, here
    )


def _task_storage(cluster: str, aws_scope: AwsScope) -> list[Statement]:
    """Return what Fargate needs to encrypt the disks of tasks of `cluster`."""
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
        sid=sid,
        actions=actions,
        resources=EVERY,
        every_resource_because=_THIS_KEY,
        principals=principals,
        conditions=conditions,
    )
