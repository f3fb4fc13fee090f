# SPDX-License-Identifier: Apache-2.0
"""The settings of a local ECS, its addresses, and its interface to load balancers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class LocalEcsSettings:
    """The settings of a local ECS. Durations are seconds."""

    host: str = "127.0.0.1"
    port: int = 4670
    """0: a free port, for tests."""
    region: str = "us-east-1"
    account: str = "123456789012"
    state_file: Path | None = None
    """Clusters, task definitions and services: written after each change, read at the start. None: no file."""
    event_log: Path | None = None
    """A file with one line for each service event."""
    provisioning_s: float = 0.5
    """Duration of PROVISIONING; Fargate: 10 to 20 s."""
    pending_s: float = 0.5
    """Duration of PENDING before the containers start; Fargate: 10 to 60 s."""
    backoff_first_s: float = 2.0
    """Pause after a task that did not reach RUNNING; doubles up to 15 minutes."""
    throttling: bool = False
    """Whether calls above AWS's documented rates get a ThrottlingException."""
    journal_length: int = 2000


class TargetRegistry(Protocol):
    """The target groups of load balancers. Both calls return at once."""

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        """Add the target of a running task."""

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Remove the target of a task that stops or has ended."""


class NoTargets:
    """A registry without load balancers."""

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        """Do nothing."""

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Do nothing."""


class BlockAddresses:
    """Addresses 127.BLOCK.1.1 to 127.BLOCK.250.250, in turn, so that released addresses are reused late."""

    SIZE = 250

    def __init__(self, block: int) -> None:
        self._block = block
        self._next = 0
        self._in_use: dict[str, str] = {}

    def acquire(self, task_id: str) -> str:
        """Return the next unused address. Raises RuntimeError if all 62 500 are in use."""
        in_use = set(self._in_use.values())
        for _ in range(self.SIZE**2):
            third, fourth = divmod(self._next, self.SIZE)
            self._next = (self._next + 1) % self.SIZE**2
            address = f"127.{self._block}.{third + 1}.{fourth + 1}"
            if address not in in_use:
                self._in_use[task_id] = address
                return address
        raise RuntimeError(f"no address is free in 127.{self._block}.0.0/16")

    def release(self, task_id: str) -> None:
        """Release a task's address. Unknown tasks are ignored."""
        self._in_use.pop(task_id, None)
