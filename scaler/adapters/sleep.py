# SPDX-License-Identifier: Apache-2.0
"""Sleep in AWS: the record in SSM, the health of tasks, the RDS instance, and the notifications of alarms."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from scaler.adapters.aws import aws_call
from scaler.config.overrides import OverrideDocumentError
from scaler.config.sleep import SleepSettings, memory_text, parse, parse_memory
from scaler.core.sleep import SleepCommand, SleepMemory, SleepRequest
from scaler.errors import BadAnswerError

SOURCE = "sleep"
BATCH = 100
"""The limit of names per call of CloudWatch, and of tasks per DescribeTasks."""
KEPT_ALARMS = ("_no_decision", "/wake_overdue")
"""Ends of the names of alarms that notify during sleep too: a scaler that does not run cannot wake anything."""


class AwsSleep:
    """The port `SleepPort`."""

    def __init__(
        self,
        settings: SleepSettings,
        cluster: str,
        *,
        ssm: Any,
        ecs: Any,
        rds: Any,
        cloudwatch: Any,
        deadline_s: float,
        wall: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._ssm, self._ecs, self._rds, self._cloudwatch = ssm, ecs, rds, cloudwatch
        self._deadline_s = deadline_s
        self._wall = wall

    async def read(self) -> tuple[SleepCommand | None, SleepMemory | None]:
        """Return the last command and the scaler's record; None: it does not exist.

        A record of the scaler that is not valid counts as one of a control plane that is down: the next wake checks it.
        """
        names = [self._settings.command, self._settings.memory]
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._ssm.get_parameters(Names=names)
            found = {parameter["Name"]: parameter for parameter in answer["Parameters"]}
            absent = set(answer.get("InvalidParameters", ()))
            if missing := [name for name in names if name not in found and name not in absent]:
                raise BadAnswerError(SOURCE, f"{missing[0]} is missing in the answer")
            command, memory = (found.get(name) for name in names)
            return command and _command(command), memory and self._memory(memory["Value"])

    async def write(self, memory: SleepMemory) -> None:
        """Replace the scaler's record."""
        async with aws_call(SOURCE, self._deadline_s):
            await self._ssm.put_parameter(
                Name=self._settings.memory, Value=memory_text(memory), Type="String", Overwrite=True
            )

    def _memory(self, text: str) -> SleepMemory:
        if (memory := parse_memory(text)) is not None:
            return memory
        now = self._wall()
        return SleepMemory(
            self._settings.id, now, SleepRequest("awake", now, "scaler", "its record was not valid"), down=True
        )

    async def healthy(self, service: str) -> int:
        """Return the number of a service's running tasks whose health checks succeed."""
        async with aws_call(SOURCE, self._deadline_s):
            listed = await self._ecs.list_tasks(cluster=self._cluster, serviceName=service, desiredStatus="RUNNING")
            arns = listed["taskArns"][:BATCH]
            if not arns:
                return 0
            answer = await self._ecs.describe_tasks(cluster=self._cluster, tasks=arns)
            return sum(task.get("healthStatus") == "HEALTHY" for task in answer["tasks"])

    async def database(self) -> str:
        """Return the status of the RDS instance, such as `available` or `stopped`."""
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._rds.describe_db_instances(DBInstanceIdentifier=self._settings.database)
            return str(answer["DBInstances"][0]["DBInstanceStatus"])

    async def set_database(self, step: Literal["stop", "start"]) -> None:
        """Stop or start the RDS instance; AWS starts a stopped one after seven days."""
        async with aws_call(SOURCE, self._deadline_s):
            if step == "stop":
                await self._rds.stop_db_instance(DBInstanceIdentifier=self._settings.database)
            else:
                await self._rds.start_db_instance(DBInstanceIdentifier=self._settings.database)

    async def set_alarms(self, *, enabled: bool, late: bool = False) -> None:
        """Enable or disable the notifications of all alarms but those of the scaler itself.

        CloudWatch notifies only when the state changes. So an alarm that is in the state ALARM because of the sleep is
        enabled when it has left it; a `late` one is enabled and evaluated again.
        """
        async with aws_call(SOURCE, self._deadline_s):
            alarms = [alarm async for alarm in self._alarms() if alarm["ActionsEnabled"] != enabled]
            in_alarm = {alarm["AlarmName"] for alarm in alarms if enabled and alarm["StateValue"] == "ALARM"}
            names = [alarm["AlarmName"] for alarm in alarms if late or alarm["AlarmName"] not in in_alarm]
            for start in range(0, len(names), BATCH):
                batch = names[start : start + BATCH]
                if enabled:
                    await self._cloudwatch.enable_alarm_actions(AlarmNames=batch)
                else:
                    await self._cloudwatch.disable_alarm_actions(AlarmNames=batch)
            for name in in_alarm.intersection(names):
                reason = "openmwaa: evaluated again after sleep"
                await self._cloudwatch.set_alarm_state(
                    AlarmName=name, StateValue="INSUFFICIENT_DATA", StateReason=reason
                )

    async def _alarms(self) -> AsyncIterator[Mapping[str, Any]]:
        if self._settings.alarm_prefix is None:
            return
        pages = self._cloudwatch.get_paginator("describe_alarms")
        async for page in pages.paginate(AlarmNamePrefix=self._settings.alarm_prefix):
            for alarm in page.get("MetricAlarms", ()):
                if not alarm["AlarmName"].endswith(KEPT_ALARMS):
                    yield alarm


def _command(parameter: Mapping[str, Any]) -> SleepCommand:
    try:
        return parse(parameter["Value"]).to_core(parameter["LastModifiedDate"])
    except OverrideDocumentError as error:
        raise BadAnswerError(SOURCE, f"the command {error}") from error
