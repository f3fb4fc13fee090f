# SPDX-License-Identifier: Apache-2.0
"""Reads and writes the record of sleep, and reads how far an environment has fallen asleep or woken.

The scaler does all steps (`scaler.runtime.sleep_loop`); a command only changes the record. The settings are those that
were applied, as the scaler's task definition has them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from openmwaa.fleet_rollout import service_names
from openmwaa.operate import services
from openmwaa.operate.connection import Connection, aws_errors, connect
from openmwaa.operate.control_plane import control_plane_status
from openmwaa.operate.errors import OperateError
from openmwaa.operate.override_store import OverrideStore
from openmwaa.operate.times import rfc3339
from openmwaa.operate.waiting import WaitStatus
from openmwaa.operate.waiting import wait as wait_for
from scaler.config.overrides import OverrideDocumentError
from scaler.config.sleep import SleepDocument, parse
from scaler.core.sleep import NOT_SERVING, SleepState

WAKE_S = 3600.0
"""How long deploy and destroy wait; AWS documents minutes to hours for the start of a stopped RDS instance."""


class NoSleepError(OperateError):
    """The environment cannot sleep; the text names the field."""


@dataclass(frozen=True)
class AppliedSleep:
    """Sleep of one environment, as applied."""

    connection: Connection
    parameter: str
    database: str | None
    """The RDS instance; None: Aurora or an existing server."""

    @classmethod
    def of(cls, connection: Connection) -> Self | None:
        """Return sleep as applied; None: the environment was applied without it.

        Raises:
            OperateError: ECS refuses or does not answer.
            NotRunningError: there is no scaler.
        """
        definition = services.describe(connection, ["scaler"])["scaler"]["taskDefinition"]
        with aws_errors(connection, "ecs:DescribeTaskDefinition", f"the task definition {definition}"):
            answer = connection.client("ecs").describe_task_definition(taskDefinition=definition)
        return cls.of_containers(connection, answer["taskDefinition"]["containerDefinitions"])

    @classmethod
    def of_containers(cls, connection: Connection, containers: Sequence[Mapping[str, Any]]) -> Self | None:
        """Return sleep as in the scaler's container definitions; None: the environment cannot sleep."""
        (container,) = containers
        variables = {variable["name"]: variable["value"] for variable in container["environment"]}
        settings: Mapping[str, Any] | None = json.loads(variables["SCALER_CONFIG"]).get("sleep")
        return None if settings is None else cls(connection, settings["parameter"], settings.get("database"))

    def read(self) -> SleepDocument | None:
        """Return the record; None: there is none yet.

        Raises:
            OperateError: SSM refuses or does not answer, or the record is not valid.
        """
        with self._errors("ssm:GetParameters"):
            found = self.connection.client("ssm").get_parameters(Names=[self.parameter])["Parameters"]
        try:
            return parse(found[0]["Value"]) if found else None
        except OverrideDocumentError as error:
            raise OperateError(
                f"The record {self.parameter} {error}. Write a new one with `{self.connection.command('wake')}`."
            ) from error

    def write(self, state: SleepState, reason: str) -> SleepDocument:
        """Write the record and return it; the schedule in it is kept.

        Raises:
            OperateError: SSM refuses or does not answer.
        """
        try:
            before = self.read()
        except OperateError as error:
            if not isinstance(error.__cause__, OverrideDocumentError):
                raise
            before = None
        by, at = OverrideStore(self.connection).user(), rfc3339(datetime.now(UTC))
        kept = {} if before is None else before.model_dump(include={"schedule", "schedule_since"})
        record = SleepDocument(state=state, at=at, by=by, reason=reason, **kept)
        with self._errors("ssm:PutParameter"):
            self.connection.client("ssm").put_parameter(
                Name=self.parameter, Value=record.to_text(), Type="String", Overwrite=True
            )
        return record

    def delete(self) -> None:
        """Delete the record of an environment that does not exist any more.

        Raises:
            OperateError: SSM refuses or does not answer.
        """
        with self._errors("ssm:DeleteParameters"):
            self.connection.client("ssm").delete_parameters(Names=[self.parameter])

    def status(self, state: SleepState) -> WaitStatus:
        """Return what is still awaited until the environment is in `state`.

        Raises:
            OperateError: AWS refuses or does not answer.
        """
        if state == "awake":
            return self.database_status() + control_plane_status(self.connection)
        environment = self.connection.environment
        workers = [name for fleet in environment.fleets for name in service_names(fleet)]
        found = services.describe(self.connection, [*workers, *environment.services])
        left = {
            name: max(service["desiredCount"], service["runningCount"] + service["pendingCount"])
            for name, service in found.items()
        }
        lines = [f"{name}: {count} left" for name, count in left.items() if count]
        if (database := self._database()) not in (None, "stopped"):
            lines.append(f"the database is {database}")
        return WaitStatus(tuple(lines), data={"database": database, "tasks": left})

    def database_status(self) -> WaitStatus:
        """Return whether a start of the database is still awaited.

        Raises:
            OperateError: AWS refuses or does not answer.
        """
        status = self._database()
        awaited = (f"the database is {status}",) if status in NOT_SERVING else ()
        return WaitStatus(awaited, data={"database": status})

    def _database(self) -> str | None:
        if self.database is None:
            return None
        with aws_errors(self.connection, "rds:DescribeDBInstances", f"the database {self.database}"):
            answer = self.connection.client("rds").describe_db_instances(DBInstanceIdentifier=self.database)
        return str(answer["DBInstances"][0]["DBInstanceStatus"])

    def _errors(self, permission: str) -> Any:
        return aws_errors(self.connection, permission, f"parameter{self.parameter}")


def required(connection: Connection) -> AppliedSleep:
    """Return sleep as applied.

    Raises:
        NoSleepError: the environment was applied without it.
    """
    if (sleep := AppliedSleep.of(connection)) is None:
        name, file = connection.environment.name, connection.file
        raise NoSleepError(f"{name} was applied without sleep. Add `sleep: {{}}` to {file}, and apply.")
    return sleep


def wake_here(file: Path, note: Callable[[str], None]) -> None:
    """Wake the environment on this machine if it sleeps.

    Raises:
        OperateError: an emulated API refuses or does not answer.
    """
    if sleep := AppliedSleep.of(connect(file, local=True)):
        wake(sleep, "local up", note)


def check_awake(connection: Connection) -> None:
    """Raise OperateError if the environment sleeps: waiting for it would not end."""
    if connection.environment.sleep is None or (sleep := AppliedSleep.of(connection)) is None:
        return
    if (record := sleep.read()) is not None and record.state == "asleep":
        name, by = connection.environment.name, record.by or "an unknown user"
        raise OperateError(f"{name} is asleep, by {by}, since {record.at}. Wake it: {connection.command('wake')}")


def wake(sleep: AppliedSleep, reason: str, note: Callable[[str], None]) -> None:
    """Wake an environment that sleeps, and wait for its database: the control plane may be what an apply fixes.

    Raises:
        OperateError: AWS refuses, or the database does not start in time.
    """
    if (record := sleep.read()) is not None and record.state == "asleep":
        note("the environment is asleep: waking it")
        sleep.write("awake", reason)
    if wait_for([sleep.database_status], limit_s=WAKE_S, progress=note).awaited:
        raise OperateError(
            f"The database {sleep.database} has not started. See the log of the scaler, which starts it; without it: "
            f"aws rds start-db-instance --db-instance-identifier {sleep.database}"
        )
