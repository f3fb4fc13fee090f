# SPDX-License-Identifier: Apache-2.0
"""Requests within the same few milliseconds share a call, and nothing but the call.

DescribeServices takes ten services and DescribeTasks a hundred tasks a call, and AWS's quotas count calls. A failure of
one key affects that key alone. A key for which AWS rejects the whole call gets a call of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar

from scaler.errors import BadAnswerError, RejectedError, SourceError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Answers: TypeAlias = Mapping[K, V | SourceError]

WINDOW_S = 0.01
"""Fleets that tick at the same time send their requests within 1 or 2 ms of each other; 10 ms do no harm."""
REJECTED_KEYS = 1000
"""The limit of remembered rejected keys; more of them have another cause than bad names."""


class Batcher(Generic[K, V]):
    """Collects keys for `window_s`, at most `size` a call and `concurrency` calls at the same time."""

    def __init__(
        self,
        source: str,
        call: Callable[[Sequence[K]], Awaitable[Answers[K, V]]],
        *,
        size: int,
        window_s: float = WINDOW_S,
        concurrency: int = 20,
    ) -> None:
        self._source = source
        self._call = call
        self._size = size
        self._window_s = window_s
        self._slots = asyncio.Semaphore(concurrency)
        self._waiting: dict[K, asyncio.Future[V | SourceError]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._rejected_keys: dict[K, None] = {}

    async def get(self, key: K) -> V:
        """Return the answer for `key`, from a call that is sent after this request; raise SourceError without one."""
        return (await self.get_all([key]))[0]

    async def get_all(self, keys: Sequence[K]) -> list[V]:
        """Return the answers for `keys` in their order; raise the first error."""
        futures = [self._request(key) for key in keys]
        if futures:
            # `wait` cancels nothing: a caller that is cancelled must not cancel the call of the others.
            await asyncio.wait(futures)
        answers = []
        for answer in (future.result() for future in futures):
            if isinstance(answer, SourceError):
                raise answer
            answers.append(answer)
        return answers

    def _request(self, key: K) -> asyncio.Future[V | SourceError]:
        loop = asyncio.get_running_loop()
        if key in self._rejected_keys:
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
        task = asyncio.get_running_loop().create_task(self._answer(waiting))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, waiting: dict[K, asyncio.Future[V | SourceError]]) -> None:
        answers: Answers[K, V] = {}
        try:
            async with self._slots:
                answers = await self._answers(sorted(waiting, key=str))
        finally:
            for key, future in waiting.items():
                if not future.done():
                    future.set_result(answers.get(key, BadAnswerError(self._source, f"{key} is not in the answer")))

    async def _answers(self, keys: Sequence[K]) -> Answers[K, V]:
        try:
            answers = await self._call(keys)
        except RejectedError as error:
            if len(keys) == 1:
                if len(self._rejected_keys) < REJECTED_KEYS:
                    self._rejected_keys[keys[0]] = None
                return {keys[0]: error}
            middle = len(keys) // 2
            return {**await self._answers(keys[:middle]), **await self._answers(keys[middle:])}
        except SourceError as error:
            return dict.fromkeys(keys, error)
        except Exception as error:  # noqa: BLE001  a defect here must be one failed call, not a fleet that waits without end
            return dict.fromkeys(keys, SourceError(self._source, f"{type(error).__name__}: {error}"))
        if len(keys) == 1:
            self._rejected_keys.pop(keys[0], None)
        return answers
