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


CLUSTER_MODIFY, CLUSTER_READ = Rate(20, 1), Rate(50, 20)
SERVICE_MODIFY, SERVICE_READ = Rate(50, 5), Rate(100, 20)
DEFINITION_MODIFY, DEFINITION_READ = Rate(20, 1), Rate(50, 20)
TASK_MODIFY, TASK_READ = Rate(100, 40), Rate(100, 40)
AGENT = Rate(40, 40)  # the agent endpoint answers X-Rate-Limit-Limit: 40

GROUPS: dict[str, tuple[str, Rate]] = {
    **dict.fromkeys(
        ("CreateCluster", "DeleteCluster", "UpdateCluster", "PutClusterCapacityProviders"), ("cluster", CLUSTER_MODIFY)
    ),
    **dict.fromkeys(("DescribeClusters", "ListClusters"), ("cluster read", CLUSTER_READ)),
    **dict.fromkeys(("CreateService", "UpdateService", "DeleteService"), ("service", SERVICE_MODIFY)),
    **dict.fromkeys(("DescribeServices", "ListServices"), ("service read", SERVICE_READ)),
    **dict.fromkeys(("RegisterTaskDefinition", "DeregisterTaskDefinition"), ("definition", DEFINITION_MODIFY)),
    **dict.fromkeys(("DescribeTaskDefinition", "ListTaskDefinitions"), ("definition read", DEFINITION_READ)),
    **dict.fromkeys(("RunTask", "StopTask", "UpdateTaskProtection"), ("task", TASK_MODIFY)),
    **dict.fromkeys(("ListTasks", "DescribeTasks", "GetTaskProtection"), ("task read", TASK_READ)),
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
