# SPDX-License-Identifier: Apache-2.0
"""Where Terraform keeps what it built: an S3 bucket with a lock file, or this folder."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from openmwaa.config.strict_model import StrictModel


class TerraformState(StrictModel):
    """The S3 backend; the bucket is made by `terraform/bootstrap`, or yours."""

    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]{3,63}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")] | None = None
    """The bucket's Region; the environment's when left out."""
    key: Annotated[str, StringConstraints(pattern=r"^[^/\s]\S*$", max_length=1024)] | None = None
    """The object's key; openmwaa/NAME.tfstate when left out."""
    kms_key: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:kms:.+:key/.+$")] | None = None
    """The key the state is encrypted with; the bucket's own when left out."""
