# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while examples are verified.

VerifyError
├── StepError      Terraform failed
│   └── FlakeError the emulator stumbled: a fresh apply may pass
├── ToolError      a program or an emulator does not start
└── RefusedError   the person said no
"""

from __future__ import annotations


class VerifyError(Exception):
    """Verifying cannot go on; the text says why."""


class StepError(VerifyError):
    """A step of Terraform failed."""


class FlakeError(StepError):
    """A step failed as emulators make it fail now and then under load."""


class ToolError(VerifyError):
    """A program that verifying needs does not start or end."""


class RefusedError(VerifyError):
    """The person did not agree."""
