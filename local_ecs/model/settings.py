# SPDX-License-Identifier: Apache-2.0
"""Settings of the model, sources of ids, and orders in which a scale-in stops tasks."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from local_ecs.model.records import EcsTask

# Orders unprotected running tasks of one deployment: the first are stopped first.
# AWS documents no order for Fargate except that zones stay balanced. Code must not rely on one: test with the worst.
Picker = Callable[[Sequence[EcsTask]], Sequence[EcsTask]]


@dataclass(frozen=True, slots=True)
class EcsSettings:
    """Settings of the model. Durations are seconds."""

    region: str = "us-east-1"
    account: str = "123456789012"
    zones: tuple[str, ...] = ("us-east-1a", "us-east-1b")
    provisioning_s: float = 0.0
    """Duration of PROVISIONING (network interface); Fargate: 10 to 20 s."""
    pending_s: float = 0.0
    """Duration of PENDING before the containers start (image pull); Fargate: 10 to 60 s."""
    scheduler_delay_s: float = 0.0
    """Delay from a change to the scheduler's reaction."""
    stopped_retention_s: float = 3600.0
    """Time for which a STOPPED task can be described; AWS: at least an hour."""
    backoff_first_s: float = 2.0
    """Pause after the first launch that did not reach RUNNING; doubles each time."""
    backoff_max_s: float = 900.0
    """Maximum pause; AWS documents 15 minutes."""
    deployment_limit: int = 5
    """Maximum of unfinished deployments; AWS: «5 active deployments exist, unable to create new deployment.»"""
    default_protection_minutes: int = 120


class Ids(Protocol):
    """A source of ids."""

    def hex32(self) -> str:
        """Return 32 hexadecimal digits, as in a task's id."""
        ...

    def number(self) -> int:
        """Return a number of 19 digits, as in a deployment's id."""
        ...


class SequentialIds:
    """Consecutive ids, for tests and simulations."""

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
    """Random ids from the caller's generator."""

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator

    def hex32(self) -> str:
        """Return 128 random bits in hexadecimal."""
        return f"{self._generator.getrandbits(128):032x}"

    def number(self) -> int:
        """Return a random number of 19 digits."""
        return self._generator.randrange(10**18, 10**19)


def oldest_first(tasks: Sequence[EcsTask]) -> Sequence[EcsTask]:
    """Return the oldest tasks first."""
    return sorted(tasks, key=lambda t: (t.created_at, t.arn))


def newest_first(tasks: Sequence[EcsTask]) -> Sequence[EcsTask]:
    """Return the newest tasks first."""
    return sorted(tasks, key=lambda t: (t.created_at, t.arn), reverse=True)


def spread_then_oldest(tasks: Sequence[EcsTask]) -> Sequence[EcsTask]:
    """Return the oldest task of the fullest zone first, as AWS documents for services that it balances over zones."""
    remaining = list(oldest_first(tasks))
    zones = Counter(t.availability_zone for t in remaining)
    ordered: list[EcsTask] = []
    while remaining:
        fullest = max(zones, key=lambda zone: (zones[zone], zone))
        task = next(t for t in remaining if t.availability_zone == fullest)
        remaining.remove(task)
        zones[fullest] -= 1
        ordered.append(task)
    return ordered


def shuffled(generator: random.Random) -> Picker:
    """Return a picker with a random order, reproducible from the generator's seed."""

    def pick(tasks: Sequence[EcsTask]) -> Sequence[EcsTask]:
        return generator.sample(list(tasks), len(tasks))

    return pick
