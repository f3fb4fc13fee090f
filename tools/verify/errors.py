# SPDX-License-Identifier: Apache-2.0
"""The errors of verifying.

VerifyError
├── StepError      Terraform failed
│   └── FlakeError the emulator failed as it does now and then; a fresh apply may pass
├── ToolError      a program or an emulator does not start
└── RefusedError   the costs were not confirmed
"""


class VerifyError(Exception):
    """An example cannot be verified; the text is the reason."""


class StepError(VerifyError):
    """A step of Terraform failed."""


class FlakeError(StepError):
    """A step failed as it sometimes does on emulators under load."""


class ToolError(VerifyError):
    """A program does not start or does not end."""


class RefusedError(VerifyError):
    """The costs of an account were not confirmed."""
