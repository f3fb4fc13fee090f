# SPDX-License-Identifier: Apache-2.0
"""The errors of the local ECS in addition to those of the model (`local_ecs.model.EcsError`)."""

from local_ecs.model import EcsError


class AnswerNotValidError(Exception):
    """An answer does not match botocore's output shape: a defect of this package. It is sent as a ServerException."""


class StateFileError(Exception):
    """The state file cannot be read. The message has its path and the next step."""


def unknown_operation(name: str) -> EcsError:
    """Return the error for an operation that does not exist here."""
    return EcsError("UnknownOperationException", f"The local ECS does not support the operation {name!r}.")


def not_well_formed(reason: str) -> EcsError:
    """Return the error for a body or a parameter that does not match the input shape."""
    return EcsError("InvalidParameterException", reason)


def throttled() -> EcsError:
    """Return the error for a call above the documented rate."""
    return EcsError("ThrottlingException", "Rate exceeded")
