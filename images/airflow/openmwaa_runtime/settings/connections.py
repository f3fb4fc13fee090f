# SPDX-License-Identifier: Apache-2.0
"""Settings that connect the components of an environment; their values come from the task definition."""

import hashlib
import hmac
import json

from openmwaa_runtime.auth.settings import uses_iam_login
from openmwaa_runtime.settings.container_env import AIRFLOW_COMPONENTS, ContainerEnv
from openmwaa_runtime.settings.model import AirflowSetting, fixed

VISIBILITY_TIMEOUT_S = 300
"""As the attribute of the queues, which has effect: kombu does not send it with predefined queues."""

EXECUTION_API_PORT = 8081
WEB_PORT = 8080

_SERVERS = frozenset({"execution-api", "web-server"})
_METADATA = AIRFLOW_COMPONENTS - {"worker"}
_BROKER = frozenset({"scheduler", "worker"})
_KEYS = frozenset({"scheduler", "dag-processor", "triggerer", "execution-api", "web-server"})
_TASK_LOGS = frozenset({"dag-processor", "worker", "triggerer", "web-server"})


def _variable(name: str, variable: str, shown: str, reason: str, components: frozenset[str]) -> AirflowSetting:
    return AirflowSetting(name, lambda env: env.get(variable), shown, reason, components)


def _metadata_url(driver: str, env: ContainerEnv) -> str | None:
    return env.database_url(driver, "airflow", "airflow", "OPENMWAA_AIRFLOW_DATABASE_PASSWORD")


def _result_backend(env: ContainerEnv) -> str | None:
    url = env.database_url("psycopg2", "celery_results", "celery", "OPENMWAA_CELERY_DATABASE_PASSWORD")
    return None if url is None else f"db+{url}"


def _predefined_queues(env: ContainerEnv) -> str | None:
    if env.on_redis or not env.queues:
        return None
    return json.dumps({name: {"url": url} for name, url in env.queues.items()})


def _session_secret(env: ContainerEnv) -> str | None:
    secret = env.get("OPENMWAA_API_SECRET_KEY")
    return secret and hmac.new(secret.encode(), b"sessions of Airflow", hashlib.sha256).hexdigest()


def _redis_option(name: str, value: str, reason: str) -> AirflowSetting:
    return AirflowSetting(
        f"celery_broker_transport_options.{name}",
        lambda env: value if env.on_redis else None,
        f"`{value}` with Redis",
        reason,
        _BROKER,
    )


def _default_queue(env: ContainerEnv) -> str | None:
    return None if not env.queues or "default" in env.queues else next(iter(env.queues))


def _bundles(env: ContainerEnv) -> str:
    whole = "openmwaa_runtime.dag_bundle.WholeVersionDagBundle"
    classpath = {
        "worker": whole,
        "triggerer": whole,
        "dag-processor": "openmwaa_runtime.dag_bundle.NewestVersionDagBundle",
    }.get(env.component, "airflow.dag_processing.bundles.local.LocalDagBundle")
    return json.dumps([{"name": "dags", "classpath": classpath, "kwargs": {"path": env.dag_folder}}])


def _task_logs(env: ContainerEnv) -> str | None:
    bucket, arn = env.get("OPENMWAA_TASK_LOG_BUCKET"), env.get("OPENMWAA_TASK_LOG_GROUP_ARN")
    if bucket is not None:
        return f"s3://{bucket}"
    return None if arn is None else f"cloudwatch://{arn.removesuffix(':*')}"


