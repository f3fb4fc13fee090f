# SPDX-License-Identifier: Apache-2.0
"""One read for all callers within a short time: fleets tick at their own offsets, a source answers for all fleets."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from scaler.errors import SourceError

T = TypeVar("T")
V = TypeVar("V")


class Shared(Generic[T]):
    """Keeps the last answer for `max_age_s`, and the last failure for as long or for `max_failure_age_s`."""

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        monotonic: Callable[[], float],
        *,
        max_age_s: float,
        max_failure_age_s: float | None = None,
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._max_age_s = max_age_s
        self._max_failure_age_s = max_age_s if max_failure_age_s is None else max_failure_age_s
        self._last: tuple[float, T | SourceError] | None = None
        self._under_way: asyncio.Task[T | SourceError] | None = None

    async def get(self) -> T:
        """Return the answer; a caller that is cancelled does not cancel the read of the others.

        Raises:
            SourceError: the read failed; all callers that share it get the same error.
        """
        answer = self._remembered()
        if answer is None:
            if self._under_way is None:
                self._under_way = asyncio.get_running_loop().create_task(self._fetch(self._monotonic()))
            answer = await asyncio.shield(self._under_way)
        if isinstance(answer, SourceError):
            raise answer
        return answer

    def forget(self) -> None:
        """Drop the answer: the next call starts a new read, or waits for the one that is under way."""
        self._last = None

    async def close(self) -> None:
        """Cancel a read that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)

    def _remembered(self) -> T | SourceError | None:
        if self._last is None:
            return None
        at, answer = self._last
        limit_s = self._max_failure_age_s if isinstance(answer, SourceError) else self._max_age_s
        return answer if 0 <= self._monotonic() - at <= limit_s else None

    async def _fetch(self, started_at: float) -> T | SourceError:
        answer: T | SourceError
        try:
            answer = await self._read()
        except SourceError as error:
            answer = error
        finally:
            self._under_way = None
        # The age counts from the start of the read: later changes need not be in the answer.
        self._last = (started_at, answer)
        return answer


class SharedByKey(Shared[Mapping[str, V | SourceError]]):
    """One read answers for many keys, each with its own value or error."""

    async def get_key(self, key: str) -> V:
        """Return the value of `key`; raise SourceError if the read failed, or failed for this key."""
        answers = await self.get()
        if key not in answers:  # that read started before this key was added
            self.forget()
            answers = await self.get()
        answer = answers[key]
        if isinstance(answer, SourceError):
            raise answer
        return answer
