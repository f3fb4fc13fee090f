# SPDX-License-Identifier: Apache-2.0
"""Errors of an environment on this machine; the text of each names the remedy."""

from openmwaa.errors import OpenmwaaError, TerraformError


class LocalError(OpenmwaaError):
    """An error of the environment on this machine; the text gives the reason and the remedy."""


class PrerequisiteError(LocalError):
    """A program is missing or too old."""


class UnsupportedError(LocalError):
    """The file has a field that is not supported on this machine."""


class RolloutUnfinishedError(LocalError):
    """Workers of an older revision still run, so another revision would replace busy workers."""


class StateFolderError(LocalError):
    """The state folder cannot be used."""


class AddressInUseError(LocalError):
    """Another process listens on an address of the environment."""


class InstallError(LocalError):
    """A virtual environment could not be built."""


class InfrastructureError(LocalError):
    """The emulator or PostgreSQL does not start."""


class DaemonError(LocalError):
    """The daemon did not start, does not answer or does not end."""


class ResourceExistsError(TerraformError):
    """The emulator has a resource that is not in Terraform's state, so every further apply fails too."""


class ProviderError(LocalError):
    """Terraform's AWS provider was not found."""


class NotHealthyError(LocalError):
    """A service did not become healthy in time."""
