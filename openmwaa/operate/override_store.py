# SPDX-License-Identifier: Apache-2.0
"""Reads and writes the scaler's overrides in SSM Parameter Store, one parameter per fleet.

SSM cannot write on condition of a version, but it numbers every write. A gap in the numbers shows that another write
came between; the change is then applied to that write too, so that both are active.
"""

import getpass
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError, OverrideError
from scaler.config.overrides import SIZE_LIMIT, OverrideDocument, OverrideDocumentError, parse

Change = Callable[[OverrideDocument], OverrideDocument]
OverrideState = Literal["invalid", "none", "expired", "active"]

_BATCH = 10
"""The limit of names per GetParameters call."""
_PAGE = 50
_WRITES = 25
"""Writes of one change. Each further write follows a write of another user at the same moment."""


@dataclass(frozen=True)
class Override:
    """The stored override of one fleet."""

    fleet: str
    parameter: str
    version: int = 0
    """SSM's number of the write; 0 if the parameter does not exist."""
    document: OverrideDocument | None = None
    """None if the parameter does not exist or is not valid."""
    problem: str | None = None
    """Why the parameter is not valid."""
    at: datetime | None = None
    """The time of the write; None outside of the history, as `user`."""
    user: str = ""
    """The ARN of the caller, recorded by AWS."""

    def state(self, now: datetime) -> OverrideState:
        """Whether the override has an effect at `now`."""
        if self.problem is not None:
            return "invalid"
        if self.document is None or not self.document.active:
            return "none"
        return "expired" if self.document.expired(now) else "active"

    def base(self, now: datetime, *, fresh: bool = False) -> OverrideDocument:
        """Return the document that a change starts from; an empty one if the override has expired, or with `fresh`.

        Raises:
            OverrideError: the stored override is not valid.
        """
        if fresh:
            return OverrideDocument()
        if self.problem is not None:
            raise OverrideError(
                f"{self.parameter} is not a valid override: {self.problem}. The last valid one stays active. Replace "
                "it with `--clear`, which can be combined with a new override."
            )
        if self.document is None or self.document.expired(now):
            return OverrideDocument()
        return self.document


