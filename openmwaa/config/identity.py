# SPDX-License-Identifier: Apache-2.0
"""Settings of the IAM roles: path, name prefix, boundary, further policies."""

from typing import Annotated

from pydantic import Field

from openmwaa.config.strict_model import StrictModel
from openmwaa.config.text_rules import text

PolicyArn = Annotated[
    str,
    text(
        r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[A-Za-z0-9_+=,.@/-]+$",
        "the ARN of an IAM policy",
        "iam AttachRolePolicy PolicyArn",
    ),
]


class Identity(StrictModel):
    """Settings of all roles that the stack creates."""

    path: Annotated[
        str,
        text(
            r"^/([!-~]+/)?$",
            "a path with a slash at both ends, such as /data-platform/",
            "iam CreateRole Path",
            max_length=512,
        ),
    ] = "/"
    """The path of the roles, such as /data-platform/."""
    role_name_prefix: Annotated[
        str, text(r"^[A-Za-z0-9_+=,.@-]{0,20}$", "letters, digits and `_+=,.@-`; at most 20", "iam CreateRole RoleName")
    ] = ""
    """The prefix of the role names."""
    permissions_boundary_arn: PolicyArn | None = None
    """The permissions boundary of every role."""
    worker_policy_arns: Annotated[tuple[PolicyArn, ...], Field(max_length=10)] = ()
    """Further policies of workers, for DAG code; at most 10, IAM's quota of a role."""
