# SPDX-License-Identifier: Apache-2.0
"""botocore's own client of IAM, with answers of this module: parameters are validated by the service's model."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import botocore.session
from botocore.exceptions import BotoCoreError

Json = dict[str, Any]
_SESSION = botocore.session.Session()  # shared: loading the model takes long
Shape = Literal["template", "resource", "first"]
"""AWS's answer since 2025 (a template, with results for each resource), its answer before, and an emulator's."""


@dataclass
class FakeIam:
    """The account's roles and what the policies of each user and role grant."""

    grants: Mapping[str, set[str]] = field(default_factory=dict)
    """By ARN of a user or role: the granted resources."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """The ARNs of roles by name."""
    shape: Shape = "template"
    change: Callable[[Json], object] = lambda _: None
    """Changes each result before it is sent."""
    action: str | None = None
    """The answers are about this action."""
    error: str | BotoCoreError | None = None
    """The code of an error that IAM answers, or the client's own error."""
    calls: list[tuple[str, Json]] = field(default_factory=list)
    release: threading.Event | None = None
    """Every answer waits for it."""

    def client(self) -> Any:
        """Return the client."""
        client = _SESSION.create_client(
            "iam", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        client.meta.events.register("before-parameter-build.iam", self._record)
        client.meta.events.register("before-call.iam", self._answer)  # type: ignore[arg-type] # its answer is used
        return client

    def sent(self, operation: str) -> list[Json]:
        """Return the parameters of the calls of an operation."""
        return [params for name, params in self.calls if name == operation]

    def _record(self, params: Json, model: Any, **_: object) -> None:
        self.calls.append((model.name, dict(params)))

    def _answer(self, model: Any, **_: object) -> tuple[Any, Json]:
        if self.release:
            assert self.release.wait(60)
        params = self.sent(model.name)[-1]
        error = self.error
        if isinstance(error, BotoCoreError):
            raise error
        if error is None and model.name == "GetRole":
            if arn := self.roles.get(params["RoleName"]):
                return _Http(200), {"Role": {"Arn": arn}}
            error = "NoSuchEntity"
        if error is None and params["PolicySourceArn"] not in self.grants:
            error = "NoSuchEntity"
        if error is not None:
            return _Http(400), {"Error": {"Code": error, "Message": "secret words of AWS"}, "ResponseMetadata": {}}
        return _Http(200), {"EvaluationResults": list(self._results(params)), "IsTruncated": False}

    def _results(self, params: Json) -> list[Json]:
        granted = self.grants[params["PolicySourceArn"]]
        (action,) = params["ActionNames"]
        rows = [self._row(arn, granted) for arn in params["ResourceArns"]]
        if self.shape == "template":
            top = {**self._row("arn:${Partition}:airflow", granted), "EvalResourceDecision": None}
            rows = [top | {"ResourceSpecificResults": rows}]
        elif self.shape == "first":
            rows = rows[:1]
        return [
            {**row, "EvalActionName": self.action or action, "EvalDecision": row.pop("EvalResourceDecision")}
            for row in rows
        ]

    def _row(self, arn: str, granted: set[str]) -> Json:
        row = {
            "EvalResourceName": arn,
            "EvalResourceDecision": "allowed" if arn in granted else "implicitDeny",
            "MatchedStatements": [{"SourcePolicyId": f"policy of {arn.rpartition('/')[2]}"}] if arn in granted else [],
            "MissingContextValues": [],
        }
        self.change(row)
        return row


@dataclass
class _Http:
    status_code: int
