# SPDX-License-Identifier: Apache-2.0
"""The S3 backend of Terraform's state."""

from typing import Annotated

from openmwaa.config.strict_model import StrictModel
from openmwaa.config.text_rules import BUCKET, KMS_KEY, REGION, text


class TerraformState(StrictModel):
    """The S3 backend; `terraform/bootstrap` creates a bucket, or use your own."""

    bucket: Annotated[str, BUCKET]
    region: Annotated[str, REGION] | None = None
    """The bucket's Region; left out, the environment's."""
    key: (
        Annotated[
            str,
            text(
                r"^[^/\s]\S*$",
                "an object key without blanks and without a slash at its start",
                "s3 PutObject Key",
                max_length=1024,
            ),
        ]
        | None
    ) = None
    """The object's key; left out, openmwaa/NAME.tfstate."""
    kms_key: Annotated[str, KMS_KEY] | None = None
    """The KMS key of the state; left out, the bucket's default."""
