# SPDX-License-Identifier: Apache-2.0
"""What can go wrong when a command talks to an environment that runs, each with what to do about it.

OperateError
├── MissingExtraError        boto3 is not installed
├── NotRunningError          nothing of that name runs there
├── CredentialsError         AWS does not know who asks
├── PermissionMissingError   AWS knows, and refuses
├── UnreachableError         no answer, too many calls, or an error of AWS's own: aws_errors again may help
└── OverrideError            a control cannot be read, or would make no sense
"""

from __future__ import annotations

from openmwaa.errors import OpenmwaaError


class OperateError(OpenmwaaError):
    """The environment that runs cannot be asked or told; the text says why and what to do."""


class MissingExtraError(OperateError):
    """boto3 is not installed."""


class NotRunningError(OperateError):
    """Nothing of that name runs there."""


class CredentialsError(OperateError):
    """AWS does not know who asks."""


class PermissionMissingError(OperateError):
    """AWS knows who asks, and refuses."""


class UnreachableError(OperateError):
    """No answer, too many calls, or an error of AWS's own: aws_errors again may help."""


class OverrideError(OperateError):
    """A control cannot be read, or would make no sense."""
