# SPDX-License-Identifier: Apache-2.0
"""One Celery worker: the real state machine of the worker agent, driven around a simple consumer.

The consumer takes messages while its gate is open, never more than it has free slots, with one poll in flight. A poll
that is on its way brings its messages also when the gate has been closed meanwhile. The agent sees the consumer as in
life: up to a quarter of a second late.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from scaler.core.model import AgentState
from simulation.ledger import RunLedger
from simulation.negative_controls import DisabledSafeguard
from simulation.queue import Message, QueuePoll, SimulatedQueue
from worker_agent import state_machine
from worker_agent.state_machine import Call, CallAnswered, ProtectionRequest, ProtectionResult

SNAPSHOT_INTERVAL_S = 0.25
"""The interval of the worker agent's snapshots."""
STUCK_ROWS_S = 200.0
"""How long the database counts the tasks of a lost worker, until Airflow's scheduler fails or queues them again."""


@dataclass(frozen=True)
class WorkerProfile:
    """The properties of the workers of a run."""

    slots: int = 4
    wait_s: float = 20.0
    early_ack: bool = True
    """A message is deleted when its task starts, Airflow's default; else when the task ends."""
    upload_s: float = 2.0
    """A task uploads its log after its row in the database is done."""
    protection_minutes: int = 10
    exit_s: float = 0.5
    """From SIGTERM to the end of a worker without tasks."""


Protect = Callable[[str, Call, Callable[[CallAnswered], None]], None]


