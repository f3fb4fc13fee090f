# SPDX-License-Identifier: Apache-2.0
"""Where the agent meets Celery: a step of the consumer between `Tasks` (the channel exists) and `Evloop` (it consumes).

The step puts the closed gate before the channel. Then it takes a snapshot four times a second. It reads the gate, the
polls and the numbers of reserved, running and unacknowledged messages together, in the consumer's thread, so that none
of them can change in between.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from celery import bootsteps, signals
from celery.concurrency.solo import TaskPool as SoloPool
from celery.utils.log import get_logger
from celery.worker import state as worker_state

from worker_agent.agent import Agent
from worker_agent.consumer_state import concurrency, read_consumer_state, scheduled
from worker_agent.errors import UnsupportedTransportError
from worker_agent.gate import ChannelGate, Gate, Slots
from worker_agent.redis import RedisGate
from worker_agent.sigterm import SigtermHandler
from worker_agent.sqs import SqsGate
from worker_agent.state_machine import Phase, Snapshot

logger = get_logger(__name__)

TICK_S: Final = 0.25
GATES: Final[dict[str, Callable[..., ChannelGate]]] = {"sqs": SqsGate, "redis": RedisGate}


def gate_for(consumer: Any, gate: Gate, slots: Slots) -> ChannelGate:
    """Put the gate before the channel that feeds tasks to `consumer`; raises UnsupportedTransportError."""
    kind = consumer.connection.transport.driver_type
    if kind not in GATES:
        raise UnsupportedTransportError(f"the broker transport {kind!r} is not supported")
    if consumer.hub is None:
        raise UnsupportedTransportError(
            f"{kind!r} needs Celery's event loop, as with the pools prefork, threads and solo"
        )
    return GATES[kind](consumer.task_consumer.channel, gate=gate, slots=slots)


def allow_prefetch_of_autoscaler(consumer: Any) -> None:
    """Let an autoscaled pool grow after a lost connection.

    Celery then limits the unacknowledged messages to the present number of processes. So few messages never let its
    autoscaler add a process.
    """
    missing = concurrency(consumer) * consumer.prefetch_multiplier - consumer.qos.value
    if consumer.controller.autoscaler is not None and consumer.qos.value and missing > 0:
        consumer.qos.increment_eventually(missing)


class ProtectionStep(bootsteps.StartStopStep):
    """Closes the gate before the consumer starts, and takes snapshots of the consumer."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    agent: Agent
    gate: Gate
    on_sigterm: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._channel_gate: ChannelGate | None = None
        self._abandoned: list[tuple[int, float]] = []  # polls of lost connections: number, latest end
        self._timer: Any = None
        self._sigterm: SigtermHandler | None = None
        self._started = False

    def start(self, consumer: Any) -> None:
        """Attach to the channel of this connection. Start the agent at the first connection."""
        slots = Slots(lambda: concurrency(consumer), lambda: len(read_consumer_state(consumer).unfinished))
        try:
            self._channel_gate = gate_for(consumer, self.gate, slots)
        except UnsupportedTransportError as error:
            logger.error("worker agent: %s: this worker stays protected and cannot drain", error)  # noqa: TRY400
        snapshot = self.take_snapshot(consumer)
        if not self._started:
            self._started = True
            self.agent.start(snapshot)
        if self._channel_gate is None:
            self._wait_for_protection()
        else:
            allow_prefetch_of_autoscaler(consumer)
            self._timer = consumer.timer.call_repeatedly(TICK_S, self._tick, (consumer,))
            if self._sigterm is None:
                self._sigterm = SigtermHandler(close_gate=self.agent.terminate, on_sigterm=self.on_sigterm)
                self._sigterm.install()
                if isinstance(consumer.pool, SoloPool):
                    # A task runs in the event loop, so there is no `_tick` until it ends.
                    on_prerun = partial(self._on_prerun, consumer)
                    signals.task_prerun.connect(on_prerun, weak=False, dispatch_uid="openmwaa.worker_agent")
            self._sigterm.consuming = True

    def stop(self, consumer: Any) -> None:
        """Detach from a channel that is about to close. Its polls count as in flight until their latest end."""
        flags: tuple[Any, ...] = (worker_state.should_stop, worker_state.should_terminate)
        if any(flag is not None and flag is not False for flag in flags):
            self.agent.terminate()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sigterm is not None:
            self._sigterm.on_loop_end()
        if self._channel_gate is not None:
            polls = self._channel_gate.polls_in_flight()
            self._abandoned.append((polls, self._channel_gate.detach()))
            self._channel_gate = None

    def take_snapshot(self, consumer: Any) -> Snapshot:
        """Return the current numbers. Call it only in the consumer's thread."""
        now = time.monotonic()
        self._abandoned = [(polls, until) for polls, until in self._abandoned if polls and until > now]
        gate, work, channel_gate = self.gate.state, read_consumer_state(consumer), self._channel_gate
        return Snapshot(
            generation=gate.generation,
            gate_open=gate.is_open(now),
            polls_in_flight=sum(polls for polls, _ in self._abandoned)
            + (channel_gate.polls_in_flight() if channel_gate else 0),
            reserved=len(work.unfinished),
            running=len(work.running),
            unacked=channel_gate.unacked() if channel_gate else 0,
            concurrency=concurrency(consumer),
            longest_running_s=work.longest_running_s,
            drainable=channel_gate is not None,
            scheduled=len(scheduled(consumer) - work.unfinished),  # a due one is unfinished
        )

    def _tick(self, consumer: Any) -> None:
        snapshot = self.take_snapshot(consumer)
        self.agent.post_snapshot(snapshot)
        if self._sigterm is not None:
            self._sigterm.on_tick(snapshot.polls_in_flight, consumer.task_consumer.cancel)

    def _on_prerun(self, consumer: Any, **_: Any) -> None:
        self.agent.post_snapshot(self.take_snapshot(consumer), follows=False)

    def _wait_for_protection(self) -> None:
        while self.agent.report().state.phase is not Phase.CONSUMING:
            worker_state.maybe_shutdown()
            time.sleep(TICK_S)
