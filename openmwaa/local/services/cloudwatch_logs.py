# SPDX-License-Identifier: Apache-2.0
"""The `awslogs` driver: sends lines to CloudWatch Logs in the background, so that no task waits for it."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openmwaa.local.services import aws

logger = logging.getLogger(__name__)

LONGEST_QUEUE = 20_000
"""The limit of waiting lines per stream; the oldest are dropped."""
BATCH_EVENTS, BATCH_BYTES, EVENT_OVERHEAD = 10_000, 1_000_000, 26
"""The documented limits of PutLogEvents; the last one is added to the size of each event."""

_Event = tuple[int, str]
_Stream = tuple[str, str]


class CloudWatchLogs:
    """A `LogSink` that batches lines and sends them with PutLogEvents."""

    def __init__(
        self,
        endpoint_url: str,
        *,
        region: str = aws.REGION,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._endpoint_url = endpoint_url
        self._region = region
        self._interval_s = interval_s
        self._clock = clock
        self._waiting: dict[_Stream, deque[_Event]] = {}
        self._made: set[_Stream] = set()
        self._missing: set[str] = set()
        self._sender: asyncio.Task[None] | None = None

    def write(self, options: Mapping[str, str], stream: str, lines: Sequence[str]) -> None:
        """Queue lines; see `LogSink`."""
        group = options.get("awslogs-group")
        if not group:
            return
        now = int(self._clock() * 1000)
        queue = self._waiting.setdefault((group, stream), deque(maxlen=LONGEST_QUEUE))
        queue.extend((now, line) for line in lines if line)  # CloudWatch refuses empty messages

    def start(self) -> None:
        """Start to send."""
        self._sender = asyncio.create_task(self._run(), name="cloudwatch logs")

    async def close(self) -> None:
        """Send the waiting lines, for at most 3 s, and stop."""
        if self._sender:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3), aws.client("logs", self._endpoint_url, region=self._region) as logs:
                await self._send_all(logs)

    async def _run(self) -> None:
        async with aws.client("logs", self._endpoint_url, region=self._region) as logs:
            while True:
                await asyncio.sleep(self._interval_s)
                await self._send_all(logs)

    async def _send_all(self, logs: Any) -> None:
        for stream, queue in list(self._waiting.items()):
            try:
                while queue:
                    await self._send(logs, stream, queue)
                self._waiting.pop(stream)  # a stream ends with its task
            except aws.ERRORS as error:
                logger.debug("lines of %s wait: %s", stream, error)
                return  # the emulator is not reachable; the next round retries

    async def _send(self, logs: Any, stream: _Stream, queue: deque[_Event]) -> None:
        group, name = stream
        batch = _batch(queue)
        events = [{"timestamp": at, "message": line} for at, line in batch]
        try:
            if stream not in self._made:
                with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
                    await logs.create_log_stream(logGroupName=group, logStreamName=name)
                self._made.add(stream)
            await logs.put_log_events(logGroupName=group, logStreamName=name, logEvents=events)
        except logs.exceptions.ResourceNotFoundException:
            # After a restart the emulator may not have the stream; without its group, the lines are dropped.
            if stream in self._made:
                self._made.discard(stream)
                return
            if group not in self._missing:
                self._missing.add(group)
                logger.warning("there is no log group %s; its lines are only in the service's log file", group)
        for _ in range(min(len(batch), len(queue))):
            queue.popleft()


def _batch(queue: deque[_Event]) -> list[_Event]:
    """The first events of the queue that fit into one PutLogEvents call."""
    batch: list[_Event] = []
    size = 0
    for event in queue:
        size += len(event[1].encode()) + EVENT_OVERHEAD
        if batch and (size > BATCH_BYTES or len(batch) == BATCH_EVENTS):
            break
        batch.append(event)
    return batch
