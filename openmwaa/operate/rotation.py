# SPDX-License-Identifier: Apache-2.0
"""Rotates a secret of a running environment: a new value, then new tasks of the services that read it.

The state is in Secrets Manager, so a call continues what an interrupted one has begun: the ID of the current version
names the step, and the version gets a label when all services have read the last one.
"""

import base64
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from openmwaa.operate import services
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError
from openmwaa.operate.sleep import awake_status
from openmwaa.operate.waiting import WaitStatus, wait

SecretName = Literal["session-secret", "fernet-key"]
FINISHED: Final = "OPENMWAA_ROTATED"
"""The label of the version that all services have read."""
OF_TERRAFORM: Final = "OPENMWAA_TERRAFORM"
"""The label of Terraform's own version. AWS may delete a version without a label; Terraform would write a new value."""
_ID_PREFIX: Final = "openmwaa-rotate"


@dataclass(frozen=True)
class RotationStep:
    """One new value, and the deployments after it."""

    name: str
    sentence: str
    value: Callable[[str], str]
    """The new value, from the present one."""
    encrypts: bool = False
    """Whether a second start of the scheduler encrypts the database again, when no task encrypts with the old key."""


def _new_fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _last_first(keys: str) -> str:
    *others, last = keys.split(",")
    return ",".join((last, *others))


_VARIABLES: Final[Mapping[SecretName, str]] = {
    "session-secret": "OPENMWAA_API_SECRET_KEY",
    "fernet-key": "OPENMWAA_FERNET_KEY",
}
STEPS: Final[Mapping[SecretName, tuple[RotationStep, ...]]] = {
    "session-secret": (RotationStep("new", "The new session secret", lambda _: secrets.token_hex(32)),),
    # The first key encrypts, each one decrypts. So tasks of two neighbouring steps can read what the others write.
    "fernet-key": (
        RotationStep(
            "added", "The old key encrypts, the new one decrypts too", lambda old: f"{old},{_new_fernet_key()}"
        ),
        RotationStep("first", "The new key encrypts, the old one decrypts too", _last_first, encrypts=True),
        RotationStep("alone", "The new key alone", lambda keys: keys.partition(",")[0]),
    ),
}


