# SPDX-License-Identifier: Apache-2.0
"""Sleep in AWS: the record in SSM, the health of tasks, the RDS instance, and the notifications of alarms."""

from collections.abc import AsyncIterator
from typing import Any, Literal

from scaler.adapters.aws import aws_call
from scaler.config.overrides import OverrideDocumentError
from scaler.config.sleep import SleepSettings, document, parse
from scaler.core.sleep import SleepRecord
from scaler.errors import BadAnswerError

SOURCE = "sleep"
BATCH = 100
"""The limit of names per call of CloudWatch, and of tasks per DescribeTasks."""
KEPT_ALARMS = ("_no_decision", "/wake_overdue")
"""Ends of the names of alarms that notify during sleep too: a scaler that does not run cannot wake anything."""


class AwsSleep:
    """The port `SleepPort`."""

    def __init__(
        self, settings: SleepSettings, cluster: str, *, ssm: Any, ecs: Any, rds: Any, cloudwatch: Any, deadline_s: float
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._ssm, self._ecs, self._rds, self._cloudwatch = ssm, ecs, rds, cloudwatch
        self._deadline_s = deadline_s
        self._version = 0

    async def record(self) -> SleepRecord | None:
        """Return the record; None: it does not exist."""
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._ssm.get_parameters(Names=[self._settings.parameter])
            found = answer["Parameters"]
            if not found and answer.get("InvalidParameters") != [self._settings.parameter]:
                raise BadAnswerError(SOURCE, f"{self._settings.parameter} is missing in the answer")
            self._version = int(found[0]["Version"]) if found else 0
            return self._parsed(found[0]["Value"]) if found else None

    async def write(self, record: SleepRecord) -> None:
        """Replace the record; a record that a user wrote since the last read is written again."""
        version = await self._put(record)
        if version > self._version + 1 and self._version:
            async with aws_call(SOURCE, self._deadline_s):
                answer = await self._ssm.get_parameter(Name=f"{self._settings.parameter}:{version - 1}")
            version = await self._put(self._parsed(answer["Parameter"]["Value"]))
        self._version = version

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

    async def set_alarms(self, *, enabled: bool) -> None:
        """Enable or disable the notifications of all alarms but those of the scaler itself."""
        async with aws_call(SOURCE, self._deadline_s):
            names = [name async for name in self._alarms()]
            for start in range(0, len(names), BATCH):
                batch = names[start : start + BATCH]
                if enabled:
                    await self._cloudwatch.enable_alarm_actions(AlarmNames=batch)
                else:
                    await self._cloudwatch.disable_alarm_actions(AlarmNames=batch)

    async def _alarms(self) -> AsyncIterator[str]:
        if self._settings.alarm_prefix is None:
            return
        pages = self._cloudwatch.get_paginator("describe_alarms")
        async for page in pages.paginate(AlarmNamePrefix=self._settings.alarm_prefix):
            for alarm in page.get("MetricAlarms", ()):
                if not alarm["AlarmName"].endswith(KEPT_ALARMS):
                    yield alarm["AlarmName"]

    async def _put(self, record: SleepRecord) -> int:
        async with aws_call(SOURCE, self._deadline_s):
            answer = await self._ssm.put_parameter(
                Name=self._settings.parameter,
                Value=document(record).to_text(),
                Type="String",
                Overwrite=True,
            )
            return int(answer["Version"])

    @staticmethod
    def _parsed(text: str) -> SleepRecord:
        try:
            return parse(text).to_core()
        except OverrideDocumentError as error:
            raise BadAnswerError(SOURCE, f"the record {error}") from error
