# SPDX-License-Identifier: Apache-2.0
"""Defaults that differ from Airflow's, each with its reason; `airflow_configuration_options` win over all of them."""

from openmwaa_runtime.settings.container_env import Facts
from openmwaa_runtime.settings.model import Setting, fixed

_WORKER = frozenset({"worker"})
_SCHEDULER = frozenset({"scheduler"})
_CELERY = frozenset({"scheduler", "worker"})
_PROCESSOR = frozenset({"dag-processor"})
_SERVERS = frozenset({"execution-api", "web-server"})

OUTAGE_S = 600
"""An execution API that is away for this long must cost no task."""
RETRY_WAIT_MAX_S = 15
RETRIES = 105
"""Waits are even between 1 s and 15 s from the fifth on: 105 last 810 s, less than 600 s once in 10^7 times."""
HEARTBEAT_TIMEOUT_S = 720
TOKEN_LIFETIME_S = 3600
HEARTBEATS_PER_S = 100
"""What the execution API should bear from heartbeats alone (an UPDATE each)."""


def heartbeat_interval(total_slots: int) -> int:
    """Seconds between a task's heartbeats: 1 up to 100 slots, then 100 a second from all slots together, at most 5."""
    return max(1, min(5, -(-total_slots // HEARTBEATS_PER_S)))


def _parallelism(facts: Facts) -> str:
    return str(max(10_000, 2 * facts.total_slots))


DEFAULTS: tuple[Setting, ...] = (
    Setting(
        "core.parallelism",
        _parallelism,
        "`10000`, or twice all slots if that is more",
        "Airflow's 32 would cap every fleet, and a number near the slots would let one queue's backlog starve the "
        "other fleets. MWAA has 10000 too.",
    ),
    Setting(
        "core.max_active_tasks_per_dag",
        _parallelism,
        "as parallelism",
        "Airflow's 16 caps a fleet at 16 slots for each DAG run. MWAA has 10000 too. A DAG may lower it for itself.",
    ),
    Setting(
        "core.default_pool_task_slot_count",
        _parallelism,
        "as parallelism",
        "Airflow's 128 caps the whole environment: every task without a pool is in `default_pool`. It counts when the "
        "database is created; after that the pool is the user's.",
    ),
    fixed(
        "core.default_task_retries",
        "1",
        "A worker can vanish (Fargate retirement, Spot, a failed host), and Airflow runs a task again only if it has a "
        "retry left. A task that must not run twice says `retries=0`.",
    ),
    fixed("core.load_examples", "False", "An environment holds its own DAGs."),
    # --- an execution API that is away for ten minutes
    fixed(
        "workers.execution_api_retries",
        str(RETRIES),
        "With the waits below a request outlasts 10 minutes without the API. With Airflow's 5 attempts, tasks failed "
        "after 53 s to 58 s (measured).",
        _WORKER,
    ),
    fixed(
        "workers.execution_api_retry_wait_max",
        str(RETRY_WAIT_MAX_S),
        "After an outage tasks go on within 15 s, spread at random; Airflow's 90 s would keep slots waiting.",
        _WORKER,
    ),
    fixed(
        "workers.execution_api_timeout",
        "15",
        "The first request after a start takes longer than Airflow's 5 s, and each repetition makes it worse.",
        _WORKER,
    ),
    fixed(
        "workers.max_failed_heartbeats",
        "20",
        "One a second here, so Airflow's 3 would be 3 s instead of 15 s. Only answers that are not worth a retry "
        "count: a heartbeat that gets no answer is repeated for more than 10 minutes before it counts once.",
        _WORKER,
    ),
    fixed(
        "scheduler.task_instance_heartbeat_timeout",
        str(HEARTBEAT_TIMEOUT_S),
        "600 s of outage, 15 s until the last task asks again, and room for the API's start: the scheduler must not "
        "declare tasks dead while the API that takes their heartbeats is away. The price: tasks of a worker that was "
        "killed are run again after 12 minutes, not 5; lower it where such a wait is worse than a lost task.",
        frozenset({"scheduler", "worker"}),
    ),
    fixed(
        "execution_api.jwt_expiration_time",
        str(TOKEN_LIFETIME_S),
        "A task's token is renewed in the last fifth of its life. With Airflow's 600 s that leaves 120 s: after a "
        "longer outage the API refuses tasks that are well. A fifth of an hour is 720 s.",
        frozenset({"scheduler", "execution-api"}),
    ),
    # --- slots and queues
    Setting(
        "workers.min_heartbeat_interval",
        lambda facts: str(heartbeat_interval(facts.total_slots)),
        "`1` up to 100 slots, then a second more for each 100, at most `5`",
        "A finished task holds its slot for up to this long (Airflow: 5 s, for 60 % of all tasks). Every running task "
        "sends a heartbeat at this pace, so large environments cannot have 1 s.",
        _WORKER,
    ),
    fixed(
        "celery.task_acks_late",
        "False",
        "A message is deleted when the execution API has taken the task (a worker that dies before leaves it to "
        "another). Late acknowledgement redelivers every task that outlives the visibility timeout; if the token in "
        "the message has expired by then, the healthy task is killed (measured: explanation/acknowledgement.md). "
        "Redelivery is no safety here: Airflow never runs a message again whose task had begun.",
        _CELERY,
    ),
    fixed("celery.worker_prefetch_multiplier", "1", "A reserved message waits while other workers are free.", _CELERY),
    Setting(
        "celery.worker_concurrency",
        lambda facts: facts.get("OPENMWAA_WORKER_SLOTS"),
        "the fleet's slots",
        "So that the number holds for whatever asks Airflow for it.",
        _WORKER,
    ),
    fixed(
        "celery.worker_enable_remote_control",
        "False",
        "Celery's remote control makes a queue a worker, which predefined queues forbid.",
        _CELERY,
    ),
    fixed("celery.operation_timeout", "10", "Airflow's 1 s ran out at the first message to SQS (measured).", _CELERY),
    fixed("celery.sync_parallelism", "1", "No process pool beside the scheduler for each batch; as MWAA.", _SCHEDULER),
    Setting(
        "celery_broker_transport_options.wait_time_seconds",
        lambda facts: None if facts.on_redis else "5",
        "`5`, with SQS",
        "Long polling. A drain ends when the open polls have ended, so 20 s would be 15 s slower to shrink; an idle "
        "worker makes 17 000 requests a day.",
        _WORKER,
    ),
    fixed(
        "celery.result_backend_sqlalchemy_engine_options",
        '{"pool_pre_ping": true, "pool_recycle": 1800}',
        "After a fail-over of the database a stale connection is noticed before it is used.",
        _CELERY,
    ),
    fixed(
        "scheduler.task_queued_timeout",
        "3600",
        "How long a task may wait in a queue, and how long the token in its message lives: longer than a cold start "
        "with a full backlog, not far longer, for it is also how long a hand-over stays stuck that no visibility "
        "timeout brings back. Airflow: 600, MWAA: 1800.",
        frozenset({"scheduler"}),
    ),
    fixed(
        "scheduler.max_tis_per_query",
        "64",
        "Airflow's 16 a loop takes 4 s to hand 60 tasks to the broker, and the scaler sees the backlog that late.",
        _SCHEDULER,
    ),
    # --- DAGs show within seconds
    fixed(
        "dag_processor.refresh_interval", "5", "Seconds between looks at the synced folder (Airflow: 300).", _PROCESSOR
    ),
    fixed("dag_processor.bundle_refresh_check_interval", "2", "How often the former is looked at.", _PROCESSOR),
    fixed(
        "logging.dag_processor_log_target",
        "stdout",
        "To the log group `airflow-NAME-DAGProcessing`; files on a disk that ends with the container help nobody.",
        _PROCESSOR,
    ),
    # --- memory and logs
    fixed(
        "dag_processor.stale_bundle_cleanup_interval",
        "0",
        "The bundle has no versions of its own to clean, and the cleaner is a process in every worker.",
        _WORKER,
    ),
    fixed("api.workers", "1", "Services scale by tasks, not by processes in one.", _SERVERS),
    fixed("logging.colored_console_log", "False", "CloudWatch shows escape sequences as they are."),
)
