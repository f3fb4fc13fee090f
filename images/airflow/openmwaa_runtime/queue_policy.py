# SPDX-License-Identifier: Apache-2.0
"""A task whose queue no fleet serves is an import error of its file: Airflow's UI shows it when the file is parsed.

Without it, the task fails minutes after its run has started, and the reason is in the scheduler's log only. The check
is one of Airflow's cluster policies, beside those of the user's `airflow_local_settings` and after them: they may set
another queue.
"""

import functools
import json
import os
from collections.abc import Collection
from typing import Any


def unserved(task_id: str, queue: str, served: Collection[str]) -> str:
    """Return the message about a queue that no fleet serves."""
    return (
        f"No fleet serves the queue {queue!r} of the task {task_id}. Fleets serve: {', '.join(sorted(served))}. Set "
        "`queue` of the task to one of them, or add the queue to `queues` of a fleet in environment.yaml, and deploy."
    )


@functools.cache
def install() -> None:
    """Register the policy in this process, once; without the variable of the queues there is none."""
    if served := json.loads(os.environ.get("OPENMWAA_QUEUES") or "{}"):
        _policies().register(_policy(frozenset(served)), "openmwaa")


def _policies() -> Any:
    """Return Airflow's pluggy manager of policies."""
    from airflow import settings  # noqa: PLC0415 - Airflow is imported when the policy is installed

    find = getattr(settings, "get_policy_plugin_manager", None)
    return find() if find else settings.POLICY_PLUGIN_MANAGER


def _policy(served: Collection[str]) -> Any:
    from airflow.exceptions import AirflowClusterPolicyViolation  # noqa: PLC0415 - as above
    from airflow.policies import hookimpl  # noqa: PLC0415

    class ServedQueues:
        @hookimpl(trylast=True)  # type: ignore[untyped-decorator] # mypy runs without Airflow
        def task_policy(self, task: Any) -> None:
            # A hook of the user may change the queue of each run: then it is not known here.
            may_change = _policies().hook.task_instance_mutation_hook.get_hookimpls()
            if task.queue not in served and not may_change:
                raise AirflowClusterPolicyViolation(unserved(task.task_id, task.queue, served))

    return ServedQueues()
