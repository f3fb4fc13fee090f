# SPDX-License-Identifier: Apache-2.0
"""The services of the daemon: the AWS emulator, PostgreSQL, the load balancers; and Airflow's API."""
