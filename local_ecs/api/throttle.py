# SPDX-License-Identifier: Apache-2.0
"""API throttling by token buckets, one for each group of operations, as ECS documents it for an account and Region.

AWS documents 20 and 1 per second for task definitions and 50 for reads of clusters. The agent reports a limit of 40 per
second. The other numbers are commonly cited and not confirmed. AWS may change them without notice.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from local_ecs.model import EcsError


@dataclass(frozen=True)
class Rate:
    """The size of a bucket and its refill per second."""

    burst: float
    per_s: float


AGENT = Rate(40, 40)  # the agent endpoint answers X-Rate-Limit-Limit: 40

GROUPS: dict[str, tuple[str, Rate]] = {
    operation: (group, rate)
    for group, rate, operations in (
        ("cluster", Rate(20, 1), ("CreateCluster", "DeleteCluster", "UpdateCluster", "PutClusterCapacityProviders")),
        ("cluster read", Rate(50, 20), ("DescribeClusters", "ListClusters")),
        ("service", Rate(50, 5), ("CreateService", "UpdateService", "DeleteService")),
        ("service read", Rate(100, 20), ("DescribeServices", "ListServices")),
        ("definition", Rate(20, 1), ("RegisterTaskDefinition", "DeregisterTaskDefinition")),
        ("definition read", Rate(50, 20), ("DescribeTaskDefinition", "ListTaskDefinitions")),
        ("task", Rate(100, 40), ("RunTask", "StopTask", "UpdateTaskProtection")),
        ("task read", Rate(100, 40), ("ListTasks", "DescribeTasks", "GetTaskProtection")),
    )
    for operation in operations
}


class Throttle:
    """Counts calls with token buckets; can also refuse calls on demand."""

    def __init__(self, now: Callable[[], float], *, enabled: bool) -> None:
        self._now = now
        self.enabled = enabled
        self._buckets: dict[str, tuple[float, float]] = {}  # group -> tokens and their time
        self._refusals: Counter[str] = Counter()

    def refuse(self, operation: str, number: int = 1) -> None:
        """Answer the next `number` calls of an operation with ThrottlingException, regardless of the rates."""
        self._refusals[operation] += number

    def spend(self, operation: str) -> None:
        """Take a token for a call. Raises ThrottlingException if the bucket is empty."""
        if self._refusals[operation] > 0:
            self._refusals[operation] -= 1
            raise EcsError("ThrottlingException", "Rate exceeded")
        if self.enabled and operation in GROUPS:
            self.take(*GROUPS[operation])

    def take(self, group: str, rate: Rate) -> None:
        """Take a token from a bucket. Raises ThrottlingException if it is empty."""
        now = self._now()
        tokens, since = self._buckets.get(group, (rate.burst, now))
        tokens = min(rate.burst, tokens + (now - since) * rate.per_s)
        if tokens < 1:
            self._buckets[group] = (tokens, now)
            raise EcsError("ThrottlingException", "Rate exceeded")
        self._buckets[group] = (tokens - 1, now)
