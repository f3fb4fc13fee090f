# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while an environment becomes Terraform, and can be mended by the user.

OpenmwaaError
└── SynthError
    ├── CdkMissingError     the CDK is not installed
    ├── NodeMissingError    the CDK runs on Node.js, and there is none on PATH
    └── AddressTakenError   two resources would have one Terraform address
"""

from __future__ import annotations

from openmwaa.errors import OpenmwaaError


class SynthError(OpenmwaaError):
    """The environment cannot be written as Terraform."""


class CdkMissingError(SynthError):
    """The CDK is an extra of the distribution and is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"The Python package {package} is missing; install it with: pip install 'openmwaa[infra]'")


class NodeMissingError(SynthError):
    """The CDK's core runs on Node.js, and the program is not there."""

    def __init__(self, program: str) -> None:
        super().__init__(
            f"Node.js is missing: there is no program `{program}` on PATH. Synthesis needs Node 20 or newer "
            "(https://nodejs.org, or your package manager's `nodejs`); what is synthesised needs Terraform alone."
        )


class DuplicateAddressError(SynthError):
    """Two constructs ask for one Terraform address: a mistake in cdktf_app, not in the file."""

    def __init__(self, address: str, first: str, second: str) -> None:
        super().__init__(f"{first} and {second} would both be {address}")
