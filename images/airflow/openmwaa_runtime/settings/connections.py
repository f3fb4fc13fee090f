# SPDX-License-Identifier: Apache-2.0
"""Settings that connect the parts of an environment: they follow from the task definition, not from taste."""

import json

from openmwaa_runtime.settings.container_env import AIRFLOW_COMPONENTS, Facts
from openmwaa_runtime.settings.model import Setting, fixed

VISIBILITY_TIMEOUT_S = 300
"""The same number as the queues' own attribute, which is what rules: kombu does not send it with predefined queues."""

EXECUTION_API_PORT = 8081
WEB_PORT = 8080

_SERVERS = frozenset({"execution-api", "web-server"})
_METADATA = AIRFLOW_COMPONENTS - {"worker"}
_BROKER = frozenset({"scheduler", "worker"})
_KEYS = frozenset({"scheduler", "dag-processor", "triggerer", "execution-api", "web-server"})
_TASK_LOGS = frozenset({"worker", "triggerer", "web-server"})


def _variable(name: str, variable: str, shown: str, reason: str, on: frozenset[str]) -> Setting:
    return Setting(name, lambda facts: facts.get(variable), shown, reason, on)


def _metadata_url(driver: str, facts: Facts) -> str | None:
    return facts.database_url(driver, "airflow", "airflow", "OPENMWAA_AIRFLOW_DATABASE_PASSWORD")


def _result_backend(facts: Facts) -> str | None:
    url = facts.database_url("psycopg2", "celery_results", "celery", "OPENMWAA_CELERY_DATABASE_PASSWORD")
    return None if url is None else f"db+{url}"


def _predefined_queues(facts: Facts) -> str | None:
    if facts.on_redis or not facts.queues:
        return None
    return json.dumps({name: {"url": url} for name, url in facts.queues.items()})


def _on_redis(name: str, value: str, reason: str) -> Setting:
    return Setting(
        f"celery_broker_transport_options.{name}",
        lambda facts: value if facts.on_redis else None,
        f"`{value}` with Redis",
        reason,
        _BROKER,
    )


def _default_queue(facts: Facts) -> str | None:
    return None if not facts.queues or "default" in facts.queues else next(iter(facts.queues))


def _bundles(facts: Facts) -> str:
    whole = facts.component in {"worker", "triggerer"}
    classpath = (
        "openmwaa_runtime.dag_bundle.WholeVersionDagBundle"
        if whole
        else "airflow.dag_processing.bundles.local.LocalDagBundle"
    )
    return json.dumps([{"name": "dags", "classpath": classpath, "kwargs": {"path": facts.dag_folder}}])


def _task_logs(facts: Facts) -> str | None:
    arn = facts.get("OPENMWAA_TASK_LOG_GROUP_ARN")
    return None if arn is None else f"cloudwatch://{arn.removesuffix(':*')}"


