# SPDX-License-Identifier: Apache-2.0
"""Errors of synthesis that a user can fix.

OpenmwaaError
└── SynthError
    ├── CdkMissingError     the CDK is not installed
    ├── NodeMissingError    there is no Node.js on PATH
    └── DuplicateAddressError   two resources would have one Terraform address
"""

from openmwaa.errors import OpenmwaaError


class SynthError(OpenmwaaError):
    """The environment cannot be written as Terraform."""


class CdkMissingError(SynthError):
    """The CDK, an extra of the distribution, is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"The Python package {package} is missing; install openmwaa with its extra `infra`")


class NodeMissingError(SynthError):
    """Node.js, which the CDK runs on, is not installed."""

    def __init__(self, program: str) -> None:
        super().__init__(
            f"Node.js is missing: there is no program `{program}` on PATH. Synthesis needs Node 20 or newer "
            "(https://nodejs.org, or the package `nodejs`). The synthesised Terraform does not need it."
        )


class DuplicateAddressError(SynthError):
    """Two constructs have the same Terraform address: a defect of cdktf_app, not of the file."""

    def __init__(self, address: str, first: str, second: str) -> None:
        super().__init__(f"{first} and {second} have the same address: {address}")