CONNECTIONS: tuple[AirflowSetting, ...] = (
    fixed("core.executor", "CeleryExecutor", "The scaler sizes fleets of Celery workers."),
    AirflowSetting(
        "database.sql_alchemy_conn",
        lambda env: _metadata_url("psycopg2", env),
        "role `airflow`, database `airflow`",
        "The role owns this database only. Its password is not the master's, which RDS rotates.",
        _METADATA,
    ),
    AirflowSetting(
        "database.sql_alchemy_conn_async",
        lambda env: _metadata_url("asyncpg", env),
        "the same for asyncpg",
        "Airflow derives it from the other one and keeps `sslmode`, which asyncpg does not accept.",
        _METADATA,
    ),
    fixed(
        "database.sql_alchemy_conn",
        "sqlite://",
        "A worker uses the execution API only. DAG code runs beside it, so it has no access to the metadata database.",
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
        "The scheduler signs the tokens of tasks and the execution API verifies them. No other component has it.",
        frozenset({"scheduler", "execution-api"}),
    ),
    AirflowSetting(
        "api_auth.jwt_secret",
        _session_secret,
        "derived from the API secret key",
        "Signs sessions. A new API secret key ends them, and the tokens of running tasks stay valid.",
        frozenset({"web-server"}),
    ),
    _variable(
        "core.execution_api_server_url",
        "OPENMWAA_EXECUTION_API_URL",
        "the internal load balancer",
        "Running tasks depend on this service. It is separate from the web server, so that a slow page ends no task.",
        AIRFLOW_COMPONENTS,
    ),
    _variable("api.base_url", "OPENMWAA_WEB_URL", "the web address", "Links in mails and logs.", AIRFLOW_COMPONENTS),
    _variable("api.instance_name", "OPENMWAA_ENVIRONMENT", "the environment's name", "Page heading.", _SERVERS),
    AirflowSetting(
        "api.host", lambda env: env.address, "the task's own address", "Each task has one address.", _SERVERS
    ),
    fixed("api.port", str(WEB_PORT), "As in the target group.", frozenset({"web-server"})),
    fixed("api.port", str(EXECUTION_API_PORT), "As in the target group.", frozenset({"execution-api"})),
    fixed(
        "core.hostname_callable",
        "openmwaa_runtime.task_metadata.hostname",
        "On a worker it is the ECS task id, which identifies the tasks of a dead worker. Elsewhere it is an address.",
    ),
    AirflowSetting(
        "celery.broker_url",
        lambda env: env.broker_url(),
        "`sqs://`, or `rediss://` and the user `celery`",
        "For SQS the task role signs the requests, so no key is in a URL. Redis's certificate and host name are "
        "verified.",
        _BROKER,
    ),
    AirflowSetting(
        "celery_broker_transport_options.predefined_queues",
        _predefined_queues,
        "the fleets' queues",
        "Needs no permission to list or create queues, and a wrong queue name is an error instead of a new queue.",
        _BROKER,
    ),
    AirflowSetting(
        "celery_broker_transport_options.region",
        lambda env: None if env.on_redis else env.get("AWS_DEFAULT_REGION"),
        "the region, with SQS",
        "kombu does not detect it.",
        _BROKER,
    ),
    _redis_option(
        "socket_timeout", "30", "A failed node does not close its connections. Without a limit a worker waits for ever."
    ),
    _redis_option(
        "socket_connect_timeout",
        "10",
        "The same limit for new connections. After a fail-over the host name resolves to the new node.",
    ),
    _redis_option("socket_keepalive", "True", "Network devices drop idle connections without keep-alive packets."),
    fixed(
        "celery_broker_transport_options.visibility_timeout",
        str(VISIBILITY_TIMEOUT_S),
        "As the attribute of the queues. It only affects messages whose tasks have not started.",
        _BROKER,
    ),
    AirflowSetting(
        "celery.result_backend",
        _result_backend,
        "role `celery_results`, database `celery`",
        "Celery has its own database. A worker's role has access to nothing else.",
        _BROKER,
    ),
    fixed(
        "celery.celery_config_options",
        "openmwaa_runtime.celery_config.CELERY_CONFIG",
        "Loads the worker agent in workers: protection before consuming, gate, drain.",
        _BROKER,
    ),
    AirflowSetting(
        "operators.default_queue",
        _default_queue,
        "`default`, else the first queue of the first fleet",
        "A task without a queue needs a queue that a fleet consumes.",
    ),
    AirflowSetting(
        "core.dags_folder", lambda env: env.dag_folder, "the synced folder", "All components use the same folder."
    ),
    AirflowSetting(
        "dag_processor.dag_bundle_config_list",
        _bundles,
        "bundle `dags` on the synced folder",
        "Local files, which a syncer in each container downloads. The provider's S3 bundle costs 2 s and 0.75 CPU-s "
        "for each task. A task uses one complete version of the folder from start to end.",
    ),
    AirflowSetting(
        "dag_processor.dag_bundle_storage_path",
        lambda env: f"{env.home}/bundles",
        "`$AIRFLOW_HOME/bundles`",
        "The default is in the system's temporary folder, which two local environments would share.",
    ),
    AirflowSetting(
        "logging.base_log_folder", lambda env: env.log_folder, "`$AIRFLOW_HOME/logs`", "The next option needs it."
    ),
    AirflowSetting(
        "logging.dag_processor_child_process_log_directory",
        lambda env: f"{env.log_folder}/dag_processor",
        "`dag_processor` under the base log folder",
        "Outside the base folder, remote logging stops the DAG processor at the first file.",
    ),
    AirflowSetting(
        "logging.logging_config_class",
        lambda env: "openmwaa_runtime.task_logs.airflow_logging.LOGGING_CONFIG" if _task_logs(env) else None,
        "`openmwaa_runtime.task_logs.airflow_logging.LOGGING_CONFIG`",
        "Sends each line of a task within about a second, counts what is lost, and writes nothing to the disk. The "
        "provider's handler loses lines (explanation/task-logs.md).",
        _TASK_LOGS,
    ),
    AirflowSetting(
        "logging.remote_base_log_folder",
        _task_logs,
        "CloudWatch log group `airflow-NAME-Task`, or the bucket of task logs",
        "As in MWAA. With `destination: S3` it is the bucket.",
        _TASK_LOGS,
    ),
    AirflowSetting(
        "core.auth_manager",
        lambda env: "openmwaa_runtime.airflow_3.auth_manager.IamAuthManager" if uses_iam_login(env.environ) else None,
        "`openmwaa_runtime.airflow_3.auth_manager.IamAuthManager` with `web_access.login: IAM`",
        "AWS principals are the users, and IAM policies give them one of MWAA's five roles.",
        frozenset({"web-server"}),
    ),
    AirflowSetting(
        "core.simple_auth_manager_passwords_file",
        lambda env: None if uses_iam_login(env.environ) else f"{env.home}/passwords.json",
        "a file of mode 0600, with `web_access.login: PASSWORD`",
        "One user `admin` with a generated password.",
    ),
    fixed("core.simple_auth_manager_users", "admin:admin", "See above."),
)
