# SPDX-License-Identifier: Apache-2.0
"""Inside every Celery worker: scale-in protection, the gate, the drain.

Call `install()` in a module that the worker imports. From then on the worker asks ECS for protection before it takes
its first message, keeps it while it works, and gives it back only when told to drain and nothing is left.
"""

from worker_agent.installation import install

__all__ = ["install"]
