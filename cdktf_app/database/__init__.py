# SPDX-License-Identifier: Apache-2.0
"""Airflow's metadata database: Aurora, RDS for PostgreSQL, or an existing server."""
