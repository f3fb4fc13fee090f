# SPDX-License-Identifier: Apache-2.0
"""Task logs, from the supervisor of a task to CloudWatch or S3 and back.

Only `airflow_logging` imports Airflow: it connects the others to Airflow 3, and `airflow_2.task_logging` to Airflow 2.
Nothing is written to the disk.
"""
