# SPDX-License-Identifier: Apache-2.0
"""What a company's rules ask of the IAM roles of an environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from openmwaa.config.strict_model import StrictModel

PolicyArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+$")]


class Identity(StrictModel):
    """Path, names and bounds of every role that the stack makes."""

    path: Annotated[str, StringConstraints(pattern=r"^/([!-~]+/)?$", max_length=512)] = "/"
    """The path of the roles, such as /data-platform/."""
    role_name_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{0,20}$")] = ""
    """What the names of the roles begin with."""
    permissions_boundary_arn: PolicyArn | None = None
    """The boundary that every role has."""
    worker_policy_arns: Annotated[tuple[PolicyArn, ...], Field(max_length=10)] = ()
    """Policies that workers have besides the stack's own: what DAG code may do; at most 10, IAM's quota for a role."""
