# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a container.

ContainerError
├── TaskDefinitionError    the definition asks for what cannot be
├── SecretError            a secret could not be resolved
├── DependencyError        a container it depends on failed or came too late
└── StartError             the program could not be started
"""


class ContainerError(Exception):
    """Why a task did not start; its text becomes the task's `stoppedReason`."""


class TaskDefinitionError(ContainerError):
    """The task definition asks for what cannot be."""


class SecretError(ContainerError):
    """A secret could not be resolved; the text names the secret, never its value."""


class DependencyError(ContainerError):
    """A container that another depends on failed or came too late."""


class StartError(ContainerError):
    """The program of a container could not be started."""
