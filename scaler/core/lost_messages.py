# SPDX-License-Identifier: Apache-2.0
"""Tasks that Airflow has queued and of which the broker has no message: no worker can run them.

Airflow queues a task a few seconds before its message is sent, and SQS's counts are about a minute late. So the two
disagree for moments; a broker that has lost messages disagrees for as long as the tasks stay queued. More workers would
not run them, so they are no demand. They count again as soon as the broker has a message to receive.
"""

from collections.abc import Sequence

from scaler.core.explain import Explanation, count
from scaler.core.model import AgentState, Known, Observation, Reading
from scaler.core.state import MissingMessages

LOST_AFTER_S = 180.0
"""Three times the delay of SQS's counts."""


def compare(
    observation: Observation, agents: Sequence[Reading[AgentState]], before: MissingMessages | None, now: float
) -> MissingMessages | None:
    """Return the queued tasks without a message; None: there is none, or workers would receive none now.

    While a reading is unknown, nothing changes.
    """
    database, broker = observation.database, observation.broker
    if not isinstance(database, Known) or not isinstance(broker, Known) or broker.value.incomplete is not None:
        return before
    known = [agent.value for agent in agents if isinstance(agent, Known)]
    consuming = [agent for agent in known if agent.phase == "consuming"]
    missing = database.value.queued - broker.value.in_flight - broker.value.delayed
    if broker.value.visible or missing <= 0 or (consuming and all(a.running >= a.concurrency for a in consuming)):
        return None
    if len(known) < len(agents):
        return before
    return (
        MissingMessages(missing, now) if before is None else MissingMessages(min(missing, before.tasks), before.since)
    )


def lost(missing: MissingMessages | None, observation: Observation, now: float, explanation: Explanation) -> int | None:
    """Return the queued tasks that do not count, and explain them; None while database or broker is unknown."""
    if not isinstance(observation.database, Known) or not isinstance(observation.broker, Known):
        return None
    if missing is None or now - missing.since < LOST_AFTER_S:
        return 0
    tasks, age_s = min(missing.tasks, observation.database.value.queued), now - missing.since
    text = f"{count(tasks, 'queued task')} without a message in the broker for {age_s:.0f} s: no demand"
    explanation.add("demand", text, source="database", without_message=tasks, for_s=age_s)
    return tasks
