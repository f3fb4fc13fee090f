# SPDX-License-Identifier: Apache-2.0
"""Defaults that differ from Airflow's, with reasons. `airflow_configuration_options` override them."""

from openmwaa_runtime.settings.container_env import ContainerEnv
from openmwaa_runtime.settings.model import AirflowSetting, fixed

_WORKER = frozenset({"worker"})
_SCHEDULER = frozenset({"scheduler"})
_CELERY = frozenset({"scheduler", "worker"})
_PROCESSOR = frozenset({"dag-processor"})
_SERVERS = frozenset({"execution-api", "web-server"})
DAG_CODE = frozenset({"worker", "triggerer", "dag-processor"})

OUTAGE_S = 600
"""Tasks must survive an outage of the execution API of this length."""
RETRY_WAIT_MAX_S = 15
RETRIES = 105
"""From the fifth on, waits are uniform between 1 s and 15 s. 105 retries take 810 s; less than 600 s once in 10^7."""
HEARTBEAT_TIMEOUT_S = 720
TOKEN_LIFETIME_S = 3600
HEARTBEATS_PER_S = 100
"""Maximum load of the execution API from heartbeats (one UPDATE each)."""


def heartbeat_interval(total_slots: int) -> int:
    """Seconds between a task's heartbeats: 1 up to 100 slots, then 100 a second for all slots together; at most 5."""
    return max(1, min(5, -(-total_slots // HEARTBEATS_PER_S)))


def _parallelism(env: ContainerEnv) -> str:
    return str(max(10_000, 2 * env.total_slots))


def refresh_interval(env: ContainerEnv) -> str:
    """Return the seconds between scans of the DAG folder."""
    return "1" if env.get("OPENMWAA_DAG_LINK") else "3"


def secrets_backend(env: ContainerEnv) -> str | None:
    """Return the class that reads connections and variables; None if the user has another one."""
    # `workers.…` comes before `secrets.backend` in the processes that run DAG code.
    if any(f"AIRFLOW__SECRETS__BACKEND{suffix}" in env.environ for suffix in ("", "_CMD", "_SECRET")):
        return None
    return "openmwaa_runtime.secrets_backend.SecretsManagerAndParameterStore"


DEFAULTS: tuple[AirflowSetting, ...] = (
    AirflowSetting(
        "core.parallelism",
        _parallelism,
        "`10000`, or twice all slots if that is more",
        "Airflow's 32 would limit every fleet. With a number near the slots, the backlog of one queue would block the "
        "other fleets. MWAA has 10000 too.",
    ),
    AirflowSetting(
        "core.max_active_tasks_per_dag",
        _parallelism,
        "as parallelism",
        "Airflow's 16 limits a DAG to 16 slots. MWAA has 10000 too. A DAG can set a lower number.",
    ),
    AirflowSetting(
        "core.default_pool_task_slot_count",
        _parallelism,
        "as parallelism",
        "Airflow's 128 limits the whole environment: every task without a pool is in `default_pool`. It has effect "
        "when the database is created; later the user can change the pool.",
    ),
    fixed(
        "openmwaa.lost_worker_retries",
        "2",
        "A worker can be lost (Fargate retirement, Spot, a failed host). Its tasks get another try although they have "
        "no retries left, at most this many times in a row. A task that fails gets none. For a task that must not "
        'start twice, set `executor_config={"lost_worker_retries": 0}` and `retries=0`.',
        _SCHEDULER,
    ),
    fixed("core.load_examples", "False", "An environment has its own DAGs only."),
    # --- an outage of the execution API for ten minutes
    fixed(
        "workers.execution_api_retries",
        str(RETRIES),
        "With the waits below, a request is retried for more than 10 minutes. With Airflow's 5 attempts, tasks failed "
        "after 53 s to 58 s (measured).",
        _WORKER,
    ),
    fixed(
        "workers.execution_api_retry_wait_max",
        str(RETRY_WAIT_MAX_S),
        "After an outage tasks continue within 15 s, at random times. With Airflow's 90 s slots would wait longer.",
        _WORKER,
    ),
    fixed(
        "workers.execution_api_timeout",
        "15",
        "The first request after a start takes longer than Airflow's 5 s, and each retry adds load.",
        _WORKER,
    ),
    fixed(
        "workers.max_failed_heartbeats",
        "20",
        "Heartbeats are sent every second here, so Airflow's 3 would mean 3 s instead of 15 s. Only answers that are "
        "not retried count: a heartbeat without an answer is retried for more than 10 minutes before it counts.",
        _WORKER,
    ),
    fixed(
        "scheduler.task_instance_heartbeat_timeout",
        str(HEARTBEAT_TIMEOUT_S),
        "600 s of outage, 15 s until the last retry, and time for the start of the API: the scheduler must not fail "
        "tasks during an outage of the API that receives their heartbeats. The cost: tasks of a killed worker are "
        "repeated after 12 minutes instead of 5. Lower it if such a wait is worse than a lost task.",
        frozenset({"scheduler", "worker"}),
    ),
    fixed(
        "execution_api.jwt_expiration_time",
        str(TOKEN_LIFETIME_S),
        "A task's token is renewed in the last fifth of its lifetime. With Airflow's 600 s that is 120 s: after a "
        "longer outage the API would refuse healthy tasks. A fifth of an hour is 720 s.",
        frozenset({"scheduler", "execution-api"}),
    ),
    # --- slots and queues
    AirflowSetting(
        "workers.min_heartbeat_interval",
        lambda env: str(heartbeat_interval(env.total_slots)),
        "`1` up to 100 slots, then a second more for each 100, at most `5`",
        "A finished task occupies its slot for up to this time (Airflow: 5 s, for 60 % of all tasks). Every running "
        "task sends heartbeats at this interval, so 1 s is too often for large environments.",
        _WORKER,
    ),
    fixed(
        "celery.task_acks_late",
        "False",
        "A message is deleted when the execution API has accepted the task. If the worker dies before that, another "
        "worker receives the message. Late acknowledgement redelivers every task that takes longer than the visibility "
        "timeout; if the token in the message has expired by then, the healthy task is killed (measured: "
        "explanation/acknowledgement.md). Redelivery adds no safety: Airflow does not start a task a second time.",
        _CELERY,
    ),
    fixed("celery.worker_prefetch_multiplier", "1", "A reserved message waits while other workers are free.", _CELERY),
    AirflowSetting(
        "celery.worker_concurrency",
        lambda env: env.get("OPENMWAA_WORKER_SLOTS"),
        "the fleet's slots",
        "Programs that read this option from Airflow get the right number.",
        _WORKER,
    ),
    fixed(
        "celery.worker_enable_remote_control",
        "False",
        "Celery's remote control creates a queue for each worker, which predefined queues do not allow.",
        _CELERY,
    ),
    fixed(
        "celery.operation_timeout", "10", "The first message to SQS took longer than Airflow's 1 s (measured).", _CELERY
    ),
    fixed(
        "celery.sync_parallelism",
        "1",
        "No additional process pool in the scheduler for each batch; as in MWAA.",
        _SCHEDULER,
    ),
    AirflowSetting(
        "celery_broker_transport_options.wait_time_seconds",
        lambda env: None if env.on_redis else "5",
        "`5`, with SQS",
        "Long polling. A drain waits for the open polls, so with 20 s a scale-in would take 15 s longer. An idle "
        "worker makes 17 000 requests a day.",
        _WORKER,
    ),
    fixed(
        "celery.result_backend_sqlalchemy_engine_options",
        '{"pool_pre_ping": true, "pool_recycle": 1800}',
        "After a fail-over of the database a broken connection is detected before it is used.",
        _CELERY,
    ),
    fixed(
        "scheduler.task_queued_timeout",
        "3600",
        "Maximum time of a task in a queue, and lifetime of the token in its message. It must be longer than a cold "
        "start with a full backlog, but not much. Airflow: 600, MWAA: 1800.",
        frozenset({"scheduler"}),
    ),
    fixed(
        "scheduler.task_queued_timeout_check_interval",
        "30",
        "At this check the scheduler also looks for tasks whose message was lost: it queues them again two minutes "
        "after their queue is empty. Airflow: 120.",
        frozenset({"scheduler"}),
    ),
    fixed(
        "scheduler.max_tis_per_query",
        "64",
        "With Airflow's 16, sending 60 tasks to the broker takes 4 s, and the scaler sees the backlog that much later.",
        _SCHEDULER,
    ),
    # --- new DAGs appear within seconds
    AirflowSetting(
        "dag_processor.refresh_interval",
        refresh_interval,
        "`3`; `1` in `openmwaa local`",
        "Seconds between scans of the synced folder (Airflow: 300).",
        _PROCESSOR,
    ),
    fixed(
        "dag_processor.bundle_refresh_check_interval",
        "1",
        "Interval at which the previous option is checked.",
        _PROCESSOR,
    ),
    fixed(
        "logging.dag_processor_log_target",
        "stdout",
        "To the log group `airflow-NAME-DAGProcessing`. Files on the container's disk are lost with the container.",
        _PROCESSOR,
    ),
    AirflowSetting(
        "workers.secrets_backend",
        secrets_backend,
        "Secrets Manager, then the Parameter Store; not with a `secrets.backend` of yours",
        "Connections in `airflow/connections/ID` and variables in `airflow/variables/KEY`, the prefixes of MWAA's "
        "documentation. Only where DAG code runs: other components need none. An empty value switches it off.",
        DAG_CODE,
    ),
    # --- memory and logs
    fixed(
        "dag_processor.stale_bundle_cleanup_interval",
        "0",
        "The bundle has no versions to clean, and the cleaner would be a process in every worker.",
        _WORKER,
    ),
    fixed("api.workers", "1", "Services scale by tasks, not by processes in a task.", _SERVERS),
    fixed("logging.colored_console_log", "False", "CloudWatch does not interpret escape sequences."),
)
