# SPDX-License-Identifier: Apache-2.0
"""Airflow 2's `[logging] logging_config_class`: task logs go to `task_logs.writer` and are read from their destination.

A task is a fork of its supervisor, and code of the user may fork again. Only the supervisor sends lines; the others
give it theirs over a socket, at once. So a task that is killed loses no line, and needs no thread, no connection. The
supervisor sends nothing before it has forked the task: a fork beside a thread could copy a lock that is never freed.
"""

import atexit
import contextlib
import copy
import logging
import os
import socket
import sys
import threading
from typing import Any, Final

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG
from airflow.configuration import conf
from airflow.utils.log.file_task_handler import FileTaskHandler

from openmwaa_runtime.task_logs.destination import open_destination
from openmwaa_runtime.task_logs.lines import split
from openmwaa_runtime.task_logs.store import TaskLogStore
from openmwaa_runtime.task_logs.stream_name import stream_name
from openmwaa_runtime.task_logs.writer import FLUSH_WITHIN_S

PART_BYTES: Final = 64 * 1024
"""A longer line is sent in parts: a packet must fit into the socket's buffer."""
_URL: Final = conf.get_mandatory_value("logging", "remote_base_log_folder")
_IN_TRIGGERER: Final = sys.argv[1:2] == ["triggerer"]
STORE: Final = TaskLogStore(_URL)


class SupervisedLog:
    """The log of one task: made in the supervisor, written there and in its forks."""

    def __init__(self, stream: str, *, supervised: bool) -> None:
        self.stream = stream
        self._owner = os.getpid()
        self._early: list[bytes] | None = [] if supervised else None
        """Lines before the fork; None: they are sent."""
        self._receiver: threading.Thread | None = None
        if supervised:
            self._receive, self._send = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os.register_at_fork(after_in_parent=self.start)

    def write(self, line: str) -> None:
        """Append a line."""
        for part in split(line, PART_BYTES):
            data = part.encode("utf-8", "backslashreplace") or b" "
            if os.getpid() != self._owner:
                with contextlib.suppress(OSError, AttributeError):  # the supervisor has ended, or there is none
                    self._send.send(data)
            elif self._early is not None:
                self._early.append(data)
            elif self._receiver not in (None, threading.current_thread()):
                self._send.send(data)  # after the lines of the task that were not read yet
            else:
                STORE.writer.write(self.stream, data)

    def start(self) -> None:
        """Send what was written, and what the forks write from now on."""
        if self._early is None or os.getpid() != self._owner:
            return
        early, self._early = self._early, None
        for data in early:
            STORE.writer.write(self.stream, data)
        self._receiver = threading.Thread(target=self._read, name="openmwaa-task-log", daemon=True)
        self._receiver.start()

    def close(self) -> None:
        """End the log in the supervisor: its task has ended."""
        if os.getpid() != self._owner:
            return
        self.start()
        if self._receiver is not None:
            self._send.send(b"")  # all earlier lines come before it
            self._receiver.join(FLUSH_WITHIN_S)
        STORE.writer.finish(self.stream, 0.0 if _IN_TRIGGERER else FLUSH_WITHIN_S)

    def _read(self) -> None:
        while data := self._receive.recv(2 * PART_BYTES):
            STORE.writer.write(self.stream, data)


class SupervisedLogHandler(FileTaskHandler):  # type: ignore[misc] # Airflow has no types here
    """Writes to the destination and reads from it; there are no files."""

    _log: SupervisedLog | None = None

    def set_context(self, ti: Any, *, identifier: str | None = None) -> None:
        """Choose the log; the task keeps that of its supervisor."""
        stream = stream_name(self._render_filename(ti, ti.try_number))
        if self._log is None or self._log.stream != stream:
            self._log = SupervisedLog(stream, supervised=not (_IN_TRIGGERER or ti.raw))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one line, which may have line breaks."""
        if self._log is not None:
            self._log.write(self.format(record))

    def flush(self) -> None:
        """Do nothing: the writer sends soon."""

    def close(self) -> None:
        """End the log."""
        if self._log is not None:
            log, self._log = self._log, None
            log.close()

    def _read(self, ti: Any, try_number: int, metadata: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        stream = stream_name(self._render_filename(ti, try_number))
        text = "\n".join(STORE.lines(stream, ti.state))
        ended = ti.try_number != try_number or ti.state not in ("running", "deferred")
        known = (metadata or {}).get("log_pos")
        shown = f"*** {STORE.place_of(stream)}\n{text}" if known is None else text[known:]
        return shown, {"end_of_log": ended, "log_pos": len(text)}


def load_models() -> None:
    """Load what a client needs before a worker forks its pool: a fork beside an import could wait for ever."""
    with contextlib.suppress(Exception):  # the first line then logs the reason
        open_destination(_URL).connect()


LOGGING_CONFIG: dict[str, Any] = copy.deepcopy(DEFAULT_LOGGING_CONFIG)
LOGGING_CONFIG["handlers"]["task"]["class"] = f"{__name__}.{SupervisedLogHandler.__name__}"
if _IN_TRIGGERER:
    atexit.register(STORE.writer.drain)
