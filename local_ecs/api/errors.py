# SPDX-License-Identifier: Apache-2.0
"""What the local ECS answers besides the model's own refusals (`local_ecs.model.EcsError`)."""

from local_ecs.model import EcsError


class AnswerNotValidError(Exception):
    """An answer does not fit botocore's output shape: a fault of this package, answered as a ServerException."""


class StateFileError(Exception):
    """The state file cannot be read; the text names it and says what to do."""


def unknown_operation(name: str) -> EcsError:
    """Refuse an operation ECS has not, or that is not built here."""
    return EcsError("UnknownOperationException", f"The local ECS does not know the operation {name!r}.")


def not_well_formed(why: str) -> EcsError:
    """Refuse a body or a parameter that does not fit the operation's input shape."""
    return EcsError("InvalidParameterException", why)


def throttled() -> EcsError:
    """Refuse a call over the documented rate."""
    return EcsError("ThrottlingException", "Rate exceeded")
