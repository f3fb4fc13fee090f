# SPDX-License-Identifier: Apache-2.0
"""Writes commands of sleep, and reads how far an environment has fallen asleep or woken.

The scaler does all steps (`scaler.runtime.sleep_loop`); a command only changes a parameter. The settings are those that
were applied, as the scaler's task definition has them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from scaler.config.sleep import SleepDocument, parse, parse_memory
from scaler.core.sleep import NOT_SERVING, SleepMemory, SleepState

WAKE_S = 3600.0
"""How long deploy and destroy wait; AWS documents minutes to hours for the start of a stopped RDS instance."""
HOLD = timedelta(hours=8)
"""How long the schedule has no effect after a command that was interrupted."""


class NoSleepError(OperateError):
    """The environment cannot sleep; the text names the field."""


@dataclass(frozen=True)
class AppliedSleep:
    """Sleep of one environment, as applied."""

    connection: Connection
    command: str
    """The SSM parameter of the command."""
    memory: str
    """The SSM parameter of what the scaler records."""
    database: str | None = None
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
        if settings is None:
            return None
        return cls(connection, settings["command"], settings["memory"], settings.get("database"))

    def write(self, state: SleepState, reason: str, *, hold: datetime | None = None) -> SleepDocument:
        """Write the command and return it; until `hold` the schedule has no effect.

        Raises:
            OperateError: SSM refuses or does not answer.
        """
        by, at = OverrideStore(self.connection).user(), rfc3339(datetime.now(UTC))
        document = SleepDocument(state=state, at=at, by=by, reason=reason, hold=rfc3339(hold) if hold else None)
        with aws_errors(self.connection, "ssm:PutParameter", f"parameter{self.command}"):
            self.connection.client("ssm").put_parameter(
                Name=self.command, Value=document.to_text(), Type="String", Overwrite=True
            )
        return document

    def delete(self) -> None:
        """Delete command and record of an environment that does not exist any more.

        Raises:
            OperateError: SSM refuses or does not answer.
        """
        with aws_errors(self.connection, "ssm:DeleteParameters", f"parameter{self.command}*"):
            self.connection.client("ssm").delete_parameters(Names=[self.command, self.memory])

    def recorded(self) -> SleepMemory | None:
        """Return what the scaler has recorded; None: nothing, or nothing valid.

        Raises:
            OperateError: SSM refuses or does not answer.
        """
        with aws_errors(self.connection, "ssm:GetParameters", f"parameter{self.memory}"):
            found = self.connection.client("ssm").get_parameters(Names=[self.memory])["Parameters"]
        return parse_memory(found[0]["Value"]) if found else None

    def asleep(self) -> SleepMemory | None:
        """Return what the scaler has recorded if it sleeps; None also after a command to wake that it has yet to read.

        Raises:
            OperateError: SSM refuses or does not answer.
        """
        if (memory := self.recorded()) is None or memory.request.state == "awake":
            return None
        with aws_errors(self.connection, "ssm:GetParameters", f"parameter{self.command}"):
            found = self.connection.client("ssm").get_parameters(Names=[self.command])["Parameters"]
        if not found or found[0]["LastModifiedDate"] <= memory.request.at:
            return memory
        try:
            return memory if parse(found[0]["Value"]).state == "asleep" else None
        except OverrideDocumentError:
            return memory  # the scaler refuses the command too

    def status(self, state: SleepState) -> WaitStatus:
        """Return what is still awaited until the environment is in `state`.

        Raises:
            OperateError: AWS refuses or does not answer.
        """
        if state == "awake":
            memory = self.recorded()
            held = memory is None or memory.down or memory.request.state == "asleep"
            own = WaitStatus(("the scaler holds the fleets at zero",) if held else ())
            return self.database_status() + control_plane_status(self.connection) + own
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


def required(connection: Connection) -> AppliedSleep:
    """Return sleep as applied.

    Raises:
        NoSleepError: the environment was applied without it.
    """
    if (sleep := AppliedSleep.of(connection)) is None:
        name, file = connection.environment.name, connection.file
        raise NoSleepError(f"{name} was applied without sleep. Add `sleep: {{}}` to {file}, and apply.")
    return sleep


def awake_status(connection: Connection) -> WaitStatus:
    """Return a failure if the environment sleeps: waiting for it would not end.

    Raises:
        OperateError: AWS refuses or does not answer.
    """
    if connection.environment.sleep is None or (sleep := AppliedSleep.of(connection)) is None:
        return WaitStatus()
    if (memory := sleep.asleep()) is None:
        return WaitStatus()
    name, by, at = connection.environment.name, memory.request.by or "an unknown user", rfc3339(memory.request.at)
    return WaitStatus(failures=(f"{name} is asleep, by {by}, since {at}. Wake it: {connection.command('wake')}",))


def wake_here(file: Path, note: Callable[[str], None]) -> None:
    """Wake the environment on this machine if it sleeps.

    Raises:
        OperateError: an emulated API refuses or does not answer.
    """
    sleep = AppliedSleep.of(connect(file, local=True))
    if sleep and (memory := sleep.recorded()) and (memory.down or memory.request.state == "asleep"):
        note("The environment is asleep: waking it")
        sleep.write("awake", "local up")
        wait_for([lambda: sleep.status("awake")], limit_s=WAKE_S, progress=note)


def hold_awake(sleep: AppliedSleep, reason: str, note: Callable[[str], None]) -> None:
    """Keep an environment awake whatever its schedule, and wait for its database.

    The control plane is not awaited: it may be what an apply fixes.

    Raises:
        OperateError: AWS refuses, or the database does not start in time.
    """
    if (memory := sleep.recorded()) is not None and memory.request.state == "asleep":
        note("the environment is asleep: waking it")
    sleep.write("awake", reason, hold=datetime.now(UTC) + HOLD)
    if wait_for([sleep.database_status], limit_s=WAKE_S, progress=note).awaited:
        raise OperateError(
            f"The database {sleep.database} has not started. See the log of the scaler, which starts it; without it: "
            f"aws rds start-db-instance --db-instance-identifier {sleep.database}"
        )
