# SPDX-License-Identifier: Apache-2.0
"""The AWS services that each component calls: the source of the VPC endpoints and of their reference page.

A test compares the rows with the components' policies in both directions: each allowed service has a row, and each row
is allowed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from openmwaa.config.broker import ElastiCache, Sqs
from openmwaa.config.environment import Environment
from openmwaa.config.metadata_database import RdsPostgresql

S3: Final = "s3"
IAM: Final = "iam"
"""Its endpoint is in us-east-1 only, and its name has no Region."""
STS: Final = "sts"
# Regions opened since December 2023: there the ECS endpoint also needs the two endpoints of the ECS agent.
ECS_WITH_AGENT: Final = frozenset(
    {"ca-west-1", "ap-southeast-5", "ap-southeast-7", "mx-central-1", "ap-east-2", "ap-southeast-6"}
)
START: Final = "start of a task"
"""Calls of Fargate with a component's execution role, through the task's network interface."""


@dataclass(frozen=True)
class When:
    """The environments in which a component makes a call."""

    words: str
    holds: Callable[[Environment], bool]


_ALWAYS: Final = When("always", lambda _: True)
_SQS: Final = When("broker SQS", lambda environment: isinstance(environment.broker, Sqs))
_ELASTICACHE: Final = When("broker ELASTICACHE", lambda environment: isinstance(environment.broker, ElastiCache))
_DEMAND_METRIC: Final = When("`demand_metric` of a fleet", lambda environment: environment.has_demand_metrics)
_SLEEP: Final = When("`sleep`", lambda environment: environment.sleep is not None)
_SLEEP_RDS: Final = When(
    "`sleep` and RDS_POSTGRESQL",
    lambda environment: environment.sleep is not None and isinstance(environment.metadata_database, RdsPostgresql),
)
_SLEEP_ALARMS: Final = When(
    "`sleep` and alarms", lambda environment: environment.sleep is not None and environment.monitoring.alarms
)
_CLOUDWATCH_LOGS: Final = When(
    "task logs in CLOUDWATCH",
    lambda environment: environment.logging_configuration.task_logs.destination == "CLOUDWATCH",
)
_S3_LOGS: Final = When(
    "task logs in S3", lambda environment: environment.logging_configuration.task_logs.destination == "S3"
)
_ARTEFACTS: Final = When("artefacts", lambda environment: bool(environment.artefacts))
_STARTUP_SCRIPT: Final = When("`startup_script_s3_path`", lambda environment: "startup_script" in environment.artefacts)
_IAM_LOGIN: Final = When("`web_access.login: IAM`", lambda environment: environment.web_access.uses_iam)
_SIMULATION: Final = When(
    "`login: IAM` and `role_source: SIMULATION`", lambda environment: environment.web_access.simulates_policies
)
_EXEC: Final = When("`enable_execute_command`", lambda environment: environment.enable_execute_command)
_WITH_AGENT: Final = When(
    f"in {', '.join(sorted(ECS_WITH_AGENT))}", lambda environment: environment.region in ECS_WITH_AGENT
)
_NO_PACKET: Final[tuple[str, ...]] = ()


@dataclass(frozen=True)
class AwsCall:
    """A call of `component` to the service with the IAM prefix `prefix`, through `endpoints` (may be empty)."""

    component: str
    prefix: str
    endpoints: tuple[str, ...]
    why: str
    when: When = _ALWAYS
    by_policy: bool = True
    """Whether the component's role must allow the call; calls of Fargate and ECS themselves need no permission."""


