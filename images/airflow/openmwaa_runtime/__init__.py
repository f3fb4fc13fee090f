# SPDX-License-Identifier: Apache-2.0
"""The entry point of the Airflow image: `python -m openmwaa_runtime COMMAND`, configured by environment variables.

The same code starts the components in containers on AWS and as processes of `openmwaa local`. It reads the variables of
the task definition, waits until the database is prepared, computes Airflow's settings (`settings`) and replaces itself
with Airflow by `exec`, so that signals reach Airflow and Celery directly. Modules that run before Airflow import no
large package.
"""
