# SPDX-License-Identifier: Apache-2.0
"""What a local ECS is told at its start, and what it needs from the rest of the environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class LocalEcsSettings:
    """Where a local ECS listens and what it is like; durations are seconds."""

    host: str = "127.0.0.1"
    port: int = 4670
    """0 takes a free port, for tests."""
    region: str = "us-east-1"
    account: str = "123456789012"
    state_file: Path | None = None
    """Clusters, task definitions and services, written on change and read at start; None keeps nothing."""
    event_log: Path | None = None
    """A line for every service event."""
    provisioning_s: float = 0.5
    """How long a task stays PROVISIONING; Fargate: 10 to 20 s."""
    pending_s: float = 0.5
    """How long it then stays PENDING before its containers start; Fargate: 10 to 60 s."""
    backoff_first_s: float = 2.0
    """Pause after a task that never ran; doubles up to 15 minutes."""
    throttling: bool = False
    """Whether calls over AWS's documented rates are answered with ThrottlingException."""
    journal_length: int = 2000


class AddressPool(Protocol):
    """Gives each task an IPv4 address of its own."""

    def acquire(self, task_id: str) -> str:
        """Return an address no other task has."""
        ...

    def release(self, task_id: str) -> None:
        """Take a task's address back; unknown tasks are ignored."""
        ...


class TargetRegistry(Protocol):
    """Load balancers' target groups; both calls return at once."""

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        """Add a target: the task runs."""
        ...

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Remove a target: the task is about to be stopped, or has ended."""
        ...


class NoTargets:
    """There are no load balancers."""

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        """Do nothing."""

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Do nothing."""


class BlockAddresses:
    """Addresses 127.BLOCK.1.1 to 127.BLOCK.250.250, in turn: a dead task's address rests before it is used again."""

    SIZE = 250

    def __init__(self, block: int) -> None:
        self._block = block
        self._next = 0
        self._taken: dict[str, str] = {}

    def acquire(self, task_id: str) -> str:
        """Return the next free address; raises RuntimeError when all 62 500 are taken."""
        in_use = set(self._taken.values())
        for _ in range(self.SIZE**2):
            third, fourth = divmod(self._next, self.SIZE)
            self._next = (self._next + 1) % self.SIZE**2
            address = f"127.{self._block}.{third + 1}.{fourth + 1}"
            if address not in in_use:
                self._taken[task_id] = address
                return address
        raise RuntimeError(f"no address is free in 127.{self._block}.0.0/16")

    def release(self, task_id: str) -> None:
        """Take a task's address back."""
        self._taken.pop(task_id, None)
