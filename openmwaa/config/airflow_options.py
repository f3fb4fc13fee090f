# SPDX-License-Identifier: Apache-2.0
"""The Airflow options that openmwaa owns or depends on, with a verdict each; all other options are the user's.

`make docs` writes the table of docs/reference/airflow-defaults.md from it.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from openmwaa.config import secret_prefixes
from openmwaa.config.strict_model import FieldError

Verdict = Literal["refused", "checked", "yours"]


@dataclass(frozen=True)
class OwnedOption:
    """An option, what happens if a file sets it, and what to do instead or what depends on it."""

    option: str
    verdict: Verdict
    advice: str


def _refused(advice: str, *options: str) -> tuple[OwnedOption, ...]:
    return tuple(OwnedOption(option, "refused", advice) for option in options)


OWNED_CELERY_KEYS: Final = frozenset(
    {
        *("broker_transport_options", "broker_url", "result_backend", "task_acks_late", "task_create_missing_queues"),
        *("task_default_queue", "task_queues", "worker_autoscaler", "worker_concurrency", "worker_pool"),
        *("worker_enable_remote_control", "worker_prefetch_multiplier", "worker_proc_alive_timeout"),
        "worker_soft_shutdown_timeout",
    }
)
_TRANSPORT: Final = "celery_broker_transport_options"
OWNED_OPTIONS: Final[tuple[OwnedOption, ...]] = (
    *_refused(
        "a worker starts all its processes at once, and the scaler counts them; set `slots` of a fleet to the maximum",
        *("celery.worker_autoscale", "celery.worker_concurrency"),
    ),
    OwnedOption("operators.default_queue", "checked", "a fleet must serve the queue"),
    OwnedOption(
        "celery.extra_celery_config",
        "checked",
        f"a JSON object without the keys that openmwaa owns: {', '.join(sorted(OWNED_CELERY_KEYS))}",
    ),
    OwnedOption("celery.pool", "checked", "`prefork` only: a slot is a process, which a drain waits for"),
    OwnedOption("celery.worker_enable_remote_control", "checked", "`False` only with SQS, where it needs more queues"),
    *(
        OwnedOption(
            option,
            "checked",
            "a JSON object; a prefix in it is letters, digits, `/_.@-`, at most 64, and not one of openmwaa's own",
        )
        for option in secret_prefixes.KWARGS
    ),
    *_refused("fleets are Celery workers; leave it out", "core.executor"),
    *_refused(
        "set `metadata_database`; the passwords are generated",
        *("database.sql_alchemy_conn", "database.sql_alchemy_conn_async", "celery.result_backend"),
    ),
    *_refused(
        "the stack generates it as a secret; leave it out",
        *("core.fernet_key", "api.secret_key", "api_auth.jwt_secret", "webserver.secret_key"),
    ),
    *_refused(
        "load balancers and security groups have this address; leave it out",
        *("core.execution_api_server_url", "api.host", "api.port"),
        *("webserver.web_server_host", "webserver.web_server_port"),
    ),
    *_refused("the scaler finds the tasks of a worker by it; leave it out", "core.hostname_callable"),
    *_refused(
        "set `broker`, and the queues of `fleets`",
        *("celery.broker_url", f"{_TRANSPORT}.predefined_queues", f"{_TRANSPORT}.region"),
        f"{_TRANSPORT}.visibility_timeout",
    ),
    *_refused("the DAG processor has a container of its own; leave it out", "scheduler.standalone_dag_processor"),
    *_refused("it creates the user `admin`; leave it out", "webserver.config_file"),
    *(
        OwnedOption(
            option, "checked", "`False` only with Airflow 2: the database role of its workers has no rights for it"
        )
        for option in ("database.check_migrations", "scheduler.schedule_after_task_execution")
    ),
    *_refused(
        "a new interpreter would need the passwords that workers remove before a task; leave it out",
        "core.execute_tasks_new_python_interpreter",
    ),
    *_refused("it loads the worker agent; use `celery.extra_celery_config`", "celery.celery_config_options"),
    *_refused(
        "the syncer writes this folder; set `dag_s3_path`",
        *("core.dags_folder", "dag_processor.dag_bundle_config_list", "dag_processor.dag_bundle_storage_path"),
    ),
    *_refused(
        "openmwaa keeps the logs of tasks; set `logging_configuration`",
        *("logging.base_log_folder", "logging.dag_processor_child_process_log_directory", "logging.remote_logging"),
        *("logging.remote_base_log_folder", "logging.remote_log_conn_id", "logging.logging_config_class"),
    ),
    *(
        OwnedOption(f"{_TRANSPORT}.{option}", "yours", "limits how long a worker waits for a failed node of Redis")
        for option in ("socket_timeout", "socket_connect_timeout", "socket_keepalive")
    ),
    OwnedOption("api.base_url", "yours", "links in mails and logs; the load balancer keeps its own address"),
    OwnedOption("api.instance_name", "yours", "the heading of the pages"),
    OwnedOption(
        "core.auth_manager", "yours", "with another one there are no AWS identities, roles of IAM and MWAA API"
    ),
    OwnedOption("core.simple_auth_manager_users", "yours", "only `admin` has a generated password"),
    OwnedOption("core.simple_auth_manager_passwords_file", "yours", "without the generated file there is no login"),
    OwnedOption("core.parallelism", "yours", "below all slots, fleets do not reach their maximum"),
    OwnedOption("celery.task_acks_late", "yours", "late, a task longer than 300 s is redelivered"),
    OwnedOption("celery.worker_prefetch_multiplier", "yours", "above 1, tasks wait in busy workers"),
    OwnedOption("scheduler.task_queued_timeout", "yours", "shorter than a cold start, tasks fail in the queue"),
)
_BY_NAME: Final = {row.option: row for row in OWNED_OPTIONS}
_TRUE: Final = ("t", "true", "1")  # as Airflow reads them
# Airflow also takes the output of a command, and a secret's name, as the value of an option.
REFUSED: Final = frozenset(
    f"{row.option}{suffix}" for row in OWNED_OPTIONS if row.verdict == "refused" for suffix in ("", "_cmd", "_secret")
)


def advice(option: str) -> str:
    """Return the advice for an option in REFUSED."""
    return _BY_NAME[option if option in _BY_NAME else option.rpartition("_")[0]].advice


def check_options(
    options: Mapping[str, str], *, queues: Collection[str], has_sqs: bool, has_execution_api: bool
) -> None:
    """Raise FieldError for an option that breaks what scaler and worker agent rely on."""
    for option in options:
        if option in REFUSED:
            raise FieldError(f"openmwaa sets this option: {advice(option)}", "airflow_configuration_options", option)
    values = {option: options[option] for option, row in _BY_NAME.items() if option in options}
    accepted: dict[str, Callable[[str], bool]] = {
        "operators.default_queue": lambda value: value in queues,
        "celery.extra_celery_config": _is_accepted_celery_config,
        **dict.fromkeys(secret_prefixes.KWARGS, secret_prefixes.is_accepted),
        "celery.pool": lambda value: value == "prefork",
        "celery.worker_enable_remote_control": lambda value: not has_sqs or value.lower() not in _TRUE,
        "database.check_migrations": lambda value: has_execution_api or value.lower() not in _TRUE,
        "scheduler.schedule_after_task_execution": lambda value: has_execution_api or value.lower() not in _TRUE,
    }
    for option, accepts in accepted.items():
        if option in values and not accepts(values[option]):
            raise FieldError(
                f"is {values[option]!r}; {_BY_NAME[option].advice}", "airflow_configuration_options", option
            )


def _is_accepted_celery_config(value: str) -> bool:
    try:
        config = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(config, dict) and not OWNED_CELERY_KEYS & config.keys()
