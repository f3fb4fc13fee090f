# SPDX-License-Identifier: Apache-2.0
"""Which service of AWS each component calls and why: what VPC endpoints are made from, and the reference page of them.

A test holds every row to the components' policies, both ways: who may call a service has a row of it, and a row is of
somebody who may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from openmwaa.config.broker import ElastiCache, Sqs
from openmwaa.config.environment import Environment

S3: Final = "s3"
# Regions in which ECS's endpoint is used only beside the two of its agent: those that AWS opened since December 2023.
ECS_WITH_AGENT: Final = frozenset(
    {"ca-west-1", "ap-southeast-5", "ap-southeast-7", "mx-central-1", "ap-east-2", "ap-southeast-6"}
)
START: Final = "start of a task"
"""What Fargate does with a component's execution role, through the task's own network interface."""


def _always(_: Environment) -> bool:
    return True


def _by_sqs(environment: Environment) -> bool:
    return isinstance(environment.broker, Sqs)


def _by_elasticache(environment: Environment) -> bool:
    return isinstance(environment.broker, ElastiCache)


def _by_exec(environment: Environment) -> bool:
    return environment.enable_execute_command


def _with_agent(environment: Environment) -> bool:
    return environment.region in ECS_WITH_AGENT


@dataclass(frozen=True)
class AwsCall:
    """`component` calls the service whose IAM actions begin with `prefix`, by `endpoints`, or by none."""

    component: str
    prefix: str
    endpoints: tuple[str, ...]
    why: str
    when: Callable[[Environment], bool] = _always
    condition: str = ""
    """When that is, in words; always when empty."""
    by_policy: bool = True
    """Whether the component's role allows it; what Fargate and ECS do by themselves needs none."""


_NO_PACKET: Final[tuple[str, ...]] = ()
_SQS: Final = "broker SQS"
_ELASTICACHE: Final = "broker ELASTICACHE"
_EXEC: Final = "`enable_execute_command`"

AWS_CALLS: Final = (
    AwsCall(START, "ecr", ("ecr.api", "ecr.dkr"), "Log in to the registry and pull the image"),
    AwsCall(START, "s3", (S3,), "The image's layers, which ECR keeps in S3", by_policy=False),
    AwsCall(START, "logs", ("logs",), "What containers print"),
    AwsCall(START, "secretsmanager", ("secretsmanager",), "Secrets that become variables of a container"),
    AwsCall(START, "kms", _NO_PACKET, "Secrets Manager asks KMS on the role's behalf"),
    AwsCall("scheduler", "sqs", ("sqs",), "Sends tasks", _by_sqs, _SQS),
    AwsCall("scheduler", "kms", _NO_PACKET, "SQS asks KMS on the role's behalf", _by_sqs, _SQS),
    AwsCall(
        "scheduler",
        "elasticache",
        ("elasticache",),
        "Gives the broker's users their passwords before the first start",
        _by_elasticache,
        _ELASTICACHE,
    ),
    AwsCall("dag-processor", "s3", (S3,), "Reads DAGs"),
    AwsCall("dag-processor", "kms", _NO_PACKET, "S3 asks KMS on the role's behalf"),
    AwsCall("triggerer", "s3", (S3,), "Reads DAGs"),
    AwsCall("triggerer", "logs", ("logs",), "Writes the logs of triggers"),
    AwsCall("triggerer", "kms", _NO_PACKET, "S3 asks KMS on the role's behalf"),
    AwsCall("web-server", "logs", ("logs",), "Shows the logs of tasks"),
    AwsCall("worker", "s3", (S3,), "Reads DAGs; DAG code reads its bucket"),
    AwsCall("worker", "logs", ("logs",), "Writes the logs of tasks"),
    AwsCall(
        "worker",
        "cloudwatch",
        ("monitoring",),
        "DAG code may publish metrics, as in MWAA",
    ),
    AwsCall(
        "worker",
        "sqs",
        ("sqs",),
        "Receives tasks, gives them back",
        _by_sqs,
        _SQS,
    ),
    AwsCall("worker", "kms", _NO_PACKET, "SQS and S3 ask KMS on the role's behalf"),
    AwsCall(
        "worker",
        "ecs",
        _NO_PACKET,
        "Protects itself by the ECS agent's address in the task, which asks ECS",
    ),
    AwsCall("scaler", "ecs", ("ecs",), "Sees tasks, sizes services"),
    AwsCall("scaler", "sqs", ("sqs",), "Counts what waits", _by_sqs, _SQS),
    AwsCall("scaler", "ssm", ("ssm",), "Reads what people ordered"),
    AwsCall("scaler", "cloudwatch", ("monitoring",), "Publishes its numbers, and MWAA's"),
    *(
        AwsCall(component, "ssmmessages", ("ssmmessages",), "Sessions of ECS Exec", _by_exec, _EXEC)
        for component in ("scheduler", "dag-processor", "triggerer", "execution-api", "web-server")
    ),
    AwsCall(
        "ECS's agent",
        "ecs",
        ("ecs-agent", "ecs-telemetry"),
        "With an endpoint of ECS and without these, its traffic would need the internet",
        _with_agent,
        f"in {', '.join(sorted(ECS_WITH_AGENT))}",
        by_policy=False,
    ),
)
# Whose endpoints take no policy, or whose callers are AWS's own.
WITHOUT_POLICY: Final = frozenset({"ssmmessages", "ecs-agent", "ecs-telemetry"})


def endpoints_of(environment: Environment) -> Mapping[str, tuple[AwsCall, ...]]:
    """Return the endpoints that `environment` needs where there is no internet, each with the calls that need it."""
    needed: dict[str, tuple[AwsCall, ...]] = {}
    for call in AWS_CALLS:
        if call.when(environment):
            for endpoint in call.endpoints:
                needed[endpoint] = (*needed.get(endpoint, ()), call)
    return dict(sorted(needed.items()))
