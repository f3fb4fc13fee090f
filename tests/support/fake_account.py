# SPDX-License-Identifier: Apache-2.0
"""An AWS account and Terraform in memory, for the steps of `openmwaa deploy` and `destroy`."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from openmwaa.errors import TerraformError
from openmwaa.plan.terraform import PLAN_FILE

ACCOUNT = "123456789012"
REGISTRY = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
RETAINED = ["family", "/openmwaa/quickstart/scaler/default"]
PASSWORD = "a-token-of-the-registry"
METRIC = {
    "MetricNamespace": "AWS/Usage",
    "MetricName": "ResourceCount",
    "MetricDimensions": {"Service": "Fargate", "Resource": "vCPU"},
    "MetricStatisticRecommendation": "Maximum",
}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "on demand"}}, "Operation")


class Exceptions:
    """The exceptions of boto3's clients."""

    class ResourceNotFoundException(Exception):  # noqa: N818 - boto3's name
        pass


@dataclass
class FakeAccount:
    """Every client of the account in one; `faults` are raised by the operation of that name."""

    quotas: dict[str, float] = field(default_factory=lambda: {"fargate": 100.0, "ec2": 5.0, "vpc": 5.0})
    used_vcpus: float | None = 2.0
    images: dict[str, str] = field(default_factory=dict)
    """Tags and digests, of all repositories."""
    objects: int = 0
    contents: dict[str, bytes] = field(default_factory=dict)
    """Objects that exist, by key."""
    services: dict[str, list[int]] = field(default_factory=dict)
    """Desired counts of a service, one an answer; the last one stays."""
    busy: dict[str, int | None] = field(default_factory=dict)
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    database: list[str] = field(default_factory=lambda: ["available"])
    """Statuses of the RDS instance, one an answer; the last one stays."""
    faults: dict[str, Exception] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    exceptions = Exceptions

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if callable(found) and name.islower() and name[0] != "_" and name != "exceptions":
            self.calls.append(name)
            if fault := self.faults.get(name):
                raise fault
        return found

    def head_object(self, **request: str) -> Any:
        if request["Key"] not in self.contents:
            raise refusal("404")
        return {"VersionId": "1", "ContentLength": len(self.contents[request["Key"]])}

    def get_object(self, **request: str) -> Any:
        return {"Body": BytesIO(self.contents[request["Key"]])}

    def get_caller_identity(self) -> Any:
        return {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/one"}

    def get_service_quota(self, **request: str) -> Any:
        service = request["ServiceCode"]
        if service not in self.quotas:
            raise refusal("NoSuchResourceException")
        metric = {"UsageMetric": METRIC} if service == "fargate" else {}
        return {"Quota": {"Value": self.quotas[service], **metric}}

    def get_aws_default_service_quota(self, **_: str) -> Any:
        return {"Quota": {"Value": 5.0}}

    def get_metric_statistics(self, **request: Any) -> Any:
        assert request["Dimensions"] == [{"Name": "Service", "Value": "Fargate"}, {"Name": "Resource", "Value": "vCPU"}]
        old, now = ({"Timestamp": datetime(2026, 1, day, tzinfo=UTC)} for day in (1, 2))
        return {
            "Datapoints": []
            if self.used_vcpus is None
            else [{**now, "Maximum": self.used_vcpus}, {**old, "Maximum": 0}]
        }

    def describe_addresses(self) -> Any:
        return {"Addresses": [{}] * 2}

    def get_paginator(self, operation: str) -> Any:
        return self

    def paginate(self) -> Any:
        return [{"Vpcs": [{}]}, {"Vpcs": [{}]}]

    def get_role(self, **_: str) -> Any:
        return {}

    def describe_images(self, **request: Any) -> Any:
        tag = request["imageIds"][0]["imageTag"]
        if tag not in self.images:
            raise refusal("ImageNotFoundException")
        return {"imageDetails": [{"imageDigest": self.images[tag]}]}

    def get_authorization_token(self) -> Any:
        return {"authorizationData": [{"authorizationToken": base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()}]}

    def list_object_versions(self, **_: Any) -> Any:
        return {"Versions": [{}] * self.objects} if self.objects else {}

    def describe_services(self, cluster: str, services: Sequence[str]) -> Any:
        found = []
        for name in services:
            counts = self.services.get(name, [0])
            desired = counts.pop(0) if len(counts) > 1 else counts[0]
            counted = {"desiredCount": desired, "runningCount": desired, "pendingCount": 0}
            found.append({"serviceName": name, "status": "ACTIVE", **counted})
        return {"services": found}

    def filter_log_events(self, **request: Any) -> Any:
        at = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
        lines = [
            {"event": "decision", "version": 1, "fleet": fleet, "at": at, "workers": {"busy": busy}}
            for fleet, busy in self.busy.items()
        ]
        return {"events": [{"message": json.dumps(line)} for line in lines]}

    def get_parameters(self, **request: Sequence[str]) -> Any:
        found = [
            {"Name": name, "Type": "String", "Version": 1, "Value": json.dumps(self.overrides[name])}
            for name in request["Names"]
            if name in self.overrides
        ]
        return {"Parameters": found}

    def describe_db_instances(self, **_: str) -> Any:
        status = self.database.pop(0) if len(self.database) > 1 else self.database[0]
        return {"DBInstances": [{"DBInstanceStatus": status}]}

    def put_parameter(self, **request: Any) -> Any:
        self.overrides[request["Name"]] = json.loads(request["Value"])
        return {"Version": 1}

    def delete_parameters(self, **request: Sequence[str]) -> None:
        for name in request["Names"]:
            self.overrides.pop(name, None)


@dataclass
class FakeTerraform:
    """`PlanRunner` over a state in memory: it adds what the stack has and the state has not, and removes the rest."""

    folder: Path
    state: dict[str, dict[str, Any]] = field(default_factory=dict)
    account: str = ACCOUNT
    faults: dict[str, BaseException] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    tainted: set[str] = field(default_factory=set)
    """Resources whose creation was interrupted."""
    _planned: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    def __call__(self, folder: Path, **_: Any) -> "FakeTerraform":
        self.folder = folder
        return self

    @property
    def plan_file(self) -> Path:
        return self.folder / PLAN_FILE

    def init(self) -> None:
        self._fault("init")

    def create(self, arguments: Sequence[str] = ()) -> dict[str, Any]:
        self.calls.append(" ".join(("plan", *arguments)))
        self._fault("plan")
        wanted = {} if "-destroy" in arguments else self._wanted()
        targets = {word.removeprefix("-target=") for word in arguments if word.startswith("-target=")}
        changes = {address: self._action(address, wanted) for address in {**wanted, **self.state}}
        changes = {address: action for address, action in changes.items() if not targets or address in targets}
        self._planned = {address: wanted.get(address) for address, action in changes.items() if action != "no-op"}
        self.plan_file.touch()
        return {
            "format_version": "1.2",
            "resource_changes": [_change(address, action) for address, action in changes.items()],
            "prior_state": self.show(),
        }

    def show(self) -> dict[str, Any]:
        resources = [
            {"address": address, "mode": "managed", "type": kind, "name": name, "values": values}
            for address, values in self.state.items()
            for kind, name in [address.split(".")]
        ]
        return {"format_version": "1.0", "values": {"root_module": {"resources": resources}}}

    def apply(self, total: int) -> int:
        self.calls.append("apply")
        assert self.plan_file.exists(), "only a kept plan is applied"
        self.delete()
        names = sorted(self._planned, key=lambda address: address.startswith("aws_ecs_service."))
        fault = self.faults.pop("apply", None)
        made = names[: len(names) // 2 if fault else None]
        self.tainted = set(made[-3:]) if fault else set()
        for address in made:
            after = self._planned[address]
            if after is None:
                del self.state[address]
            else:
                self.state[address] = after
        if fault:
            raise fault
        return total

    def untaint(self, address: str) -> None:
        self.calls.append(f"untaint {address}")
        self.tainted.remove(address)

    def outputs(self) -> dict[str, Any]:
        self._fault("output")
        secret = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:admin"
        return {"web_url": "http://web", "admin_password_secret_arn": secret, "retained_resources": RETAINED}

    def delete(self) -> None:
        self.plan_file.unlink(missing_ok=True)

    def _fault(self, name: str) -> None:
        if fault := self.faults.pop(name, None):
            raise fault

    def _action(self, address: str, wanted: Mapping[str, Any]) -> str:
        if address not in wanted:
            return "delete"
        if address not in self.state:
            return "create"
        if address in self.tainted:
            return "replace"
        return "no-op" if self.state[address] == wanted[address] else "update"

    def _wanted(self) -> dict[str, dict[str, Any]]:
        document = json.loads((self.folder / "cdk.tf.json").read_text())
        settings = document["locals"]["scaler_config"]
        config = json.dumps({"fleets": settings["fleets"], "sleep": settings.get("sleep")})
        scaler = json.dumps([{"environment": [{"name": "SCALER_CONFIG", "value": config}]}])
        computed: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "aws_ecr_repository": lambda values: {"repository_url": f"{REGISTRY}/{values['name']}"},
            "aws_ecs_task_definition": lambda _: {"container_definitions": scaler},
            "aws_ecs_cluster": lambda _: {"arn": f"arn:aws:ecs:us-east-1:{self.account}:cluster/one"},
            "aws_s3_bucket": lambda _: {"bucket": "a-bucket"},
        }
        return {
            f"{kind}.{name}": {**values, **(computed[kind](values) if kind in computed else {})}
            for kind, named in document["resource"].items()
            for name, values in named.items()
        }


def _change(address: str, action: str) -> dict[str, Any]:
    kind, name = address.split(".")
    actions, reason = ([action], {}) if action != "replace" else (["delete", "create"], TAINTED)
    return {"address": address, "mode": "managed", "type": kind, "name": name, "change": {"actions": actions}, **reason}


TAINTED = {"action_reason": "replace_because_tainted"}


def terraform_fault() -> TerraformError:
    return TerraformError("Terraform could not apply the plan:\n- on demand")
