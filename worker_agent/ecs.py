# SPDX-License-Identifier: Apache-2.0
"""What ECS tells a task about itself: the agent's protection endpoint and the metadata endpoint.

A `failure` (which comes with HTTP 200) is a refusal; every answer that is not exactly understood is `FAILED`: another
task's ARN, a protection without an end, a time-out. The end is the earlier of what ECS says and what was asked for, so
a clock that differs can only shorten it.
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from worker_agent.state_machine import Answered, Ask, Call, Verdict

CALL_TIMEOUT_S: Final = 5.0
"""The ECS agent gives up on its own call to ECS after 4 s."""
ANSWER_LIMIT: Final = 64 * 1024
# No proxy: both endpoints are link-local addresses of this task.
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Identity:
    """This task: its ARN ("" when unknown) and the IPv4 address it listens on."""

    task_arn: str
    address: str


UNKNOWN_IDENTITY: Final = Identity(task_arn="", address="0.0.0.0")  # noqa: S104  (no metadata: not on awsvpc)


def read_identity(metadata_uri: str) -> Identity:
    """Ask the metadata endpoint (version 4) who this task is; raises OSError or ValueError."""
    try:
        with _OPENER.open(f"{metadata_uri}/task", timeout=CALL_TIMEOUT_S) as response:
            task = json.loads(response.read(ANSWER_LIMIT * 4))
    except http.client.HTTPException as error:
        raise ValueError(f"the metadata endpoint's answer is no HTTP: {error!r}") from error
    try:
        addresses = [
            address
            for container in task["Containers"]
            for network in container.get("Networks", ())
            for address in network.get("IPv4Addresses", ())
        ]
        return Identity(task_arn=str(task["TaskARN"]), address=str(addresses[0]))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the metadata endpoint's answer has no {error}") from error


class ProtectionEndpoint:
    """`$ECS_AGENT_URI/task-protection/v1/state`: protects this task from scale-in, and releases it."""

    def __init__(
        self,
        agent_uri: str,
        *,
        minutes: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._url = f"{agent_uri}/task-protection/v1/state"
        self._minutes = minutes
        self._clock = clock
        self._wall = wall

    def perform(self, call: Call, *, task_arn: str) -> Answered:
        """Make one call and say what its answer means; never raises."""
        body: dict[str, Any] = {"ProtectionEnabled": call.ask is Ask.PROTECT}
        if call.ask is Ask.PROTECT:
            body["ExpiresInMinutes"] = self._minutes
        asked_at = self._clock()
        try:
            answer = self._put(body)
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            # An answer that is no HTTP at all is none of the first two; with the thread that asks, renewals would end.
            return Answered(call.number, Verdict.FAILED, reason=f"no answer from the ECS agent: {error}")
        if self._clock() - asked_at > 2 * CALL_TIMEOUT_S:
            return Answered(call.number, Verdict.FAILED, reason="the ECS agent's answer came too late")
        return self._understand(call, answer, task_arn, asked_at)

    def _put(self, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            self._url, method="PUT", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=CALL_TIMEOUT_S) as response:
                return json.loads(response.read(ANSWER_LIMIT))
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(ANSWER_LIMIT)
            try:
                return json.loads(text)
            except ValueError:
                raise ValueError(f"HTTP {error.code}") from error

    def _understand(self, call: Call, answer: Any, task_arn: str, asked_at: float) -> Answered:
        fields = answer if isinstance(answer, Mapping) else {}
        for key, code in (("failure", "Reason"), ("error", "Code")):
            if isinstance(why := fields.get(key), Mapping):
                text = why.get("Detail") or why.get("Message") or ""
                return Answered(call.number, Verdict.REFUSED, reason=f"{why.get(code, key)}: {text}".rstrip(": "))
        protection = fields.get("protection")
        if not isinstance(protection, Mapping):
            return Answered(call.number, Verdict.FAILED, reason="the ECS agent's answer says nothing of protection")
        if task_arn and protection.get("TaskArn", task_arn) != task_arn:
            return Answered(call.number, Verdict.FAILED, reason="the ECS agent answered for another task")
        if protection.get("ProtectionEnabled") is False:
            return Answered(call.number, Verdict.UNPROTECTED, reason="ECS says that this task is not protected")
        until = self._end(protection.get("ExpirationDate"), asked_at)
        if protection.get("ProtectionEnabled") is not True or until is None:
            return Answered(call.number, Verdict.FAILED, reason="the ECS agent's answer has no end of the protection")
        return Answered(call.number, Verdict.PROTECTED, until=until)

    def _end(self, text: Any, asked_at: float) -> float | None:
        try:
            end = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            return None
        if end.tzinfo is None:
            end = end.replace(tzinfo=UTC)
        return min(asked_at + self._minutes * 60, self._clock() + end.timestamp() - self._wall())
