# SPDX-License-Identifier: Apache-2.0
"""Runs ministack, and saves its state while it runs. The emulator's Python runs this file, without openmwaa's packages.

ministack saves its state at a clean stop only, so a killed emulator would lose all logs and messages. Airflow's tasks
wait for a lost message for up to `task_queued_timeout`.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from hypercorn.config import Config
from ministack import app

QUEUES = "sqs"
QUEUES_EVERY_S = 1.0
LOAD = 0.02
"""The share of one CPU for saving everything: a state that takes 0.1 s to save is saved every 5 s."""
KEEP_ALIVE_S = 600.0
"""ministack closes a connection that is idle for 75 s. Terraform keeps one for 90 s, and after the database (75 s on an
idle machine) it sent requests into the close: they were carried out, sent again, and refused as existing."""

States = Mapping[str, Callable[[], Any]]

_load: Callable[[], None] = app._load_persisted_state  # noqa: SLF001
_save: Callable[[States], None] = app.save_all
_saving = threading.Lock()


def save(states: States) -> None:
    """Write the states; one call at a time, because all calls use the same names of temporary files."""
    with _saving:
        _save(states)


def keep_saved() -> None:
    """Save the queues every second, and everything as often as `LOAD` allows."""
    due = 0.0
    while True:
        time.sleep(QUEUES_EVERY_S)
        states: States = app._build_persistence_save_dict()  # noqa: SLF001
        used = time.thread_time()  # of this thread: on a busy machine a save takes longer, and costs the same
        if time.monotonic() >= due:
            save(states)
            due = time.monotonic() + (time.thread_time() - used) / LOAD
        elif QUEUES in states:
            save({QUEUES: states[QUEUES]})


def load() -> None:
    """Load the saved state; nothing is saved before, because that would replace the files by an empty state."""
    _load()
    threading.Thread(target=keep_saved, name="keep saved", daemon=True).start()


if __name__ == "__main__":
    Config.keep_alive_timeout = property(lambda _: KEEP_ALIVE_S, lambda _, _value: None)
    app.save_all, app._load_persisted_state = save, load  # noqa: SLF001
    app.main()
