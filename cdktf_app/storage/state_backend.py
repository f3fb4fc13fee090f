# SPDX-License-Identifier: Apache-2.0
"""Where Terraform keeps what it built: an S3 backend with a lock file beside the state."""

from __future__ import annotations

from cdktn import S3Backend, TerraformStack

from cdktf_app.base.resource_names import PREFIX
from openmwaa.config.environment import Environment


def keep_state(stack: TerraformStack, environment: Environment) -> None:
    """Add the S3 backend that the environment asks for; without one the state lies where Terraform runs."""
    state = environment.terraform_state
    if state is None:
        return
    S3Backend(
        stack,
        bucket=state.bucket,
        key=state.key or f"{PREFIX}/{environment.name}.tfstate",
        region=state.region or environment.region,
        encrypt=True,
        kms_key_id=state.kms_key,
        # A lock object in the same bucket (Terraform 1.11): the DynamoDB table of older days is no longer needed.
        use_lockfile=True,
    )
