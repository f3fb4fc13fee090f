# SPDX-License-Identifier: Apache-2.0
"""The error of this package: ECS refused a call.

EcsError(code, message)
"""


class EcsError(Exception):
    """ECS refused a call. `code` is the name of the exception in the API, such as `ServiceNotFoundException`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def invalid(message: str) -> EcsError:
    """Return an `InvalidParameterException`, ECS's error for most invalid parameters."""
    return EcsError("InvalidParameterException", message)
