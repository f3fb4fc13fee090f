# SPDX-License-Identifier: Apache-2.0
"""A Celery queue on a Redis server, with messages of a Celery client. The same interface as `sqs_queue.Queue`."""

import uuid
from collections.abc import Iterable
from typing import Any

import redis
from celery import Celery

STEPS = (0, 3, 6, 9)


class RedisQueue:
    """A queue; `client` reads the server directly."""

    def __init__(self, port: int, name: str) -> None:
        self.client = redis.Redis(port=port, socket_timeout=60)
        self.name = name
        self.broker = f"redis://127.0.0.1:{port}/0"
        """The URL of the broker for Celery."""
        self.url = name
        """The name of the queue in the scaler's settings."""

    @classmethod
    def of_its_own(cls, port: int, prefix: str) -> "RedisQueue":
        """Create a queue with a unique name."""
        return cls(port, f"{prefix}-{uuid.uuid4()}")

    def counts(self) -> tuple[int, int]:
        """The waiting messages of this queue, and the messages in flight of all queues of the server."""
        with self.client.pipeline() as pipeline:
            for step in STEPS:
                pipeline.llen(f"{self.name}\x06\x16{step}" if step else self.name)
            pipeline.hlen("unacked")
            *waiting, in_flight = pipeline.execute()
        return sum(waiting), in_flight

    def publish(
        self, task: str, arguments: Iterable[tuple[Any, ...]], *, priority: int = 0, countdown: float | None = None
    ) -> None:
        """Send a Celery message for each tuple of arguments."""
        app = Celery("client", broker=self.broker, set_as_current=False)
        app.conf.task_default_queue = self.name
        with app.connection_for_write() as connection:
            for values in arguments:
                app.send_task(
                    task, values, connection=connection, ignore_result=True, priority=priority, countdown=countdown
                )
