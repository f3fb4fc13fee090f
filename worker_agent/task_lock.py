# SPDX-License-Identifier: Apache-2.0
"""The lock of an ECS task: one Celery worker of a task at a time is protected, drained, and takes messages.

The lock is an abstract Unix socket. Its name is unique in a network namespace (unix(7), network_namespaces(7)). The
containers of a task share that namespace in the network mode `awsvpc`, as they share localhost; they share a file
system only through a volume. A TCP port would be open to the network, and the user chooses the agent's port. The
kernel removes the name when the process ends, however it ends.
"""

import contextlib
import errno
import hashlib
import os
import socket

from worker_agent.errors import TaskLockedError


class TaskLock:
    """Held from its creation until the process ends. Raises TaskLockedError while another process holds it."""

    def __init__(self, task_arn: str) -> None:
        # The local ECS runs its tasks in one namespace. A name has at most 107 bytes, and an ARN may be longer.
        name = hashlib.sha256(task_arn.encode()).hexdigest()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(f"\0openmwaa-worker-agent-{name}")
        except OSError as error:
            self._socket.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise TaskLockedError(
                "another Celery worker of this ECS task consumes, but protection and drains are for the whole task. "
                "Run one Celery worker in each ECS task; for more slots set --concurrency"
            ) from error
        # A pool process must not keep the lock after the main process ends.
        os.register_at_fork(after_in_child=self.release)

    def release(self) -> None:
        """Give up the lock."""
        with contextlib.suppress(OSError):
            self._socket.close()