AWS_CALLS: Final = (
    AwsCall(START, "ecr", ("ecr.api", "ecr.dkr"), "Logs in to the registry and pulls the image"),
    AwsCall(START, "s3", (S3,), "Downloads image layers, which ECR stores in S3", by_policy=False),
    AwsCall(START, "logs", ("logs",), "Writes the output of containers"),
    AwsCall(START, "secretsmanager", ("secretsmanager",), "Reads secrets for environment variables"),
    AwsCall(START, "kms", _NO_PACKET, "Decrypts secrets: Secrets Manager calls KMS for the role"),
    AwsCall("scheduler", "sqs", ("sqs",), "Sends tasks", _SQS),
    AwsCall("scheduler", "kms", _NO_PACKET, "Decrypts messages: SQS calls KMS for the role", _SQS),
    AwsCall(
        "scheduler",
        "elasticache",
        ("elasticache",),
        "Sets the passwords of the broker's users before the scheduler starts",
        _ELASTICACHE,
    ),
    AwsCall("dag-processor", "s3", (S3,), "Reads DAGs"),
    AwsCall("dag-processor", "kms", _NO_PACKET, "Decrypts DAGs: S3 calls KMS for the role"),
    AwsCall("triggerer", "s3", (S3,), "Reads DAGs"),
    AwsCall("triggerer", "logs", ("logs",), "Writes the logs of triggers", _CLOUDWATCH_LOGS),
    AwsCall("triggerer", "kms", _NO_PACKET, "Decrypts DAGs: S3 calls KMS for the role"),
    AwsCall("web-server", "logs", ("logs",), "Shows the logs of tasks", _CLOUDWATCH_LOGS),
    AwsCall("web-server", "s3", (S3,), "Shows the logs of tasks", _S3_LOGS),
    AwsCall("web-server", "kms", _NO_PACKET, "Decrypts the logs of tasks: S3 calls KMS for the role", _S3_LOGS),
    AwsCall(
        "web-server",
        "sts",
        (STS,),
        "Sends the presigned requests with which callers prove their identity",
        _IAM_LOGIN,
        by_policy=False,
    ),
    AwsCall("web-server", "iam", (IAM,), "Evaluates the policies of callers", _SIMULATION),
    AwsCall("worker", "s3", (S3,), "Reads DAGs; DAG code reads the bucket"),
    AwsCall("worker", "logs", ("logs",), "Writes the logs of tasks"),
    AwsCall("worker", "cloudwatch", ("monitoring",), "DAG code may publish metrics, as in MWAA"),
    AwsCall("worker", "sqs", ("sqs",), "Receives tasks and returns them", _SQS),
    AwsCall("worker", "kms", _NO_PACKET, "Decrypts messages and DAGs: SQS and S3 call KMS for the role"),
    AwsCall("worker", "ecs", _NO_PACKET, "Sets task protection through the ECS agent's local address"),
    *(
        AwsCall(component, prefix, (prefix,), "DAG code reads connections and variables")
        for component in ("dag-processor", "triggerer", "worker")
        for prefix in ("secretsmanager", "ssm")
    ),
    AwsCall("scaler", "ecs", ("ecs",), "Lists tasks, sets desired counts"),
    AwsCall("scaler", "sqs", ("sqs",), "Counts waiting messages", _SQS),
    AwsCall("scaler", "ssm", ("ssm",), "Reads manual overrides; writes those that the web server sends with IAM login"),
    AwsCall("scaler", "logs", ("logs",), "Reads its earlier decisions"),
    AwsCall("scaler", "cloudwatch", ("monitoring",), "Publishes its metrics and MWAA's"),
    AwsCall("scaler", "cloudwatch", ("monitoring",), "Reads the metrics that are demand of fleets", _DEMAND_METRIC),
    AwsCall("scaler", "ssm", ("ssm",), "Reads and writes the record of sleep", _SLEEP),
    AwsCall("scaler", "rds", ("rds",), "Stops and starts the database", _SLEEP_RDS),
    AwsCall("scaler", "cloudwatch", ("monitoring",), "Disables notifications of alarms during sleep", _SLEEP_ALARMS),
    *(
        call
        for component in ("scheduler", "execution-api", "web-server")
        for call in (
            AwsCall(component, "s3", (S3,), "Reads requirements, plugins and startup script", _ARTEFACTS),
            AwsCall(component, "kms", _NO_PACKET, "Decrypts them: S3 calls KMS for the role", _ARTEFACTS),
        )
    ),
    *(
        AwsCall(component, "logs", ("logs",), "Writes the log of the startup script", _STARTUP_SCRIPT)
        for component in ("scheduler", "dag-processor", "triggerer", "execution-api", "web-server", "worker")
    ),
    *(
        AwsCall(component, "ssmmessages", ("ssmmessages",), "Opens ECS Exec sessions", _EXEC)
        for component in ("scheduler", "dag-processor", "triggerer", "execution-api", "web-server")
    ),
    AwsCall(
        "ECS's agent",
        "ecs",
        ("ecs-agent", "ecs-telemetry"),
        "Needed beside the ECS endpoint; without them the agent needs internet access",
        _WITH_AGENT,
        by_policy=False,
    ),
)
# Endpoints that support no policy, or that only AWS calls.
WITHOUT_POLICY: Final = frozenset({"ssmmessages", "ecs-agent", "ecs-telemetry"})


def endpoints_of(environment: Environment) -> Mapping[str, tuple[AwsCall, ...]]:
    """Return the endpoints that `environment` needs without internet access, each with the calls that use it."""
    needed: dict[str, tuple[AwsCall, ...]] = {}
    for call in AWS_CALLS:
        if call.when.holds(environment):
            for endpoint in call.endpoints:
                needed[endpoint] = (*needed.get(endpoint, ()), call)
    return dict(sorted(needed.items()))
