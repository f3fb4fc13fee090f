# SPDX-License-Identifier: Apache-2.0
"""The settings of Airflow 2: those of Airflow 3 that it has, and its own.

Its workers use the metadata database themselves, and its DAG processor and web server have other options.
"""

from pathlib import Path

from openmwaa_runtime.auth.settings import uses_iam_login
from openmwaa_runtime.settings.connections import CONNECTIONS, WEB_PORT
from openmwaa_runtime.settings.container_env import ContainerEnv
from openmwaa_runtime.settings.defaults import DAG_CODE, DEFAULTS, refresh_interval, secrets_backend
from openmwaa_runtime.settings.model import AirflowSetting, fixed

_ONLY_3 = (
    *("api.", "api_auth.", "dag_processor.", "execution_api.", "workers.", "core.execution_api_server_url"),
    *(
        "core.simple_auth_manager_",
        "core.auth_manager",
        "database.sql_alchemy_conn_async",
        "scheduler.task_instance_heartbeat_timeout",
    ),
    *("logging.dag_processor_child_process_log_directory", "core.auth_manager"),
)
_IAM_BACKEND = "openmwaa_runtime.airflow_2.iam_login"
_BASIC_BACKENDS = "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth,airflow.api.auth.backend.session"
_WORKER = frozenset({"worker"})
_WEB = frozenset({"web-server"})
_PROCESSOR = frozenset({"dag-processor"})
_WEB_CONFIG = Path(__file__).parents[1] / "airflow_2" / "webserver_config.py"
_TASK_LOGS = next(setting for setting in CONNECTIONS if setting.name == "logging.logging_config_class")


def _worker_database(env: ContainerEnv) -> str | None:
    return env.database_url("psycopg2", "airflow_worker", "airflow", "OPENMWAA_WORKER_DATABASE_PASSWORD")


def _cookie_secure(env: ContainerEnv) -> str:
    url = env.get("OPENMWAA_WEB_URL") or ""
    # Behind CloudFront the load balancer has HTTP, and may have a private address beside it.
    return str(url.startswith("https:") and not url.endswith(".cloudfront.net"))


def _logging_class(env: ContainerEnv) -> str | None:
    return "openmwaa_runtime.airflow_2.task_logging.LOGGING_CONFIG" if _TASK_LOGS.value(env) else None


AIRFLOW_2_OWN: tuple[AirflowSetting, ...] = (
    AirflowSetting(
        "database.sql_alchemy_conn",
        _worker_database,
        "role `airflow_worker`, database `airflow`",
        "A worker writes the state of its tasks itself. Its role has the rights for that, table by table.",
        _WORKER,
    ),
    AirflowSetting(
        "core.fernet_key",
        lambda env: env.get("OPENMWAA_FERNET_KEY"),
        "generated secret",
        "A worker decrypts connections itself.",
        _WORKER,
    ),
    fixed(
        "database.check_migrations",
        "False",
        "A worker starts after the migration, and its role may not read its tables.",
        _WORKER,
    ),
    fixed(
        "scheduler.schedule_after_task_execution",
        "False",
        "Only the scheduler schedules, as in MWAA: a worker needs no rights for it.",
        _WORKER,
    ),
    fixed(
        "scheduler.standalone_dag_processor",
        "True",
        "DAG code runs in a container of its own, as with Airflow 3, and not beside the scheduler's secrets.",
    ),
    AirflowSetting(
        "scheduler.dag_dir_list_interval",
        refresh_interval,
        "`3`; `1` in `openmwaa local`",
        "Seconds between scans of the synced folder (Airflow: 300).",
        _PROCESSOR,
    ),
    fixed(
        "core.min_serialized_dag_update_interval",
        "1",
        "A change is stored at once (Airflow: after up to 30 s).",
        _PROCESSOR,
    ),
    fixed("core.min_serialized_dag_fetch_interval", "3", "A change is read after 3 s (Airflow: 10 s)."),
    fixed(
        "logging.dag_processor_manager_log_location",
        "/dev/null",
        "Its lines are in the log group; a file would fill the disk.",
        _PROCESSOR,
    ),
    fixed("logging.dag_processor_manager_log_stdout", "True", "To the log group.", _PROCESSOR),
    AirflowSetting(
        "secrets.backend",
        secrets_backend,
        "Secrets Manager, then the Parameter Store; not with a `secrets.backend` of yours",
        "As `workers.secrets_backend` of Airflow 3.",
        DAG_CODE,
    ),
    AirflowSetting(
        "logging.logging_config_class",
        _logging_class,
        "`openmwaa_runtime.airflow_2.task_logging.LOGGING_CONFIG`",
        _TASK_LOGS.reason,
        _TASK_LOGS.components,
    ),
    AirflowSetting(
        "webserver.secret_key",
        lambda env: env.get("OPENMWAA_API_SECRET_KEY"),
        "generated secret",
        "The same on every web server: it signs sessions.",
        _WEB,
    ),
    AirflowSetting(
        "webserver.base_url",
        lambda env: env.get("OPENMWAA_WEB_URL"),
        "the web address",
        "Links in mails and logs.",
    ),
    AirflowSetting(
        "webserver.instance_name",
        lambda env: env.get("OPENMWAA_ENVIRONMENT"),
        "the environment's name",
        "Page heading.",
        _WEB,
    ),
    AirflowSetting(
        "webserver.web_server_host",
        lambda env: env.address,
        "the task's own address",
        "Each task has one address.",
        _WEB,
    ),
    fixed("webserver.web_server_port", str(WEB_PORT), "As in the target group.", _WEB),
    fixed(
        "webserver.enable_proxy_fix",
        "True",
        "Load balancers end TLS and pass the client's scheme and address in headers. Only they reach the port.",
        _WEB,
    ),
    AirflowSetting(
        "webserver.cookie_secure",
        _cookie_secure,
        "`True` if the load balancer has HTTPS, else `False`",
        "Then a browser sends the session over HTTPS only. Airflow 3 does the same.",
        _WEB,
    ),
    fixed("webserver.workers", "2", "Services scale by tasks; one process alone would wait for a slow page.", _WEB),
    AirflowSetting(
        "webserver.config_file",
        lambda _env: str(_WEB_CONFIG),
        "a file of the image",
        "The login: AWS principals, or with `login: PASSWORD` one user `admin` with a generated password.",
        _WEB,
    ),
    AirflowSetting(
        "api.auth_backends",
        lambda env: _IAM_BACKEND if uses_iam_login(env.environ) else _BASIC_BACKENDS,
        f"`{_IAM_BACKEND}`; with `login: PASSWORD` `{_BASIC_BACKENDS}`",
        "The REST API accepts the token of `openmwaa api`, or the user and the password in each request.",
        _WEB,
    ),
)
AIRFLOW_2_SETTINGS: tuple[AirflowSetting, ...] = (
    *(setting for setting in (*CONNECTIONS, *DEFAULTS) if not setting.name.startswith(_ONLY_3)),
    *AIRFLOW_2_OWN,
)
"""A later one replaces an earlier one of the same option."""
