# SPDX-License-Identifier: Apache-2.0
"""Every field of environment.yaml with another value for it: what a user may change in a running environment.

`fields()` finds the fields by walking the models, so a test fails for a new field without a row here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from openmwaa.config.environment import Environment
from tests.support.environments import LEAST

Base = Literal["own", "byo"]
Json = dict[str, Any]


@dataclass(frozen=True)
class May:
    """The field can change: `base` is an environment, `change` the changed fields."""

    change: Mapping[str, Any]
    base: Base = "own"


@dataclass(frozen=True)
class Stays:
    """The field cannot change: `openmwaa plan` refuses it."""

    change: Mapping[str, Any]
    base: Base = "own"


@dataclass(frozen=True)
class NotTried:
    """The field is not planned, with the reason."""

    because: str


Row = May | Stays | NotTried

ARN = "arn:aws:{}:us-east-1:123456789012:{}"
KEY = ARN.format("kms", "key/11111111-2222-3333-4444-555555555555")
OTHER_KEY = ARN.format("kms", "key/99999999-2222-3333-4444-555555555555")
POOL = ARN.format("cognito-idp", "userpool/us-east-1_{}")
GIT = {
    "url": "git+ssh://git@git.example.com/org/dags@main#dags",
    "secret_arn": ARN.format("secretsmanager", "secret:dags-AbCdEf"),
    "secret_kms_key": OTHER_KEY,
    "known_hosts": "git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
}
USER = "arn:aws:iam::123456789012:user/bob"
IAM_LOGIN = {
    "role_source": "TABLE",
    "role_table": [{"principal": USER, "role": "Op"}],
    "token_issuers": [{"issuer": "https://a.tokens.sts.global.api.aws", "account_id": "123456789012"}],
    "cli_role_scoping": False,
    "dag_access": [{"tag": "team:x", "principals": [USER], "role": "User"}],
}
SCHEDULE = {"cron": "0 6 * * 1-5", "minutes": 60, "min": 3, "timezone": "Europe/Zurich"}
METRIC = {
    "namespace": "Acme/Video",
    "metric_name": "FramesWaiting",
    "dimensions": {"Stage": "prod"},
    "statistic": "Sum",
    "slots_per_unit": 0.5,
    "period_seconds": 300,
}

BASES: Mapping[Base, Json] = {
    "own": {
        **LEAST,
        "control_plane": "SEPARATE",
        "metadata_database": {"kind": "AURORA_SERVERLESS_V2"},
        "broker": {"kind": "SQS"},
        "fleets": {
            "default": {"queues": ["default"]},
            "spare": {"queues": ["spare"]},
            "etl": {
                "queues": ["etl"],
                "cpu": 2048,
                "memory": 4096,
                "slots": 4,
                "schedule": [SCHEDULE],
                "fallback": {"mode": "hold-if-higher", "count": 2},
            },
        },
        "sizes": {
            name: {"cpu": 1024, "memory": 2048}
            for name in ("scheduler", "dag_processor", "triggerer", "webserver", "execution_api")
        },
    },
    "byo": {
        "name": "example",
        "control_plane": "SEPARATE",
        "kms_key": KEY,
        "webserver_access_mode": "PUBLIC_AND_PRIVATE",
        "web_access": {
            "domain": "airflow.example.com",
            "certificate_arn": ARN.format("acm", "certificate/1"),
            "allowed_cidrs": ["203.0.113.0/24"],
            "cognito": {
                "user_pool_arn": POOL.format("a"),
                "user_pool_client_id": "a",
                "user_pool_domain": "a",
            },
        },
        "metadata_database": {"kind": "RDS_POSTGRESQL"},
        "broker": {"kind": "ELASTICACHE"},
    },
}


def _default(**fields: Any) -> Json:
    return {"fleets": {"default": fields}}


def _etl(**fields: Any) -> Json:
    return {"fleets": {"etl": fields}}


def _log(module: str) -> dict[str, Row]:
    at = f"logging_configuration.{module}"
    return {
        f"{at}.enabled": May({"logging_configuration": {module: {"enabled": False}}}),
        f"{at}.log_level": May({"logging_configuration": {module: {"log_level": "DEBUG"}}}),
    }


def _size(component: str) -> dict[str, Row]:
    return {
        f"sizes.{component}.cpu": May({"sizes": {component: {"cpu": 512}}}),
        f"sizes.{component}.memory": May({"sizes": {component: {"memory": 4096}}}),
    }


def _database(kind: str, base: Base) -> dict[str, Row]:
    def of(**fields: Any) -> Row:
        return May({"metadata_database": fields}, base)

    at = f"metadata_database({kind})"
    return {
        f"{at}.engine_version": of(engine_version="17"),
        f"{at}.backup_retention_days": of(backup_retention_days=14),
        f"{at}.backup_window": of(backup_window="22:00-23:00"),
        f"{at}.maintenance_window": of(maintenance_window="mon:04:00-mon:05:00"),
        f"{at}.deletion_protection": of(deletion_protection=False),
        f"{at}.final_snapshot": May({"metadata_database": {"final_snapshot": True}}, "byo")
        if base == "byo"
        else NotTried("it needs a kms_key of the user's; tried with RDS_POSTGRESQL, whose code it shares"),
        f"{at}.performance_insights": of(performance_insights=False),
        f"{at}.enhanced_monitoring_seconds": of(enhanced_monitoring_seconds=30),
        f"{at}.log_exports": of(log_exports=False),
        f"{at}.sslmode": of(sslmode="verify-full"),
    }


_RESCHEDULED = May(_etl(schedule=[{"cron": "0 7 * * 1-5", "minutes": 90, "min": 4, "timezone": "UTC"}]))
_CHOICE = NotTried("it chooses among kinds; the change of kind is the row of the other one")
_OBJECT = NotTried("its object must exist while it is planned; it is a variable of the containers, with its version")
_EXISTING = NotTried("tasks get it as a variable: there is no database of the stack's to replace")
_OIDC = NotTried("a part of a listener's action, as `cognito`; its secret is read while it is planned")
_STATE = NotTried("where Terraform keeps its state is of no resource")
_COMPACT = NotTried("it needs `control_plane: COMPACT`; the size of a task, as `sizes.scheduler`")
_VPC = NotTried("it needs a VPC that exists while it is planned")

ROWS: Mapping[str, Row] = {
    "name": Stays({"name": "other"}),
    "airflow_version": Stays({"airflow_version": "2.11.2"}, "byo"),
    "environment_class": May({"environment_class": "mw1.medium"}),
    "region": Stays({"region": "eu-central-1"}),
    "architecture": May({"architecture": "X86_64"}),
    **_size("scheduler"),
    **_size("dag_processor"),
    **_size("triggerer"),
    **_size("webserver"),
    **_size("execution_api"),
    "sizes.control_plane.cpu": _COMPACT,
    "sizes.control_plane.memory": _COMPACT,
    "control_plane": May({"control_plane": "COMPACT"}, "byo"),
    "schedulers": May({"schedulers": 3}),
    "min_webservers": May({"min_webservers": 1}),
    "max_webservers": May({"max_webservers": 4}),
    "enable_execute_command": May({"enable_execute_command": True}),
    "min_workers": May({"min_workers": 2}),
    "max_workers": May({"max_workers": 20}),
    "webserver_access_mode": May({"webserver_access_mode": "PUBLIC_ONLY"}, "byo"),
    "airflow_configuration_options": May({"airflow_configuration_options": {"core.parallelism": 7}}),
    **_log("dag_processing_logs"),
    **_log("scheduler_logs"),
    **_log("task_logs"),
    "logging_configuration.task_logs.destination": May({"logging_configuration": {"task_logs": {"destination": "S3"}}}),
    **_log("webserver_logs"),
    **_log("worker_logs"),
    "logging_configuration.retention_days": May({"logging_configuration": {"retention_days": 90}}),
    "source_bucket": Stays({"source_bucket": "other-bucket"}),
    "source_bucket_force_destroy": May({"source_bucket_force_destroy": True}),
    "noncurrent_version_expiration_days": May({"noncurrent_version_expiration_days": 7}),
    "dag_s3_path": May({"dag_s3_path": "other"}),
    **{
        f"{kind}_s3_{word}": _OBJECT
        for kind in ("requirements", "plugins", "startup_script")
        for word in ("path", "object_version")
    },
    **{f"dags.{field}": May({"dags": GIT}) for field in GIT},
    "execution_role_arn": Stays({"execution_role_arn": "arn:aws:iam::123456789012:role/given"}),
    "kms_key": Stays({"kms_key": OTHER_KEY}, "byo"),
    "network.vpc_cidr": Stays({"network": {"vpc_cidr": "10.200.0.0/16"}}),
    "network.zones": Stays({"network": {"zones": 3}}),
    "network.egress": May({"network": {"egress": "PUBLIC_IP"}}),
    "network.vpc_id": Stays(
        {"network": {"vpc_id": "vpc-01234567", "private_subnet_ids": ["subnet-01234567", "subnet-89abcdef"]}}
    ),
    "network.private_subnet_ids": _VPC,
    "network.public_subnet_ids": _VPC,
    "network.security_group_ids": May({"network": {"security_group_ids": ["sg-0123456789abcdef0"]}}),
    "network.egress_ports": May({"network": {"egress_ports": [443, 5432]}}),
    "network.flow_logs": May({"network": {"flow_logs": "ALL"}}),
    "web_access.domain": May({"web_access": {"domain": "data.example.com"}}, "byo"),
    "web_access.hosted_zone_id": May({"web_access": {"hosted_zone_id": "Z0123456789"}}, "byo"),
    "web_access.certificate_arn": May({"web_access": {"certificate_arn": ARN.format("acm", "certificate/2")}}, "byo"),
    "web_access.allowed_cidrs": May({"web_access": {"allowed_cidrs": ["198.51.100.0/24"]}}, "byo"),
    **{
        f"web_access.oidc.{field}": _OIDC
        for field in (
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "user_info_endpoint",
            "client_id",
            "client_secret_arn",
        )
    },
    "web_access.cognito.user_pool_arn": May({"web_access": {"cognito": {"user_pool_arn": POOL.format("b")}}}, "byo"),
    "web_access.cognito.user_pool_client_id": May({"web_access": {"cognito": {"user_pool_client_id": "b"}}}, "byo"),
    "web_access.cognito.user_pool_domain": May({"web_access": {"cognito": {"user_pool_domain": "b"}}}, "byo"),
    "web_access.allow_http": May(
        {
            "web_access": {
                "allow_http": False,
                "domain": "airflow.example.com",
                "certificate_arn": ARN.format("acm", "certificate/1"),
            }
        }
    ),
    "web_access.login": May({"web_access": {"login": "PASSWORD"}}),
    **{
        f"web_access.iam_login.{field}": May({"web_access": {"login": "IAM", "iam_login": IAM_LOGIN}}, "byo")
        for field in (
            "role_source",
            *(f"role_table[].{name}" for name in ("principal", "role")),
            *(f"token_issuers[].{name}" for name in ("issuer", "account_id")),
            "cli_role_scoping",
            *(f"dag_access[].{name}" for name in ("tag", "principals", "role")),
        )
    },
    "web_access.iam_login.dag_access[].bundle": NotTried("the other one of `tag`; both are one variable"),
    "web_access.waf": May({"web_access": {"waf": True}}, "byo"),
    "web_access.access_logs_days": May({"web_access": {"access_logs_days": 7}}, "byo"),
    "web_access.deletion_protection": May({"web_access": {"deletion_protection": True}}, "byo"),
    **_database("AURORA_SERVERLESS_V2", "own"),
    "metadata_database(AURORA_SERVERLESS_V2).kind": Stays({"metadata_database": {"kind": "RDS_POSTGRESQL"}}),
    "metadata_database(AURORA_SERVERLESS_V2).min_capacity": May({"metadata_database": {"min_capacity": 1}}),
    "metadata_database(AURORA_SERVERLESS_V2).max_capacity": May({"metadata_database": {"max_capacity": 16}}),
    "metadata_database(AURORA_SERVERLESS_V2).instances": May({"metadata_database": {"instances": 2}}),
    **_database("RDS_POSTGRESQL", "byo"),
    "metadata_database(RDS_POSTGRESQL).kind": _CHOICE,
    "metadata_database(RDS_POSTGRESQL).instance_class": May(
        {"metadata_database": {"instance_class": "db.m7g.large"}}, "byo"
    ),
    "metadata_database(RDS_POSTGRESQL).multi_az": May({"metadata_database": {"multi_az": True}}, "byo"),
    "metadata_database(RDS_POSTGRESQL).allocated_storage": May({"metadata_database": {"allocated_storage": 50}}, "byo"),
    "metadata_database(EXISTING).kind": _CHOICE,
    **{
        f"metadata_database(EXISTING).{field}": _EXISTING
        for field in ("host", "port", "sslmode", "master_secret_arn", "master_secret_kms_key", "security_group_id")
    },
    "broker(SQS).kind": Stays({"broker": {"kind": "ELASTICACHE"}}),
    "broker(SQS).max_receive_count": May({"broker": {"max_receive_count": 200}}),
    "broker(ELASTICACHE).kind": _CHOICE,
    "broker(ELASTICACHE).node_type": May({"broker": {"node_type": "cache.m7g.large"}}, "byo"),
    "broker(ELASTICACHE).replicas": May({"broker": {"replicas": 2}}, "byo"),
    "broker(ELASTICACHE).maintenance_window": May({"broker": {"maintenance_window": "mon:05:00-mon:06:00"}}, "byo"),
    "identity.path": Stays({"identity": {"path": "/data/"}}),
    "identity.role_name_prefix": Stays({"identity": {"role_name_prefix": "data-"}}),
    "identity.permissions_boundary_arn": May(
        {"identity": {"permissions_boundary_arn": "arn:aws:iam::123456789012:policy/boundary"}}
    ),
    "identity.worker_policy_arns": May(
        {"identity": {"worker_policy_arns": ["arn:aws:iam::123456789012:policy/extra"]}}, "byo"
    ),
    "rotation.database_passwords": May({"rotation": {"database_passwords": 2}}),
    "rotation.dags_secret": NotTried("it needs `dags`; a variable of the syncer"),
    "monitoring.alarms": May({"monitoring": {"alarms": False}}, "byo"),
    "monitoring.alarm_topic_arn": May({"monitoring": {"alarm_topic_arn": ARN.format("sns", "byo")}}),
    "monitoring.alarm_emails": May({"monitoring": {"alarm_emails": ["a@example.com"]}}, "byo"),
    "monitoring.dashboard": May({"monitoring": {"dashboard": False}}),
    "monitoring.container_insights": May({"monitoring": {"container_insights": True}}),
    **{f"terraform_state.{field}": _STATE for field in ("bucket", "region", "key", "kms_key")},
    "tags": May({"tags": {"team": "data"}}),
    "fleets[].queues": May(_etl(queues=["etl", "more"])),
    "fleets[].class": May({"fleets": {"spare": {"class": "mw1.large"}}}),
    "fleets[].cpu": May(_etl(cpu=1024)),
    "fleets[].memory": May(_etl(memory=8192)),
    "fleets[].slots": May(_etl(slots=8)),
    "fleets[].min": May(_etl(min=2)),
    "fleets[].max": May(_etl(max=30)),
    "fleets[].capacity": May(_default(capacity="FARGATE_SPOT")),
    "fleets[].architecture": May(_etl(architecture="X86_64")),
    **{f"fleets[].schedule[].{field}": _RESCHEDULED for field in SCHEDULE},
    "fleets[].fallback.mode": May(_etl(fallback={"mode": "fixed"})),
    "fleets[].fallback.count": May(_etl(fallback={"count": 3})),
    "fleets[].fallback.after_seconds": May(_etl(fallback={"after_seconds": 600})),
    **{f"fleets[].demand_metric.{field}": May(_etl(demand_metric=METRIC)) for field in METRIC},
    "fleets[].desired_count_drift": May(_default(desired_count_drift="adopt")),
    "images.airflow_dockerfile": NotTried("`openmwaa deploy` builds it; Terraform gets the digest"),
    "images.airflow_tag": May({"images": {"airflow_tag": "other"}}, "byo"),
    "images.scaler_tag": May({"images": {"scaler_tag": "other"}}, "byo"),
    "images.airflow": May(
        {"images": {"airflow": "123456789012.dkr.ecr.us-east-1.amazonaws.com/airflow@sha256:" + "a" * 64}}
    ),
    "images.scaler": May(
        {"images": {"scaler": "123456789012.dkr.ecr.us-east-1.amazonaws.com/scaler@sha256:" + "b" * 64}}
    ),
    "scaler.interval_seconds": May({"scaler": {"interval_seconds": 10}}),
    **{
        f"sleep.{field}": May({"sleep": {field: value}}, "byo")
        for field, value in (
            ("sleep_at", "0 20 * * *"),
            ("wake_at", "0 7 * * *"),
            ("timezone", "Europe/Zurich"),
            ("wake_on_message", True),
        )
    },
    "scaler.look_ahead": May({"scaler": {"look_ahead": "off"}}),
    "scaler.wait_worth": May({"scaler": {"wait_worth": 5}}),
    "scaler.headroom": May({"scaler": {"headroom": "on"}}),
    "scaler.scale_in_window_seconds": May({"scaler": {"scale_in_window_seconds": 120}}),
}


def fields(model: type[BaseModel] = Environment, at: str = "") -> Iterator[str]:
    """Every field of the file: `fleets[].max`, `metadata_database(RDS_POSTGRESQL).multi_az`."""
    for name, field in model.model_fields.items():
        here = f"{at}{field.alias or name}"
        parts = list(_models(field.annotation))
        if not parts:
            yield here
        many = "[]" if get_origin(field.annotation) in (tuple, dict) else ""
        for part in parts:
            kind = part.model_fields.get("kind")
            tag = f"({get_args(kind.annotation)[0]})" if kind else ""
            yield from fields(part, f"{here}{many}{tag}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> Json:
    """`base` with the changes of `change`, merged by mapping."""
    result = dict(base)
    for key, value in change.items():
        before = result.get(key)
        result[key] = merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return result


def environment(base: Base, *changes: Mapping[str, Any]) -> Environment:
    """The environment `base` with all `changes`."""
    data = BASES[base]
    for change in changes:
        data = merged(data, change)
    return Environment.model_validate(data)


def groups(base: Base) -> list[dict[str, May]]:
    """The fields of `base` that can change, in as few compatible groups as possible."""
    made: list[dict[str, May]] = []
    for name, row in ROWS.items():
        if isinstance(row, May) and row.base == base:
            fitting = next((group for group in made if _fits(base, group, row)), None)
            if fitting is None:
                made.append({name: row})
            else:
                fitting[name] = row
    return made


def _fits(base: Base, group: Mapping[str, May], row: May) -> bool:
    """Whether the file stays valid and keeps all changes of the group."""
    try:
        together = environment(base, *(member.change for member in group.values()), row.change)
    except ValueError:
        return False
    return all(
        environment(base, *(other.change for other in [*group.values(), row]), member.change) == together
        for member in group.values()
    )
