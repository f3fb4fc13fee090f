# SPDX-License-Identifier: Apache-2.0
"""The agent of one worker: the machine of `machine.py`, driven by threads that never touch the consumer.

- the *loop* thread owns the state: it takes events from one queue, steps the machine, orders the gate;
- the *protection* thread makes one call to the ECS agent at a time;
- the *HTTP* threads read what the loop published and post commands.

The consumer's own thread only posts snapshots and reads the gate's order. A queue whose `put` is safe in signal
handlers (`SimpleQueue`) connects them.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from celery.utils.log import get_logger

from worker_agent.commands import CommandVerifier
from worker_agent.ecs import UNKNOWN_IDENTITY, Identity, read_identity
from worker_agent.errors import CommandRefused
from worker_agent.gate import Gate, Order
from worker_agent.server import AgentServer
from worker_agent.settings import Settings
from worker_agent.state_machine import (
    Action,
    Answered,
    Call,
    Drain,
    Event,
    OpenGate,
    Resume,
    Seen,
    ShutGate,
    Snapshot,
    State,
    Terminate,
    Tick,
    step,
    wake_at,
)
from worker_agent.wire import Report

logger = get_logger(__name__)

OBEY_TIMEOUT_S: Final = 2.0
LONGEST_SLEEP_S: Final = 1.0
IDENTITY_RETRY_S: Final = 2.0


class Protects(Protocol):
    """What the agent needs of ECS."""

    def perform(self, call: Call, *, task_arn: str) -> Answered:
        """Make one call; blocks for seconds at most and never raises."""
        ...


@dataclass
class _Post:
    event: Event
    done: threading.Event = field(default_factory=threading.Event)


class Agent:
    """Keeps one worker protected while it works, and drains it when told to."""

    def __init__(
        self,
        settings: Settings,
        *,
        gate: Gate,
        protection: Protects,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._protection = protection
        self._clock = clock
        self._wall = wall
        self._posts: queue.SimpleQueue[_Post] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._identity = Identity(task_arn="", address="") if settings.metadata_uri else UNKNOWN_IDENTITY
        self._identified = threading.Event()
        self._state = State(next_call_at=clock())

    def start(self, first: Snapshot) -> None:
        """Ask for protection and begin to listen; returns at once."""
        self.see(first)
        for name, target in (("loop", self._loop), ("protection", self._protect), ("http", self._listen)):
            threading.Thread(target=target, name=f"worker-agent-{name}", daemon=True).start()

    def see(self, snapshot: Snapshot) -> None:
        """Take what the consumer's thread saw."""
        self._posts.put(_Post(Seen(snapshot)))

    def terminate(self) -> None:
        """Shut the gate for good; safe inside a signal handler."""
        self._gate.seal()
        self._posts.put(_Post(Terminate()))

    def report(self) -> Report:
        """Return the state now."""
        return Report(task_arn=self._identity.task_arn, state=self._state, now=self._clock(), wall=self._wall())

    def obey(self, command: Drain | Resume) -> Report:
        """Apply a command and return the state after it; raises CommandRefused (503) when the loop does not answer."""
        post = _Post(command)
        self._posts.put(post)
        if not post.done.wait(OBEY_TIMEOUT_S):
            raise CommandRefused(503, "the agent is too busy to answer; the command may still be obeyed")
        return self.report()

    def _loop(self) -> None:
        try:
            while True:
                self._take_one()
        except BaseException:
            # Without its loop the agent can neither renew nor answer: fail shut and let the tasks finish.
            self._gate.seal()
            logger.critical("worker agent: the loop ended; this worker takes no more messages", exc_info=True)
            raise

    def _take_one(self) -> None:
        pause = min(max(wake_at(self._state) - self._clock(), 0.0), LONGEST_SLEEP_S)
        try:
            # A wait of 0 would spin while a due call cannot be made yet (the settling time after a lost release).
            post = self._posts.get(timeout=max(pause, 0.05))
        except queue.Empty:
            post = _Post(Tick())
        was = self._state.phase
        state, actions = step(self._state, post.event, self._clock())
        for action in actions:
            self._act(action)
        self._state = state
        post.done.set()
        if state.phase is not was:
            logger.info("%s", self.report().log_line(was))

    def _act(self, action: Action) -> None:
        match action:
            case OpenGate(generation, until):
                self._gate.set(Order(generation, until))
            case ShutGate(generation):
                self._gate.set(Order(generation, None))
            case Call():
                self._calls.put(action)

    def _protect(self) -> None:
        while True:
            call = self._calls.get()
            answer = self._protection.perform(call, task_arn=self._identity.task_arn)
            if answer.reason:
                logger.warning("worker agent: %s: %s", call.ask.value, answer.reason)
            self._posts.put(_Post(answer))

    def _listen(self) -> None:
        while self._settings.metadata_uri and not self._identity.task_arn:
            try:
                self._identity = read_identity(self._settings.metadata_uri)
            except (OSError, ValueError) as error:
                logger.warning("worker agent: who is this task? %s", error)
                time.sleep(IDENTITY_RETRY_S)
        verifier = CommandVerifier(self._settings.public_key, wall=self._wall)
        while True:
            try:
                server = AgentServer(self._identity.address, self._settings.port, agent=self, verifier=verifier)
            except OSError as error:
                logger.error("worker agent: cannot listen on port %d: %s", self._settings.port, error)  # noqa: TRY400
                time.sleep(IDENTITY_RETRY_S)
            else:
                break
        logger.info("worker agent: listening on %s:%d", *server.server_address[:2])
        server.serve_forever()
