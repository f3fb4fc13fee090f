# SPDX-License-Identifier: Apache-2.0
"""Progress messages: every step of a command that takes more than 2 s is reported."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str], None]  # prints a line


@contextmanager
def reported(
    step: str | Callable[[], str], progress: Progress, *, first_s: float = 2.0, every_s: float = 5.0
) -> Iterator[None]:
    """Report the step and its duration after `first_s`, and then every `every_s`, until the body ends."""
    began, ended = time.monotonic(), threading.Event()

    def report() -> None:
        wait_s = first_s
        while not ended.wait(wait_s):
            progress(f"{step if isinstance(step, str) else step()}: {time.monotonic() - began:.0f} s")
            wait_s = every_s

    thread = threading.Thread(target=report, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
