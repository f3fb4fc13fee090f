# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with an environment on this machine, each with what to do about it.

LocalError
├── PrerequisiteError        a program is missing or too old
├── UnsupportedError          the file asks for what this machine cannot be
├── StateFolderError         the state folder cannot be used
├── AddressInUseError        somebody else listens where the environment has to
├── InstallError             a virtual environment could not be built
├── InfrastructureError      the emulator or PostgreSQL does not start
├── DaemonError              the daemon did not start, does not answer or does not end
├── TerraformError           Terraform failed
├── ProviderError            Terraform's AWS provider was found nowhere
└── NotHealthyError          a service did not become healthy in time
"""

from __future__ import annotations

from openmwaa.errors import OpenmwaaError


class LocalError(OpenmwaaError):
    """The environment on this machine cannot go on; the text says why and what to do."""


class PrerequisiteError(LocalError):
    """A program is missing or too old."""


class UnsupportedError(LocalError):
    """The file asks for what this machine cannot be."""


class RolloutUnfinishedError(LocalError):
    """Workers of an older revision still work, and another revision would have to take their place."""


class StateFolderError(LocalError):
    """The state folder cannot be used."""


class AddressInUseError(LocalError):
    """Somebody else listens where the environment has to."""


class InstallError(LocalError):
    """A virtual environment could not be built."""


class InfrastructureError(LocalError):
    """The emulator or PostgreSQL does not start."""


class DaemonError(LocalError):
    """The daemon did not start, does not answer or does not end."""


class TerraformError(LocalError):
    """Terraform failed."""


class ProviderError(LocalError):
    """Terraform's AWS provider was found nowhere."""


class NotHealthyError(LocalError):
    """A service did not become healthy in time."""
