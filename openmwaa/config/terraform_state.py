# SPDX-License-Identifier: Apache-2.0
"""The backend of Terraform's state: an S3 bucket with a lock file."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from openmwaa.config.strict_model import StrictModel


class TerraformState(StrictModel):
    """The S3 backend; `terraform/bootstrap` creates a bucket, or use your own."""

    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{3,63}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] | None = None
    """The bucket's Region; left out, the environment's."""
    key: Annotated[str, StringConstraints(pattern=r"^[^/\s]\S*$", max_length=1024)] | None = None
    """The object's key; left out, openmwaa/NAME.tfstate."""
    kms_key: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:kms:.+:key/.+$")] | None = None
    """The KMS key of the state; left out, the bucket's default."""
