# SPDX-License-Identifier: Apache-2.0
"""The S3 backend of Terraform's state, with a lock file."""

from cdktn import S3Backend, TerraformStack

from cdktf_app.base.resource_names import PREFIX
from openmwaa.config.environment import Environment


def add_state_backend(stack: TerraformStack, environment: Environment) -> None:
    """Add the configured S3 backend, if any; without one, the state is a local file."""
    state = environment.terraform_state
    if state is None:
        return
    # The listener keeps the OIDC client's secret, and so does the state: pull requests may not read this folder.
    folder = PREFIX if environment.web_access.oidc is None else f"{PREFIX}-secret"
    S3Backend(
        stack,
        bucket=state.bucket,
        key=state.key or f"{folder}/{environment.name}.tfstate",
        region=state.region or environment.region,
        encrypt=True,
        kms_key_id=state.kms_key,
        # Terraform 1.11 locks with an object in the bucket; no DynamoDB table is needed.
        use_lockfile=True,
    )
