# SPDX-License-Identifier: Apache-2.0
"""A proxy before a redis-server that counts the commands of a worker, independently of its agent.

It parses a part of the protocol: the answer of each command, the messages in the answers to BRPOP, and the messages in
kombu's hash `unacked`.
"""

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

LINE_TYPES = b"+-:,#(_"
BULK_TYPES = b"$!="
LIST_TYPES = b"*~>"


def end_of_value(data: bytes, start: int = 0) -> int | None:
    """Return the end of the value that begins at `start`; `None` if it is incomplete."""
    line_end = data.find(b"\r\n", start)
    if line_end < 0:
        return None
    kind, after = data[start : start + 1], line_end + 2
    if kind in LINE_TYPES:
        return after
    length = int(data[start + 1 : line_end])
    if length < 0:
        return after
    if kind in BULK_TYPES:
        return after + length + 2 if len(data) >= after + length + 2 else None
    assert kind in LIST_TYPES + b"%", f"not the Redis protocol: {data[start : start + 40]!r}"
    place: int | None = after
    for _ in range(length * 2 if kind == b"%" else length):
        place = end_of_value(data, place) if place is not None else None
    return place


def words(command: bytes) -> list[bytes]:
    """Return the parts of a command."""
    found, place = [], command.index(b"\r\n") + 2
    while place < len(command):
        line_end = command.index(b"\r\n", place)
        length = int(command[place + 1 : line_end])
        found.append(command[line_end + 2 : line_end + 2 + length])
        place = line_end + 2 + length + 2
    return found


@dataclass
class RedisRecorder:
    """Forwards to a port of 127.0.0.1 and counts the BRPOPs in flight and the delivered and held messages."""

    upstream: int
    on_delivery: Callable[[int], None] = lambda _: None
    polls: int = 0
    most_polls: int = 0
    first_poll_at: float | None = None
    received: int = 0
    most_held: int = 0
    deliver: threading.Event = field(default_factory=threading.Event)
    """While this event is clear, the proxy keeps the answers to BRPOPs."""
    _held: set[bytes] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _open: set[socket.socket] = field(default_factory=set)
    _connections: list[threading.Thread] = field(default_factory=list)
    _stuck: int = 0

    def __enter__(self) -> Self:
        self.deliver.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.deliver.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._connections:
            thread.join(10)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    @property
    def under_way(self) -> bool:
        """Whether a message has left the server and is still in the proxy."""
        return self._stuck > 0

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.upstream), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            thread = threading.Thread(target=self._connect, args=(client, server), daemon=True)
            self._connections.append(thread)
            thread.start()

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        pending: deque[list[bytes]] = deque()
        with client, server:
            for connection in (client, server):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=self._forward, args=(server, client, pending, self._on_reply), daemon=True)
            back.start()
            self._forward(client, server, pending, self._on_command)
            back.join()
            with self._lock:
                self._open -= {client, server}
                self.polls -= sum(command[0] == b"BRPOP" for command in pending)

    def _forward(
        self,
        source: socket.socket,
        sink: socket.socket,
        pending: deque[list[bytes]],
        note: Callable[[bytes, deque[list[bytes]]], None],
    ) -> None:
        waiting = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                waiting += data
                while (end := end_of_value(waiting)) is not None:
                    value, waiting = waiting[:end], waiting[end:]
                    note(value, pending)
                    sink.sendall(value)
        for connection in (source, sink):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _on_command(self, value: bytes, pending: deque[list[bytes]]) -> None:
        command = words(value)
        command[0] = command[0].upper()
        with self._lock:
            pending.append(command)
            if command[0] == b"BRPOP":
                if self.first_poll_at is None:
                    self.first_poll_at = time.monotonic()
                self.polls += 1
                self.most_polls = max(self.most_polls, self.polls)
            elif command[0] == b"HSET" and command[1] == b"unacked":
                self._held.add(command[2])
                self.most_held = max(self.most_held, len(self._held))
            elif command[0] == b"HDEL" and command[1] == b"unacked":
                self._held -= set(command[2:])

    def _on_reply(self, value: bytes, pending: deque[list[bytes]]) -> None:
        if value[:1] == b">":
            return  # not an answer to a command
        with self._lock:
            if not pending or pending[0][0] != b"BRPOP":
                if pending:
                    pending.popleft()
                return
            brought = value[:1] == b"*" and not value.startswith(b"*-1")
            if brought:
                self.received += 1
                self._stuck += 1
                self.on_delivery(self.received)
        if brought:
            self.deliver.wait()
        with self._lock:
            self._stuck -= brought
            if pending:
                pending.popleft()
                self.polls -= 1
