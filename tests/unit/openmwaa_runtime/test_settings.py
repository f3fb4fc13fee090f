# SPDX-License-Identifier: Apache-2.0
"""Airflow's settings computed from a container's variables."""

import itertools
import json
import random
from urllib.parse import unquote, urlsplit

import pytest

from openmwaa_runtime.errors import MissingVariableError, UsageError
from openmwaa_runtime.settings import COMPONENTS, airflow_environment
from openmwaa_runtime.settings.connections import CONNECTIONS
from openmwaa_runtime.settings.container_env import AIRFLOW_COMPONENTS, REQUIRED
from openmwaa_runtime.settings.defaults import (
    DEFAULTS,
    HEARTBEAT_TIMEOUT_S,
    OUTAGE_S,
    RETRIES,
    RETRY_WAIT_MAX_S,
    TOKEN_LIFETIME_S,
    heartbeat_interval,
)

AIRFLOW = sorted(AIRFLOW_COMPONENTS)
ADDRESS = "127.40.1.7"
SECRETS_BACKEND = "openmwaa_runtime.secrets_backend.SecretsManagerAndParameterStore"


@pytest.mark.parametrize(
    ("component", "variable", "value"),
    [
        ("scheduler", "AIRFLOW__CORE__EXECUTOR", "CeleryExecutor"),
        ("scheduler", "AIRFLOW__CORE__PARALLELISM", "10000"),
        ("scheduler", "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG", "10000"),
        ("prepare-database", "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT", "10000"),
        ("scheduler", "AIRFLOW__CELERY__BROKER_URL", "sqs://"),
        ("scheduler", "AIRFLOW__API_AUTH__JWT_SECRET", "secret-jwt"),
        ("worker", "AIRFLOW__CELERY__TASK_ACKS_LATE", "False"),
        ("worker", "AIRFLOW__CELERY__WORKER_CONCURRENCY", "5"),
        ("worker", "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "1"),
        ("worker", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://api.internal:8081/execution/"),
        ("worker", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite://"),
        ("worker", "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__REGION", "eu-west-1"),
        ("execution-api", "AIRFLOW__API__HOST", ADDRESS),
        ("execution-api", "AIRFLOW__API__PORT", "8081"),
        ("web-server", "AIRFLOW__API__PORT", "8080"),
        ("web-server", "AIRFLOW__API__BASE_URL", "http://web.internal:8080"),
        (
            "web-server",
            "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS",
            "openmwaa_runtime.task_logs.airflow_logging.LOGGING_CONFIG",
        ),
        (
            "worker",
            "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER",
            "cloudwatch://arn:aws:logs:eu-west-1:123456789012:log-group:airflow-demo-Task",
        ),
        ("worker", "AIRFLOW_CONN_AWS_DEFAULT", "aws://"),
        *(
            (component, "AIRFLOW__WORKERS__SECRETS_BACKEND", SECRETS_BACKEND)
            for component in ("worker", "triggerer", "dag-processor")
        ),
        ("dag-processor", "AIRFLOW__LOGGING__DAG_PROCESSOR_LOG_TARGET", "stdout"),
        (
            "dag-processor",
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY",
            "/home/airflow/airflow/logs/dag_processor",
        ),
        ("dag-processor", "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", "/home/airflow/airflow/bundles"),
    ],
)
def test_a_component_gets(container: dict[str, str], component: str, variable: str, value: str) -> None:
    assert airflow_environment(component, container, ADDRESS)[variable] == value


def test_sessions_and_running_tasks_have_different_secrets(container: dict[str, str]) -> None:
    def secret(component: str, **changes: str) -> str:
        return airflow_environment(component, {**container, **changes}, ADDRESS)["AIRFLOW__API_AUTH__JWT_SECRET"]

    sessions = secret("web-server")
    assert len(sessions) == 64, "HS512 needs 64 bytes"
    assert sessions not in (container["OPENMWAA_API_SECRET_KEY"], secret("execution-api"))
    assert secret("web-server", OPENMWAA_JWT_SECRET="another") == sessions
    assert secret("web-server", OPENMWAA_API_SECRET_KEY="another") != sessions
    assert secret("execution-api", OPENMWAA_API_SECRET_KEY="another") == secret("scheduler") == "secret-jwt"


@pytest.mark.parametrize(
    ("component", "variable"),
    [
        ("worker", "AIRFLOW__CORE__FERNET_KEY"),
        *((component, "AIRFLOW__API_AUTH__JWT_SECRET") for component in ("worker", "dag-processor", "triggerer")),
        ("worker", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"),
        ("execution-api", "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS"),
        ("scheduler", "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS"),
        ("web-server", "AIRFLOW__CELERY__RESULT_BACKEND"),
        ("scheduler", "AIRFLOW__OPERATORS__DEFAULT_QUEUE"),
        *(
            (component, "AIRFLOW__WORKERS__SECRETS_BACKEND")
            for component in ("scheduler", "execution-api", "web-server")
        ),
    ],
)
def test_a_component_does_not_get(container: dict[str, str], component: str, variable: str) -> None:
    assert variable not in airflow_environment(component, container, ADDRESS)


def test_a_worker_gets_no_secret_except_the_results_password(container: dict[str, str]) -> None:
    values = " ".join(airflow_environment("worker", container, ADDRESS).values())
    assert [word for word in container.values() if word.startswith("secret-") and word in values] == ["secret-celery"]


@pytest.mark.parametrize("component", sorted(AIRFLOW_COMPONENTS - {"worker"}))
def test_the_metadata_url_has_the_password_and_the_ssl_mode(container: dict[str, str], component: str) -> None:
    environment = airflow_environment(component, container, ADDRESS)
    url = urlsplit(environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert (url.scheme, url.username, url.hostname, url.port) == ("postgresql+psycopg2", "airflow", "db.internal", 5432)
    assert unquote(url.password or "") == container["OPENMWAA_AIRFLOW_DATABASE_PASSWORD"]
    assert (url.path, url.query) == ("/airflow", "sslmode=require")
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"].startswith("postgresql+asyncpg://")
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"].endswith("/airflow?ssl=require")


def test_the_result_backend_has_its_own_database(container: dict[str, str]) -> None:
    for component in ("scheduler", "worker"):
        backend = airflow_environment(component, container, ADDRESS)["AIRFLOW__CELERY__RESULT_BACKEND"]
        expected = "db+postgresql+psycopg2://celery_results:secret-celery@db.internal:5432/celery?sslmode=require"
        assert backend == expected


def test_queues_are_predefined(container: dict[str, str]) -> None:
    variable = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__PREDEFINED_QUEUES"
    queues = json.loads(airflow_environment("worker", container, ADDRESS)[variable])
    assert queues == {"default": {"url": "https://sqs/default"}, "high": {"url": "https://sqs/high"}}


def test_the_redis_url_has_the_password_and_verifies_the_certificate(on_redis: dict[str, str]) -> None:
    for component in ("scheduler", "worker"):
        url = urlsplit(airflow_environment(component, on_redis, ADDRESS)["AIRFLOW__CELERY__BROKER_URL"])
        assert (url.scheme, url.username, url.hostname, url.port) == ("rediss", "celery", "redis.internal", 6379)
        assert unquote(url.password or "") == on_redis["OPENMWAA_BROKER_PASSWORD"]
        assert (url.path, url.query) == ("/0", "ssl_cert_reqs=required&ssl_check_hostname=true")


@pytest.mark.parametrize("option", ["PREDEFINED_QUEUES", "REGION", "WAIT_TIME_SECONDS"])
def test_redis_gets_no_option_of_sqs(on_redis: dict[str, str], container: dict[str, str], option: str) -> None:
    variable = f"AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__{option}"
    assert variable in airflow_environment("worker", container, ADDRESS)
    assert variable not in airflow_environment("worker", on_redis, ADDRESS)


def test_the_visibility_timeout_is_the_same_with_either_broker(
    on_redis: dict[str, str], container: dict[str, str]
) -> None:
    variable = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"
    found = {airflow_environment("worker", environ, ADDRESS)[variable] for environ in (on_redis, container)}
    assert found == {"300"}, "a message is redelivered during the start of its task, or far too late"


def test_a_url_with_a_user_needs_a_password(on_redis: dict[str, str]) -> None:
    del on_redis["OPENMWAA_BROKER_PASSWORD"]
    with pytest.raises(MissingVariableError, match="worker needs the environment variable OPENMWAA_BROKER_PASSWORD"):
        airflow_environment("worker", on_redis, ADDRESS)


def test_without_a_queue_named_default_the_first_queue_is_the_default(container: dict[str, str]) -> None:
    container["OPENMWAA_QUEUES"] = '{"etl": "https://sqs/etl", "ml": "https://sqs/ml"}'
    assert airflow_environment("scheduler", container, ADDRESS)["AIRFLOW__OPERATORS__DEFAULT_QUEUE"] == "etl"


@pytest.mark.parametrize(
    ("component", "bundle"),
    [
        ("worker", "openmwaa_runtime.dag_bundle.WholeVersionDagBundle"),
        ("triggerer", "openmwaa_runtime.dag_bundle.WholeVersionDagBundle"),
        ("dag-processor", "openmwaa_runtime.dag_bundle.NewestVersionDagBundle"),
    ],
)
def test_tasks_read_one_version_and_the_dag_processor_reads_the_link(
    container: dict[str, str], component: str, bundle: str
) -> None:
    environment = airflow_environment(component, container, ADDRESS)
    (only,) = json.loads(environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert only == {"name": "dags", "classpath": bundle, "kwargs": {"path": "/opt/openmwaa/dags/current"}}


@pytest.mark.parametrize("component", AIRFLOW)
def test_a_variable_that_is_set_is_not_set_again(container: dict[str, str], component: str) -> None:
    first = airflow_environment(component, container, ADDRESS)
    assert first, "the component has no defaults, so this test is empty"
    mine = dict.fromkeys(first, "mine")
    assert airflow_environment(component, {**container, **mine}, ADDRESS) == {}


@pytest.mark.parametrize("suffix", ["_CMD", "_SECRET"])
def test_a_default_does_not_override_a_value_from_a_command_or_secret(container: dict[str, str], suffix: str) -> None:
    container[f"AIRFLOW__CORE__FERNET_KEY{suffix}"] = "the user's way"
    assert "AIRFLOW__CORE__FERNET_KEY" not in airflow_environment("scheduler", container, ADDRESS)


@pytest.mark.parametrize("suffix", ["", "_CMD", "_SECRET"])
def test_a_secrets_backend_of_the_user_replaces_the_default(container: dict[str, str], suffix: str) -> None:
    environ = {**container, f"AIRFLOW__SECRETS__BACKEND{suffix}": ""}
    assert "AIRFLOW__WORKERS__SECRETS_BACKEND" not in airflow_environment("worker", environ, ADDRESS)


def test_the_dag_processors_log_folder_is_below_the_configured_one(container: dict[str, str]) -> None:
    container["AIRFLOW__LOGGING__BASE_LOG_FOLDER"] = "/var/log/airflow"
    environment = airflow_environment("dag-processor", container, ADDRESS)
    assert (
        environment["AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY"] == "/var/log/airflow/dag_processor"
    )


@pytest.mark.parametrize("login", ["IAM", "PASSWORD"])
def test_only_a_login_with_a_password_needs_one(container: dict[str, str], login: str) -> None:
    environ = {**container, "OPENMWAA_LOGIN": login, "OPENMWAA_ADMIN_PASSWORD": ""}
    if login == "IAM":
        assert airflow_environment("web-server", environ, ADDRESS)
    else:
        with pytest.raises(UsageError, match="OPENMWAA_ADMIN_PASSWORD"):
            airflow_environment("web-server", environ, ADDRESS)


@pytest.mark.parametrize(("component", "variable"), [(c, v) for c in COMPONENTS for v in REQUIRED[c]])
@pytest.mark.parametrize("kind", ["absent", "empty"])
def test_a_missing_variable_is_an_error_with_its_name(
    on_redis: dict[str, str], component: str, variable: str, kind: str
) -> None:
    container = on_redis
    if kind == "absent":
        del container[variable]
    else:
        container[variable] = ""
    with pytest.raises(MissingVariableError, match=f"^{component} needs the environment variable {variable}$"):
        airflow_environment(component, container, ADDRESS)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPENMWAA_QUEUES", "default"),
        ("OPENMWAA_QUEUES", "[]"),
        ("OPENMWAA_QUEUES", "{}"),
        ("OPENMWAA_QUEUES", '{"default": 1}'),
        ("OPENMWAA_TOTAL_SLOTS", "many"),
        ("OPENMWAA_TOTAL_SLOTS", "-1"),
        ("OPENMWAA_DATABASE_PORT", "postgres"),
    ],
)
def test_an_invalid_variable_is_an_error_with_its_name(container: dict[str, str], variable: str, value: str) -> None:
    container[variable] = value
    with pytest.raises(UsageError, match=f"^{variable} "):
        airflow_environment("scheduler", container, ADDRESS)


def test_parallelism_does_not_limit_a_large_environment(container: dict[str, str]) -> None:
    container["OPENMWAA_TOTAL_SLOTS"] = "8000"
    environment = airflow_environment("scheduler", container, ADDRESS)
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "16000"
    assert environment["AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG"] == "16000"


@pytest.mark.parametrize(("slots", "seconds"), [(0, 1), (1, 1), (100, 1), (101, 2), (250, 3), (500, 5), (100_000, 5)])
def test_heartbeats_are_less_frequent_in_large_environments(slots: int, seconds: int) -> None:
    assert heartbeat_interval(slots) == seconds


def test_each_setting_has_a_reason_and_is_set_once_for_a_component() -> None:
    for setting, other in itertools.combinations((*CONNECTIONS, *DEFAULTS), 2):
        assert setting.name != other.name or not (setting.components & other.components), f"{setting.name} is set twice"
    for setting in (*CONNECTIONS, *DEFAULTS):
        assert setting.reason.endswith("."), f"{setting.name} has no reason"
        assert setting.components <= AIRFLOW_COMPONENTS, f"{setting.name} has unknown components"


def test_a_request_is_retried_for_longer_than_the_outage() -> None:
    # tenacity's wait_random_exponential, as Airflow's client uses it: attempt k waits from 1 s to 2^(k-1) s, capped.
    rng = random.Random(7)
    for _ in range(2000):
        waits = (rng.uniform(1, max(1, min(2.0 ** (attempt - 1), RETRY_WAIT_MAX_S))) for attempt in range(1, RETRIES))
        assert sum(waits) > OUTAGE_S


def test_the_heartbeat_timeout_and_the_token_are_longer_than_the_outage_and_the_last_wait() -> None:
    back_after = OUTAGE_S + RETRY_WAIT_MAX_S
    assert back_after + 60 < HEARTBEAT_TIMEOUT_S, "no time for the start of the API and its backlog"
    # A token is renewed when less than a fifth of its lifetime is left; heartbeats are at most 5 s apart.
    assert back_after + 60 < TOKEN_LIFETIME_S / 5 - 5
