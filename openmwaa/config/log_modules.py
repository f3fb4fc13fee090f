# SPDX-License-Identifier: Apache-2.0
"""MWAA's log modules."""

from typing import Annotated, Literal

from openmwaa.config.strict_model import WHOLE_NUMBER, StrictModel

LogLevel = Literal["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"]


class ModuleLogging(StrictModel):
    """One of MWAA's log modules."""

    enabled: bool = True
    """If false, only WARNING and above are written."""
    log_level: LogLevel = "INFO"
    """Minimum level that is written."""


class TaskLogging(ModuleLogging):
    """The log module of tasks."""

    destination: Literal["CLOUDWATCH", "S3"] = "CLOUDWATCH"
    """`S3` keeps the logs of tasks in a bucket of the stack, which costs less for long logs."""


class LoggingConfiguration(StrictModel):
    """MWAA's five log modules; each has a CloudWatch log group `airflow-NAME-MODULE`."""

    dag_processing_logs: ModuleLogging = ModuleLogging()
    scheduler_logs: ModuleLogging = ModuleLogging()
    task_logs: TaskLogging = TaskLogging()
    webserver_logs: ModuleLogging = ModuleLogging()
    worker_logs: ModuleLogging = ModuleLogging()
    retention_days: Annotated[
        Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], WHOLE_NUMBER
    ] = 30
    """Retention of the log groups in days; the values are CloudWatch's."""
