# SPDX-License-Identifier: Apache-2.0
"""Inside every Celery worker: scale-in protection, the gate, the drain.

Call `install()` in a module that the worker imports. The worker then requests protection from ECS before it takes its
first message, renews it while tasks run, and releases it only after a drain command, when no task is left.
"""

from worker_agent.installation import install

__all__ = ["install"]
