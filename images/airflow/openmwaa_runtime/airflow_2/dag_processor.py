# SPDX-License-Identifier: Apache-2.0
"""Starts the DAG processor of Airflow 2, which parses DAG files and handles lost tasks in forks of this process."""

from airflow.__main__ import main

from openmwaa_runtime import lost_worker, queue_policy

if __name__ == "__main__":
    queue_policy.install()
    lost_worker.install(lambda: True)
    main()
