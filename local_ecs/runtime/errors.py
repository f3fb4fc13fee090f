# SPDX-License-Identifier: Apache-2.0
"""The errors of containers."""


class ContainerError(Exception):
    """A task did not start. The message becomes its `stoppedReason`."""


class TaskDefinitionError(ContainerError):
    """The task definition is invalid here."""


class SecretError(ContainerError):
    """A secret could not be resolved. The message has its name and not its value."""


class DependencyError(ContainerError):
    """A container that another depends on failed or was too late."""


class StartError(ContainerError):
    """The program of a container could not be started."""
