# SPDX-License-Identifier: Apache-2.0
"""Where the agent meets Celery: a step of the consumer between `Tasks` (the channel exists) and `Evloop` (it consumes).

The step puts the gate, shut, before the channel, and then looks four times a second: gate, polls, held, running and
unacknowledged are read in one go in the consumer's thread, where nothing else can move meanwhile.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from celery import bootsteps
from celery.utils.log import get_logger
from celery.worker import state as worker_state

from worker_agent.agent import Agent
from worker_agent.consumer_state import concurrency, look
from worker_agent.errors import UnsupportedTransport
from worker_agent.gate import ChannelGate, Gate, Slots
from worker_agent.redis import RedisGate
from worker_agent.sigterm import Leaving
from worker_agent.sqs import SqsGate
from worker_agent.state_machine import Phase, Snapshot

logger = get_logger(__name__)

TICK_S: Final = 0.25
GATES: Final[dict[str, Callable[..., ChannelGate]]] = {"sqs": SqsGate, "redis": RedisGate}


def gate_for(consumer: Any, gate: Gate, slots: Slots) -> ChannelGate:
    """Put the gate before the channel that feeds tasks to `consumer`; raises UnsupportedTransport."""
    kind = consumer.connection.transport.driver_type
    if kind not in GATES:
        raise UnsupportedTransport(f"there is no gate for the broker transport {kind!r}")
    if consumer.hub is None:
        raise UnsupportedTransport(f"the gate for {kind!r} needs Celery's event loop (the prefork pool)")
    return GATES[kind](consumer.task_consumer.channel, gate=gate, slots=slots)


class ProtectionStep(bootsteps.StartStopStep):
    """Shuts the gate before the consumer consumes, and watches it from inside."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    agent: Agent
    gate: Gate
    on_sigterm: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._channel_gate: ChannelGate | None = None
        self._abandoned: list[tuple[int, float]] = []  # receives of a lost connection, and when they end
        self._timer: Any = None
        self._leaving: Leaving | None = None
        self._started = False

    def start(self, consumer: Any) -> None:
        """Attach to the channel of this connection; the first time, start the agent."""
        slots = Slots(lambda: concurrency(consumer), lambda: len(look(consumer).unfinished))
        try:
            self._channel_gate = gate_for(consumer, self.gate, slots)
        except UnsupportedTransport as error:
            logger.error("worker agent: %s: this worker stays protected and never drains", error)  # noqa: TRY400
        snapshot = self.look(consumer)
        if not self._started:
            self._started = True
            self.agent.start(snapshot)
        if self._channel_gate is None:
            self._wait_for_protection()
        else:
            self._timer = consumer.timer.call_repeatedly(TICK_S, self._tick, (consumer,))
            if self._leaving is None:
                self._leaving = Leaving(seal=self.agent.terminate, told=self.on_sigterm)
                self._leaving.install()
            self._leaving.consuming = True

    def stop(self, consumer: Any) -> None:
        """Let go of a channel that is about to close; its open receives count until they are over for certain."""
        flags: tuple[Any, ...] = (worker_state.should_stop, worker_state.should_terminate)
        if any(flag is not None and flag is not False for flag in flags):
            self.agent.terminate()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._leaving is not None:
            self._leaving.stop_looking()
        if self._channel_gate is not None:
            polls = self._channel_gate.polls_in_flight()
            self._abandoned.append((polls, self._channel_gate.detach()))
            self._channel_gate = None

    def look(self, consumer: Any) -> Snapshot:
        """Return what is true now; only the consumer's thread may ask."""
        now = time.monotonic()
        self._abandoned = [(polls, until) for polls, until in self._abandoned if polls and until > now]
        order, work, channel_gate = self.gate.order, look(consumer), self._channel_gate
        return Snapshot(
            generation=order.generation,
            gate_open=order.is_open(now),
            polls_in_flight=sum(polls for polls, _ in self._abandoned)
            + (channel_gate.polls_in_flight() if channel_gate else 0),
            reserved=len(work.unfinished),
            running=len(work.running),
            unacked=channel_gate.unacked() if channel_gate else 0,
            concurrency=concurrency(consumer),
            longest_running_s=work.longest_running_s,
            drainable=channel_gate is not None,
        )

    def _tick(self, consumer: Any) -> None:
        snapshot = self.look(consumer)
        self.agent.see(snapshot)
        if self._leaving is not None:
            self._leaving.look(snapshot.polls_in_flight, consumer.task_consumer.cancel)

    def _wait_for_protection(self) -> None:
        while self.agent.report().state.phase is not Phase.CONSUMING:
            worker_state.maybe_shutdown()
            time.sleep(TICK_S)
