# SPDX-License-Identifier: Apache-2.0
"""Errors of commands that call a running environment; the text of each names the remedy."""

from openmwaa.errors import OpenmwaaError


class OperateError(OpenmwaaError):
    """A call of the running environment failed; the text gives the reason and the remedy."""


class MissingExtraError(OperateError):
    """boto3 is not installed."""


class NotRunningError(OperateError):
    """There is no running environment of this name."""


class CredentialsError(OperateError):
    """AWS does not accept the credentials."""


class PermissionMissingError(OperateError):
    """AWS accepts the credentials and refuses the call."""


class UnreachableError(OperateError):
    """No answer, throttling, or an error of AWS: a retry may help."""


class OverrideError(OperateError):
    """An override cannot be read, or is not valid."""
