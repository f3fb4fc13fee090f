# SPDX-License-Identifier: Apache-2.0
"""The two container images: of repositories that the stack makes, or those that are given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from cdktn_provider_aws.ecr_repository import (
    EcrRepository,
    EcrRepositoryEncryptionConfiguration,
    EcrRepositoryImageScanningConfiguration,
)
from constructs import Construct

from cdktf_app.names import literal
from cdktf_app.place import Place
from openmwaa.environment import Environment

ImageKind = Literal["airflow", "scaler"]
_ECR: Final = re.compile(
    r"^(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<repository>[^:@]+)"
)


@dataclass(frozen=True)
class Image:
    """An image by its reference; `repository_arn` is where a task has to be let in to pull it, None outside ECR."""

    kind: ImageKind
    reference: str
    repository_arn: str | None


class Images(Construct):
    """The images that tasks run."""

    def __init__(
        self, scope: Construct, construct_id: str, *, environment: Environment, name: str, place: Place, key_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        self._place = place
        self._repository_prefix = name.lower()
        self._key_arn = key_arn
        self._tag = environment.airflow_version
        self.airflow = self._image("airflow", environment.images.airflow)
        self.scaler = self._image("scaler", environment.images.scaler)

    def _image(self, kind: ImageKind, given: str | None) -> Image:
        if given is not None:
            return Image(kind, literal(given), _repository_arn(given, self._place.partition))
        repository = EcrRepository(
            self,
            kind,
            name=f"{self._repository_prefix}/{kind}",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=EcrRepositoryImageScanningConfiguration(scan_on_push=True),
            encryption_configuration=[
                EcrRepositoryEncryptionConfiguration(encryption_type="KMS", kms_key=self._key_arn)
            ],
            # Images can be built again: destroy must not stop at them.
            force_delete=True,
        )
        return Image(kind, f"{repository.repository_url}:{self._tag}", repository.arn)


def _repository_arn(reference: str, partition: str) -> str | None:
    match = _ECR.match(reference)
    if match is None:
        return None
    return f"arn:{partition}:ecr:{match['region']}:{match['account']}:repository/{match['repository']}"
