# SPDX-License-Identifier: Apache-2.0
"""What the daemon starts or calls: the AWS emulator, PostgreSQL, the load balancer, Airflow's API."""
