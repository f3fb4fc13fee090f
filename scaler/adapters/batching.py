# SPDX-License-Identifier: Apache-2.0
"""Questions that are asked within the same few milliseconds share a call, and nothing but the call.

AWS answers DescribeServices for ten services and DescribeTasks for a hundred tasks at once, and its quotas count
calls. What fails for one key fails for that key alone; a key that spoils every call it is in is asked alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar

from scaler.errors import BadAnswerError, RejectedError, SourceError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Answers: TypeAlias = Mapping[K, "V | SourceError"]

WINDOW_S = 0.01
"""Fleets that tick together ask within a millisecond or two of each other; ten cost nobody anything."""
SPOILERS = 1000
"""So many keys that spoil calls are remembered; more are no accident of names."""


class Batcher(Generic[K, V]):
    """Collects keys for `window_s`, at most `size` a call and `at_once` calls at a time."""

    def __init__(
        self,
        source: str,
        ask: Callable[[Sequence[K]], Awaitable[Answers[K, V]]],
        *,
        size: int,
        window_s: float = WINDOW_S,
        at_once: int = 20,
    ) -> None:
        self._source = source
        self._ask = ask
        self._size = size
        self._window_s = window_s
        self._room = asyncio.Semaphore(at_once)
        self._waiting: dict[K, asyncio.Future[V | SourceError]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._spoilers: dict[K, None] = {}

    async def get(self, key: K) -> V:
        """Return the answer for `key`, from a call that is sent after this question.

        Raises:
            SourceError: the call failed, or the answer holds none for `key`.
        """
        return (await self.get_all([key]))[0]

    async def get_all(self, keys: Sequence[K]) -> list[V]:
        """Return the answers for `keys` in their order; raise the first error there is."""
        futures = [self._ask_for(key) for key in keys]
        if futures:
            # Waiting cancels nothing: whoever loses patience must not take the answer from the others.
            await asyncio.wait(futures)
        answers = []
        for answer in (future.result() for future in futures):
            if isinstance(answer, SourceError):
                raise answer
            answers.append(answer)
        return answers

    def _ask_for(self, key: K) -> asyncio.Future[V | SourceError]:
        loop = asyncio.get_running_loop()
        if key in self._spoilers:
            alone: asyncio.Future[V | SourceError] = loop.create_future()
            self._start({key: alone})
            return alone
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = loop.create_future()
            if len(self._waiting) >= self._size:
                self._flush()
            elif self._timer is None:
                self._timer = loop.call_later(self._window_s, self._flush)
        return future

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._start(waiting)

    def _start(self, waiting: dict[K, asyncio.Future[V | SourceError]]) -> None:
        call = asyncio.get_running_loop().create_task(self._answer(waiting))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _answer(self, waiting: dict[K, asyncio.Future[V | SourceError]]) -> None:
        answers: Answers[K, V] = {}
        try:
            async with self._room:
                answers = await self._answers(sorted(waiting, key=str))
        finally:
            for key, future in waiting.items():
                if not future.done():
                    future.set_result(answers.get(key, BadAnswerError(self._source, f"{key} is not in the answer")))

    async def _answers(self, keys: Sequence[K]) -> Answers[K, V]:
        try:
            answers = await self._ask(keys)
        except RejectedError as error:
            if len(keys) == 1:
                if len(self._spoilers) < SPOILERS:
                    self._spoilers[keys[0]] = None
                return {keys[0]: error}
            middle = len(keys) // 2
            return {**await self._answers(keys[:middle]), **await self._answers(keys[middle:])}
        except SourceError as error:
            return dict.fromkeys(keys, error)
        except Exception as error:  # noqa: BLE001  a defect here is one failed call, not a fleet that waits for ever
            return dict.fromkeys(keys, SourceError(self._source, f"{type(error).__name__}: {error}"))
        if len(keys) == 1:
            self._spoilers.pop(keys[0], None)
        return answers
