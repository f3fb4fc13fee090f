# SPDX-License-Identifier: Apache-2.0
"""Values that a place which is not quite AWS says otherwise, by a Terraform override of `locals`."""

from __future__ import annotations

from cdktn import TerraformLocal
from constructs import Construct


def overridable_local(scope: Construct, construct_id: str, value: str) -> str:
    """Return a reference to a local value: `value`, unless an override file beside the JSON gives another."""
    return f"${{{TerraformLocal(scope, construct_id, value).fqn}}}"
