# SPDX-License-Identifier: Apache-2.0
"""The rotation of a secret: the values that tasks read, interruptions at every call, failures and refusals."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openmwaa.config.control_plane import COMPONENTS
from openmwaa.config.environment import Environment
from openmwaa.operate.errors import OperateError, PermissionMissingError
from openmwaa.operate.rotation import SecretName, SecretRotation
from openmwaa.operate.waiting import WaitStatus
from tests.support.environments import LEAST
from tests.support.fake_connection import FakeConnection

READERS = {
    "OPENMWAA_API_SECRET_KEY": {"execution-api", "web-server"},
    "OPENMWAA_FERNET_KEY": set(COMPONENTS),
}
OLD, OF_TERRAFORM = "the old value", "00000000-0000-0000-0000-000000000000"


@dataclass
class FakeAws:
    """Secrets Manager and ECS. A forced deployment replaces the tasks at once, except for the changes of a test."""

    name: SecretName
    values: dict[str, str] = field(default_factory=lambda: {OF_TERRAFORM: OLD})
    labels: dict[str, str] = field(default_factory=lambda: {"AWSCURRENT": OF_TERRAFORM})
    calls: int = 0
    interrupted_at: int | None = None
    denied: str = ""
    rolled_back: str = ""
    unfinished: str = ""
    database: str = OLD
    """The key that encrypts connections."""

    def __post_init__(self) -> None:
        self.read = dict.fromkeys(COMPONENTS, OLD)
        self.history: list[tuple[str, str]] = []
        self.deployments = dict.fromkeys(COMPONENTS, 0)

    @property
    def current(self) -> str:
        return self.values[self.labels["AWSCURRENT"]]

    def rotate(self, **more: Any) -> WaitStatus:
        environment = Environment.model_validate({**LEAST, "control_plane": "SEPARATE", **more})
        connection = FakeConnection(
            environment, Path("environment.yaml"), fake=self, services=("ecs", "secretsmanager")
        )
        return SecretRotation.of(connection, self.name).run(lambda _: None, limit_s=0)

    def _called(self, operation: str) -> None:
        self.calls += 1
        if self.calls == self.interrupted_at:
            raise KeyboardInterrupt
        if operation == self.denied:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)

    def describe_services(self, *, cluster: str, services: list[str]) -> Any:
        self._called("DescribeServices")
        return {"services": [self._service(name) for name in services]}

    def _service(self, name: str) -> dict[str, Any]:
        number = self.deployments[name] - (name == self.rolled_back)
        deployment = {
            "id": f"ecs-svc/{number}",
            "status": "PRIMARY",
            "rolloutState": "IN_PROGRESS" if name == self.unfinished else "COMPLETED",
            "runningCount": 1,
        }
        return {
            "serviceName": name,
            "status": "ACTIVE",
            "taskDefinition": name,
            "desiredCount": 1,
            "deployments": [deployment],
        }

    def describe_task_definition(self, *, taskDefinition: str) -> Any:  # noqa: N803 - boto3's own
        self._called("DescribeTaskDefinition")
        secrets = [
            {"name": variable, "valueFrom": f"arn:{variable}"}
            for variable, readers in READERS.items()
            if taskDefinition in readers
        ]
        return {"taskDefinition": {"containerDefinitions": [{"name": "main", "secrets": secrets}]}}

    def update_service(self, *, cluster: str, service: str, forceNewDeployment: bool) -> Any:  # noqa: N803
        self._called("UpdateService")
        assert forceNewDeployment
        self.deployments[service] += 1
        self.read[service] = self.current
        self.history.append((service, self.current))
        if service == "scheduler" and "," in self.current:
            assert self.database in self.current.split(","), "the scheduler cannot decrypt the database"
            self.database = self.current.partition(",")[0]
        self._keys_are_safe()
        started = self._service(service)
        started["deployments"][0]["id"] = f"ecs-svc/{self.deployments[service]}"
        return {"service": started}

    def _keys_are_safe(self) -> None:
        if self.name == "fernet-key":
            encrypting = {value.partition(",")[0] for value in self.read.values()} | {self.database}
            for service, value in self.read.items():
                assert encrypting <= set(value.split(",")), f"{service} cannot decrypt what another service writes"

    def describe_secret(self, *, SecretId: str) -> Any:  # noqa: N803
        self._called("DescribeSecret")
        stages: dict[str, list[str]] = {}
        for label, version in self.labels.items():
            stages.setdefault(version, []).append(label)
        return {"VersionIdsToStages": stages}

    def get_secret_value(self, *, SecretId: str) -> Any:  # noqa: N803
        self._called("GetSecretValue")
        return {"SecretString": self.current}

    def put_secret_value(self, *, SecretId: str, SecretString: str, ClientRequestToken: str) -> Any:  # noqa: N803
        self._called("PutSecretValue")
        assert 32 <= len(ClientRequestToken) <= 64
        self.labels["AWSPREVIOUS"] = self.labels["AWSCURRENT"]
        self.labels["AWSCURRENT"] = ClientRequestToken
        self.values[ClientRequestToken] = SecretString
        # AWS may delete a version without a label.
        self.values = {version: self.values[version] for version in self.labels.values()}

    def update_secret_version_stage(
        self,
        *,
        SecretId: str,  # noqa: N803
        VersionStage: str,  # noqa: N803
        MoveToVersionId: str,  # noqa: N803
        RemoveFromVersionId: str | None = None,  # noqa: N803
    ) -> None:
        self._called("UpdateSecretVersionStage")
        assert self.labels.get(VersionStage) == RemoveFromVersionId, "AWS refuses to move a label from another version"
        self.labels[VersionStage] = MoveToVersionId


def test_a_new_session_secret_is_read_by_the_services_that_sign_with_it() -> None:
    aws = FakeAws("session-secret")
    assert aws.rotate().outcome == "done"
    assert aws.current != OLD
    assert len(aws.current) == 64
    assert aws.history == [("execution-api", aws.current), ("web-server", aws.current)]


def test_services_read_both_fernet_keys_before_one_of_them_encrypts_with_the_new_one() -> None:
    aws = FakeAws("fernet-key")
    assert aws.rotate().outcome == "done"
    new = aws.current
    assert len(base64.urlsafe_b64decode(new)) == 32
    rounds = [f"{OLD},{new}", f"{new},{OLD}", new]
    assert [value for service, value in aws.history if service == "web-server"] == rounds
    assert [value for service, value in aws.history if service == "scheduler"] == [rounds[0], *rounds[1:2] * 2, new]
    assert aws.database == new


@pytest.mark.parametrize("name", ["session-secret", "fernet-key"])
def test_every_call_rotates_again_and_keeps_terraforms_version(name: SecretName) -> None:
    aws = FakeAws(name)
    values = {OLD}
    for _ in range(3):
        assert aws.rotate().outcome == "done"
        values.add(aws.current)
        assert aws.values[OF_TERRAFORM] == OLD, "Terraform would write a new value over the rotated one"
    assert len(values) == 4


@pytest.mark.parametrize("name", ["session-secret", "fernet-key"])
def test_a_call_continues_what_an_interrupted_one_has_begun(name: SecretName) -> None:
    whole = FakeAws(name)
    whole.rotate()
    begun = 0
    for call in range(1, whole.calls + 1):
        aws = FakeAws(name, interrupted_at=call)
        with pytest.raises(KeyboardInterrupt):
            aws.rotate()
        values = set(aws.current.split(","))
        assert aws.rotate().outcome == "done"
        assert "," not in aws.current
        assert set(aws.read.values()) <= {OLD, aws.current}
        if values != {OLD}:
            begun += 1
            assert aws.current in values, f"interrupted at call {call}: the rotation began again"
    assert begun > len(READERS), "no interruption was after the first new value"


@pytest.mark.parametrize(
    ("change", "outcome", "text"),
    [
        ({"rolled_back": "web-server"}, "failed", "web-server: ECS rolled the deployment back"),
        ({"unfinished": "web-server"}, "unfinished", "web-server: 1 of 1 new tasks run"),
    ],
    ids=["rolled back", "not in time"],
)
def test_a_value_follows_only_when_all_services_have_read_the_one_before(
    change: dict[str, str], outcome: str, text: str
) -> None:
    aws = FakeAws("fernet-key", **change)  # type: ignore[arg-type]
    status = aws.rotate()
    assert (status.outcome, [line[: len(text)] for line in status.failures or status.awaited]) == (outcome, [text])
    assert aws.current.startswith(f"{OLD},")


@pytest.mark.parametrize(
    ("operation", "service"),
    [
        *((f"{word}", "secretsmanager") for word in ("DescribeSecret", "PutSecretValue", "UpdateSecretVersionStage")),
        ("GetSecretValue", "secretsmanager"),
        ("UpdateService", "ecs"),
        ("DescribeTaskDefinition", "ecs"),
    ],
)
def test_a_missing_permission_is_named(operation: str, service: str) -> None:
    with pytest.raises(PermissionMissingError, match=f"Allow {service}:{operation} there in an IAM policy"):
        FakeAws("fernet-key", denied=operation).rotate()


def test_the_fernet_key_of_airflow_2_is_refused_because_workers_have_it() -> None:
    with pytest.raises(OperateError, match="workers of Airflow 2 have the Fernet key"):
        FakeAws("fernet-key").rotate(airflow_version="2.11.2")
