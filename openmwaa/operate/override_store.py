# SPDX-License-Identifier: Apache-2.0
"""What people order live: the scaler's controls in SSM Parameter Store, one parameter a fleet.

SSM has no "write only if it is still version 7". It numbers every write though, so a write that came between is seen
at once: then the change is made again on top of what the other one wrote, and both are in force.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError, OverrideError
from scaler.config.overrides import SIZE_LIMIT, OverrideDocument, OverrideDocumentError, parse

Change = Callable[[OverrideDocument], OverrideDocument]

_BATCH = 10
"""GetParameters takes so many names a call."""
_PAGE = 50
_TRIES = 5


@dataclass(frozen=True)
class Override:
    """What is kept for one fleet."""

    fleet: str
    parameter: str
    version: int = 0
    """SSM's number of the write; 0 when nothing was ever ordered."""
    document: OverrideDocument | None = None
    """None when nothing was ever ordered, or what is kept is no order."""
    problem: str | None = None
    """Why what is kept is no order."""
    modified: datetime | None = None

    def base(self, now: datetime, *, fresh: bool = False) -> OverrideDocument:
        """Return what a change starts from; an order whose time is over is none, and with `fresh` every one.

        Raises:
            OverrideError: what is kept is no order.
        """
        if fresh:
            return OverrideDocument()
        if self.problem is not None:
            raise OverrideError(
                f"{self.parameter} holds no order: {self.problem}. Until it does, the scaler obeys the last order it "
                f"could read. `--clear` replaces it, also together with a new order."
            )
        if self.document is None or self.document.expired(now):
            return OverrideDocument()
        return self.document


@dataclass(frozen=True)
class OverrideVersion:
    """One write of the past."""

    number: int
    at: datetime
    who: str
    """The ARN that AWS noted."""
    document: OverrideDocument | None
    problem: str | None


