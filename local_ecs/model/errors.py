# SPDX-License-Identifier: Apache-2.0
"""The one error of this package: what ECS answers when it refuses a call.

EcsError(code, message)
"""


class EcsError(Exception):
    """ECS refuses a call; `code` is the exception's name in the API, such as `ServiceNotFoundException`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def invalid(message: str) -> EcsError:
    """Make an `InvalidParameterException`, which is ECS's answer to most impossible wishes."""
    return EcsError("InvalidParameterException", message)