class SimulatedWorker:
    """The Celery process of one ECS task, with its agent."""

    def __init__(
        self,
        arn: str,
        queue: SimulatedQueue,
        profile: WorkerProfile,
        *,
        rng: random.Random,
        ledger: RunLedger,
        protect: Protect,
        protected: Callable[[str], bool],
        consumes: Callable[[str], None] = lambda _: None,
        disabled: DisabledSafeguard = DisabledSafeguard.NOTHING,
    ) -> None:
        self.arn = arn
        self.profile = profile
        self._queue = queue
        self._rng = rng
        self._ledger = ledger
        self._protect = protect
        self._protected = protected
        self._consumes = consumes
        self._disabled = disabled
        self._loop = asyncio.get_running_loop()
        self.running: dict[int, tuple[Message, asyncio.TimerHandle]] = {}
        self.reserved: dict[int, Message] = {}
        self.poll: QueuePoll | None = None
        self.alive = True
        self._explained = False
        self.consumed_at: float | None = None
        self.on_idle: Callable[[], None] | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wakes = float("inf")
        self._life = 0
        self.boot()

    def boot(self) -> None:
        """Start the agent without memory; running tasks continue."""
        self._life += 1
        self.listens = True
        self._order = (0, float("-inf"))
        self._released = False
        policy = state_machine.Policy()
        if self._disabled is DisabledSafeguard.SETTLING:
            policy = replace(policy, settle_s=0.0)
        self.state = state_machine.WorkerState(policy, next_call_at=self._loop.time())
        self.step(state_machine.SnapshotTaken(self._snapshot()))
        self._changed()

    def restart(self, after_s: float) -> None:
        """Stop the agent and start it after `after_s` seconds; until then it takes no order and its gate is closed."""
        self._life += 1
        self.listens = False
        self._order = (0, float("-inf"))
        for name in list(self._timers):
            self._cancel(name)
        self._loop.call_later(after_s, self._boot_if_alive)

    def _boot_if_alive(self) -> None:
        if self.alive and not self.listens:
            self.boot()

    # --- the agent

    def agent_state(self) -> AgentState:
        """Return the answer of `GET /v1/state`: the last snapshot, not the current state."""
        seen, now = self.state.snapshot or self._snapshot(), self._loop.time()
        until = self.state.protected_until
        return AgentState(
            phase=self.state.phase.value,
            running=seen.running,
            reserved=max(seen.reserved, seen.unacked),
            concurrency=seen.concurrency,
            protected=until is not None and until > now,
            refusal=self.state.refusal,
        )

    def step(self, event: state_machine.Event) -> None:
        """Give an event to the state machine and perform its actions."""
        if not self.alive or not self.listens:
            return
        self.state, actions = state_machine.step(self.state, event, self._loop.time())
        for action in actions:
            match action:
                case state_machine.OpenGate(generation, until):
                    self._order = (generation, until)
                case state_machine.CloseGate(generation):
                    self._order = (generation, float("-inf"))
                case Call():
                    self._ask(action)
        if len(actions) and not isinstance(actions[0], Call):
            self._changed()
        self._arm()

    def _arm(self) -> None:
        wakes = state_machine.next_deadline(self.state)
        if wakes == self._wakes and "tick" in self._timers:
            return
        self._cancel("tick")
        self._wakes = wakes
        if wakes != float("inf"):
            self._timers["tick"] = self._loop.call_at(max(wakes, self._loop.time() + 0.05), self._tick)

    def _tick(self) -> None:
        self._timers.pop("tick", None)
        self._wakes = float("inf")
        self.step(state_machine.TimePassed())

    def _ask(self, call: Call) -> None:
        """Send the call to ECS, unless a step of the protocol has been disabled."""
        match self._disabled, call.request:
            case DisabledSafeguard.PROTECTION, _:
                result = (
                    ProtectionResult.PROTECTED
                    if call.request is ProtectionRequest.PROTECT
                    else ProtectionResult.UNPROTECTED
                )
                self._answer_itself(call, result)
            case DisabledSafeguard.RENEWAL, ProtectionRequest.PROTECT if (
                self._protected(self.arn) or self.running or self.reserved
            ):
                self._answer_itself(call, ProtectionResult.FAILED)
            case DisabledSafeguard.PROTECT_AGAIN, ProtectionRequest.PROTECT if self._released:
                self._released = False
                self._answer_itself(call, ProtectionResult.PROTECTED)
            case _:
                self._protect(self.arn, call, partial(self._on_answer, self._life))

    def _answer_itself(self, call: Call, result: ProtectionResult) -> None:
        until = self._loop.time() + 60.0 * self.profile.protection_minutes
        answer = CallAnswered(call.number, result, until=until if result is ProtectionResult.PROTECTED else None)
        self._loop.call_later(0.05, self._on_answer, self._life, answer)

    def _on_answer(self, life: int, answer: CallAnswered) -> None:
        if life != self._life:
            return  # the agent has restarted since the call
        if answer.result is ProtectionResult.REFUSED:
            self._ledger.counts["refusals"] += 1
            if self._disabled is DisabledSafeguard.FAILURES:
                until = self._loop.time() + 60.0 * self.profile.protection_minutes
                answer = replace(answer, result=ProtectionResult.PROTECTED, until=until)
        call = self.state.call
        if (
            call is not None
            and call.request is ProtectionRequest.RELEASE
            and answer.result is ProtectionResult.UNPROTECTED
        ):
            self._released = True
        self.step(answer)

    # --- the consumer

    @property
    def holds(self) -> int:
        """The number of running tasks and received messages."""
        return len(self.running) + len(self.reserved)

    @property
    def rows_running(self) -> int:
        """The number of its tasks that run in the database; a task that uploads its log has ended there."""
        return len(self.running.keys() & self._queue.rows.running)

    @property
    def consuming(self) -> bool:
        """Whether the gate is open."""
        if self._disabled is DisabledSafeguard.PROTECT_FIRST:
            return self.alive and self.state.mode is state_machine.Mode.CONSUME
        return self.alive and self._loop.time() < self._order[1]

    def _snapshot(self) -> state_machine.Snapshot:
        polls = 0 if self.poll is None or self._disabled is DisabledSafeguard.POLL_COUNT else 1
        unfinished = len(self.running) + len(self.reserved)
        return state_machine.Snapshot(
            generation=self._order[0],
            gate_open=self._loop.time() < self._order[1],
            polls_in_flight=polls,
            reserved=unfinished,
            running=len(self.running),
            unacked=0 if self.profile.early_ack else unfinished,
            concurrency=self.profile.slots,
        )

    def _changed(self) -> None:
        """Schedule the next snapshot after a change of the consumer, and start a poll if possible."""
        if not self.alive or not self.listens:
            return
        if "snapshot" not in self._timers:
            self._timers["snapshot"] = self._loop.call_later(
                self._rng.uniform(0.0, SNAPSHOT_INTERVAL_S), self._take_snapshot
            )
        self._consume()

    def _take_snapshot(self) -> None:
        self._timers.pop("snapshot", None)
        self.step(state_machine.SnapshotTaken(self._snapshot()))

    def _consume(self) -> None:
        free = self.profile.slots - self.holds
        if not self.consuming or self.poll is not None or free <= 0:
            return
        self._check_protected("polls")
        if self.consumed_at is None:
            self.consumed_at = self._loop.time()
            self._consumes(self.arn)
        self.poll = self._queue.receive(free, self.profile.wait_s, self._take)

    def _check_protected(self, what: str) -> None:
        if self._disabled is DisabledSafeguard.NOTHING and not self._protected(self.arn):
            self._ledger.breaks(self._loop.time(), f"{self.arn} {what} and is not protected")

    def _take(self, messages: Sequence[Message]) -> None:
        """Handle the poll's answer; the messages of a worker that has ended are lost until their timeout."""
        self.poll = None
        if not self.alive:
            for message in messages:
                self._ledger.counts["messages_to_the_dead"] += 1
                self._loop.call_later(STUCK_ROWS_S, self._queue.rows.queued.discard, message.number)
                if self._explained:
                    self._ledger.explained.add(message.number)
            return
        if self.state.mode is state_machine.Mode.STOP:
            for message in messages:
                self._queue.give_back(message)
            self._end_if_idle()
            return
        for message in messages:
            self._check_protected("takes a message")
            self._ledger.explained.discard(message.number)
            self.reserved[message.number] = message
            self._loop.call_later(self._rng.uniform(0.02, 0.2), self._start, message)
        self._changed()

    def _start(self, message: Message) -> None:
        if not self.alive or message.number not in self.reserved:
            return
        del self.reserved[message.number]
        if self.profile.early_ack:
            self._queue.delete(message)
        # A second delivery of a done task ends after 1 s; any other task runs, if necessary a second time.
        work_s = 1.0 if message.number in self._ledger.done else message.work_s
        self._queue.rows.queued.discard(message.number)
        self._queue.rows.running.add(message.number)
        timer = self._loop.call_later(work_s, self._worked, message)
        self.running[message.number] = (message, timer)
        self._changed()

    def _worked(self, message: Message) -> None:
        """Mark the row as done; the log is still uploaded."""
        self._queue.rows.running.discard(message.number)
        timer = self._loop.call_later(self.profile.upload_s, self._finish, message)
        self.running[message.number] = (message, timer)

    def _finish(self, message: Message) -> None:
        self.running.pop(message.number, None)
        self._queue.delete(message)
        self._ledger.done.add(message.number)
        self._changed()
        self._end_if_idle()

    # --- the end of the worker

    def terminate(self) -> None:
        """SIGTERM: take no more messages, return those not started, finish the running tasks."""
        self.step(state_machine.Terminate())
        for message in self.reserved.values():
            self._queue.give_back(message)
        self.reserved.clear()

    @property
    def empty(self) -> bool:
        """Whether the worker has no task, no message and no poll in flight."""
        return not self.holds and self.poll is None

    def _end_if_idle(self) -> None:
        if self.empty and self.on_idle is not None:
            self.on_idle()

    def fail(self, number: int) -> None:
        """End a running task with an error, as without the execution API: Airflow may queue it again."""
        message, timer = self.running.pop(number)
        timer.cancel()
        self._queue.rows.running.discard(number)
        self._queue.delete(message)
        self._changed()

    def kill(self, *, explained: bool) -> None:
        """SIGKILL: all running tasks and received messages are lost."""
        if not self.alive:
            return
        self.alive, self._explained = False, explained
        for name in list(self._timers):
            self._cancel(name)
        for message, timer in self.running.values():
            timer.cancel()
            self._loop.call_later(STUCK_ROWS_S, self._queue.rows.running.discard, message.number)
        for number in self.reserved:
            self._loop.call_later(STUCK_ROWS_S, self._queue.rows.queued.discard, number)
        self._ledger.ended(self.running, self.reserved, explained=explained)
        self.running.clear()
        self.reserved.clear()

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
