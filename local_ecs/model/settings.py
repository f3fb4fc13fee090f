# SPDX-License-Identifier: Apache-2.0
"""Numbers of the scheduler, where ids come from, and which tasks a scale-in takes first."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from local_ecs.model.records import Task

# Orders unprotected running tasks of one deployment: the first are stopped first.
# AWS documents no order for Fargate beyond keeping zones balanced: who relies on one is wrong, so pass an adversary.
Picker = Callable[[Sequence[Task]], Sequence[Task]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the model's ECS is like; durations are seconds."""

    region: str = "us-east-1"
    account: str = "123456789012"
    zones: tuple[str, ...] = ("us-east-1a", "us-east-1b")
    provisioning_s: float = 0.0
    """How long a task stays PROVISIONING (network interface); Fargate takes 10 to 20."""
    pending_s: float = 0.0
    """How long it stays PENDING before its containers start (image pull); Fargate takes 10 to 60."""
    scheduler_delay_s: float = 0.0
    """From a change to the scheduler's reaction."""
    stopped_retention_s: float = 3600.0
    """How long a STOPPED task can be described; AWS: at least an hour."""
    backoff_first_s: float = 2.0
    """Pause after the first launch that never reached RUNNING; doubles each time."""
    backoff_max_s: float = 900.0
    """Longest pause; AWS documents 15 minutes."""
    deployment_limit: int = 5
    """Deployments a service may have unfinished; AWS: «5 active deployments exist, unable to create new deployment.»"""
    default_protection_minutes: int = 120


class Ids(Protocol):
    """Where ids come from."""

    def hex32(self) -> str:
        """Return 32 hexadecimal digits, as in a task's id."""
        ...

    def number(self) -> int:
        """Return a number of 19 digits, as in a deployment's id."""
        ...


class SequentialIds:
    """Ids that count: for tests and simulations."""

    def __init__(self) -> None:
        self._n = 0

    def hex32(self) -> str:
        """Return the next number as 32 hexadecimal digits."""
        self._n += 1
        return f"{self._n:032x}"

    def number(self) -> int:
        """Return the next number, of 19 digits."""
        self._n += 1
        return 10**18 + self._n


class RandomIds:
    """Ids from a generator the caller owns."""

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator

    def hex32(self) -> str:
        """Return 128 random bits in hexadecimal."""
        return f"{self._generator.getrandbits(128):032x}"

    def number(self) -> int:
        """Return a random number of 19 digits."""
        return self._generator.randrange(10**18, 10**19)


def oldest_first(tasks: Sequence[Task]) -> Sequence[Task]:
    """Take the oldest first."""
    return sorted(tasks, key=lambda t: (t.created_at, t.arn))


def newest_first(tasks: Sequence[Task]) -> Sequence[Task]:
    """Take the newest first."""
    return sorted(tasks, key=lambda t: (t.created_at, t.arn), reverse=True)


def spread_then_oldest(tasks: Sequence[Task]) -> Sequence[Task]:
    """Take from the fullest zone, the oldest task there: what AWS documents for services it balances over zones."""
    left = list(oldest_first(tasks))
    zones = Counter(t.availability_zone for t in left)
    ordered: list[Task] = []
    while left:
        fullest = max(zones, key=lambda zone: (zones[zone], zone))
        victim = next(t for t in left if t.availability_zone == fullest)
        left.remove(victim)
        zones[fullest] -= 1
        ordered.append(victim)
    return ordered


def shuffled(generator: random.Random) -> Picker:
    """Make a picker that takes any task, repeatably from the generator's seed."""

    def pick(tasks: Sequence[Task]) -> Sequence[Task]:
        return generator.sample(list(tasks), len(tasks))

    return pick