CONNECTIONS: tuple[Setting, ...] = (
    fixed("core.executor", "CeleryExecutor", "Fleets of Celery workers are what the scaler sizes."),
    Setting(
        "database.sql_alchemy_conn",
        lambda facts: _metadata_url("psycopg2", facts),
        "role `airflow`, database `airflow`",
        "The role owns this database and no other; its password is never the master's, which RDS rotates.",
        _METADATA,
    ),
    Setting(
        "database.sql_alchemy_conn_async",
        lambda facts: _metadata_url("asyncpg", facts),
        "the same for asyncpg",
        "Airflow derives it from the other one and keeps `sslmode`, a word asyncpg refuses.",
        _METADATA,
    ),
    fixed(
        "database.sql_alchemy_conn",
        "sqlite://",
        "A worker speaks to the execution API alone. DAG code runs beside it, so it has no way to the metadata "
        "database.",
        frozenset({"worker"}),
    ),
    _variable("core.fernet_key", "OPENMWAA_FERNET_KEY", "generated secret", "Encrypts connections at rest.", _KEYS),
    _variable(
        "api.secret_key", "OPENMWAA_API_SECRET_KEY", "generated secret", "The same on every web server.", _SERVERS
    ),
    _variable(
        "api_auth.jwt_secret",
        "OPENMWAA_JWT_SECRET",
        "generated secret",
        "The scheduler signs what the execution API verifies; workers never hold it.",
        _KEYS,
    ),
    _variable(
        "core.execution_api_server_url",
        "OPENMWAA_EXECUTION_API_URL",
        "the internal load balancer",
        "Running tasks hang on this service; it is apart from the web server, so that a heavy page kills no task.",
        AIRFLOW_COMPONENTS,
    ),
    _variable("api.base_url", "OPENMWAA_WEB_URL", "the web address", "Links in mails and logs.", AIRFLOW_COMPONENTS),
    _variable("api.instance_name", "OPENMWAA_ENVIRONMENT", "the environment's name", "Page heading.", _SERVERS),
    Setting("api.host", lambda facts: facts.address, "the task's own address", "One address a task.", _SERVERS),
    fixed("api.port", str(WEB_PORT), "As in the target group.", frozenset({"web-server"})),
    fixed("api.port", str(EXECUTION_API_PORT), "As in the target group.", frozenset({"execution-api"})),
    fixed(
        "core.hostname_callable",
        "openmwaa_runtime.task_metadata.hostname",
        "A worker's tasks carry its ECS task id, so that what a dead worker held can be named; others carry an "
        "address.",
    ),
    Setting(
        "celery.broker_url",
        lambda facts: facts.broker_url(),
        "`sqs://`, or `rediss://` and the user `celery`",
        "For SQS the task role signs, and no key is in a URL. Redis's certificate and name are checked.",
        _BROKER,
    ),
    Setting(
        "celery_broker_transport_options.predefined_queues",
        _predefined_queues,
        "the fleets' queues",
        "No right to list or create queues is needed, and a mistyped queue is an error instead of a new queue.",
        _BROKER,
    ),
    Setting(
        "celery_broker_transport_options.region",
        lambda facts: None if facts.on_redis else facts.get("AWS_DEFAULT_REGION"),
        "the region, with SQS",
        "kombu does not ask.",
        _BROKER,
    ),
    _on_redis("socket_timeout", "30", "A node that died says nothing; without a limit a worker waits for it for ever."),
    _on_redis(
        "socket_connect_timeout", "10", "The same while connecting: the name soon leads to the node that took over."
    ),
    _on_redis("socket_keepalive", "True", "A connection that idles for long must not be forgotten on the way."),
    fixed(
        "celery_broker_transport_options.visibility_timeout",
        str(VISIBILITY_TIMEOUT_S),
        "As the queues' own. Only messages that no process has begun wait for it, because acknowledgement is early.",
        _BROKER,
    ),
    Setting(
        "celery.result_backend",
        _result_backend,
        "role `celery_results`, database `celery`",
        "Celery needs a database of its own; a worker's role reaches nothing else.",
        _BROKER,
    ),
    fixed(
        "celery.celery_config_options",
        "openmwaa_runtime.celery_config.CELERY_CONFIG",
        "Loads the worker agent in workers: protection before consuming, gate, drain.",
        _BROKER,
    ),
    Setting(
        "operators.default_queue",
        _default_queue,
        "`default`, else the first queue of the first fleet",
        "A task without a queue must land where a fleet listens.",
    ),
    Setting("core.dags_folder", lambda facts: facts.dag_folder, "the synced folder", "One place for DAGs."),
    Setting(
        "dag_processor.dag_bundle_config_list",
        _bundles,
        "bundle `dags` on the synced folder",
        "Local files, brought by one syncer a container: the provider's S3 bundle costs every task 2 s and 0.75 CPU-s. "
        "Tasks see one whole version of the folder from beginning to end.",
    ),
    Setting(
        "dag_processor.dag_bundle_storage_path",
        lambda facts: f"{facts.home}/bundles",
        "`$AIRFLOW_HOME/bundles`",
        "The default lies in the machine's temporary folder, which two environments on one machine would share.",
    ),
    Setting(
        "logging.base_log_folder", lambda facts: facts.log_folder, "`$AIRFLOW_HOME/logs`", "Named for the next one."
    ),
    Setting(
        "logging.dag_processor_child_process_log_directory",
        lambda facts: f"{facts.log_folder}/dag_processor",
        "`dag_processor` under the base log folder",
        "Elsewhere than under the base folder, remote logging ends the DAG processor at the first file.",
    ),
    Setting(
        "logging.remote_logging",
        lambda facts: "True" if facts.get("OPENMWAA_TASK_LOG_GROUP_ARN") else None,
        "`True`",
        "A worker's disk ends with the worker.",
        _TASK_LOGS,
    ),
    Setting(
        "logging.remote_base_log_folder",
        _task_logs,
        "CloudWatch log group `airflow-NAME-Task`",
        "Where MWAA puts them.",
        _TASK_LOGS,
    ),
    fixed("logging.remote_log_conn_id", "aws_default", "The task role; the connection is `aws://`.", _TASK_LOGS),
    Setting(
        "core.simple_auth_manager_passwords_file",
        lambda facts: f"{facts.home}/passwords.json",
        "a file of mode 0600",
        "Until login by IAM exists: one user `admin`, whose password is a generated secret.",
    ),
    fixed("core.simple_auth_manager_users", "admin:admin", "See above."),
)
