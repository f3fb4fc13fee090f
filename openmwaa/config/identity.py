# SPDX-License-Identifier: Apache-2.0
"""Settings of the IAM roles: path, name prefix, boundary, further policies."""

from typing import Annotated

from pydantic import Field

from openmwaa.config.strict_model import StrictModel
from openmwaa.config.text_rules import PolicyArn, RolePath, RolePrefix


class Identity(StrictModel):
    """Settings of all roles that the stack creates."""

    path: RolePath = "/"
    """The path of the roles, such as /data-platform/."""
    role_name_prefix: RolePrefix = ""
    """The prefix of the role names."""
    permissions_boundary_arn: PolicyArn | None = None
    """The permissions boundary of every role."""
    worker_policy_arns: Annotated[tuple[PolicyArn, ...], Field(max_length=10)] = ()
    """Further policies of workers, for DAG code; at most 10, IAM's quota of a role."""
