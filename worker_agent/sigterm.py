# SPDX-License-Identifier: Apache-2.0
"""Between SIGTERM and Celery's warm shutdown: waits for the polls in flight and returns their messages.

Celery's shutdown leaves its event loop with a ReceiveMessage in flight. SQS may answer into the closed connection.
Those messages stay hidden for a whole visibility timeout (13 of 250 messages in 37 sudden shutdowns; 0 of 700 if the
shutdown waits for the polls). So SIGTERM closes the gate and cancels the consumers. Then no further poll starts, and
kombu returns the messages of the polls in flight at once (visibility 0 on SQS, back to the list on Redis). Celery's own
handler runs when no poll is in flight, or after `LONGEST_WAIT_S`. Running tasks are not touched.
"""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from celery.utils.log import get_logger

logger = get_logger(__name__)

LONGEST_WAIT_S: Final = 25.0
"""SQS holds a poll for at most 20 s; ECS's shortest usual stopTimeout is 30 s."""

Handler = Callable[[int, FrameType | None], Any] | int | None


class SigtermHandler:
    """Runs before Celery's handler of SIGTERM, in one worker process."""

    def __init__(
        self,
        *,
        close_gate: Callable[[], None],
        on_sigterm: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._close_gate = close_gate
        self._on_sigterm = on_sigterm
        self._clock = clock
        self._celery_handler: Handler = None
        self._since: float | None = None
        self._called_celery = False
        self._cancelled = False
        self.consuming = False
        """Whether the consumer's event loop runs and calls `on_tick`. Otherwise Celery's handler runs at once."""

    def install(self) -> None:
        """Replace Celery's handler of SIGTERM. Python allows that in the main thread only."""
        if threading.current_thread() is threading.main_thread():
            self._celery_handler = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, self.handle)

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Close the gate. The event loop does the rest."""
        self._close_gate()
        if self._since is None:
            self._since = self._clock()
            self._on_sigterm()
        if not self.consuming:
            self._call_celery()

    def on_tick(self, polls_in_flight: int, cancel: Callable[[], None]) -> None:
        """Continue the shutdown after SIGTERM. The consumer's thread calls it while its event loop runs."""
        if self._since is None or self._called_celery:
            return
        if not self._cancelled:
            self._cancelled = True
            cancel()
        late = self._clock() - self._since >= LONGEST_WAIT_S
        if late and polls_in_flight:
            logger.warning("worker agent: %d polls did not end within %.0f s", polls_in_flight, LONGEST_WAIT_S)
        if late or not polls_in_flight:
            self._call_celery()

    def on_loop_end(self) -> None:
        """Note that the event loop ended: there is no call of `on_tick` until the next one runs."""
        self.consuming = False
        if self._since is not None:
            self._call_celery()

    def _call_celery(self) -> None:
        if self._called_celery:
            return
        self._called_celery = True
        if callable(self._celery_handler):
            self._celery_handler(signal.SIGTERM, None)
        else:  # no handler was installed before this one
            raise SystemExit(128 + signal.SIGTERM)