class OverrideStore:
    """The controls of one environment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ssm = connection.client("ssm")

    def parameter(self, fleet: str) -> str:
        """Return the name of a fleet's parameter."""
        return f"/openmwaa/{self._connection.environment.name}/scaler/{fleet}"

    def read(self, fleets: Sequence[str]) -> Mapping[str, Override]:
        """Return what is kept for each of the fleets.

        Raises:
            OperateError: SSM cannot be asked.
        """
        found: dict[str, Override] = {}
        for start in range(0, len(fleets), _BATCH):
            batch = {self.parameter(fleet): fleet for fleet in fleets[start : start + _BATCH]}
            with self._asking("ssm:GetParameters", "*"):
                answer = self._ssm.get_parameters(Names=list(batch))
            for each in answer["Parameters"]:
                found[batch[each["Name"]]] = _order(batch[each["Name"]], each)
        return {fleet: found.get(fleet) or Override(fleet, self.parameter(fleet)) for fleet in fleets}

    def change(self, before: Override, change: Change, *, fresh: bool = False) -> tuple[Override, Sequence[Override]]:
        """Write `change` of what is kept; return what is in force, and what others wrote at the same moment.

        With `fresh`, nothing that is kept counts, nonsense neither.

        Raises:
            OperateError: SSM cannot be asked, or others write again and again.
            OverrideError: the change makes no sense on top of what another wrote.
        """
        others: list[Override] = []
        for _ in range(_TRIES):
            document = change(before.base(datetime.now(UTC), fresh=fresh))
            version = self._put(before, document)
            if version is None:  # somebody was the first to order
                before = self.read([before.fleet])[before.fleet]
                others.append(before)
                continue
            after = Override(before.fleet, before.parameter, version, document, modified=datetime.now(UTC))
            # 1: it was deleted in between, which leaves nothing to merge with.
            if version in (before.version + 1, 1):
                return after, others
            between = self._version(before.fleet, version - 1)
            others.append(between)
            if change(between.base(datetime.now(UTC), fresh=fresh)) == document:
                return after, others
            before = Override(before.fleet, before.parameter, version, between.document, between.problem)
        raise OperateError(
            f"{before.parameter} is written by others again and again; look with --history and try again."
        )

    def history(self, fleet: str) -> Sequence[OverrideVersion]:
        """Return the last hundred writes, newest first.

        Raises:
            OperateError: SSM cannot be asked.
        """
        found: list[OverrideVersion] = []
        more: dict[str, str] = {}
        while True:
            try:
                with self._asking("ssm:GetParameterHistory", fleet):
                    answer = self._ssm.get_parameter_history(Name=self.parameter(fleet), MaxResults=_PAGE, **more)
            except OperateError as error:
                if _code(error) == "ParameterNotFound":
                    return []
                raise
            found += [_version(each) for each in answer["Parameters"]]
            if not (token := answer.get("NextToken")):
                return sorted(found, key=lambda each: each.number, reverse=True)
            more = {"NextToken": token}

    def who(self) -> str:
        """Return who orders, for the order itself; AWS notes the ARN of who wrote it by itself."""
        if not self._connection.local:
            try:
                with aws_errors(self._connection, "sts:GetCallerIdentity", "*"):
                    return str(self._connection.client("sts").get_caller_identity()["Arn"])
            except OperateError:
                pass  # a network without a way to STS; AWS's own note is the one that counts
        try:
            return f"{getpass.getuser()}@{socket.gethostname()}"
        except (KeyError, OSError):  # a user id without a name
            return socket.gethostname()

    def _put(self, before: Override, document: OverrideDocument) -> int | None:
        """Write; return the version, or None where it was to be the first and is not."""
        text = document.to_text()
        if len(text.encode()) > SIZE_LIMIT:
            raise OverrideError(f"The order has {len(text.encode())} bytes; SSM takes {SIZE_LIMIT}. Shorten --why.")
        first = {"Type": "String", "Description": f"What `openmwaa scale` ordered for fleet {before.fleet}"}
        try:
            with self._asking("ssm:PutParameter", before.fleet):
                answer = self._ssm.put_parameter(
                    Name=before.parameter,
                    Value=text,
                    **({"Overwrite": True, "Type": "String"} if before.version else first),
                )
        except OperateError as error:
            if _code(error) == "ParameterAlreadyExists":
                return None
            raise
        return int(answer["Version"])

    def _version(self, fleet: str, number: int) -> Override:
        with self._asking("ssm:GetParameter", fleet):
            answer = self._ssm.get_parameter(Name=f"{self.parameter(fleet)}:{number}")
        return _order(fleet, {**answer["Parameter"], "Name": self.parameter(fleet)})

    def _asking(self, permission: str, fleet: str) -> Any:
        return aws_errors(self._connection, permission, f"parameter{self.parameter(fleet)}")


def describe(document: OverrideDocument) -> str:
    """Return what is ordered in words: "at most 3, pause in"; "nothing" where nothing is."""
    parts = [f"exactly {document.fixed}"] if document.fixed is not None else []
    parts += [f"at least {document.min}"] if document.min is not None else []
    parts += [f"at most {document.max}"] if document.max is not None else []
    parts += [f"pause {document.pause}"] if document.pause != "none" else []
    parts += ["dry run"] if document.dry_run else []
    return ", ".join(parts) or "nothing"


def as_data(document: OverrideDocument | None) -> dict[str, Any] | None:
    """Return an order as plain data, everything spelled out."""
    return None if document is None else json.loads(document.model_dump_json(exclude={"version"}))


def _code(error: OperateError) -> str:
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _order(fleet: str, parameter: Mapping[str, Any]) -> Override:
    document, problem = _read(parameter)
    return Override(
        fleet, parameter["Name"], int(parameter["Version"]), document, problem, parameter.get("LastModifiedDate")
    )


def _version(entry: Mapping[str, Any]) -> OverrideVersion:
    document, problem = _read(entry)
    who = str(entry.get("LastModifiedUser", ""))
    return OverrideVersion(int(entry["Version"]), entry["LastModifiedDate"], who, document, problem)


def _read(parameter: Mapping[str, Any]) -> tuple[OverrideDocument | None, str | None]:
    if parameter["Type"] != "String":
        return None, f"it is a {parameter['Type']}, not a String"
    try:
        return parse(parameter["Value"]), None
    except OverrideDocumentError as error:
        return None, str(error)
