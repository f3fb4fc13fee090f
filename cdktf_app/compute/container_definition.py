# SPDX-License-Identifier: Apache-2.0
"""Containers of a task definition as values; only `definition` uses ECS's names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cdktf_app.base.log_groups import LogGroup
from cdktf_app.compute.images import Image

DependencyCondition = Literal["START", "COMPLETE", "SUCCESS", "HEALTHY"]
STOP_TIMEOUT_S: Final = 30
LONGEST_STOP_TIMEOUT_S: Final = 120  # the maximum of Fargate
# ECS's minimum: a container that exits sooner after its start is not restarted.
_RESTART_AFTER_S: Final = 60


@dataclass(frozen=True)
class ContainerHealthCheck:
    """A health check: `command`, with its kind first, every `interval_s`; unhealthy after `retries` failures."""

    command: tuple[str, ...]
    interval_s: int
    timeout_s: int
    retries: int
    start_period_s: int


@dataclass(frozen=True)
class Mount:
    """A mount of a task volume in a container."""

    volume: str
    path: str
    read_only: bool


AIRFLOW_USER: Final = "50000:0"
SCALER_USER: Final = "50001:0"


@dataclass(frozen=True)
class ContainerSpec:
    """One container of a task; `secrets` are ARNs of secrets that ECS reads when the container starts."""

    name: str
    image: Image
    log_group: LogGroup
    region: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    more_environment: str | None = None
    """An HCL expression for further variables, which override `environment`."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    secret_keys: tuple[str, ...] = ()
    """KMS keys of secrets that the environment's key does not encrypt."""
    essential: bool = True
    restarted: bool = False
    """Whether ECS restarts the container in its task after it exits."""
    port: int | None = None
    depends_on: Mapping[str, DependencyCondition] = field(default_factory=dict)
    health: ContainerHealthCheck | None = None
    mounts: tuple[Mount, ...] = ()
    stop_timeout_s: int = STOP_TIMEOUT_S
    labels: Mapping[str, str] = field(default_factory=dict)
    log_stream: str | None = None
    """The start of the name of its log stream; left out, its name."""
    user: str = AIRFLOW_USER
    """Set here too, so that a custom image whose last USER is root does not run as root."""
    readonly: bool = True
    """Whether the root filesystem is read-only and all capabilities are dropped; `mounts` are writable.

    False for ECS Exec: its agent writes below /var as root.
    """

    def definition(self) -> dict[str, Any]:
        """Return the container definition as RegisterTaskDefinition takes it, without `environment` and empty fields.

        `fargate_service` adds `environment`, which refers to a local value.
        """
        both = sorted(set(self.environment) & set(self.secrets))
        if both:
            raise ValueError(f"container {self.name}: {', '.join(both)} is set in `environment` and in `secrets`")
        ports = [{"containerPort": self.port, "hostPort": self.port, "protocol": "tcp"}] if self.port else []
        written = {
            "name": self.name,
            "image": self.image.reference,
            "essential": self.essential,
            "restartPolicy": ({"enabled": True, "restartAttemptPeriod": _RESTART_AFTER_S} if self.restarted else None),
            "command": list(self.command),
            "secrets": [{"name": key, "valueFrom": arn} for key, arn in sorted(self.secrets.items())],
            "portMappings": ports,
            "dependsOn": [
                {"containerName": name, "condition": value} for name, value in sorted(self.depends_on.items())
            ],
            "healthCheck": self._health_check(),
            "mountPoints": [
                {"sourceVolume": mount.volume, "containerPath": mount.path, "readOnly": mount.read_only}
                for mount in self.mounts
            ],
            "stopTimeout": self.stop_timeout_s,
            "dockerLabels": {"openmwaa.image": self.image.kind, **self.labels},
            "user": self.user,
            "privileged": False,
            "readonlyRootFilesystem": self.readonly,
            "linuxParameters": self._linux(),
            "logConfiguration": self._log_configuration(),
        }
        return {key: value for key, value in written.items() if value not in ([], {}, None)}

    def _linux(self) -> dict[str, Any]:
        # The init process reaps orphans of DAG code and forwards SIGTERM.
        init = {"initProcessEnabled": True}
        return {**init, "capabilities": {"drop": ["ALL"]}} if self.readonly else init

    def _health_check(self) -> dict[str, Any] | None:
        if self.health is None:
            return None
        return {
            "command": list(self.health.command),
            "interval": self.health.interval_s,
            "timeout": self.health.timeout_s,
            "retries": self.health.retries,
            "startPeriod": self.health.start_period_s,
        }

    def _log_configuration(self) -> dict[str, Any]:
        return {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": self.log_group.name,
                "awslogs-region": self.region,
                "awslogs-stream-prefix": self.log_stream or self.name,
                # An outage of CloudWatch Logs must not block the component.
                "mode": "non-blocking",
                "max-buffer-size": "4m",
            },
        }
