# SPDX-License-Identifier: Apache-2.0
"""What can go wrong when a command talks to an environment that runs, each with what to do about it.

LiveError
├── MissingExtraError        boto3 is not installed
├── NotRunningError          nothing of that name runs there
├── CredentialsError         AWS does not know who asks
├── PermissionMissingError   AWS knows, and refuses
├── UnreachableError         no answer, too many calls, or an error of AWS's own: asking again may help
└── ControlsError            a control cannot be read, or would make no sense
"""

from __future__ import annotations

from openmwaa.errors import OpenmwaaError


class LiveError(OpenmwaaError):
    """The environment that runs cannot be asked or told; the text says why and what to do."""


class MissingExtraError(LiveError):
    """boto3 is not installed."""


class NotRunningError(LiveError):
    """Nothing of that name runs there."""


class CredentialsError(LiveError):
    """AWS does not know who asks."""


class PermissionMissingError(LiveError):
    """AWS knows who asks, and refuses."""


class UnreachableError(LiveError):
    """No answer, too many calls, or an error of AWS's own: asking again may help."""


class ControlsError(LiveError):
    """A control cannot be read, or would make no sense."""