@dataclass(frozen=True)
class SecretRotation:
    """The rotation of one secret."""

    connection: Connection
    name: SecretName
    secret: str
    """Its ARN."""
    services: tuple[str, ...]
    """The ECS services whose tasks read it."""

    @classmethod
    def of(cls, connection: Connection, name: SecretName) -> Self:
        """Find the secret and its readers in the task definitions.

        Raises:
            OperateError: AWS refuses or does not answer, or workers have the secret.
        """
        if name == "fernet-key" and not connection.environment.airflow.has_execution_api:
            raise OperateError(
                "The workers of Airflow 2 have the Fernet key, and this command does not replace workers. "
                "See `By hand` in docs/how-to/rotate-secrets.md."
            )
        found: dict[str, str] = {}
        for service, described in services.describe(connection, list(connection.environment.services)).items():
            definition = described["taskDefinition"]
            with aws_errors(connection, "ecs:DescribeTaskDefinition", f"the task definition {definition}"):
                answer = connection.client("ecs").describe_task_definition(taskDefinition=definition)
            for container in answer["taskDefinition"]["containerDefinitions"]:
                for secret in container.get("secrets", ()):
                    if secret["name"] == _VARIABLES[name]:
                        found[service] = secret["valueFrom"]
        return cls(connection, name, next(iter(found.values())), tuple(found))

    def run(self, progress: Callable[[str], None], *, limit_s: float) -> WaitStatus:
        """Do all steps, or the rest of a rotation that was interrupted; not done: call it again.

        Raises:
            OperateError: AWS refuses or does not answer; the text names the permission.
        """
        asleep, end = awake_status(self.connection), time.monotonic() + limit_s
        if asleep.failures:
            return asleep
        steps, begun = STEPS[self.name], self._begun()
        if begun is not None:
            progress("An unfinished rotation continues.")
            steps = steps[begun:]
        status = WaitStatus()
        for number, step in enumerate(steps):
            if number or begun is None:
                self._put(step)
            progress(f"{step.sentence}: new tasks of {', '.join(self.services)} read it.")
            status = self._deploy(self.services, progress, end)
            if step.encrypts and status.outcome == "done":
                scheduler = self.connection.environment.service_of["scheduler"]
                progress(f"A new task of {scheduler} encrypts the connections and variables again.")
                status = self._deploy((scheduler,), progress, end)
            if status.outcome != "done":
                return status
        self._finish()
        return status

    def _begun(self) -> int | None:
        """Return the step of an unfinished rotation."""
        versions = self._versions()
        current = _holder(versions, "AWSCURRENT")
        if FINISHED in versions[current]:
            return None
        steps = [number for number, step in enumerate(STEPS[self.name]) if current.startswith(_prefix(step))]
        return next(iter(steps), None)

    def _versions(self) -> Mapping[str, Collection[str]]:
        """Return the labels of each version, by its ID."""
        with self._client("DescribeSecret") as client:
            versions: Mapping[str, Collection[str]] = client.describe_secret(SecretId=self.secret)["VersionIdsToStages"]
            return versions

    def _put(self, step: RotationStep) -> None:
        """Write the value of a step."""
        versions = self._versions()
        if not _holder(versions, OF_TERRAFORM):
            self._label(OF_TERRAFORM, MoveToVersionId=_holder(versions, "AWSCURRENT"))
        # Only the new Fernet key depends on the old one, so the other rotation needs no permission to read.
        old = ""
        if self.name == "fernet-key":
            with self._client("GetSecretValue") as client:
                old = client.get_secret_value(SecretId=self.secret)["SecretString"]
        token = f"{_prefix(step)}{secrets.token_hex(16)}"
        with self._client("PutSecretValue") as client:
            client.put_secret_value(SecretId=self.secret, SecretString=step.value(old), ClientRequestToken=token)

    def _finish(self) -> None:
        versions = self._versions()
        former = {"RemoveFromVersionId": holder} if (holder := _holder(versions, FINISHED)) else {}
        self._label(FINISHED, MoveToVersionId=_holder(versions, "AWSCURRENT"), **former)

    def _label(self, label: str, **versions: str) -> None:
        with self._client("UpdateSecretVersionStage") as client:
            client.update_secret_version_stage(SecretId=self.secret, VersionStage=label, **versions)

    @contextmanager
    def _client(self, operation: str) -> Iterator[Any]:
        with aws_errors(self.connection, f"secretsmanager:{operation}", f"the secret {self.secret}"):
            yield self.connection.client("secretsmanager")

    def _deploy(self, names: Collection[str], progress: Callable[[str], None], end: float) -> WaitStatus:
        """Start new tasks beside the old ones, and wait until no old one is left."""
        forced = {}
        for name in names:
            with aws_errors(self.connection, "ecs:UpdateService", f"the service {name}"):
                answer = self.connection.client("ecs").update_service(
                    cluster=self.connection.resource_name, service=name, forceNewDeployment=True
                )
            forced[name] = services.primary(answer["service"])["id"]
        return wait([lambda: self._status(forced)], limit_s=max(0.0, end - time.monotonic()), progress=progress)

    def _status(self, forced: Mapping[str, str]) -> WaitStatus:
        awaited, failures = [], []
        for name, service in services.describe(self.connection, list(forced)).items():
            newest = services.primary(service)
            if newest["id"] != forced[name]:
                failures.append(f"{name}: ECS rolled the deployment back, or another one replaced it")
            elif newest["rolloutState"] == "FAILED":
                failures.append(
                    f"{name}: the deployment failed: {newest.get('rolloutStateReason') or 'no reason given'}"
                )
            elif newest["rolloutState"] != "COMPLETED" or len(service["deployments"]) != 1:
                awaited.append(f"{name}: {newest['runningCount']} of {service['desiredCount']} new tasks run")
        return WaitStatus(tuple(awaited), tuple(failures))


def _holder(versions: Mapping[str, Collection[str]], label: str) -> str:
    """Return the ID of the version with a label; empty without one."""
    return next((version for version, labels in versions.items() if label in labels), "")


def _prefix(step: RotationStep) -> str:
    return f"{_ID_PREFIX}-{step.name}-"