class OverrideStore:
    """The overrides of one environment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ssm = connection.client("ssm")

    def parameter(self, fleet: str) -> str:
        """Return the name of a fleet's parameter."""
        return f"/openmwaa/{self._connection.environment.name}/scaler/{fleet}"

    def read(self, fleets: Sequence[str]) -> Mapping[str, Override]:
        """Return the stored override of each fleet.

        Raises:
            OperateError: SSM refuses or does not answer.
        """
        found: dict[str, Override] = {}
        for start in range(0, len(fleets), _BATCH):
            batch = {self.parameter(fleet): fleet for fleet in fleets[start : start + _BATCH]}
            with self._errors("ssm:GetParameters", "*"):
                answer = self._ssm.get_parameters(Names=list(batch))
            for parameter in answer["Parameters"]:
                fleet = batch[parameter["Name"]]
                found[fleet] = self._override(fleet, parameter)
        return {fleet: found.get(fleet) or Override(fleet, self.parameter(fleet)) for fleet in fleets}

    def change(self, before: Override, change: Change, *, fresh: bool = False) -> tuple[Override, list[Override]]:
        """Apply `change` and write; return the active override, and others' writes that came between.

        With `fresh`, the stored override is ignored, even if it is not valid.

        Raises:
            OperateError: SSM refuses or does not answer, or others write at the same time `_WRITES` times.
            OverrideError: the change is not valid on top of another user's write.
        """
        others: list[Override] = []
        for _ in range(_WRITES):
            document = change(before.base(datetime.now(UTC), fresh=fresh))
            after = replace(before, version=self._put(before, document), document=document, problem=None)
            # Version 1: the parameter was deleted in between, so there is nothing to merge with.
            if after.version in (before.version + 1, 1):
                return after, others
            between = self._version(before.fleet, after.version - 1)
            others.append(between)
            if change(between.base(datetime.now(UTC), fresh=fresh)) == document:
                return after, others
            before = replace(between, version=after.version)
        raise OperateError(f"Other users write {before.parameter} all the time. See --history, and try again.")

    def delete(self, fleets: Sequence[str]) -> None:
        """Delete the parameters of fleets that no longer exist.

        Raises:
            OperateError: SSM refuses or does not answer.
        """
        for start in range(0, len(fleets), _BATCH):
            with self._errors("ssm:DeleteParameters", "*"):
                names = [self.parameter(fleet) for fleet in fleets[start : start + _BATCH]]
                self._ssm.delete_parameters(Names=names)

    def history(self, fleet: str) -> Sequence[Override]:
        """Return the last hundred writes, newest first.

        Raises:
            OperateError: SSM refuses or does not answer.
        """
        found: list[Override] = []
        more: dict[str, str] = {}
        while True:
            try:
                with self._errors("ssm:GetParameterHistory", fleet):
                    answer = self._ssm.get_parameter_history(Name=self.parameter(fleet), MaxResults=_PAGE, **more)
            except OperateError as error:
                response = getattr(error.__cause__, "response", {})
                if response.get("Error", {}).get("Code") == "ParameterNotFound":
                    return []
                raise
            for parameter in answer["Parameters"]:
                at, user = parameter["LastModifiedDate"], str(parameter.get("LastModifiedUser", ""))
                found.append(replace(self._override(fleet, parameter), at=at, user=user))
            if not (token := answer.get("NextToken")):
                return sorted(found, key=lambda override: override.version, reverse=True)
            more = {"NextToken": token}

    def user(self) -> str:
        """Return the user for the document: the caller's ARN, else user and host name."""
        if not self._connection.local:
            try:
                with aws_errors(self._connection, "sts:GetCallerIdentity", "*"):
                    return str(self._connection.client("sts").get_caller_identity()["Arn"])
            except OperateError:
                pass  # STS may be out of reach; SSM records the ARN of the write in any case
        try:
            return f"{getpass.getuser()}@{socket.gethostname()}"
        except (KeyError, OSError):  # a user id without a name
            return socket.gethostname()

    def _put(self, before: Override, document: OverrideDocument) -> int:
        text = document.to_text()
        if (size := len(text.encode())) > SIZE_LIMIT:
            raise OverrideError(f"The override has {size} bytes; SSM's limit is {SIZE_LIMIT}. Shorten --reason.")
        with self._errors("ssm:PutParameter", before.fleet):
            answer = self._ssm.put_parameter(
                Name=before.parameter,
                Value=text,
                Type="String",
                Description=f"Scaling override of fleet {before.fleet}, written by `openmwaa scale`",
                Overwrite=True,
            )
        return int(answer["Version"])

    def _version(self, fleet: str, number: int) -> Override:
        with self._errors("ssm:GetParameter", fleet):
            answer = self._ssm.get_parameter(Name=f"{self.parameter(fleet)}:{number}")
        return self._override(fleet, answer["Parameter"])

    def _override(self, fleet: str, parameter: Mapping[str, Any]) -> Override:
        return Override(fleet, self.parameter(fleet), int(parameter["Version"]), *_document(parameter))

    def _errors(self, permission: str, fleet: str) -> Any:
        return aws_errors(self._connection, permission, f"parameter{self.parameter(fleet)}")


def describe(document: OverrideDocument) -> str:
    """Return the override in words, such as "at most 3, pause in"; "none" for an empty one."""
    parts = [f"exactly {document.fixed}"] if document.fixed is not None else []
    parts += [f"at least {document.min}"] if document.min is not None else []
    parts += [f"at most {document.max}"] if document.max is not None else []
    parts += [f"pause {document.pause}"] if document.pause != "none" else []
    parts += ["dry run"] if document.dry_run else []
    return ", ".join(parts) or "none"


def as_data(document: OverrideDocument | None) -> dict[str, Any] | None:
    """Return the document as plain data with all its fields."""
    return None if document is None else document.model_dump(mode="json", exclude={"version"})


def _document(parameter: Mapping[str, Any]) -> tuple[OverrideDocument | None, str | None]:
    if parameter["Type"] != "String":
        return None, f"it is a {parameter['Type']}, not a String"
    try:
        return parse(parameter["Value"]), None
    except OverrideDocumentError as error:
        return None, str(error)
