# SPDX-License-Identifier: Apache-2.0
"""Local values that an emulator or a test can override with a Terraform override file."""

from cdktn import TerraformLocal
from constructs import Construct


def overridable_local(scope: Construct, construct_id: str, value: str) -> str:
    """Return a reference to a new local value; an override file beside the JSON may set another value."""
    return f"${{{TerraformLocal(scope, construct_id, value).fqn}}}"
