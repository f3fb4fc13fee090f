# SPDX-License-Identifier: Apache-2.0
"""Every error the scaler raises itself.

ScalerError
├── ConfigurationError      the settings are wrong: says every field at once
└── SourceError             one source could not be read or written; becomes `Unknown(reason)`
    ├── DeadlineError    it did not answer in time
    ├── ThrottledError           it answered that it is asked too often
    ├── RejectedError            it answered that the question is wrong: asking again is no use
    └── BadAnswerError           it answered something that cannot be true
"""

from __future__ import annotations

from collections.abc import Sequence

REASON_LIMIT = 256


class ScalerError(Exception):
    """Base of all."""


class ConfigurationError(ScalerError):
    """The settings are wrong; `problems` names each field."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class SourceError(ScalerError):
    """One source failed; `reason` is short enough for a log line."""

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        self.reason = reason[:REASON_LIMIT]
        super().__init__(f"{source}: {self.reason}")


class DeadlineError(SourceError):
    """The source did not answer in time."""


class ThrottledError(SourceError):
    """The source answered that it is asked too often."""


class RejectedError(SourceError):
    """The source answered that the question is wrong: an unknown name, a malformed identifier."""


class BadAnswerError(SourceError):
    """The source answered something that cannot be true: a negative count, another task's state, half a list."""
