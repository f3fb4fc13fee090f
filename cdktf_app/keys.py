# SPDX-License-Identifier: Apache-2.0
"""The KMS key that everything at rest is encrypted with: the environment's own, or one that is given.

A given key's policy is its owner's; CloudWatch Logs needs the statement `LogGroups` below in it, as for MWAA.
"""

from __future__ import annotations

from typing import Final

from cdktn_provider_aws.kms_alias import KmsAlias
from cdktn_provider_aws.kms_key import KmsKey
from constructs import Construct

from cdktf_app.place import Place
from cdktf_app.policies import EVERY, Condition, Statement, policy_json

# What AWS's default key policy grants the account with `kms:*`: administration, and use by whom IAM allows it.
_ADMINISTER: Final = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:CreateGrant",
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
_THIS_KEY: Final = "`*` in a key's policy is that key; KMS accepts nothing else"


class Keys(Construct):
    """The key of an environment; `arn` is the one to encrypt with."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        log_groups: str,
        place: Place,
        given: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        if given is not None:
            self.arn = given
            return
        key = KmsKey(
            self,
            "key",
            description=f"{name}: everything the environment stores",
            enable_key_rotation=True,
            policy=policy_json(self, "policy", _statements(log_groups, place)),
        )
        KmsAlias(self, "alias", name=f"alias/{name}", target_key_id=key.key_id)
        self.arn = key.arn


def _statements(log_groups: str, place: Place) -> list[Statement]:
    return [
        Statement(
            sid="AccountByIam",
            actions=tuple(sorted({*_ADMINISTER, *_USE})),
            resources=EVERY,
            every_resource_because=_THIS_KEY,
            principals={"AWS": (f"arn:{place.partition}:iam::{place.account}:root",)},
        ),
        Statement(
            sid="LogGroups",
            actions=_USE,
            resources=EVERY,
            every_resource_because=_THIS_KEY,
            principals={"Service": (place.host("logs"),)},
            conditions=(
                Condition(
                    "ArnLike",
                    "kms:EncryptionContext:aws:logs:arn",
                    (log_groups,),
                ),
            ),
        ),
    ]
