# SPDX-License-Identifier: Apache-2.0
"""The two container images: from the stack's own repositories, or existing ones."""

import json
import re
from dataclasses import dataclass
from typing import Final, Literal

from cdktn_provider_aws.ecr_lifecycle_policy import EcrLifecyclePolicy
from cdktn_provider_aws.ecr_repository import (
    EcrRepository,
    EcrRepositoryEncryptionConfiguration,
    EcrRepositoryImageScanningConfiguration,
)
from constructs import Construct

from cdktf_app.base.expressions import synth_value
from cdktf_app.base.resource_names import escape_template, host_name
from cdktf_app.base.stack_context import StackContext
from openmwaa.config.images import SCALER_VERSION

ImageKind = Literal["airflow", "scaler"]
_NAME_LIMIT: Final = 256 - len("/airflow")
_ECR: Final = re.compile(
    r"^(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)"
)


# Expire untagged images, which no task can run. Tagged images stay: an older revision of a fleet may still start tasks.
_EXPIRE_UNTAGGED: Final = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "description": "Images without a tag",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": 14,
                },
                "action": {"type": "expire"},
            }
        ]
    },
    separators=(",", ":"),
)


@dataclass(frozen=True)
class Image:
    """An image reference; `repository_arn` is the ECR repository that a task pulls from, None for other registries."""

    kind: ImageKind
    reference: str
    repository_arn: str | None


class ContainerImages(Construct):
    """The images of the tasks."""

    def __init__(self, scope: Construct, construct_id: str, context: StackContext) -> None:
        super().__init__(scope, construct_id)
        self._aws_scope, self._key_arn = context.aws_scope, context.key_arn
        self._repository_prefix = host_name(context.name, limit=_NAME_LIMIT)
        images = context.environment.images
        self.airflow = self._image("airflow", images.airflow, images.airflow_tag or context.environment.airflow_version)
        self.scaler = self._image("scaler", images.scaler, images.scaler_tag or SCALER_VERSION)

    def _image(self, kind: ImageKind, reference: str | None, tag: str) -> Image:
        if reference is not None:
            return Image(
                kind, escape_template(reference), _repository_arn(synth_value(reference), self._aws_scope.partition)
            )
        repository = EcrRepository(
            self,
            kind,
            name=f"{self._repository_prefix}/{kind}",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=EcrRepositoryImageScanningConfiguration(scan_on_push=True),
            encryption_configuration=[
                EcrRepositoryEncryptionConfiguration(encryption_type="KMS", kms_key=self._key_arn)
            ],
            # Images can be built again, so a destroy also deletes a repository with images.
            force_delete=True,
        )
        EcrLifecyclePolicy(self, f"{kind}_lifecycle", repository=repository.name, policy=_EXPIRE_UNTAGGED)
        separator = "@" if tag.startswith("sha256:") else ":"  # a digest, in place of the tag
        return Image(kind, f"{repository.repository_url}{separator}{tag}", repository.arn)


def _repository_arn(reference: str, partition: str) -> str | None:
    match = _ECR.match(reference)
    if match is None:
        return None
    return f"arn:{partition}:ecr:{match['region']}:{match['account']}:repository/{match['repository']}"
