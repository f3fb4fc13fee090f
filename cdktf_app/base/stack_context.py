# SPDX-License-Identifier: Apache-2.0
"""What almost every construct of an environment needs."""

from dataclasses import dataclass

from cdktf_app.base.aws_scope import AwsScope
from openmwaa.config.environment import Environment


@dataclass(frozen=True)
class StackContext:
    """The environment, where it is created, and the key of its data."""

    environment: Environment
    name: str
    """First part of the names of its resources."""
    aws_scope: AwsScope
    key_arn: str
