# SPDX-License-Identifier: Apache-2.0
"""One deadline and one translation of errors for every call of an adapter."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaler.errors import BadAnswerError, DeadlineError, SourceError

COUNT_LIMIT = 10_000_000
"""A larger number of messages or tasks is an error in the answer."""


@asynccontextmanager
async def calling(source: str, seconds: float, *errors: type[Exception]) -> AsyncIterator[None]:
    """Limit the body to `seconds`; raise `SourceError` for the deadline and for the given kinds of error."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise DeadlineError(source, f"no answer within {seconds:g} s") from error
    except SourceError:
        raise
    except errors as error:
        raise SourceError(source, f"{type(error).__name__}: {error}") from error


def natural(source: str, what: str, value: object) -> int:
    """Return `value` as a count; reject a negative, fractional, infinite or absurd value."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= COUNT_LIMIT:
        raise BadAnswerError(source, f"{what} is {value!r}, which is not a count")
    return value
