# SPDX-License-Identifier: Apache-2.0
"""What a container of the Airflow image starts with: `python -m openmwaa_runtime WORD`, by environment variables alone.

The same code starts the components in the image on AWS and as processes of `openmwaa local`. It reads the variables
that the task definition sets, waits until the database is prepared, computes Airflow's settings (`settings`) and
becomes Airflow by `exec`, so that signals reach Airflow and Celery directly. Modules that run before Airflow import
nothing heavy.
"""
