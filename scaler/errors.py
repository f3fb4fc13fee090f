# SPDX-License-Identifier: Apache-2.0
"""Every error that the scaler itself raises."""

from collections.abc import Sequence

REASON_LIMIT = 256


class ScalerError(Exception):
    """Base class of all errors here."""


class ConfigurationError(ScalerError):
    """The settings are wrong; `problems` names each field."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class SourceError(ScalerError):
    """One source could not be read or written; `reason` is short enough for a log line."""

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        self.reason = reason[:REASON_LIMIT]
        super().__init__(f"{source}: {self.reason}")


class DeadlineError(SourceError):
    """The source did not answer in time."""


class ThrottledError(SourceError):
    """The source refused a call because the rate of calls was too high."""


class RejectedError(SourceError):
    """The source refused the request as invalid (an unknown name, a malformed identifier): a repetition is no use."""


class BadAnswerError(SourceError):
    """The answer cannot be true: a negative count, another task's state, half a list."""


class AbsentError(SourceError):
    """The source answered that it has no such object."""
