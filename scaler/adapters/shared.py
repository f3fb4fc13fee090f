# SPDX-License-Identifier: Apache-2.0
"""One read for all who ask within a short time: fleets tick at their own offsets, sources answer for all fleets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from scaler.errors import SourceError

T = TypeVar("T")


class Shared(Generic[T]):
    """Keeps the last answer for `max_age_s`, and the last failure for `max_failure_age_s`."""

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        monotonic: Callable[[], float],
        *,
        max_age_s: float,
        max_failure_age_s: float,
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._max_age_s = max_age_s
        self._max_failure_age_s = max_failure_age_s
        self._last: tuple[float, T | SourceError] | None = None
        self._under_way: asyncio.Task[T | SourceError] | None = None

    async def get(self) -> T:
        """Return the answer; whoever loses patience does not take it from the others.

        Raises:
            SourceError: the read failed; the same failure is raised for all who share it.
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
        """Have the next who asks read anew, or wait for the read that is under way."""
        self._last = None

    async def close(self) -> None:
        """Give up a read that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)

    def _remembered(self) -> T | SourceError | None:
        if self._last is None:
            return None
        at, answer = self._last
        limit = self._max_failure_age_s if isinstance(answer, SourceError) else self._max_age_s
        return answer if self._fresh(at, limit) else None

    def _fresh(self, at: float, limit_s: float) -> bool:
        return 0 <= self._monotonic() - at <= limit_s

    async def _fetch(self, asked_at: float) -> T | SourceError:
        answer: T | SourceError
        try:
            answer = await self._read()
        except SourceError as error:
            answer = error
        finally:
            self._under_way = None
        # As old as its question: what happened meanwhile need not be in it.
        self._last = (asked_at, answer)
        return answer
